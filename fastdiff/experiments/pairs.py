"""One pair: two fresh processes, one of each environment, that build the same stage and take turns call by call."""

from __future__ import annotations

import os
import sys
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fastdiff.record.errors import UserError
from fastdiff.record.pairs import CALLS_OF_BLOCK, Pair, Side
from fastdiff.record.run import MEASURED, Round, StageRecord
from fastdiff.trial.process import SideProcess, record_of

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping

    from fastdiff.experiments.environments import Environment
    from fastdiff.experiments.progress import Progress
    from fastdiff.models import Model, Request
    from fastdiff.stages.ladder import Stage

OLD, NEW = "old", "new"
CACHE_VARIABLE = "TORCHINDUCTOR_CACHE_DIR"


@dataclass(frozen=True)
class Work:
    """What one side is to do."""

    environment: Environment
    cache: Path
    """Where its compiled code is kept."""
    model: Model
    stage: Stage
    built: Stage
    """The stage as it is really built: another one only where a fault leaves an idea out."""
    device: str
    request: Request
    faults: str = ""

    @property
    def id(self) -> str:
        return f"{self.model.name}-{self.stage.name}"

    def start(self, name: str, source: Path) -> SideProcess:
        """Both sides run this very fastdiff, whatever is installed beside it.

        This environment keeps the PYTHONPATH that it was started with: its libraries may lie there.
        """
        own = os.environ.get("PYTHONPATH", "") if self.environment.python == Path(sys.executable) else ""
        variables: Mapping[str, str] = {
            "PYTHONPATH": os.pathsep.join(filter(None, [str(source), own])),
            CACHE_VARIABLE: str(self.cache),
            **self.environment.variables,
        }
        return SideProcess(f"{name} ({self.environment.name})", self.environment.python, variables)

    def build(self, side: SideProcess) -> Built:
        answer = side.ask(
            "build",
            model=asdict(self.model),
            stage=asdict(self.stage),
            built=asdict(self.built),
            device=self.device,
            request=asdict(self.request),
            faults=self.faults,
        )
        if answer.get("unapplied"):
            raise UserError("not-applied", f"{side.name}: {self.id} was not applied: {answer['unapplied'][0]}")
        seen = Side(
            self.environment.name,
            self.environment.key,
            self.environment.words,
            dict(answer.get("environment") or {}),
            dict(answer.get("packages") or {}),
        )
        return Built(record_of(answer, side.name), seen)


@dataclass(frozen=True)
class Built:
    record: StageRecord
    seen: Side


@dataclass
class Taking:
    """The two sides of an experiment, and how a pair of them is measured."""

    old: Work
    new: Work
    calls: int
    source: Path
    folder: Path
    """For the pictures."""
    progress: Progress
    random: random.Random
    seen: dict[str, Side] = field(default_factory=dict)
    """What the two environments said of themselves."""

    def pair(self, number: int, *, whole: bool, apart: bool) -> Pair:
        """`whole`: with everything that is measured in passes of its own. `apart`: one process at a time."""
        began = time.monotonic()
        starts, records = (self._apart if apart else self._together)(number, whole)
        return Pair(records[OLD], records[NEW], starts, time.monotonic() - began)

    def _together(self, number: int, whole: bool) -> tuple[str, dict[str, StageRecord]]:
        with ExitStack() as alive:
            # Importing side by side is quicker; building and first calls are timed, and so one after the other.
            order = self._shuffled()
            sides = {name: alive.enter_context(self._start(name)) for name in order}
            built = {name: self._build(number, name, sides[name]) for name in order}
            for name in order:
                self._warm_up(number, name, sides[name])
            with self.progress.doing(f"{self.new.id}: pair {number}, taking turns"):
                starts, times = take_turns(sides, self.calls, self.random)
            records = {name: self._end(name, sides[name], built[name], times[name], whole) for name in order}
        return starts, records

    def _apart(self, number: int, whole: bool) -> tuple[str, dict[str, StageRecord]]:
        """Who is first changes by chance, so that over the pairs a drift favours neither."""
        records = {}
        for name in self._shuffled():
            with self._start(name) as side:
                built = self._build(number, name, side)
                self._warm_up(number, name, side)
                with self.progress.doing(f"{self.new.id}: pair {number}, {name} alone"):
                    times = [side.seconds() for _ in range(self.calls)]
                records[name] = self._end(name, side, built, times, whole)
        return "", records

    def _shuffled(self) -> list[str]:
        return _shuffled(self.random)

    def _work(self, name: str) -> Work:
        return self.old if name == OLD else self.new

    def _start(self, name: str) -> SideProcess:
        return self._work(name).start(name, self.source)

    def _build(self, number: int, name: str, side: SideProcess) -> StageRecord:
        compiles = " (compiling)" if self._work(name).stage.recipe.compile else ""
        with self.progress.doing(f"{self.new.id}: pair {number}, {name}: building and first call{compiles}"):
            built = self._work(name).build(side)
        self.seen[name] = built.seen
        return built.record

    def _warm_up(self, number: int, name: str, side: SideProcess) -> None:
        with self.progress.doing(f"{self.new.id}: pair {number}, {name}: warming up"):
            side.ask("warm_up")

    def _end(self, name: str, side: SideProcess, built: StageRecord, times: list[float], whole: bool) -> StageRecord:
        """Of the first pair everything is kept, of the others what differs from pair to pair."""
        rounds = tuple(Round(seconds) for seconds in times)
        record = StageRecord(built.model, built.stage, built.follows)
        if whole:
            with self.progress.doing(f"{self.new.id}: {name}: taking apart"):
                record = record_of(side.ask("examine", pictures=str(self.pictures(name))), side.name)
        return replace(
            record,
            state=MEASURED,
            load_s=built.load_s,
            first_call_s=built.first_call_s,
            cache=built.cache,
            opening=built.opening,
            rounds=rounds,
        )

    def pictures(self, name: str) -> Path:
        return self.folder / f"{name}.npy"


def take_turns(
    sides: Mapping[str, SideProcess], calls: int, chance: random.Random
) -> tuple[str, dict[str, list[float]]]:
    """Seconds of each side's calls, and who began each block of four, which chance decides."""
    starts = ""
    times: dict[str, list[float]] = {OLD: [], NEW: []}
    for _ in range(calls // CALLS_OF_BLOCK):
        first, second = _shuffled(chance)
        starts += first[0]
        for name in (first, second, second, first):
            times[name].append(sides[name].seconds())
    return starts, times


def _shuffled(chance: random.Random) -> list[str]:
    return chance.sample((OLD, NEW), k=2)
