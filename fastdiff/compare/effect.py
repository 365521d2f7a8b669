"""How much slower one side is than another, with its standard error and its intervals. Verdicts are made elsewhere.

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
"""A pair is an outlier if its distance from the middle is more than this many times the root mean square distance of
the nearest three quarters. In a normal distribution that distance is 0.6 standard deviations, so the limit is two of
them."""
ROUNDING = 1e-12
"""Logarithms that differ by no more than this are equal."""


@dataclass(frozen=True)
class Effect:
    """How much slower the new side is: the logarithm of new to old, and its standard error."""

    mean: float
    error: float
    """The standard error; zero for numbers without noise."""
    dof: float
    """Degrees of freedom of the error."""
    trials: int
    """The number of the baseline's trials, or of pairs."""

    @property
    def scatter(self) -> float:
        """The standard deviation between pairs."""
        return self.error * math.sqrt(self.trials)


@dataclass(frozen=True)
class Errors:
    """The allowed error probability of each bound."""

    alone: float
    """For this comparison alone."""
    alarm: float
    """This comparison's share of the error of the whole suite."""


@dataclass(frozen=True)
class Estimate:
    """Ratio of a candidate to its baseline, with the intervals that trials (not samples) support."""

    ratio: float
    low: float
    """`low` and `high` are the interval for this comparison alone."""
    high: float
    alarm_low: float
    """`alarm_low` and `alarm_high` are the wider interval at the confidence of the whole suite."""
    alarm_high: float
    trials: int
    """The number of the baseline's trials, or of pairs."""


def estimate(effect: Effect, errors: Errors) -> Estimate:
    """Each bound is one-sided.

    A false alarm anywhere in the suite is an error of the suite, so all alarms share the allowed error (Bonferroni,
    which allows for any dependence between them). "Everything is SAME" needs every comparison, so SAME shares nothing.
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
    """The effect of two numbers without noise, for instance bytes."""
    mean = logarithm(candidate, what) - logarithm(baseline, f"the baseline's value of {what}")
    return Effect(mean, 0.0, math.inf, trials=1)


def of_trials(candidate: float, baseline: Sequence[float], sd: float, dof: float) -> Effect:
    """One trial compared with the baseline's trials, all given by their centres; `sd` is that of fresh processes.

    There is no separate term for the scatter of samples: `sd` was computed from centres, which contain it already.
    """
    if not baseline:
        raise ValueError("the baseline has no trial; accept a run first.")
    if not (math.isfinite(sd) and sd >= 0):
        raise ValueError(f"the noise between processes is {sd}; it must be a finite number, zero or above.")
    error = sd * math.sqrt(1 + 1 / len(baseline))
    return Effect(candidate - fmean(baseline), error, dof, len(baseline))


def of_pairs(ratios: Sequence[float]) -> Effect:
    """The effect from each pair's logarithm of new to old. One outlier changes it little.

    The centre is Huber's: the mean after outliers were moved to the limit `FAR`. The scatter is taken from the nearest
    three quarters of the pairs. The standard error counts the moved pairs as lost. docs/explain/measurements.md
    compares this centre with others.
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
    """The effect of a number of pairs that scatter by `sd`.

    Huber's centre costs one degree of freedom more than the mean: with `pairs - 2` degrees of freedom, simulated false
    alarms stay within a tenth of the allowed rate, from 5 to 18 pairs (tests/test_compare_pairs.py, which also checks
    24).
    """
    return Effect(mean, sd / math.sqrt(pairs), pairs - 2, trials=pairs)


# -- of samples -------------------------------------------------------------------------------------------------------


def centre(samples: Sequence[Sample]) -> float:
    """The centre of a trial: the median logarithm of the seconds of its undisturbed samples."""
    logarithms = [logarithm(one.wall_s, "the time of a sample") for one in samples if not one.void]
    if not logarithms:
        raise ValueError("there is no undisturbed round; measure the stage again.")
    return median(logarithms)


def logarithm(value: float | None, what: str) -> float:
    """Rejects impossible values: a baseline of 0.0 would make every later run look fine."""
    if value is None or not math.isfinite(value) or value <= 0:
        raise ValueError(f"{what} is {value}; it must be a finite number above zero, so measure it again.")
    return math.log(value)
