"""The next step, as data. `fastdiff.report.steps` writes the command."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Measure:
    """Measure stages again and compare them. Without a model: everything."""

    model: str = ""
    stages: tuple[str, ...] = ()
    """Empty means all of them."""
    pairs: bool = False
    """Always with the accepted run's software, because times of another hour are not precise enough."""
    emulate: bool = False


@dataclass(frozen=True)
class Select:
    """Run the tests of one stage, of which only the id is known."""

    id: str


@dataclass(frozen=True)
class Accept:
    """Make the run, or one stage of it, the baseline: only a person knows whether a change is intended."""

    only: str = ""


@dataclass(frozen=True)
class Against:
    """Install the accepted libraries beside today's, and measure both in pairs."""

    model: str
    stages: tuple[str, ...]
    requirements: tuple[str, ...]


@dataclass(frozen=True)
class MorePairs:
    """Repeat an experiment with a larger maximum number of pairs."""

    id: str
    """The stage's id."""
    old: tuple[str, ...]
    new: tuple[str, ...]
    options: str
    most: int


@dataclass(frozen=True)
class Bisect:
    """Search for what makes the new side slower, in everything that differs."""

    old: tuple[str, ...]
    new: tuple[str, ...]
    options: str
    most: int


Step = Measure | Select | Accept | Against | MorePairs | Bisect


def as_dict(step: Step | None) -> dict[str, Any] | None:
    """Ready for JSON."""
    if step is None:
        return None
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(step).items()}
    return {"do": type(step).__name__, **plain}
