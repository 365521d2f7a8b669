"""How much slower a trial is than the baseline's trials, and how sure that is. Nothing is decided here.

Everything is computed on logarithms, so that twice as slow and twice as fast are equally far from equal.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean, median
from typing import TYPE_CHECKING

from scipy.special import stdtrit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastdiff.record.run import Sample


@dataclass(frozen=True)
class Estimate:
    """Ratio of a candidate to its baseline, with the intervals that trials (not samples) support."""

    ratio: float
    low: float
    """With `high`: where the ratio lies, if this comparison is looked at alone."""
    high: float
    alarm_low: float
    """With `alarm_high`: the same with the confidence of the whole suite, which makes many comparisons."""
    alarm_high: float
    trials: int
    """Of the baseline."""
    candidates: int = 1
    """Trials of the candidate: more than one after a confirmation."""


def centre(samples: Sequence[Sample]) -> float:
    """Where a trial lies: the median logarithm of the seconds of its undisturbed samples."""
    logarithms = [logarithm(one.wall_s, "the time of a sample") for one in samples if not one.void]
    if not logarithms:
        raise ValueError("there is no undisturbed round; measure the stage again.")
    return median(logarithms)


def logarithm(value: float | None, what: str) -> float:
    """Refuses what is no measurement: a baseline of 0.0 would make every later run look fine."""
    if value is None or not math.isfinite(value) or value <= 0:
        raise ValueError(f"{what} is {value}; it must be a finite number above zero, so measure it again.")
    return math.log(value)


def estimate(
    candidate: float,
    baseline: Sequence[float],
    sd: float,
    *,
    candidates: int = 1,
    freedom: float = math.inf,
    confidence: float = 0.95,
    comparisons: int = 1,
    chances: int = 1,
) -> Estimate:
    """One trial against the baseline's trials, all given by their centres; `sd` is that of fresh processes.

    After a confirmation `candidate` is the mean of `candidates` trials.

    The scatter of the samples has no term of its own: the centres from which `sd` was computed contain it already.

    Each bound is one-sided. An alarm anywhere in the suite is an error of the suite, so the alarm's bounds are
    widened (Šidák). "Everything is the same" needs every comparison to say so, which needs no widening but
    for the `chances`: how often one comparison may be found the same.
    """
    if not baseline:
        raise ValueError("the baseline has no trial; accept a run first.")
    if not (math.isfinite(sd) and sd >= 0):
        raise ValueError(f"the noise between processes is {sd}; it must be a finite number, zero or above.")
    middle = candidate - fmean(baseline)
    error = sd * math.sqrt(1 / candidates + 1 / len(baseline))
    alone = float(stdtrit(freedom, 1 - (1 - confidence) / chances)) * error
    together = float(stdtrit(freedom, confidence ** (1 / comparisons))) * error
    return Estimate(
        ratio=math.exp(middle),
        low=math.exp(middle - alone),
        high=math.exp(middle + alone),
        alarm_low=math.exp(middle - together),
        alarm_high=math.exp(middle + together),
        trials=len(baseline),
        candidates=candidates,
    )


def exact(candidate: float, baseline: float, what: str) -> Estimate:
    """The ratio of two numbers without noise, for instance bytes."""
    ratio = math.exp(logarithm(candidate, what) - logarithm(baseline, f"the baseline's value of {what}"))
    return Estimate(ratio, ratio, ratio, ratio, ratio, trials=1)
