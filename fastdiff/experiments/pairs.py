"""One pair: two fresh processes, one of each side, that build the same stage and are measured together.

Side by side, if the processor has two equal halves: the calls of both sides start at the same instant, and the sides
swap halves after two calls. On two GPUs of one kind they start at the same instant, too, and two more processes, which
have exchanged the GPUs, make the second half of the calls. Otherwise the sides take turns call by call, each with the
whole device.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from fastdiff.compare import plan
from fastdiff.host import pagecache
from fastdiff.record.errors import UserError
from fastdiff.record.pairs import APART, BLOCK, GPUS, HALVES, TURNS, Pair, Profile, SideFacts
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
Measured = tuple[str, dict[str, Trial], dict[str, Profile]]
"""The side that began each block, a letter each; and of both sides the trial and the profile."""
OLD, NEW = "old", "new"
LEAD_S = 0.003
"""From the request to the instant at which both calls start; both workers have read it after a third of this."""
SWAP_AFTER = 2
"""Calls of a side on one half before it swaps. Without swaps, a difference between the halves would bias the ratio."""


@dataclass(frozen=True)
class Side:
    """One side of all pairs: its environment and its work."""

    environment: Environment
    cache: Path
    """The folder of its compiled code."""
    work: Work

    def runner(self, name: str, source: Path, seat: Seat | None = None) -> Fresh:
        """Both sides run this version of fastdiff, unless the side has a fastdiff of its own.

        This environment keeps the PYTHONPATH that it was started with, because it may lead to its libraries.
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

    def on(self, device: str) -> Side:
        return replace(self, work=replace(self.work, device=device))

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
    """The place of a process: the cores of one half, and the variables that give it one thread per core."""

    cores: tuple[int, ...]
    variables: Mapping[str, str]


class Start(Protocol):
    def __call__(self, name: str, side: Side, seat: Seat | None) -> AbstractContextManager[SideTrial]:
        """Starts the process of one side, which builds nothing yet. Without a seat it has the whole machine."""


def processes(source: Path) -> Start:
    """Starts real processes; `source` is the folder of this fastdiff."""

    def start(name: str, side: Side, seat: Seat | None) -> AbstractContextManager[SideTrial]:
        return side.runner(name, source, seat).side(side.work)

    return start


