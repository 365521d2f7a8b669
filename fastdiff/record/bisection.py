"""A search for what made a stage slower, as data and as its file: what was tried, what each answer cost, the result."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

from fastdiff.record import run
from fastdiff.record.bounds import Finite, Seconds  # noqa: TC001  (msgspec reads them)
from fastdiff.record.errors import UserError
from fastdiff.record.project import OURS
from fastdiff.record.reading import convert, load
from fastdiff.record.writing import as_json, write_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

MEASURED, UNUSABLE = run.MEASURED, run.FAILED
"""Of a candidate. Unusable: it does not install or does not run, so that nothing is known of its speed."""
FOLDER = f"{OURS}/bisect"
MADE_FOR = "fastdiff bisect 2"
"""The number rises when an older fastdiff would misread the file."""

WORKING_TREE = "the working tree"
"""The last candidate among commits, where files differ from the last one."""

Kind = Literal["package", "file", "variable", "code"]
Level = Literal["whole", "members", "releases", "commits"]


@dataclass(frozen=True)
class Member:
    """One thing that differs between two sides and can be swapped by itself."""

    kind: Kind
    name: str
    old: str = ""
    """Its version or value; empty where the old side does not have it."""
    new: str = ""
    besides: tuple[str, ...] = ()
    """Packages of the same release, which pin each other: torch's triton."""

    @property
    def text(self) -> str:
        return f"{self.name} {self.old or 'nothing'} -> {self.new or 'nothing'}"


@dataclass(frozen=True)
class Step:
    """One candidate, measured against the old side."""

    candidate: str
    """What is the new side's in it, in full: it names the step."""
    level: Level
    state: str
    word: str = ""
    """Of the verdict about latency."""
    ratio: Finite | None = None
    """New to old; above 1 is slower."""
    low: Finite | None = None
    high: Finite | None = None
    reason: str = ""
    """The verdict's sentence, or why the candidate is unusable."""
    difference: tuple[str, ...] = ()
    """Of the two environments: "diffusers: 0.38.0 -> 0.39.0"."""
    changes: tuple[str, ...] = ()
    """Of fingerprints and the like."""
    words: tuple[str, ...] = ()
    """The candidate as a SPEC, to compare it again; empty where it has none."""
    seconds: Seconds = 0.0


@dataclass(frozen=True)
class Range:
    """Where an ordered search ended: in the releases of a package, or in commits."""

    level: Level
    first_bad: str
    """The first candidate that is known to be bad."""
    last_good: str = ""
    """The newest candidate before it that is known to be good; empty where that is the old side itself."""
    between: tuple[str, ...] = ()
    """Candidates between the two of which nothing is known: each may be the first bad one."""


@dataclass(frozen=True)
class Found:
    """The answer, and everything that it rests on."""

    steps: tuple[Step, ...]
    """In the order in which they were tried; the first is the new side as a whole."""
    guilty: tuple[Member, ...] = ()
    """The smallest set that is slow together; empty where nothing is slower, and where `lasting` is the cause."""
    shown_by: Step | None = None
    """What was measured of that set alone."""
    lasting: tuple[str, ...] = ()
    """What differs and cannot be swapped; the cause, where everything else together is not slow."""
    lasting_is_guilty: bool = False
    range: Range | None = None
    remark: str = ""
    """Why the search ended earlier than it could."""
    old: tuple[str, ...] = ()
    """The old side as a SPEC."""

    @property
    def whole(self) -> Step:
        return self.steps[0]

    @property
    def shown_best_by(self) -> Step | None:
        """What was measured of the first slow release or commit, or else of the set."""
        first = self.range.first_bad if self.range else ""
        return next((step for step in self.steps if step.candidate == first), self.shown_by)

    @property
    def is_something(self) -> bool:
        return bool(self.guilty) or self.lasting_is_guilty


@dataclass(frozen=True)
class Search:
    """What the file of a search holds."""

    made_for: str
    asked: dict[str, str]
    """Everything that tells this search from another one: the two sides, what differs, the stage."""
    steps: tuple[Step, ...] = ()


def write(path: Path, asked: Mapping[str, str], steps: Iterable[Step]) -> None:
    try:
        write_text(path, as_json(asdict(Search(MADE_FOR, dict(asked), tuple(steps)))))
    except OSError as error:
        raise UserError(
            "bisect", f"{path} cannot be written ({error.strerror}); make room there or get the right."
        ) from None


def read(path: Path, asked: Mapping[str, str]) -> tuple[Step, ...]:
    """The steps of this very search, in the order in which they were tried; none where there is no file."""
    mend = f"remove it to search anew (rm {path})"
    if not path.exists():
        return ()
    try:
        found = convert(load(path), Search, "the file")
    except UserError as error:
        why = str(error).removesuffix(".").removeprefix(f"{path}: ")
        raise UserError("bisect", f"{path} is no whole file of a search: {why}; {mend}.") from None
    if other := _other(found, asked):
        raise UserError("bisect", f"{path} is the file of another search: {other}; {mend}.")
    for place, step in enumerate(found.steps):
        if wrong := _wrong(step, found.steps[:place]):
            raise UserError("bisect", f"{path} is no whole file of a search: the file.steps[{place}] {wrong}; {mend}.")
    return found.steps


def _other(found: Search, asked: Mapping[str, str]) -> str:
    """The first thing in which the two searches differ; empty where they are one."""
    if found.made_for != MADE_FOR:
        return f"it was made for {found.made_for!r}, and this is {MADE_FOR!r}"
    for name in sorted(found.asked.keys() | asked.keys()):
        then, now = found.asked.get(name, "-"), asked.get(name, "-")
        if then != now:
            return f"its {name} is {then}, and now {now} is asked for"
    return ""


def _wrong(step: Step, earlier: tuple[Step, ...]) -> str:
    if step.candidate in (one.candidate for one in earlier):
        return f"is about {step.candidate}, as an earlier one is"
    if step.state not in (MEASURED, UNUSABLE) or (step.state == MEASURED and not step.word):
        return f"has the state {step.state!r} and the verdict {step.word!r}"
    if step.ratio is not None and step.ratio <= 0:
        return f"has the ratio {step.ratio}; expected a number above zero"
    return ""
