"""When pairs are looked at, what each look may spend of the allowed error, and how many pairs a question needs.

Looks are planned beforehand and share the error, so that stopping early raises no more false alarms than not stopping.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from scipy.special import chdtri, nctdtrinc, stdtrit

from fastdiff.compare.effect import Errors, estimate, from_scatter
from fastdiff.compare.policy import FEWEST_PAIRS
from fastdiff.record.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastdiff.compare.effect import Effect
    from fastdiff.compare.policy import Policy

MOST_PAIRS = 100
"""A question that needs more pairs than this cannot be answered on this machine."""
POWER = 0.95
"""With what probability the smallest slowdown of a calibration is found."""
UPPER = 0.8
"""With what probability the machine scatters no more than a calibration assumes."""


def looks(most: int) -> tuple[int, ...]:
    """After how many pairs the numbers are looked at: 5, 8, 12 of 12, and 5, 8, 12, 24 of 24.

    Each look has half as many pairs again as the one before, and none comes so late that the last one would keep less
    than half of the error. In simulations of 12 pairs, looks at 5, 8 and 12 found what a single look at 12 finds, and
    ended after 7 to 8 pairs where the answer is clear; a fourth one ended no sooner.
    """
    if most < FEWEST_PAIRS:
        raise UserError("recipe", f"--pairs is {most}; give {FEWEST_PAIRS} or more: fewer pairs decide nothing.")
    found, pairs = [], FEWEST_PAIRS
    while 3 * pairs <= 2 * most:
        found.append(pairs)
        pairs = math.ceil(1.5 * pairs)
    return (*found, most)


def share(planned: Sequence[int], pairs: int) -> float:
    """Of the whole error, what the look after so many pairs may spend.

    It grows with the square of what was seen (Kim and DeMets' power family): the last look, which sees the
    most pairs, keeps the most. The shares are simply added up, which allows for any dependence between looks.
    """
    earlier, most = max((one for one in planned if one < pairs), default=0), planned[-1]
    return (min(pairs, most) / most) ** 2 - (earlier / most) ** 2


def errors(policy: Policy, comparisons: int, planned: Sequence[int], pairs: int) -> Errors:
    """Of the look after so many pairs. The alarm's error is that of the whole suite over all its looks; SAME is an
    error of one comparison alone."""
    spent = share(planned, pairs)
    return Errors(
        alone=(1 - policy.same_confidence) * spent, alarm=(1 - policy.paired_confidence) * spent / comparisons
    )


def pairs_needed(effect: Effect, band: float, policy: Policy, comparisons: int) -> int | None:
    """After how many pairs an experiment like this one would end, if they go on as these; None beyond the cap.

    More pairs also know their own scatter better, so it is far fewer than the width of this interval says.
    """
    edge, at = math.log1p(band), abs(effect.mean)
    for pairs in range(effect.trials + 1, MOST_PAIRS + 1):
        later = estimate(from_scatter(at, effect.scatter, pairs), errors(policy, comparisons, looks(pairs), pairs))
        if math.log(later.high) <= edge or math.log(later.alarm_low) > edge:
            return pairs
    return None


def smallest(sd: float, planned: Sequence[int], band: float, policy: Policy, comparisons: int) -> float:
    """The slowdown that is found with the power of 95 %, where pairs scatter by `sd`: 0.02 is 2 %.

    Each experiment only has its own estimate of the scatter, hence Student's non-central t; and only the last look is
    counted, although an earlier one may find it.
    """
    last = from_scatter(0.0, sd, planned[-1])
    alarm = float(stdtrit(last.dof, 1 - errors(policy, comparisons, planned, planned[-1]).alarm))
    beyond = float(nctdtrinc(last.dof, 1 - POWER, alarm)) * last.error
    return (1 + band) * math.exp(beyond) - 1


def upper(sd: float, dof: float) -> float:
    """What the scatter hardly exceeds (with 80 %), where `sd` was seen: a few pairs show it badly."""
    return sd * math.sqrt(dof / float(chdtri(dof, UPPER)))
