"""One pytest session's models and stages: which were asked for, and the one that is alive.

The plugin's hooks call this; nothing here is imported by a user's tests. torch comes in with the first stage, and so
does everything else that is slow to import: whoever only collects does not wait for it.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

import pytest

from fastdiff.compare.policy import check as check_policy
from fastdiff.host.environment import device_name, device_slug
from fastdiff.host.processor import emulated
from fastdiff.models import CATALOGUE, WEIGHTS
from fastdiff.plugin.ledger import Ledger
from fastdiff.plugin.settings import (
    configured_models,
    configured_policy,
    configured_stages,
    device_asked,
    given_files,
    given_options,
    project_folder,
    require_known,
    settings,
)
from fastdiff.record.bounds import NAME
from fastdiff.record.errors import UserError, unknown
from fastdiff.record.run import EMULATED_HERE, FAILED, IMPOSSIBLE_HERE, SKIPPED, StageRecord
from fastdiff.report import remaining
from fastdiff.report.remaining import Seen
from fastdiff.stages import EVERY_STAGE, LADDERS
from fastdiff.stages.beyond import BEYOND
from fastdiff.stages.ladder import Ladder, without_instructions
from fastdiff.stages.toml import whole
from fastdiff.trial import faults

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import ModuleType

    from fastdiff.experiments.questions import Asked
    from fastdiff.models import Model, Request
    from fastdiff.record.calibration import Calibration
    from fastdiff.record.run import State
    from fastdiff.report.ladder import Rung
    from fastdiff.report.progress import Progress
    from fastdiff.stages.ladder import Stage
    from fastdiff.trial.live import LiveStage, Reference


CACHE_VARIABLE = "TORCHINDUCTOR_CACHE_DIR"
"""Where inductor keeps compiled code."""
DEFAULT_CACHE = ".fastdiff/compile-cache"
SKIPPING = {"recipe": IMPOSSIBLE_HERE, "emulated": EMULATED_HERE}
"""Errors that skip a stage, with the remark about it."""


@dataclass(frozen=True)
class Subject:
    """What a test is parametrized with: a stage of a model's ladder."""

    model: Model
    stage: Stage

    @property
    def id(self) -> str:
        return f"{self.model.name}-{self.stage.name}"

    def __repr__(self) -> str:
        """What pytest-benchmark writes into its file; the whole would name folders of this machine."""
        return self.id


