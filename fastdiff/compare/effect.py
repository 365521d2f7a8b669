"""How much slower one side is than another, how well that is known, and where it therefore lies. Nothing is decided.

Everything is computed on logarithms, so that twice as slow and twice as fast are equally far from equal.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean, median
from typing import TYPE_CHECKING

from scipy.special import stdtrit

from fastdiff.compare.policy import FEWEST_PAIRS
from fastdiff.record.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastdiff.record.run import Sample

FAR = 3.5
"""Times the root mean square distance of the nearest three quarters from the middle. In a normal distribution that
distance is 0.6 standard deviations, so far begins beyond two of them."""
ROUNDING = 1e-12
"""Logarithms that differ by no more than this are equal."""


@dataclass(frozen=True)
class Effect:
    """How much slower: the logarithm of new to old, and how well it is known."""

    mean: float
    error: float
    """The standard error; zero where nothing scatters."""
    dof: float
    """Degrees of freedom of the error."""
    trials: int
    """Of the baseline, or pairs."""

    @property
    def scatter(self) -> float:
        """Of pairs, from one to the next: a standard deviation."""
        return self.error * math.sqrt(self.trials)


@dataclass(frozen=True)
class Errors:
    """How often each bound may be wrong."""

    alone: float
    """Where this comparison is looked at alone."""
    alarm: float
    """Its part of the error of the whole suite, which makes many comparisons."""


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
    """Of the baseline, or pairs."""


def estimate(effect: Effect, errors: Errors) -> Estimate:
    """Each bound is one-sided.

    An alarm anywhere in the suite is an error of the suite, so the alarms share it (Bonferroni: whatever they have to
    do with one another). "Everything is the same" needs every comparison to say so, and shares nothing.
    """
    alone, alarm = (float(stdtrit(effect.dof, 1 - one)) * effect.error for one in (errors.alone, errors.alarm))
    return Estimate(
        ratio=math.exp(effect.mean),
        low=math.exp(effect.mean - alone),
        high=math.exp(effect.mean + alone),
        alarm_low=math.exp(effect.mean - alarm),
        alarm_high=math.exp(effect.mean + alarm),
        trials=effect.trials,
    )


# -- where effects come from ------------------------------------------------------------------------------------------


def exact(candidate: float, baseline: float, what: str) -> Effect:
    """Of two numbers without noise, for instance bytes."""
    mean = logarithm(candidate, what) - logarithm(baseline, f"the baseline's value of {what}")
    return Effect(mean, 0.0, math.inf, trials=1)


def of_trials(candidate: float, baseline: Sequence[float], sd: float, dof: float) -> Effect:
    """A trial against the baseline's trials, all given by their centres; `sd` is that of fresh processes.

    The scatter of the samples has no term of its own: the centres from which `sd` was computed contain it already.
    """
    if not baseline:
        raise ValueError("the baseline has no trial; accept a run first.")
    if not (math.isfinite(sd) and sd >= 0):
        raise ValueError(f"the noise between processes is {sd}; it must be a finite number, zero or above.")
    error = sd * math.sqrt(1 + 1 / len(baseline))
    return Effect(candidate - fmean(baseline), error, dof, len(baseline))


def of_pairs(ratios: Sequence[float]) -> Effect:
    """From the logarithm of new to old of each pair; one wild pair moves it little.

    The mean, after every pair that is far from the others was pulled in to where far begins (Huber). How far the others
    scatter is seen on the nearest three quarters. The error counts the pulled-in pairs as lost. It is compared
    with other centres in docs/explain/measurements.md.
    """
    if len(ratios) < FEWEST_PAIRS:
        raise UserError("recipe", f"{len(ratios)} pairs are too few for an interval; measure {FEWEST_PAIRS} or more.")
    count, middle = len(ratios), median(ratios)
    nearest = sorted(abs(one - middle) for one in ratios)[: count - count // 4]
    far = FAR * math.sqrt(fmean(one**2 for one in nearest)) + ROUNDING
    before = math.inf
    while abs(middle - before) > ROUNDING:
        before, middle = middle, fmean(_pulled_in(ratios, middle, far))
    kept = sum(abs(one - middle) <= far for one in ratios)
    squares = sum((one - middle) ** 2 for one in _pulled_in(ratios, middle, far))
    return from_scatter(middle, math.sqrt(squares / (count - 1)) * count / kept, count)


def _pulled_in(ratios: Sequence[float], middle: float, far: float) -> list[float]:
    return [min(max(one, middle - far), middle + far) for one in ratios]


def from_scatter(mean: float, sd: float, pairs: int) -> Effect:
    """Of so many pairs that scatter by `sd`.

    Pulling in costs one degree of freedom more than the mean does: with two fewer than pairs, simulated false alarms
    stay within a tenth of what was allowed, from 5 to 18 pairs (tests/test_compare_pairs.py, which also looks at 24).
    """
    return Effect(mean, sd / math.sqrt(pairs), pairs - 2, trials=pairs)


# -- of samples -------------------------------------------------------------------------------------------------------


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
