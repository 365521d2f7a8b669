"""A paired experiment as data, and its file: two environments whose processes were measured pair after pair."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from msgspec import Meta

from fastdiff.record.bounds import Count, Fact, Finite, Name, Seconds  # noqa: TC001  (msgspec reads them)
from fastdiff.record.errors import UserError
from fastdiff.record.reading import convert, load, named
from fastdiff.record.run import SCHEMA, Device, Trial
from fastdiff.record.schema import require_schema
from fastdiff.record.writing import as_json, write_text

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = "runs/ab"
KEY = "fastdiff-ab"
"""Of such a file: a run has another one, so that neither is taken for the other."""

MEASURE_AGAIN = "Remove this file, and measure its pairs again: fastdiff ab --old SPEC --new SPEC"

ACCEPTED = "accepted"
"""The word for a side that is the accepted run's software."""
HALVES: Final = "halves"
TURNS: Final = "turns"
GPUS: Final = "gpus"
APART: Final = "apart"
Way = Literal["halves", "turns", "gpus", "apart"]
"""How the two processes of a pair are measured: each on its half of the cores, at the same time; call by call in turns;
each on a GPU of its own, at the same time; or one process after the other, where both do not fit on the device."""

BLOCK = {HALVES: 4, TURNS: 2, GPUS: 1}
"""Calls of each side in a block. In halves two, and two more after the sides have changed halves; in turns old, new,
new, old or the other way round, so that a steady drift favours neither. On two GPUs the sides change them once, in the
middle of the pair, because a process cannot move."""
WHOLE_BLOCKS = max(BLOCK.values())
"""Calls of a side in a pair are a multiple of it, in whichever way they come to be measured."""

LONGEST_NAME: Final = 200
"""Characters: the kernels of CUDA have names of thousands, and differ in the first of them."""
MOST_OPERATORS: Final = 200
"""Of a profile: a whole pipeline has some hundred, and those beyond take nothing."""


@dataclass(frozen=True)
class SideFacts:
    """One of the two environments."""

    name: str
    """As the user wrote it."""
    key: str
    """Of its content."""
    words: tuple[str, ...] = ()
    """The same, each word for itself."""
    environment: dict[str, Any] = field(default_factory=dict)
    packages: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Operator:
    """An operator, a kernel, or code that is neither, as a profiler saw it in one call."""

    name: Annotated[str, Meta(max_length=LONGEST_NAME)]
    calls: Count
    seconds: Seconds
    """Its own: without those of the operators that it called."""


@dataclass(frozen=True)
class Profile:
    """What one call ran; of a GPU its kernels."""

    operators: Annotated[tuple[Operator, ...], Meta(max_length=MOST_OPERATORS)] = ()
    """Those that take longest, the longest first."""
    more: Count = 0
    """So many others that took less."""
    steps: Count = 0
    """Denoising steps of that call, of which a profiler bears fewer than a call may have."""
    why_not: str = ""
    """Why nothing is known."""


@dataclass(frozen=True)
class Pair:
    """Two trials, one of each environment."""

    old: Trial
    new: Trial
    way: Way
    starts: str
    """The side that began each block, a letter for each: o or n. In halves it began on the first half; on two GPUs it
    had the first one; `apart` has no blocks."""
    seconds: Seconds
    old_profile: Profile | None = None
    new_profile: Profile | None = None
    """Of the first pair alone, each by a call after the last timed one."""


@dataclass(frozen=True)
class Pictures:
    """How like the two sides' pictures are, or their tensors."""

    ssim: Finite | None
    worst_tile: Finite | None
    """Both None of tensors."""
    shortfall: str = ""
    """What the stage's budget asks for and is not there; empty where all is well."""
    relative_l2: Finite | None = None
    """Of tensors."""
    largest_error: Finite | None = None