@dataclass
class PairRunner:
    """Measures pairs of the two sides of one experiment."""

    sides: Mapping[str, Side]
    calls: int | None
    """Of each side. None: as many as take `plan.PAIR_S`; known after two more calls of the first warm process or
    processes."""
    start: Start
    halves: Halves | None
    """None if the sides do not share a processor."""
    folder: Path
    """The folder for the pictures."""
    progress: Progress
    random: random.Random
    gpus: tuple[str, str] | None = None
    """Two of one kind; None if the sides share one."""
    seen: dict[str, SideFacts] = field(default_factory=dict)
    """What the two environments reported about themselves."""
    _unshared: list[Path] | None = None
    """Shared libraries that only one side reads; known after the first processes have started."""

    def pair(self, number: int, way: Way, *, whole: bool) -> Pair:
        """`whole`: with the additional passes (counts, components, memory, pictures, profile)."""
        began = time.monotonic()
        measure = {APART: self._apart, GPUS: self._on_gpus}.get(way, partial(self._together, way))
        starts, trials, profiles = measure(number, whole)
        seconds = time.monotonic() - began
        return Pair(trials[OLD], trials[NEW], way, starts, seconds, profiles.get(OLD), profiles.get(NEW))

    def _together(self, way: Way, number: int, whole: bool) -> Measured:
        with self.together(number, way) as opened:
            what = "side by side" if way == HALVES else "taking turns"
            with self.progress.doing(f"{self._id}: pair {number}, {what}"):
                starts, samples = self.measured(opened, way)
            return starts, *self._ended(opened, samples, whole)

    def _on_gpus(self, number: int, whole: bool) -> Measured:
        """Two processes after the other two, because a process cannot move to another GPU."""
        seated = shuffled(self.random)
        with self._half_on_gpus(number, seated) as (_, first):
            pass
        with self._half_on_gpus(number, seated[::-1]) as (opened, second):
            starts = "".join(name[0] * len(second[name]) for name in seated)
            samples = {name: first[name] + second[name] for name in seated}
            return starts, *self._ended(opened, samples, whole)

    @contextmanager
    def _half_on_gpus(
        self, number: int, seating: list[str]
    ) -> Iterator[tuple[dict[str, SideTrial], dict[str, list[Sample]]]]:
        assert self.gpus is not None
        sides = {name: self.sides[name].on(gpu) for name, gpu in zip(seating, self.gpus, strict=True)}
        with self.together(number, GPUS, sides) as opened:
            with self.progress.doing(f"{self._id}: pair {number}, side by side on two GPUs"):
                samples = at_one_instant(opened, self._calls(opened, GPUS) // 2)
            yield opened, samples

    def _ended(
        self, opened: Mapping[str, SideTrial], samples: Mapping[str, list[Sample]], whole: bool
    ) -> tuple[dict[str, Trial], dict[str, Profile]]:
        trials = {name: self._end(name, opened[name], samples[name], whole) for name in opened}
        return trials, {name: self._profile(name, one) for name, one in opened.items() if whole}

    @contextmanager
    def together(
        self, number: int, way: Way, sides: Mapping[str, Side] | None = None
    ) -> Iterator[dict[str, SideTrial]]:
        """Both sides, built and warm. They start at the same time: a side that was warm before the other one had
        started was slower by a tenth in every pair. If each has its own cores or GPU, they do the other steps at the
        same time, too. `sides`: the same, each on its device."""
        sides, order = sides or self.sides, shuffled(self.random)
        with ExitStack() as stack:
            opened = {
                name: stack.enter_context(self.start(name, sides[name], seat))
                for name, seat in zip(order, self._seats(way), strict=True)
            }
            self._forget_libraries(opened)
            at_once(one.load() for one in opened.values())
            with self.progress.doing(f"{self._id}: pair {number}: building and first calls{self._compiles(*order)}"):
                self._each(way, (one.build for one in opened.values()))
            for name, one in opened.items():
                self.seen[name] = self.sides[name].facts(one.facts)
            with self.progress.doing(f"{self._id}: pair {number}: warming up"):
                self._each(way, (one.settle for one in opened.values()))
            yield opened

    def _each(self, way: Way, steps: Iterable[Callable[[], Wait[None]]]) -> None:
        """At the same time if each side has its own cores or GPU, otherwise one after the other: on a CPU the threads
        of both sides would wait for each other's cores, up to half a minute instead of six seconds; on a GPU kernels
        would be tuned while it computes for the other side."""
        if way in (HALVES, GPUS):
            at_once(step() for step in steps)
        else:
            for step in steps:
                step()()

    def measured(self, opened: Mapping[str, SideTrial], way: Way) -> tuple[str, dict[str, list[Sample]]]:
        """Each side's samples, and the side that started each block (random)."""
        if way == HALVES and self.halves:
            return side_by_side(opened, self._calls(opened, way), self.halves, self.random)
        return take_turns(opened, self._calls(opened, way), self.random)

    def _apart(self, number: int, whole: bool) -> Measured:
        """One process at a time. The order is random, so that a drift favours neither side."""
        trials, profiles = {}, {}
        for name in shuffled(self.random):
            with self.start(name, self.sides[name], None) as opened:
                with self.progress.doing(
                    f"{self._id}: pair {number}, {name}: building and first call{self._compiles(name)}"
                ):
                    opened.load()()
                    opened.build()()
                self.seen[name] = self.sides[name].facts(opened.facts)
                with self.progress.doing(f"{self._id}: pair {number}, {name} alone"):
                    opened.settle()()
                    samples = [opened.sample()() for _ in range(self._calls({name: opened}, APART))]
                trials[name] = self._end(name, opened, samples, whole)
                if whole:
                    profiles[name] = self._profile(name, opened)
        return "", trials, profiles

    def _calls(self, opened: Mapping[str, SideTrial], way: Way) -> int:
        if self.calls is None:
            call_s = max(min(one.sample()().wall_s for _ in range(2)) for one in opened.values())
            self.calls = plan.calls(call_s if way in (HALVES, GPUS) else 2 * call_s)
        return self.calls

    @property
    def _id(self) -> str:
        return self.sides[NEW].work.id

    def _compiles(self, *names: str) -> str:
        return " (compiling)" if any(self.sides[name].work.stage.recipe.compile for name in names) else ""

    def _seats(self, way: Way) -> list[Seat | None]:
        if way != HALVES or self.halves is None:
            return [None, None]
        return [Seat(cores, self.halves.variables) for cores in (self.halves.first, self.halves.second)]

    def _forget_libraries(self, opened: Mapping[str, SideTrial]) -> None:
        """Drops libraries that only one side reads from the page cache, before either side has loaded them."""
        folders = [opened[name].folders for name in (OLD, NEW)]
        if self._unshared is None:
            self._unshared = pagecache.unshared(*folders)
        pagecache.drop(self._unshared)

    def _end(self, name: str, opened: SideTrial, samples: list[Sample], whole: bool) -> Trial:
        """The trial to store: complete for the first pair; for the others only the facts that vary between pairs."""
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
        """The last pass. If it fails, the pair is kept: a profiler may crash the process, and a side's fastdiff may be
        too old."""
        with self.progress.doing(f"{self._id}: {name}: one call under a profiler"):
            try:
                return opened.profile()()
            except UserError as error:
                return Profile(why_not=str(error))

    def pictures(self, name: str) -> Path:
        return self.folder / f"{name}.npy"


def blank(trial: Trial) -> Trial:
    """An empty trial of the same stage."""
    return Trial(trial.model, trial.stage, trial.follows)


def at_once(begun: Iterable[Wait[T]]) -> list[T]:
    """Starts all steps, then waits for all."""
    return [wait() for wait in list(begun)]


def side_by_side(
    sides: Mapping[str, SideTrial],
    calls: int,
    halves: Halves,
    chance: random.Random,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[str, dict[str, list[Sample]]]:
    """Both sides call at the same time; in each block two calls on these halves and two with the halves swapped. The
    letter of a block names the side that started it on the first half."""
    starts = ""
    samples: dict[str, list[Sample]] = {OLD: [], NEW: []}
    for _ in range(calls // BLOCK[HALVES]):
        block = shuffled(chance)
        starts += block[0][0]
        for seated in (block, block[::-1]):
            seats = zip(seated, (halves.first, halves.second), strict=True)
            at_once(sides[name].move(cores) for name, cores in seats)
            for name, found in at_one_instant({name: sides[name] for name in seated}, SWAP_AFTER, clock).items():
                samples[name] += found
    return starts, samples


def at_one_instant(
    sides: Mapping[str, SideTrial], calls: int, clock: Callable[[], float] = time.monotonic
) -> dict[str, list[Sample]]:
    """Each side's samples; both call at the same time."""
    samples: dict[str, list[Sample]] = {name: [] for name in sides}
    for _ in range(calls):
        at = clock() + LEAD_S
        both = at_once(one.sample(at) for one in sides.values())
        for name, sample in zip(sides, both, strict=True):
            samples[name].append(sample)
    return samples


def take_turns(
    sides: Mapping[str, SideTrial], calls: int, chance: random.Random
) -> tuple[str, dict[str, list[Sample]]]:
    """Each side's samples, and the side that started each block of four (random)."""
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
