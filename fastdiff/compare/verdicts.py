"""The words of a verdict, and the one place where an interval and a band become one of them.

SAME       the whole interval lies inside the band: positive evidence, not the lack of an alarm
SLOW, FAST the interval lies beyond the band, even with the confidence of the whole suite
MORE, LESS the same of memory
UNSURE     inconclusive: the interval crosses a limit of the band
VOID       the machine disturbed the measurement
MACHINE    the time differs, although no software does
MISSING    expected, but not measured
NEW        measured, but the baseline has nothing comparable
CHANGED    the countable facts differ, or the stage is broken
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastdiff.compare.reasons import because

if TYPE_CHECKING:
    from fastdiff.compare.effect import Estimate
    from fastdiff.compare.reasons import Reason
    from fastdiff.compare.steps import Step

SAME, SLOW, FAST, MORE, LESS = "SAME", "SLOW", "FAST", "MORE", "LESS"
UNSURE, VOID, MACHINE, MISSING, NEW, CHANGED = "UNSURE", "VOID", "MACHINE", "MISSING", "NEW", "CHANGED"

METRICS = (
    "latency",
    "latency_slow_calls",
    "latency_all_cores",
    "first_call",
    "ladder",
    "memory",
    "fingerprint",
    "picture",
)
"""The metrics of a stage, in the order of the tables."""

FAILING = frozenset({SLOW, MORE, CHANGED})


@dataclass(frozen=True)
class Verdict:
    """A decision and its reason, as data; `fastdiff.report.sentences` writes the sentences."""

    word: str
    reason: Reason
    estimate: Estimate | None = None
    next: Step | None = None
    about: tuple[Reason, ...] = ()
    """The subject of the numbers, if it is not the metric itself."""
    notes: tuple[Reason, ...] = ()
    """Remarks on the numbers."""
    details: tuple[Reason, ...] = ()
    """Causes of the difference, the most important first."""
    excused: bool = False
    """A change that other versions of the libraries explain; it fails in strict mode only."""


def fails(verdict: Verdict, strict: bool) -> bool:
    """In strict mode (for CI) everything except SAME fails, so that a person decides about it."""
    if strict:
        return verdict.word != SAME
    return verdict.word in FAILING and not verdict.excused


def decide(
    estimate: Estimate,
    band: float,
    words: tuple[str, str] = (SLOW, FAST),
    *,
    acceptable: bool = True,
    settling: Reason | None = None,
) -> Verdict:
    """The band is [1 / (1 + band), 1 + band], so that swapping baseline and candidate swaps SLOW and FAST.

    `settling`: the reason that names what would settle an UNSURE. `acceptable`: whether a FAST can be accepted here.
    """
    lower, upper = 1 / (1 + band), 1 + band
    more, less = words
    beyond = because("beyond-band", band=band, acceptable=acceptable)
    if estimate.alarm_low > upper:
        return Verdict(more, beyond, estimate)
    if estimate.alarm_high < lower:
        return Verdict(less, beyond, estimate)
    if lower <= estimate.low and estimate.high <= upper:
        return Verdict(SAME, because("inside-band", band=band), estimate)
    alone = estimate.low > upper or estimate.high < lower
    return Verdict(UNSURE, because("crosses-band", band=band, beyond_alone=alone, settling=settling), estimate)
