"""The words of a verdict, and the one place where an interval and a band become one of them.

SAME       the whole interval lies inside the band: positive evidence, not the lack of an alarm
SLOW, FAST the interval lies beyond the band, even with the confidence of the whole suite
MORE, LESS the same of memory
AMBIGUOUS  inconclusive: the interval crosses a limit of the band
VOID       the machine disturbed the measurement
MISSING    asked for and not measured
NEW        measured, and nothing accepted is comparable
CHANGED    the countable facts differ, or the stage is broken
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastdiff.compare.estimates import Estimate
    from fastdiff.compare.steps import Step

SAME, SLOW, FAST, MORE, LESS = "SAME", "SLOW", "FAST", "MORE", "LESS"
AMBIGUOUS, VOID, MISSING, NEW, CHANGED = "AMBIGUOUS", "VOID", "MISSING", "NEW", "CHANGED"

FAILING = frozenset({SLOW, MORE, CHANGED})


@dataclass(frozen=True)
class Verdict:
    """A decision with its reason."""

    word: str
    reason: str
    estimate: Estimate | None = None
    next: Step | None = None
    details: tuple[str, ...] = ()
    """Where the difference comes from, one sentence each, the most important first."""
    excused: bool = False
    """A change that other versions of the libraries explain; it fails in strict mode only."""


def fails(verdict: Verdict, strict: bool) -> bool:
    """Strict mode is for CI: there everything that is not SAME wants a person's decision."""
    if strict:
        return verdict.word != SAME
    return verdict.word in FAILING and not verdict.excused


def decide(
    estimate: Estimate,
    band: float,
    words: tuple[str, str] = (SLOW, FAST),
    advice: str = ": accept it, or explain it",
    settling: str = "",
) -> Verdict:
    """The band is [1 / (1 + band), 1 + band], so that swapping baseline and candidate swaps SLOW and FAST.

    `settling` says what would end an AMBIGUOUS.
    """
    lower, upper = 1 / (1 + band), 1 + band
    told = f"±{100 * band:g} %" if band < 1 else f"a factor of {upper:g}"
    more, less = words
    if estimate.alarm_low > upper:
        return Verdict(more, f"{estimate} is beyond the band of {told}", estimate)
    if estimate.alarm_high < lower:
        return Verdict(less, f"{estimate} is beyond the band of {told}{advice}", estimate)
    if lower <= estimate.low and estimate.high <= upper:
        return Verdict(SAME, f"{estimate} is inside the band of {told}", estimate)
    shown = str(estimate)
    if estimate.low > upper or estimate.high < lower:  # beyond it alone, and not with the confidence of the suite
        shown = estimate.with_suite
    return Verdict(
        AMBIGUOUS, f"{shown} is inconclusive: the interval crosses the limit of {told}; {settling}", estimate
    )