@dataclass(frozen=True)
class Experiment:
    """One stage, two environments, and what was seen so far."""

    device: Device
    started: str
    old: SideFacts
    new: SideFacts
    stage: Name
    """Id of the stage, of the new side where they differ."""
    old_stage: Name
    request: dict[str, Fact]
    calls: Count | None
    """Of each side in a pair; None if the duration of a call decides."""
    way: Way
    """Of all of its pairs: what is measured differs."""
    looks: tuple[Count, ...]
    """After how many pairs the numbers are looked at, planned beforehand; the last is the most that are measured."""
    work: str = ""
    """A digest of everything that is built: models with their weights, recipes, the device, fastdiff itself."""
    options: str = ""
    """Of the command, besides the two environments, to ask the same again."""
    comparisons: Count = 1
    """Stages of the whole suite, which share one error; of the largest suite that ever asked."""
    project: str = ""
    """Name of the project's own distribution, if it has one: another version of it is the code that is compared."""
    injected: str = ""
    """The faults that were put into the new side on purpose."""
    pairs: tuple[Pair, ...] = ()
    all_cores: tuple[Pair, ...] = ()
    """Of an experiment in halves: pairs in turns with the whole processor beside them, never mixed with them."""
    pictures: Pictures | None = None
    unapplied: str = ""
    """Why a side was not timed: its stage is not what its name says."""
    failures: tuple[str, ...] = ()
    """Of pairs that ended before they had measured, with the last words of the process."""
    complete: bool = False
    judgements: tuple[dict[str, Any], ...] = ()
    """For readers, as in a run."""
    made_by: str = ""
    schema: int = SCHEMA

    @property
    def question(self) -> tuple[Any, ...]:
        """What makes two experiments one, so that the second goes on with the first."""
        sides, asked = (self.old.key, self.new.key), (self.request, self.calls, self.looks, self.injected)
        return (*sides, self.work, *asked, self.way)

    @property
    def calls_made(self) -> int | None:
        """Of each side in a pair; None if no number was given and no pair was measured yet."""
        return len(self.pairs[0].old.samples) if self.pairs else self.calls

    @property
    def unproven(self) -> tuple[str, ...]:
        """Ideas of the stage that nothing shows on one of the sides."""
        trials = [trial for pair in self.pairs for trial in (pair.old, pair.new)]
        return tuple(dict.fromkeys(sentence for trial in trials for sentence in trial.unproven))


def write(path: Path, experiment: Experiment) -> None:
    try:
        content = as_json({KEY: asdict(experiment)})
    except ValueError as error:
        raise UserError("file", f"{path} was not written, because it cannot be kept as JSON: {error}.") from None
    try:
        write_text(path, content)
    except OSError as error:
        raise UserError(
            "file", f"{path} cannot be written ({error.strerror}); make room there, and start again."
        ) from None


def read(path: Path) -> Experiment:
    whole = load(path, mend=MEASURE_AGAIN)
    if KEY not in whole:
        raise UserError("file", f"{path} is no paired experiment; `fastdiff ab` writes them into {FOLDER}/.")
    with named(path, MEASURE_AGAIN):
        require_schema(whole[KEY], KEY)
        found = convert(whole[KEY], Experiment, KEY)
        for name, pairs, way in (("pairs", found.pairs, found.way), ("all_cores", found.all_cores, TURNS)):
            for place, pair in enumerate(pairs):
                _require_blocks(pair, way, f"{KEY}.{name}[{place}]")
        return found


def _require_blocks(pair: Pair, way: Way, where: str) -> None:
    if pair.way != way:
        raise UserError("file", f"{where}.way is {pair.way}; expected {way}, as its experiment was measured.")
    count, counts = len(pair.starts), {len(pair.old.samples), len(pair.new.samples)}
    fits = not count if way == APART else counts == {BLOCK[way] * count}
    if set(pair.starts) - {"o", "n"} or not fits:
        raise UserError("file", f"{where} has other samples than its {count} blocks need.")
