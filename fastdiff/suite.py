"""One pytest session's models and stages: which were asked for, the one that is alive, what was measured and decided.

The plugin's hooks call this; nothing here is imported by a user's tests. torch comes in with the first stage, and so
does everything else that is slow to import: whoever only collects does not wait for it.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from fastdiff import __version__, faults
from fastdiff.faults import FaultError
from fastdiff.judge.policy import check as check_policy
from fastdiff.judge.policy import default
from fastdiff.judge.verdicts import MISSING, fails
from fastdiff.measure.environment import device_name, device_slug, environment
from fastdiff.models import CATALOGUE
from fastdiff.recipes import LADDER, RecipeError
from fastdiff.record import baselines, files
from fastdiff.record.checks import RecordError
from fastdiff.record.run import FAILED, MEASURED, SKIPPED, Device, Run, StageRecord
from fastdiff.report import verdicts
from fastdiff.report.ladder import Rung
from fastdiff.settings import (
    configured_policy,
    configured_stages,
    device_asked,
    project_folder,
    require_known,
    settings,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from fastdiff.judge.gate import Judgement
    from fastdiff.judge.policy import Policy
    from fastdiff.measure.live import LiveStage, Reference
    from fastdiff.models import Model, Request
    from fastdiff.recipes import Ladder, Stage
    from fastdiff.record.run import Baseline
    from fastdiff.report.progress import Progress


CACHE_VARIABLE = "TORCHINDUCTOR_CACHE_DIR"
"""Where inductor keeps compiled code."""
DEFAULT_CACHE = ".fastdiff/compile-cache"


@dataclass(frozen=True)
class Subject:
    """What a test is parametrized with: a stage of a model's ladder."""

    model: Model
    stage: Stage

    @property
    def id(self) -> str:
        return f"{self.model.name}-{self.stage.name}"


