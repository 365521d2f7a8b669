"""Builds the stages of a session, one at a time, and says in one sentence why one could not be built."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from fastdiff.models import factories
from fastdiff.models.factories import SHAPING
from fastdiff.plugin.options import project_folder
from fastdiff.record.errors import UserError, first_line
from fastdiff.record.project import cache_folder, compile_cache
from fastdiff.record.run import EMULATED_HERE, FAILED, IMPOSSIBLE_HERE, SKIPPED
from fastdiff.report import remaining
from fastdiff.report.remaining import Seen
from fastdiff.trial.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from fastdiff.models import Model
    from fastdiff.plugin.selection import Selection, Subject
    from fastdiff.record.run import State
    from fastdiff.report.progress import Progress
    from fastdiff.trial.live import LiveStage

SKIPPING = {"recipe": IMPOSSIBLE_HERE, "emulated": EMULATED_HERE}
"""Errors that skip a stage, with the remark about it."""
RUNNER = pytest.StashKey[Any]()
"""A runner to use instead of the one that builds in this process; tests put a fake there."""
REMARKS = {"weights": "weights missing", "memory": "too little memory"}


@dataclass
class StageManager:
    selection: Selection
    progress: Progress
    began: Callable[[Subject], None]
    """Records that a stage is about to be built."""
    remark: Callable[[Subject, str, State], None]
    """Records in a few words what went wrong with a stage."""
    expected: tuple[str, ...] = ()
    """Ids of the stages that the collected tests need."""
    reference_wanted: bool = False
    """Whether a collected test compares pictures. Only then is the reference stage built just for its pictures."""
    alive: dict[str, LiveStage] = field(default_factory=dict)
    """The stages that are built, by id, from their first test to their last; mostly one."""
    references: dict[str, Reference] = field(default_factory=dict)
    unreferenced: dict[str, str] = field(default_factory=dict)
    """By model, why it has no reference; drawing it is tried once."""
    unloaded: dict[tuple[str, ...], str] = field(default_factory=dict)
    """By what is loaded, why it cannot be; that is tried once, because a hub that does not answer takes minutes."""
    skipped: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    """By model and reason, the stages that this device or this pipeline cannot have."""
    seen: list[Seen] = field(default_factory=list)
    """The durations of the stages so far, to estimate the time left."""
    compiled: dict[tuple[str, str], tuple[str, list[Any]]] = field(default_factory=dict)
    """By pipeline and stage, the first of its calls that was compiled: the stage's id, and what decides its shapes."""

    @contextmanager
    def live(self, subject: Subject) -> Iterator[LiveStage]:
        """Builds the stage, draws with it, and ends it. An error ends only this stage, with one sentence."""
        with ExitStack() as opened:
            with self._reasons(subject):
                opened.enter_context(compile_cache(self.cache_folder))
            with self._reasons(subject):  # a skipped stage needs no reference
                self.selection.work(subject)
            self._draw_reference(subject.model, before=subject)
            self.began(subject)
            with self._reasons(subject):
                stage = opened.enter_context(self._built(subject))
                if not stage.unapplied:
                    with self.progress.doing(f"{subject.id}: counting"):
                        stage.count()
                for sentence in stage.unproven:
                    self.progress.say(f"{subject.id}: not proven: {sentence}")
            self.alive[subject.id] = stage
            yield stage

    def _draw_reference(self, model: Model, before: Subject) -> None:
        """Only if the reference stage did not run yet, and before another stage is built: one pipeline at a time."""
        reference = self.selection.reference_of(model)
        tried = model.name in self.references or model.name in self.unreferenced
        if before == reference or tried or not self.reference_wanted:
            return
        try:
            with self._reasons(reference), self._built(reference):
                pass
        except (pytest.fail.Exception, pytest.skip.Exception):
            pass  # `_reasons` has recorded the sentence; a test that needs the reference fails with it

    def reference(self, model: Model) -> Reference:
        if model.name not in self.references:
            why = self.unreferenced.get(model.name, "no collected test has `reference` among its arguments.")
            pytest.fail(f"there is no reference to compare with: {why}", pytrace=False)
        return self.references[model.name]

    def incomparable(self, stage: LiveStage) -> str:
        """Why this stage's pictures cannot be compared with the reference's; empty if they can."""
        reference = self.selection.reference_of(stage.model)
        own, theirs = stage.recipe.autoencoder, reference.stage.recipe.autoencoder
        if stage.model.made_here and own != theirs:
            return f"{stage.id}: a {own} autoencoder with random weights draws a picture that cannot be compared."
        return ""

    @contextmanager
    def _built(self, subject: Subject) -> Iterator[LiveStage]:
        from fastdiff.report.layers import left_out

        if known := self.unloaded.get(_loading(subject)):
            raise UserError("weights", known)
        with self._runner(self.selection.work(subject), self.progress) as stage:
            stage.rounds = self.selection.settings.rounds
            with self.progress.doing(f"{subject.id}: drawing"):
                pictures = stage.images
            if subject == self.selection.reference_of(subject.model):
                self.references[subject.model.name] = Reference(subject.stage.name, pictures)
            cache = stage.compilation.cache
            compiled = f", compile cache {cache}" if cache != "none" else ""
            without = f", {shapes}" if (shapes := left_out(stage.trial().fingerprint)) else ""
            self.progress.say(
                f"{subject.id}: built in {stage.load_s:.1f} s, first call {stage.first_call_s:.1f} s{compiled}"
                f"{without}{self._time_left(subject, stage)}"
            )
            if again := self._compiled_again(subject, stage):
                self.progress.say(again)
            if stage.added:
                self.progress.say(f"{subject.id}: fastdiff adds {', '.join(stage.added)}")
            yield stage

    def _compiled_again(self, subject: Subject, stage: LiveStage) -> str:
        """That another call of the same pipeline has other shapes, so that no graph serves both; mostly empty."""
        how = stage.recipe.compile
        pipeline = factories.factory(subject.model).of if subject.model.factory else ""
        if how is None or how.dynamic or not pipeline:
            return ""
        request = stage.trial().request
        shapes = [request.get(name) for name in SHAPING]
        first, known = self.compiled.setdefault((pipeline, subject.stage.name), (subject.id, shapes))
        if known == shapes:
            return ""
        return (
            f"{subject.id}: its call has other sizes than that of {first}, so it was compiled again, as it would be in "
            "a process that serves both; a stage with compile.dynamic has one graph for all sizes"
        )

    @property
    def _runner(self) -> Any:
        if fake := self.selection.config.stash.get(RUNNER, None):
            return fake
        from fastdiff.trial.live import here

        return here

    def _time_left(self, subject: Subject, stage: LiveStage) -> str:
        """Empty with `--fastdiff-against`: its pairs take longer than everything measured so far."""
        if self.selection.settings.against:
            return ""
        compiling = stage.first_call_s - stage.drawing_s if stage.recipe.compile else None
        self.seen.append(Seen(stage.drawing_s, compiling))
        wanted = [one for one in self.selection.subjects if one.id in self.expected]
        coming = wanted[wanted.index(subject) + 1 :] if subject in wanted else wanted
        emulated = set(self.selection.emulated)
        possible = [one.stage.recipe for one in coming if not one.stage.recipe.arithmetic & emulated]
        compiled = [recipe.compile is not None for recipe in possible]
        return remaining.shown(remaining.seconds_left(self.seen, compiled, stage.rounds))

    @contextmanager
    def _reasons(self, subject: Subject) -> Iterator[None]:
        """Turns errors that the user can fix into one sentence; other errors keep their traceback."""
        try:
            yield
        except UserError as error:
            if error.code in SKIPPING:
                sentence = self._give_up(subject, SKIPPING[error.code], f"{subject.id}: {error}", SKIPPED)
                self.skipped.setdefault((subject.model.name, str(error)), []).append(subject.stage.name)
                raise pytest.skip.Exception(sentence) from None
            if error.code == "weights":
                self.unloaded[_loading(subject)] = str(error)
            raise self._failure(subject, REMARKS.get(error.code, "not built"), f"{subject.id}: {error}") from None
        except Exception as error:
            from fastdiff.trial.live import graph_failed, out_of_memory

            reason = first_line(error)
            if out_of_memory(error):
                sentence = f"{subject.id} does not fit into memory ({reason}); try a smaller --fastdiff-size."
                raise self._failure(subject, "out of memory", sentence) from None
            if "No available kernel" in str(error):
                sentence = (
                    f"{subject.id}: torch has no such attention kernel for this model and dtype here; leave it out."
                )
                raise self._failure(subject, "no kernel", sentence) from None
            if graph_failed(error):
                sentence = f"{subject.id}: compile: the graph broke or could not be made ({reason})"
                raise self._failure(subject, "not compiled", sentence) from None
            self._give_up(subject, "not built", f"{subject.id}: {reason}")
            raise

    def _failure(self, subject: Subject, remark: str, sentence: str) -> BaseException:
        """An error to raise without its cause: the sentence is all that the user needs."""
        failure: BaseException = pytest.fail.Exception(self._give_up(subject, remark, sentence), pytrace=False)
        return failure

    def _give_up(self, subject: Subject, remark: str, sentence: str, state: State = FAILED) -> str:
        self.remark(subject, remark, state)
        if subject == self.selection.reference_of(subject.model):
            self.unreferenced[subject.model.name] = sentence
        return sentence

    @property
    def cache_folder(self) -> Path:
        return cache_folder(project_folder(self.selection.config), self.selection.settings.cache)


def _loading(subject: Subject) -> tuple[str, ...]:
    """What decides whether the weights can be loaded; a user's function may have them in some dtypes only."""
    recipe = subject.stage.recipe
    return (subject.model.name, recipe.autoencoder, recipe.dtype if subject.model.factory else "")
