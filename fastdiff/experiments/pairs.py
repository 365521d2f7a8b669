"""One pair: two fresh processes, one of each side, that build the same stage and take turns call by call."""

from __future__ import annotations

import os
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastdiff.record.pairs import CALLS_OF_BLOCK, Pair, SideFacts
from fastdiff.record.project import CACHE_VARIABLE
from fastdiff.record.run import MEASURED, Sample, Trial
from fastdiff.trial.fresh import Fresh, FreshTrial

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping

    from fastdiff.sides.environment import Environment
    from fastdiff.trial.process import Process
    from fastdiff.trial.runner import OpenTrial, Progress
    from fastdiff.trial.work import Work

OLD, NEW = "old", "new"


@dataclass(frozen=True)
class Side:
    """What one half of every pair does, and in which environment."""

    environment: Environment
    cache: Path
    """Where its compiled code is kept."""
    work: Work

    def runner(self, name: str, source: Path) -> Fresh:
        """Both sides run this very fastdiff, whatever is installed beside it.

        This environment keeps the PYTHONPATH that it was started with: its libraries may lie there.
        """
        own = os.environ.get("PYTHONPATH", "") if self.environment.python == Path(sys.executable) else ""
        variables: Mapping[str, str] = {
            "PYTHONPATH": os.pathsep.join(filter(None, [str(source), own])),
            CACHE_VARIABLE: str(self.cache),
            **self.environment.variables,
        }
        return Fresh(f"{name} ({self.environment.name})", self.environment.python, variables)

    def facts(self, seen: Mapping[str, Any]) -> SideFacts:
        """`seen`: what a process of this side reported about itself; empty before the first one."""
        return SideFacts(
            self.environment.name,
            self.environment.key,
            self.environment.words,
            dict(seen.get("environment") or {}),
            dict(seen.get("packages") or {}),
        )


@dataclass
class PairRunner:
    """Measures pairs of the two sides of one experiment."""

    sides: Mapping[str, Side]
    calls: int
    source: Path
    folder: Path
    """For the pictures."""
    progress: Progress
    random: random.Random
    seen: dict[str, SideFacts] = field(default_factory=dict)
    """What the two environments reported about themselves."""

    def pair(self, number: int, *, whole: bool, apart: bool) -> Pair:
        """`whole`: with the passes that look inside of a call. `apart`: one process at a time."""
        began = time.monotonic()
        starts, trials = (self._apart if apart else self._together)(number, whole)
        return Pair(trials[OLD], trials[NEW], starts, time.monotonic() - began)

    def _together(self, number: int, whole: bool) -> tuple[str, dict[str, Trial]]:
        with ExitStack() as alive:
            # Importing side by side is quicker; building and first calls are timed, and so one after the other.
            order = shuffled(self.random)
            processes = {name: alive.enter_context(self._start(name)) for name in order}
            for process in processes.values():  # until both have imported
                process.greet()
            opened = {name: self._build(number, name, processes[name]) for name in order}
            for name in order:
                self._settle(number, name, opened[name])
            with self.progress.doing(f"{self._id}: pair {number}, taking turns"):
                starts, samples = take_turns(opened, self.calls, self.random)
            return starts, {name: self._end(name, opened[name], samples[name], whole) for name in order}

    def _apart(self, number: int, whole: bool) -> tuple[str, dict[str, Trial]]:
        """Who is first changes by chance, so that over the pairs a drift favours neither."""
        trials = {}
        for name in shuffled(self.random):
            with self._start(name) as process:
                opened = self._build(number, name, process)
                self._settle(number, name, opened)
                with self.progress.doing(f"{self._id}: pair {number}, {name} alone"):
                    samples = [opened.sample() for _ in range(self.calls)]
                trials[name] = self._end(name, opened, samples, whole)
        return "", trials

    @property
    def _id(self) -> str:
        return self.sides[NEW].work.id

    def _start(self, name: str) -> Process:
        return self.sides[name].runner(name, self.source).start()

    def _build(self, number: int, name: str, process: Process) -> FreshTrial:
        compiles = " (compiling)" if self.sides[name].work.stage.recipe.compile else ""
        with self.progress.doing(f"{self._id}: pair {number}, {name}: building and first call{compiles}"):
            opened = FreshTrial.of(process, self.sides[name].work)
        self.seen[name] = self.sides[name].facts(opened.facts)
        return opened

    def _settle(self, number: int, name: str, opened: OpenTrial) -> None:
        with self.progress.doing(f"{self._id}: pair {number}, {name}: warming up"):
            opened.settle()

    def _end(self, name: str, opened: OpenTrial, samples: list[Sample], whole: bool) -> Trial:
        """Of the first pair everything is kept, of the others what differs from pair to pair."""
        if whole:
            with self.progress.doing(f"{self._id}: {name}: taking apart"):
                opened.examine(self.pictures(name))
        trial = opened.trial()
        kept = (
            trial
            if whole
            else replace(
                blank(trial),
                load_s=trial.load_s,
                first_call_s=trial.first_call_s,
                cache=trial.cache,
                first_in_process=trial.first_in_process,
            )
        )
        # Of a call its seconds alone: what was seen around it concerns both sides of the pair.
        return replace(kept, state=MEASURED, samples=tuple(Sample(one.wall_s) for one in samples))

    def pictures(self, name: str) -> Path:
        return self.folder / f"{name}.npy"


def blank(trial: Trial) -> Trial:
    """The same stage, of which nothing is known."""
    return Trial(trial.model, trial.stage, trial.follows)


def take_turns(
    sides: Mapping[str, OpenTrial], calls: int, chance: random.Random
) -> tuple[str, dict[str, list[Sample]]]:
    """Each side's samples, and who began each block of four, which chance decides."""
    starts = ""
    samples: dict[str, list[Sample]] = {OLD: [], NEW: []}
    for _ in range(calls // CALLS_OF_BLOCK):
        first, second = shuffled(chance)
        starts += first[0]
        for name in (first, second, second, first):
            samples[name].append(sides[name].sample())
    return starts, samples


def shuffled(chance: random.Random) -> list[str]:
    return chance.sample((OLD, NEW), k=2)
