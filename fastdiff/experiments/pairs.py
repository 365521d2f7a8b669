"""One pair: two fresh processes, one of each side, that build the same stage and are measured together.

Side by side, where the processor has two equal halves: every two calls begin at one instant, and the sides change
halves after each block. Elsewhere they take turns call by call, each with the whole device.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from fastdiff.host import pagecache
from fastdiff.record.errors import UserError
from fastdiff.record.pairs import APART, BLOCK, HALVES, TURNS, Pair, Profile, SideFacts
from fastdiff.record.project import CACHE_VARIABLE
from fastdiff.record.run import MEASURED, Sample, Trial
from fastdiff.trial.fresh import Fresh

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from fastdiff.host.cores import Halves
    from fastdiff.record.pairs import Way
    from fastdiff.sides.environment import Environment
    from fastdiff.trial.runner import Progress, SideTrial, Wait
    from fastdiff.trial.work import Work

T = TypeVar("T")
OLD, NEW = "old", "new"
LEAD_S = 0.003
"""From the question to the instant at which both calls begin; both workers have read it after a third of this."""
SWAP_AFTER = 2
"""Calls of a side on one half. A half of its own for all of them would make the halves' difference the sides'."""


@dataclass(frozen=True)
class Side:
    """What one half of every pair does, and in which environment."""

    environment: Environment
    cache: Path
    """Where its compiled code is kept."""
    work: Work

    def runner(self, name: str, source: Path, seat: Seat | None = None) -> Fresh:
        """Both sides run this very fastdiff, whatever is installed beside it, unless a side has one of its own.

        This environment keeps the PYTHONPATH that it was started with: its libraries may lie there.
        """
        own = os.environ.get("PYTHONPATH", "") if self.environment.python == Path(sys.executable) else ""
        folders = (self.environment.source or source, *self.environment.paths)
        variables: Mapping[str, str | None] = {
            "PYTHONPATH": os.pathsep.join(filter(None, [*map(str, folders), own])),
            CACHE_VARIABLE: str(self.cache),
            **(seat.variables if seat else {}),
            **self.environment.variables,
        }
        cores = seat.cores if seat else ()
        return Fresh(f"{name} ({self.environment.name})", self.environment.python, variables, cores)

    def facts(self, seen: Mapping[str, Any]) -> SideFacts:
        """`seen`: what a process of this side reported about itself; empty before the first one."""
        return SideFacts(
            self.environment.name,
            self.environment.key,
            self.environment.words,
            dict(seen.get("environment") or {}),
            dict(seen.get("packages") or {}),
        )


@dataclass(frozen=True)
class Seat:
    """Where a process starts: the cores of one half, and the variables that give it as many threads."""

    cores: tuple[int, ...]
    variables: Mapping[str, str]


class Start(Protocol):
    def __call__(self, name: str, side: Side, seat: Seat | None) -> AbstractContextManager[SideTrial]:
        """Starts the process of one side, which builds nothing yet. Without a seat it has the whole machine."""


def processes(source: Path) -> Start:
    """Real ones; `source` is the folder of this fastdiff."""

    def start(name: str, side: Side, seat: Seat | None) -> AbstractContextManager[SideTrial]:
        return side.runner(name, source, seat).side(side.work)

    return start


@dataclass
class PairRunner:
    """Measures pairs of the two sides of one experiment."""

    sides: Mapping[str, Side]
    calls: int
    start: Start
    halves: Halves | None
    """None where the sides take turns."""
    folder: Path
    """For the pictures."""
    progress: Progress
    random: random.Random
    seen: dict[str, SideFacts] = field(default_factory=dict)
    """What the two environments reported about themselves."""
    _unshared: list[Path] | None = None
    """Shared libraries that only one side reads; known after the first processes have started."""

    def pair(self, number: int, way: Way, *, whole: bool) -> Pair:
        """`whole`: with the passes that look inside of a call."""
        began = time.monotonic()
        measured = self._apart(number, whole) if way == APART else self._together(number, way, whole)
        starts, trials, profiles = measured
        seconds = time.monotonic() - began
        return Pair(trials[OLD], trials[NEW], way, starts, seconds, profiles.get(OLD), profiles.get(NEW))

    def _together(self, number: int, way: Way, whole: bool) -> tuple[str, dict[str, Trial], dict[str, Profile]]:
        with self.together(number, way) as opened:
            what = "side by side" if way == HALVES else "taking turns"
            with self.progress.doing(f"{self._id}: pair {number}, {what}"):
                starts, samples = self.measured(opened, way)
            trials = {name: self._end(name, opened[name], samples[name], whole) for name in opened}
            return starts, trials, {name: self._profile(name, one) for name, one in opened.items() if whole}

    @contextmanager
    def together(self, number: int, way: Way) -> Iterator[dict[str, SideTrial]]:
        """Both sides, built and warm. They do each step at the same time: in turns the side that was built first, and
        warm before the other one began, was slower by a tenth in every pair."""
        order = shuffled(self.random)
        with ExitStack() as alive:
            opened = {
                name: alive.enter_context(self.start(name, self.sides[name], seat))
                for name, seat in zip(order, self._seats(way), strict=True)
            }
            self._forget_libraries(opened)
            at_once(one.load() for one in opened.values())
            with self.progress.doing(f"{self._id}: pair {number}: building and first calls{self._compiles(*order)}"):
                if self._on_cpu:
                    at_once(one.build() for one in opened.values())
                else:  # tuning kernels on a GPU that computes for the other side would choose others
                    for one in opened.values():
                        one.build()()
            for name, one in opened.items():
                self.seen[name] = self.sides[name].facts(one.facts)
            with self.progress.doing(f"{self._id}: pair {number}: warming up"):
                at_once(one.settle() for one in opened.values())
            yield opened

    def measured(self, opened: Mapping[str, SideTrial], way: Way) -> tuple[str, dict[str, list[Sample]]]:
        """Each side's samples, and the side that began each block, which chance decides."""
        if way == HALVES and self.halves:
            return side_by_side(opened, self.calls, self.halves, self.random)
        return take_turns(opened, self.calls, self.random)

    def _apart(self, number: int, whole: bool) -> tuple[str, dict[str, Trial], dict[str, Profile]]:
        """One process at a time. Which is first changes by chance, so that over the pairs a drift favours neither."""
        trials, profiles = {}, {}
        for name in shuffled(self.random):
            with self.start(name, self.sides[name], None) as opened:
                with self.progress.doing(
                    f"{self._id}: pair {number}, {name}: building and first call{self._compiles(name)}"
                ):
                    opened.build()()
                self.seen[name] = self.sides[name].facts(opened.facts)
                with self.progress.doing(f"{self._id}: pair {number}, {name} alone"):
                    opened.settle()()
                    samples = [opened.sample()() for _ in range(self.calls)]
                trials[name] = self._end(name, opened, samples, whole)
                if whole:
                    profiles[name] = self._profile(name, opened)
        return "", trials, profiles

    @property
    def _id(self) -> str:
        return self.sides[NEW].work.id

    @property
    def _on_cpu(self) -> bool:
        return self.sides[NEW].work.device == "cpu"

    def _compiles(self, *names: str) -> str:
        return " (compiling)" if any(self.sides[name].work.stage.recipe.compile for name in names) else ""

    def _seats(self, way: Way) -> list[Seat | None]:
        if way != HALVES or self.halves is None:
            return [None, None]
        return [Seat(cores, self.halves.variables) for cores in (self.halves.first, self.halves.second)]

    def _forget_libraries(self, opened: Mapping[str, SideTrial]) -> None:
        """Before either side has loaded them."""
        folders = [opened[name].folders for name in (OLD, NEW)]
        if self._unshared is None:
            self._unshared = pagecache.unshared(*folders)
        pagecache.drop(self._unshared)

    def _end(self, name: str, opened: SideTrial, samples: list[Sample], whole: bool) -> Trial:
        """Of the first pair everything is kept, of the others what differs from pair to pair."""
        if whole:
            with self.progress.doing(f"{self._id}: {name}: taking apart"):
                opened.examine(self.pictures(name))()
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
        # Of a call its seconds, and whether something disturbed this side.
        return replace(kept, state=MEASURED, samples=tuple(Sample(one.wall_s, void=one.void) for one in samples))

    def _profile(self, name: str, opened: SideTrial) -> Profile:
        """Last of all, and no pair is lost by it: profilers end processes, and a side's fastdiff may be too old."""
        with self.progress.doing(f"{self._id}: {name}: one call under a profiler"):
            try:
                return opened.profile()()
            except UserError as error:
                return Profile(why_not=str(error))

    def pictures(self, name: str) -> Path:
        return self.folder / f"{name}.npy"


