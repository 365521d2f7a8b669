"""A fake runner that builds nothing: the results of each stage, and the seconds of its samples, are given.

It tests the plugin and the gate in half a second per session, and pairs in milliseconds, without torch. A
`conftest.py` puts it into `config.stash[fastdiff.plugin.stages.RUNNER]`.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from itertools import cycle
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from fastdiff.record.pairs import Profile
from fastdiff.record.run import Memory, Quality, Sample, Trial
from fastdiff.trial.runner import SILENT

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from fastdiff.models import Model
    from fastdiff.record.budget import Budget
    from fastdiff.stages.ladder import Stage
    from fastdiff.stages.recipe import Recipe
    from fastdiff.trial.reference import Reference
    from fastdiff.trial.runner import Progress, Wait
    from fastdiff.trial.work import Work


@dataclass
class Fake:
    seconds: Mapping[str, Sequence[float]]
    """The seconds of each stage's samples, by the id of the work, repeated; stages without an entry take one second."""
    trials: Mapping[str, Trial] = field(default_factory=dict)
    """The other results of a stage."""
    profiles: Mapping[str, Profile] = field(default_factory=dict)
    """The operators that a call of a stage runs."""
    errors: Mapping[str, BaseException] = field(default_factory=dict)
    """Errors to raise instead of building a stage."""
    packages: Mapping[str, str] = field(default_factory=dict)
    """The packages that a side reports."""
    log: list[str] = field(default_factory=list)
    """The actions, in order."""

    @contextmanager
    def __call__(self, work: Work, progress: Progress = SILENT) -> Iterator[FakeStage]:
        with progress.doing(f"{work.id}: building"):
            self.log.append(f"build {work.id}")
            if work.id in self.errors:
                raise self.errors[work.id]
            stage = FakeStage(self, work, self.trials.get(work.id, plain(work)))
        try:
            yield stage
        finally:
            stage.close()

    @contextmanager
    def side(self, work: Work) -> Iterator[FakeSide]:
        with ExitStack() as opened:
            yield FakeSide(self, work, opened)


def plain(work: Work) -> Trial:
    """An ordinary trial without defects."""
    return Trial(
        work.model.name,
        work.stage.name,
        work.stage.follows,
        recipe=work.stage.recipe.as_kept(),
        request=work.request.as_kept(),
        weights="fake",
        load_s=0.1,
        first_call_s=2.0,
        first_in_process=(),
        memory=Memory(1000, "decode"),
        fingerprint={"operators": 10},
        injected=work.faults,
    )


class FakeStage:
    """Takes the place of `fastdiff.trial.live.LiveStage` in a session and in its tests."""

    drawing_s = 1.0
    compilation = SimpleNamespace(cache="none")
    unapplied: tuple[str, ...] = ()
    unproven: tuple[str, ...] = ()
    added: tuple[str, ...] = ()

    def __init__(self, runner: Fake, work: Work, given: Trial) -> None:
        self.runner, self.work, self.given = runner, work, given
        self.model: Model = work.model
        self.stage: Stage = work.stage
        self.recipe: Recipe = work.built.recipe
        self.budget: Budget = work.stage.budget
        self.id, self.rounds = work.id, 1
        self.load_s, self.first_call_s = given.load_s or 0.0, given.first_call_s or 0.0
        self.memory = given.memory
        self.drawn = self.images = np.tile(np.linspace(0.0, 1.0, 64)[:, None, None], (1, 1, 64, 3))
        self.samples: list[Sample] = []
        self.quality: Quality | None = given.quality
        self._seconds = cycle(runner.seconds.get(work.id, (1.0,)))
        self._closed = False

    def _log(self, what: str) -> None:
        self.runner.log.append(f"{what} {self.id}")

    def settle(self) -> None:
        self._log("settle")

    def sample(self) -> Sample:
        self._timed()
        return self._keep()

    def _timed(self) -> None:
        self._log("sample")

    def _keep(self) -> Sample:
        self.samples.append(Sample(next(self._seconds)))
        return self.samples[-1]

    def measure(self, benchmark: Any) -> None:
        """pytest-benchmark's real clock times calls that do nothing."""
        self.settle()
        benchmark.pedantic(self._timed, teardown=self._keep, rounds=self.rounds)

    def count(self) -> None:
        self._log("count")

    def take_apart(self) -> None:
        self._log("take apart")

    def examine(self, pictures: Path | None = None) -> None:
        self.count()
        self.take_apart()
        if pictures:
            np.save(pictures, self.images)

    def likeness_to(self, reference: Reference) -> None:
        self.quality = Quality(reference.stage, 1.0, 1.0, None, passed=True)

    def trial(self) -> Trial:
        return replace(self.given, samples=tuple(self.samples), quality=self.quality)

    def close(self) -> list[str]:
        if not self._closed:
            self._closed = True
            self._log("close")
        return []


class FakeSide:
    """One side of a pair. A step runs when it is started, so the log shows the order of the starts."""

    folders: tuple[Path, ...] = ()

    def __init__(self, runner: Fake, work: Work, opened: ExitStack) -> None:
        self.runner, self.work, self._opened = runner, work, opened
        self.facts: Mapping[str, Any] = {}

    def load(self) -> Wait[None]:
        return self._did("load")

    def build(self) -> Wait[None]:
        self._stage = self._opened.enter_context(self.runner(self.work))
        self.facts = {"environment": {}, "packages": self.runner.packages}
        return lambda: None

    def settle(self) -> Wait[None]:
        self._stage.settle()
        return lambda: None

    def move(self, cores: Collection[int]) -> Wait[None]:
        return self._did(f"move to {cores}")

    def sample(self, at: float = 0.0) -> Wait[Sample]:  # noqa: ARG002  (it takes no time)
        sample = self._stage.sample()
        return lambda: sample

    def inject(self, faults: str) -> Wait[None]:
        return self._did(f"inject {faults}")

    def examine(self, pictures: Path | None = None) -> Wait[None]:
        self._stage.examine(pictures)
        return lambda: None

    def profile(self) -> Wait[Profile]:
        found = self.runner.profiles.get(self.work.id, Profile())
        self._did("profile")
        return lambda: found

    def trial(self) -> Trial:
        return self._stage.trial()

    def _did(self, what: str) -> Wait[None]:
        self.runner.log.append(f"{what} {self.work.id}")
        return lambda: None