@dataclass
class Suite:
    config: pytest.Config
    progress: Progress
    reference_wanted: bool = False
    """Whether a collected test compares pictures; only then a reference is drawn for its own sake."""
    last_tests: dict[str, str] = field(default_factory=dict)
    """Of each stage, the test after which it may end."""
    records: dict[str, StageRecord] = field(default_factory=dict)
    judgements: dict[tuple[str, str], Judgement] = field(default_factory=dict)
    """By stage and metric; empty in a session that compares with nothing."""
    comparing: bool = False
    """Whether `--benchmark-compare` was given: only then verdicts decide."""
    baseline: Baseline | None = None
    elsewhere: Baseline | None = None
    """The newest baseline of another device of the same kind, for the ladder where this device has none."""
    remarks: dict[str, str] = field(default_factory=dict)
    references: dict[str, Reference] = field(default_factory=dict)
    unreferenced: dict[str, str] = field(default_factory=dict)
    """Why a model has no reference; it is tried once."""

    def __post_init__(self) -> None:
        self.settings = settings(self.config)
        models = {model.name: model for model in CATALOGUE}
        for added in self.config.hook.pytest_fastdiff_models():
            models |= {model.name: model for model in added or ()}
        require_known("model", self.settings.model, list(models))
        self.models = [models[name] for name in self.settings.model]
        self.ladders = {model.name: self._ladder(model) for model in self.models}
        stages = list(dict.fromkeys(name for ladder in self.ladders.values() for name in ladder.names))
        require_known("stage", self.settings.stage, stages)
        for fault in self.settings.inject:
            if fault.stage is not None:
                require_known("inject", (fault.stage,), stages)
        try:
            check_policy(configured_policy(self.config), models, stages)
        except RecipeError as error:
            raise pytest.UsageError(f"pyproject.toml: [tool.fastdiff.policy]: {error}") from None
        self.device = device_asked(self.settings)
        self.cache_folder = self._choose_cache()
        self.started = datetime.now(UTC)
        self.environment: dict[str, Any] = {}
        self.outcome = ""
        self.complete = False
        self.closing_lines: list[str] = []
        self._run_file: Path | None = None
        self._machine_info: Any = None
        if self.comparing:
            self._find_baseline()

    def _ladder(self, model: Model) -> Ladder:
        try:
            ladder = LADDER.configured(configured_stages(self.config))
            return self.config.hook.pytest_fastdiff_ladder(ladder=ladder, model=model) or ladder
        except RecipeError as error:
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
    def headline(self) -> str:
        return f"fastdiff: {', '.join(self.settings.model)} on {device_name(self.device)} ({self.device})"

    def title(self, model: Model) -> str:
        asked = self.request(model)
        return (
            f"{model.name} on {device_name(self.device)} ({self.device}): {asked.size} px, {asked.steps} steps, "
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
            self._draw_reference(subject.model, before=subject)
            with self._reasons(subject):
                stage = alive.enter_context(self._built(subject))
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

    @contextmanager
    def _built(self, subject: Subject) -> Iterator[LiveStage]:
        from fastdiff.measure.live import LiveStage, Reference

        # Only now, because torch is there only now, and it says from which commit it was built.
        self.environment = self.environment or environment(self.device, project_folder(self.config))
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
            )
            yield stage
        finally:
            stage.close()

    @contextmanager
    def _reasons(self, subject: Subject) -> Iterator[None]:
        """Turns what a person can do something about into a sentence; anything else keeps its traceback."""
        from fastdiff.measure.live import NotCompiledError
        from fastdiff.models.libraries import torch
        from fastdiff.models.loading import WeightsError
        from fastdiff.optimize import DeviceError
        from fastdiff.optimize.switches import UnknownSwitch

        try:
            yield
        except RecipeError as error:
            pytest.skip(self._give_up(subject, "not possible here", f"{subject.id}: {error}", SKIPPED))
        except WeightsError as error:
            pytest.fail(self._give_up(subject, "weights missing", f"{subject.id}: {error}"), pytrace=False)
        except (DeviceError, FaultError, NotCompiledError, UnknownSwitch) as error:
            pytest.fail(self._give_up(subject, "not built", f"{subject.id}: {error}"), pytrace=False)
        except Exception as error:
            said = (str(error).strip() or type(error).__name__).splitlines()[0]
            # torch has a class of its own for a full GPU, and none for a full host.
            if isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in str(error):
                sentence = f"{subject.id} does not fit into memory ({said}); try a smaller --fastdiff-size."
                pytest.fail(self._give_up(subject, "out of memory", sentence), pytrace=False)
            if type(error).__module__ == "torch._dynamo.exc":
                sentence = f"{subject.id}: compile: the graph broke or could not be made ({said})"
                pytest.fail(self._give_up(subject, "not compiled", sentence), pytrace=False)
            self._give_up(subject, "not built", f"{subject.id}: {said}")
            raise

    def _give_up(self, subject: Subject, remark: str, sentence: str, state: str = FAILED) -> str:
        self.remark(subject, remark, state)
        if subject.stage == self.ladders[subject.model.name].reference:
            self.unreferenced[subject.model.name] = sentence
        return sentence

    @contextmanager
    def _compile_cache(self) -> Iterator[None]:
        """Inductor reads its folder from the environment, and writes its own choice there if it finds none."""
        before = os.environ.get(CACHE_VARIABLE)
        os.environ[CACHE_VARIABLE] = str(self.cache_folder)
        try:
            yield
        finally:
            if before is None:
                os.environ.pop(CACHE_VARIABLE, None)
            else:
                os.environ[CACHE_VARIABLE] = before

    def record(self, subject: Subject, stage: LiveStage, samples_s: tuple[float, ...] = (), *, whole: bool) -> None:
        """Keeps what is known of a stage so far; called after each of its tests, because a later one may fail.

        `whole` allows further calls that measure; without it, as after an interrupt, only what is there is kept.
        """
        if whole and not stage.unapplied:
            stage.count()
            if samples_s:
                stage.take_apart()
        known, now = self._known(subject), stage.record(samples_s)
        self.records[subject.id] = replace(
            now, rounds=now.rounds or known.rounds, quality=now.quality or known.quality, state=known.state
        )

    def _known(self, subject: Subject) -> StageRecord:
        blank = StageRecord(
            subject.model.name, subject.stage.name, subject.stage.follows, request=asdict(self.request(subject.model))
        )
        return self.records.setdefault(subject.id, blank)

    def end(self, subject: Subject, stage: LiveStage, leaks: list[str]) -> None:
        """After the last test of a stage: what is known of it now is all that there will be."""
        known = self._known(subject)
        state = FAILED if subject.id in self.remarks else MEASURED
        self.records[subject.id] = replace(
            known, state=state, reason=self.remarks.get(subject.id, ""), leaks=tuple(leaks)
        )
        if stage.drawn is not None:
            from fastdiff.record import pictures

            pictures.save(self.run_file.with_suffix(""), subject.id, stage.drawn)

    def remark(self, subject: Subject, remark: str, state: str = FAILED) -> None:
        """The first remark stays: what comes later is mostly its consequence."""
        self.remarks.setdefault(subject.id, remark)
        known = self._known(subject)
        self.records[subject.id] = replace(known, state=state, reason=self.remarks[subject.id])

    # -- the run and what is decided about it --------------------------------------------------------------------------

    @property
    def run_file(self) -> Path:
        if self._run_file is None:
            self._run_file = files.next_run_path(project_folder(self.config), self.started.isoformat())
            self._run_file.parent.mkdir(parents=True, exist_ok=True)
            ignored = self._run_file.parent / ".gitignore"
            if not ignored.exists():
                ignored.write_text("*\n")  # runs are generated; what is accepted is copied
        return self._run_file

    @property
    def shown_run_file(self) -> str:
        """As a person would type it."""
        here = self.config.invocation_params.dir
        return str(self.run_file.relative_to(here) if self.run_file.is_relative_to(here) else self.run_file)

    def _find_baseline(self) -> None:
        root, slug = project_folder(self.config), device_slug(self.device)
        try:
            self.baseline = baselines.newest(baselines.folder_of(root, slug))
            if self.baseline is None:
                self.elsewhere = baselines.of_kind(root, self.device.partition(":")[0], but=slug)
        except RecordError as error:
            raise pytest.UsageError(str(error)) from None

    def machine_info(self, ask: Callable[[], Any]) -> Any:
        """pytest-benchmark asks the processor for seconds, and it answers the same every time.

        The name of the host stays out: run files are accepted and committed.
        """
        if self._machine_info is None:
            self._machine_info = {name: value for name, value in ask().items() if name != "node"}
        return self._machine_info

    def write(self, benchmarks: dict[str, Any]) -> None:
        try:
            files.write(self.run_file, benchmarks, self.run())
        except RecordError as error:
            self.closing_lines = [f"run file: {error}"]
            return
        self.closing_lines = [f"run file: {self.shown_run_file}"]

    def as_json(self) -> dict[str, Any]:
        return files.as_json(self.run())

    def run(self) -> Run:
        from fastdiff.measure.canary import identity

        kind = self.device.partition(":")[0]
        return Run(
            device=Device(device_slug(self.device), kind, device_name(self.device)),
            started=self.started.isoformat(timespec="seconds"),
            environment=self.environment,
            canary=identity() if kind == "cpu" else "",
            expected=tuple(subject.id for subject in self.subjects),
            stages=tuple(self.records.values()),
            complete=self.complete,
            outcome=self.outcome,
            judgements=tuple(judgement.as_dict() for judgement in self.judgements.values()),
            made_by=f"fastdiff {__version__}",
        )

    def judge(self, subject: Subject, *, timing: bool) -> list[str]:
        """Decides about everything that is newly known of a stage; the answer is what fails, in sentences.

        Times are judged in the tests that take times, so that each failure has the name of what it is about.
        """
        if not self.comparing:
            return []
        from fastdiff.judge import gate

        run = self.run()
        found = gate.judge_stage(
            self.records[subject.id],
            run.stage(f"{subject.model.name}-{subject.stage.follows}"),
            self.baseline,
            self.policy_of(subject.model.name, subject.stage.name),
            gate.comparisons_of(len(run.expected)),
            run.device,
            run.canary,
            run.environment,
            elsewhere=self.elsewhere,
        )
        failing = []
        for judgement in found:
            place = judgement.stage, judgement.metric
            if judgement.metric in gate.INTERVAL_METRICS and not timing:
                continue
            if place not in self.judgements or self.judgements[place].verdict.word != judgement.verdict.word:
                self.judgements[place] = judgement
                if fails(judgement.verdict, self.settings.strict):
                    failing.append(verdicts.sentence(judgement, self.shown_run_file))
        return failing

    def policy_of(self, model: str, stage: str) -> Policy:
        return default(self.device.partition(":")[0]).configured(configured_policy(self.config), model, stage)

    def finish(self, *, interrupted: bool) -> bool:
        """Judges what only the whole session shows; the answer is whether that fails it."""
        from fastdiff.judge import gate

        strict = self.settings.strict
        failing = []
        if self.comparing and not interrupted:
            for judgement in gate.judge_run(self.run(), self.baseline, self.policy_of, elsewhere=self.elsewhere):
                record = self.records.get(judgement.stage)
                # What failed has said so already, and is not missing without a word.
                if judgement.verdict.word == MISSING and (record is None or record.state != FAILED):
                    self.judgements[judgement.stage, judgement.metric] = judgement
                    failing += [judgement] if fails(judgement.verdict, strict) else []
        self.outcome, self.complete = self._outcome(interrupted), not interrupted
        return bool(failing)

    def _outcome(self, interrupted: bool) -> str:
        """The reasons for which the session failed, most telling first; "passed" if there is none."""
        if interrupted:
            return "interrupted"
        strict = self.settings.strict
        reasons = [j.verdict.word.lower() for j in self.judgements.values() if fails(j.verdict, strict)]
        for record in self.records.values():
            if record.unapplied:
                reasons.append("unapplied")
            if record.leaks:
                reasons.append("leak")
            if record.quality is not None and not record.quality.passed:
                reasons.append("quality")
            if record.state == FAILED and not reasons:
                reasons.append(record.reason)
        return ", ".join(dict.fromkeys(reasons)) or "passed"

    # -- the ladder ---------------------------------------------------------------------------------------------------

    def ladder_of(self, model: Model) -> list[Rung]:
        ids = [Subject(model, stage).id for stage in self.ladders[model.name]]
        return [self._rung(self.records[id_]) for id_ in ids if id_ in self.records]

    def _rung(self, record: StageRecord) -> Rung:
        return Rung(
            record.model,
            record.stage,
            record.follows,
            samples_s=tuple(round_.wall_s for round_ in record.rounds),
            first_call_s=record.first_call_s,
            cache=record.cache,
            ssim=record.quality.ssim if record.quality else None,
            worst_tile=record.quality.worst_tile if record.quality else None,
            remark=self.remarks.get(record.id, ""),
        )

    @property
    def cache_line(self) -> str | None:
        """Whether the first calls found their code in the compile cache; None where nothing was compiled."""
        compiled = [rung for rung in self.records.values() if rung.cache != "none" and rung.first_call_s]
        if not compiled:
            return None
        states = {rung.cache for rung in compiled}
        state = states.pop() if len(states) == 1 else "partly warm"
        seconds = sum(rung.first_call_s or 0 for rung in compiled)
        stages = "1 compiled stage" if len(compiled) == 1 else f"{len(compiled)} compiled stages"
        return f"compile cache: {state} ({stages}, first calls {seconds:.0f} s together), kept in {self.cache_folder}"
