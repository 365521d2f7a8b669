"""A bisection as data: its candidates, what was measured of each, and the answer."""

from __future__ import annotations

from dataclasses import dataclass

from fastdiff.record import run
from fastdiff.record.bounds import Finite, Seconds  # noqa: TC001  (msgspec reads them)

MEASURED, UNUSABLE = run.MEASURED, run.FAILED
"""Of a candidate. Unusable: it does not install or does not build, so that nothing is known of its speed."""


@dataclass(frozen=True)
class Step:
    """One candidate, measured against the good end."""

    spec: str
    """As pip takes it: diffusers==0.39.0."""
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
    seconds: Seconds = 0.0


@dataclass(frozen=True)
class Found:
    """The answer, and everything that it rests on."""

    culprit: str | None
    """The first candidate that is known to be bad; None where nothing flips."""
    last_good: str | None
    """The newest candidate before it that is known to be good; None where that is the good end itself."""
    between: tuple[str, ...]
    """Candidates after the last good one and before the culprit of which nothing is known: each may be the first bad
    one."""
    steps: tuple[Step, ...]
    """In the order in which they were tried."""


@dataclass(frozen=True)
class Search:
    """What the file of a search holds."""

    made_for: str
    asked: dict[str, str]
    specs: tuple[str, ...]
    steps: tuple[Step, ...] = ()