def blank(trial: Trial) -> Trial:
    """The same stage, of which nothing is known."""
    return Trial(trial.model, trial.stage, trial.follows)


def at_once(begun: Iterable[Wait[T]]) -> list[T]:
    """Begins all, and then waits for all."""
    return [wait() for wait in list(begun)]


def side_by_side(
    sides: Mapping[str, SideTrial],
    calls: int,
    halves: Halves,
    chance: random.Random,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[str, dict[str, list[Sample]]]:
    """Two calls at a time, of each block two on these halves and two with the halves swapped. The letter of a block
    names the side that began it on the first half."""
    starts = ""
    samples: dict[str, list[Sample]] = {OLD: [], NEW: []}
    for _ in range(calls // BLOCK[HALVES]):
        block = shuffled(chance)
        starts += block[0][0]
        for seated in (block, block[::-1]):
            seats = zip(seated, (halves.first, halves.second), strict=True)
            at_once(sides[name].move(cores) for name, cores in seats)
            for _ in range(SWAP_AFTER):
                at = clock() + LEAD_S
                both = at_once(sides[name].sample(at) for name in seated)
                for name, sample in zip(seated, both, strict=True):
                    samples[name].append(sample)
    return starts, samples


def take_turns(
    sides: Mapping[str, SideTrial], calls: int, chance: random.Random
) -> tuple[str, dict[str, list[Sample]]]:
    """Each side's samples, and who began each block of four, which chance decides."""
    starts = ""
    samples: dict[str, list[Sample]] = {OLD: [], NEW: []}
    for _ in range(calls // BLOCK[TURNS]):
        first, second = shuffled(chance)
        starts += first[0]
        for name in (first, second, second, first):
            samples[name].append(sides[name].sample()())
    return starts, samples


def shuffled(chance: random.Random) -> list[str]:
    return chance.sample((OLD, NEW), k=2)