@dataclass
class Suite:
    config: pytest.Config
    progress: Progress
    reference_wanted: bool = False
    """Whether a collected test compares pictures; only then a reference is drawn for its own sake."""
    last_tests: dict[str, str] = field(default_factory=dict)
    """Of each stage, the test after which it may end."""
    comparing: bool = False
    """Whether `--benchmark-compare` was given."""
    alive: dict[str, LiveStage] = field(default_factory=dict)
    """By id, from a stage's first test to its last; mostly one."""
    references: dict[str, Reference] = field(default_factory=dict)
    unreferenced: dict[str, str] = field(default_factory=dict)
    """Why a model has no reference; it is tried once."""
    seen: list[Seen] = field(default_factory=list)
    """What the stages so far took, for an estimate of what is left."""

    def __post_init__(self) -> None:
        self.settings = settings(self.config)
        models = {model.name: model for model in (*CATALOGUE, *configured_models(self.config))}
        for added in self.config.hook.pytest_fastdiff_models():
            models |= {model.name: model for model in added or ()}
        require_known("model", self.settings.model, list(models))
        self.models = self._weighed([models[name] for name in self.settings.model])
        self.device = device_asked(self.settings)
        self.emulated = () if self.settings.emulate else emulated(self.device)
        self.ladders = {model.name: self._ladder(model) for model in self.models}
        stages = list(dict.fromkeys(name for ladder in self.ladders.values() for name in ladder.names))
        beyond = [step.name for _, step in BEYOND] if self.settings.ladder == "published" else []
        require_known("stage", self.settings.stage, list(dict.fromkeys([*stages, *beyond])))
        for name in (*models, *stages):
            if not NAME.fullmatch(name):
                raise pytest.UsageError(
                    f"{name!r} is no name for a model or a stage, because files are called by it; "
                    "use letters, digits and . _ + -"
                )
        for fault in self.settings.inject:
            if fault.stage not in (None, *stages):
                raise pytest.UsageError(f"--fastdiff-inject {fault}: {unknown('stage', str(fault.stage), stages)}")
        try:
            check_policy(configured_policy(self.config), models, [*stages, *EVERY_STAGE])
        except UserError as error:
            raise pytest.UsageError(f"pyproject.toml: [tool.fastdiff.policy]: {error}") from None
        self.cache_folder = self._choose_cache()
        self.ledger = Ledger(self.config, self.device, self.comparing)

    def _weighed(self, models: list[Model]) -> list[Model]:
        weights = self.settings.weights
        if len(models) > 1 and weights not in WEIGHTS:
            raise pytest.UsageError(
                f"--fastdiff-weights {weights} is one folder, and {len(models)} models were asked for; name one."
            )
        try:
            return [model.with_weights(weights) for model in models]
        except UserError as error:
            raise pytest.UsageError(f"--fastdiff-weights: {error}") from None

    def _ladder(self, model: Model) -> Ladder:
        """A project's hook has the last word, after what its files and the command line add."""
        try:
            ladder = whole(LADDERS[self.settings.ladder], self.settings.stage, configured_stages(self.config))
            answer = self.config.hook.pytest_fastdiff_ladder(ladder=ladder, model=model) or ladder
            if not isinstance(answer, Ladder):
                raise UserError(
                    "recipe", f"pytest_fastdiff_ladder returned {answer!r}; return a Ladder, or None to keep it."
                )
            return answer.native(self.emulated)
        except UserError as error:
            raise pytest.UsageError(str(error)) from None

    def _choose_cache(self) -> Path:
        """What was asked for wins over the environment, and the environment over the default."""
        named = self.settings.cache or os.environ.get(CACHE_VARIABLE) or DEFAULT_CACHE
        return (project_folder(self.config) / named).resolve()

    @property
    def subjects(self) -> list[Subject]:
        return [
            Subject(model, stage)
            for model in self.models
            for stage in self.ladders[model.name]
            if not self.settings.stage or stage.name in self.settings.stage
        ]

    @property
    def headlines(self) -> list[str]:
        models = ", ".join(model.shown for model in self.models)
        lines = [f"{models} on {device_name(self.device)} ({self.device})", self.without_instructions]
        return [f"fastdiff: {line}" for line in lines if line]

    @property
    def without_instructions(self) -> str:
        """What the CPU's lack of them does to this session; empty where nothing is lacking."""
        refused = {name: None for ladder in self.ladders.values() for name in ladder.refused(self.emulated)}
        names = [name for name in refused if not self.settings.stage or name in self.settings.stage]
        return without_instructions(self.emulated, names)

    @property
    def heading(self) -> str:
        return "the ladder" if self.settings.ladder == "published" else "the techniques"

    @property
    def report(self) -> ModuleType:
        """The table that suits what was measured."""
        from fastdiff.report import ladder, techniques

        return ladder if self.settings.ladder == "published" else techniques

    def title(self, model: Model) -> str:
        asked = self.request(model)
        return (
            f"{model.shown} on {device_name(self.device)} ({self.device}): {asked.size} px, {asked.steps} steps, "
            f'batch {asked.batch}, "{asked.prompt}"'
        )

    def request(self, model: Model) -> Request:
        asked = self.settings
        return model.request.changed(steps=asked.steps, size=asked.size, batch=asked.batch)

    @contextmanager
    def live(self, subject: Subject) -> Iterator[LiveStage]:
        """Builds the stage, draws with it, and ends it; what goes wrong ends this stage alone, in one sentence."""
        with ExitStack() as alive:
            alive.enter_context(self._compile_cache())
            with self._reasons(subject):  # no reference is drawn for what is skipped
                self._check(subject)
            self._draw_reference(subject.model, before=subject)
            with self._reasons(subject):
                stage = alive.enter_context(self._built(subject))
            self.alive[subject.id] = stage
            yield stage

    def _draw_reference(self, model: Model, before: Subject) -> None:
        """Only where the reference stage did not run yet, and before another is built: one pipeline at a time."""
        reference = Subject(model, self.ladders[model.name].reference)
        tried = model.name in self.references or model.name in self.unreferenced
        if before == reference or tried or not self.reference_wanted:
            return
        try:
            with self._reasons(reference), self._built(reference):
                pass
        except (pytest.fail.Exception, pytest.skip.Exception):
            pass  # `_reasons` has kept the sentence, and only who asks for the reference fails with it

    def reference(self, model: Model) -> Reference:
        if model.name not in self.references:
            pytest.fail(f"there is no reference to compare with: {self.unreferenced[model.name]}", pytrace=False)
        return self.references[model.name]

    def incomparable(self, stage: LiveStage) -> str:
        """Why this stage's pictures cannot be held against the reference's; empty where they can."""
        own, theirs = stage.recipe.autoencoder, self.ladders[stage.model.name].reference.recipe.autoencoder
        if stage.model.made_here and own != theirs:
            return f"{stage.id}: a {own} autoencoder of random numbers draws another picture of nothing."
        return ""

    def _check(self, subject: Subject) -> None:
        """Whether it is possible here, before anything is loaded."""
        subject.stage.recipe.on(self.device.partition(":")[0], emulated=self.emulated)

    @contextmanager
    def _built(self, subject: Subject) -> Iterator[LiveStage]:
        from fastdiff.trial.live import LiveStage, Reference

        self._check(subject)
        with self.progress.doing(f"{subject.id}: loading and building"):
            injected = self.settings.inject
            cooked = faults.stage_to_build(injected, subject.stage, self.ladders[subject.model.name])
            stage = LiveStage(subject.model, cooked, self.device, self.request(subject.model), self.settings.rounds)
            if cooked is not subject.stage:
                stage.claim(subject.stage)
        try:
            faults.put_in(injected, stage)
            compiles = " (compiling)" if stage.recipe.compile else ""
            with self.progress.doing(f"{subject.id}: first call{compiles}"):
                stage.first_call()
            with self.progress.doing(f"{subject.id}: drawing"):
                pictures = stage.images
            if subject.stage == self.ladders[subject.model.name].reference:
                self.references[subject.model.name] = Reference(subject.stage.name, pictures)
            cache = stage.compilation.cache
            compiled = f", compile cache {cache}" if cache != "none" else ""
            self.progress.say(
                f"{subject.id}: built in {stage.load_s:.1f} s, first call {stage.first_call_s:.1f} s{compiled}"
                f"{self._time_left(subject, stage)}"
            )
            yield stage
        finally:
            stage.close()

    def _time_left(self, subject: Subject, stage: LiveStage) -> str:
        """Empty in a session of pairs, which take longer than everything that was seen so far."""
        if self.settings.against:
            return ""
        compiling = stage.first_call_s - stage.drawing_s if stage.recipe.compile else None
        self.seen.append(Seen(stage.drawing_s, compiling))
        wanted = [one for one in self.subjects if one.id in self.ledger.expected]
        coming = wanted[wanted.index(subject) + 1 :] if subject in wanted else wanted
        possible = [one.stage.recipe for one in coming if not one.stage.recipe.arithmetic & set(self.emulated)]
        compiled = [recipe.compile is not None for recipe in possible]
        return remaining.shown(remaining.seconds_left(self.seen, compiled, stage.rounds))

    @contextmanager
    def _reasons(self, subject: Subject) -> Iterator[None]:
        """Turns what a person can do something about into a sentence; anything else keeps its traceback."""
        from fastdiff.record.errors import UserError
        from fastdiff.trial.live import graph_failed, out_of_memory

        try:
            yield
        except UserError as error:
            if error.code in SKIPPING:
                sentence = self._give_up(subject, SKIPPING[error.code], f"{subject.id}: {error}", SKIPPED)
                raise pytest.skip.Exception(sentence) from None
            remark = {"weights": "weights missing", "memory": "too little memory"}.get(error.code, "not built")
            raise self._failure(subject, remark, f"{subject.id}: {error}") from None
        except Exception as error:
            said = (str(error).strip() or type(error).__name__).splitlines()[0]
            if out_of_memory(error):
                sentence = f"{subject.id} does not fit into memory ({said}); try a smaller --fastdiff-size."
                raise self._failure(subject, "out of memory", sentence) from None
            if "No available kernel" in str(error):
                sentence = (
                    f"{subject.id}: torch has no such attention kernel for this model and dtype here; leave it out."
                )
                raise self._failure(subject, "no kernel", sentence) from None
            if graph_failed(error):
                sentence = f"{subject.id}: compile: the graph broke or could not be made ({said})"
                raise self._failure(subject, "not compiled", sentence) from None
            self._give_up(subject, "not built", f"{subject.id}: {said}")
            raise

    def _failure(self, subject: Subject, remark: str, sentence: str) -> BaseException:
        """Raised without what it came from: the sentence is all that a person needs."""
        failure: BaseException = pytest.fail.Exception(self._give_up(subject, remark, sentence), pytrace=False)
        return failure

    def _give_up(self, subject: Subject, remark: str, sentence: str, state: State = FAILED) -> str:
        self.remark(subject, remark, state)
        if subject.stage == self.ladders[subject.model.name].reference:
            self.unreferenced[subject.model.name] = sentence
        return sentence

    @contextmanager
    def _compile_cache(self) -> Iterator[None]:
        """Inductor reads its folder from the environment, and writes its own choice there if it finds none."""
        try:
            self.cache_folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise pytest.fail.Exception(
                f"--fastdiff-cache: {self.cache_folder} cannot be made ({error.strerror}); name another folder.",
                pytrace=False,
            ) from None
        before = os.environ.get(CACHE_VARIABLE)
        os.environ[CACHE_VARIABLE] = str(self.cache_folder)
        try:
            yield
        finally:
            if before is None:
                os.environ.pop(CACHE_VARIABLE, None)
            else:
                os.environ[CACHE_VARIABLE] = before

    def record(self, stage: LiveStage, samples_s: tuple[float, ...] = (), *, whole: bool) -> None:
        """Keeps what is known of a stage. `whole` allows further calls that measure; an interrupt does not."""
        self.ledger.keep(stage, samples_s)
        if whole and not stage.unapplied:
            stage.count()
            if samples_s:
                stage.take_apart()
            self.ledger.keep(stage, samples_s)

    def look_further(self, subject: Subject, test: str) -> None:
        """After a stage was timed here: in pairs with another environment, or a second time where it seems slow."""
        if self.settings.against:
            self._compare(subject)
        else:
            self._look_again(subject, test)

    def _compare(self, subject: Subject) -> None:
        """This environment against the named one, pair after pair; once, or it would be measured until it is green."""
        if subject.id in self.ledger.paired:
            return
        from fastdiff.experiments import ab, questions
        from fastdiff.experiments.environments import masked
        from fastdiff.experiments.sessions import Session
        from fastdiff.record.errors import UserError

        session = Session(project_folder(self.config), say=self.progress.say, progress=self.progress)
        policy = self.ledger.policy_of(subject.model.name, subject.stage.name)
        ladder, asked = self.ladders[subject.model.name], self._asked(subject.model)
        try:
            with self.progress.doing(f"{subject.id}: the environment {masked(' '.join(self.settings.against))}"):
                old, new = (session.environment(words) for words in (self.settings.against, ["."]))
            question = ab.Question(
                old=questions.work(old, subject.model, subject.stage, asked, session.root),
                new=questions.work(new, subject.model, subject.stage, asked, session.root, ladder),
                calls=asked.calls,
                most_pairs=asked.most_pairs,
                comparisons=len(self.ledger.expected),
                options=asked.options(subject.stage.name),
            )
            answer = session.answer(question, policy)
        except UserError as error:
            raise pytest.fail.Exception(f"--fastdiff-against: {error}", pytrace=False) from None
        self.ledger.keep_pairs(subject.id, answer)

    def _asked(self, model: Model) -> Asked:
        """What of this session's options concerns pairs."""
        from fastdiff.experiments.ab import CALLS, MOST_PAIRS
        from fastdiff.experiments.questions import Asked

        said = self.settings
        return Asked(
            model=model.name,
            weights=said.weights,
            device=self.device,
            steps=said.steps,
            size=said.size,
            batch=said.batch,
            calls=said.calls or CALLS,
            most_pairs=said.pairs or MOST_PAIRS,
            faults=said.inject,
            emulate=said.emulate,
        )

    def _look_again(self, subject: Subject, test: str) -> None:
        """A second look where the first one found something: the same test, in fresh processes, as often as planned."""
        from fastdiff.experiments.second_look import look
        from fastdiff.record.errors import UserError

        if not self.ledger.wants_a_second_look(subject.id):
            return
        planned = self.ledger.looks.trials
        for number in range(planned):
            with self.progress.doing(f"{subject.id}: second look, process {number + 1} of {planned}"):
                try:
                    measured = look(
                        test,
                        self.ledger.records[subject.id],
                        [*given_options(self.config), *given_files(self.config)],
                        self.config.rootpath,
                        self.config.invocation_params.dir,
                    )
                except UserError as error:
                    self.ledger.troubles.append(str(error))
                    return
            self.ledger.look_again(subject.id, measured)

    def remark(self, subject: Subject, remark: str, state: State | None = FAILED) -> None:
        self.ledger.remark(self._blank(subject), remark, state)

    def end(self, subject: Subject) -> list[str]:
        """Ends a stage after its last test; names what it left changed."""
        stage = self.alive.pop(subject.id, None)
        if stage is None:
            return []
        if subject.id not in self.ledger.records:
            self.ledger.keep(stage)
        leaks = stage.close()
        self.ledger.end(stage, leaks)
        return leaks

    def _blank(self, subject: Subject) -> StageRecord:
        asked = asdict(self.request(subject.model))
        return StageRecord(subject.model.name, subject.stage.name, subject.stage.follows, request=asked)

    def ladder_of(self, model: Model) -> list[Rung]:
        ids = [Subject(model, stage).id for stage in self.ladders[model.name]]
        return [self.ledger.rung(self.ledger.records[id_]) for id_ in ids if id_ in self.ledger.records]

    @property
    def calibration(self) -> Calibration | None:
        """What this machine was found to see, of the first stage that it knows."""
        from fastdiff.record.calibration import of_device

        first = next(iter(self.ledger.records), "")
        return of_device(project_folder(self.config), device_slug(self.device), first)

    @property
    def cache_line(self) -> str | None:
        """Whether the first calls found their code in the compile cache; None where nothing was compiled."""
        compiled = [rung for rung in self.ledger.records.values() if rung.cache != "none" and rung.first_call_s]
        if not compiled:
            return None
        states = {rung.cache for rung in compiled}
        state = states.pop() if len(states) == 1 else "partly warm"
        seconds = sum(rung.first_call_s or 0 for rung in compiled)
        stages = "1 compiled stage" if len(compiled) == 1 else f"{len(compiled)} compiled stages"
        here = self.config.invocation_params.dir
        folder = self.cache_folder.relative_to(here) if self.cache_folder.is_relative_to(here) else self.cache_folder
        return f"compile cache: {state} ({stages}, first calls {seconds:.0f} s together), kept in {folder}"
