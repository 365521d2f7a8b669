"""After how many pairs a verdict is tried (a look), each look's share of the allowed error, the pairs needed, and the
calls of a pair.

The looks are planned beforehand and share the error, so stopping early causes no additional false alarms.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from scipy.special import chdtri, nctdtrinc, stdtrit

from fastdiff.compare.effect import Errors, estimate, from_scatter
from fastdiff.compare.policy import FEWEST_PAIRS
from fastdiff.record.errors import UserError
from fastdiff.record.pairs import WHOLE_BLOCKS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastdiff.compare.effect import Effect
    from fastdiff.compare.policy import Policy

MOST_PAIRS = 100
"""A comparison that needs more pairs is not possible on this machine."""
PAIR_S = 10.0
"""The seconds that the calls of both sides of a pair take if their number is not given. Starting a pair takes 6 to 15
seconds, which shorter pairs would spend more often; longer ones are hardly more precise, because two thirds of what
pairs of 20 seconds scatter by lies between processes."""
FEWEST_CALLS, MOST_CALLS = 12, 96
OF_ALARMS, OF_SAME = 2, 1
"""Powers of `share`. Early looks rarely raise an alarm, so most of its error is left to the last one. SAME gets an
even share: it is the usual answer, and comes after a tenth fewer pairs so."""
POWER = 0.95
"""The probability that pairs detect the smallest slowdown of a calibration."""
UPPER = 0.8
"""The probability that pairs scatter no more than a calibration assumes."""


def looks(most: int) -> tuple[int, ...]:
    """The numbers of pairs at which a verdict is tried: 5, 8, 12 for at most 12, and 5, 8, 12, 16, 24 for at most
    24.

    Looks grow by a factor of 1.5, and no look is so late that the last one would keep less than half of the error. If
    a wide gap is left before the last one, another look lies at 0.7 of it. In simulations, looks at 5, 8 and 12 pairs
    detected the same changes as a single look at 12, and clear cases ended after 7 to 8 pairs; a fourth look among
    these 12 did not end sooner. The look at 16 of 24 pairs saves a tenth of the pairs.
    """
    if most < FEWEST_PAIRS:
        raise UserError("recipe", f"--pairs is {most}; give {FEWEST_PAIRS} or more: fewer pairs decide nothing.")
    found, pairs = [], FEWEST_PAIRS
    while 3 * pairs <= 2 * most:
        found.append(pairs)
        pairs = math.ceil(1.5 * pairs)
    latest = math.floor(most * math.sqrt(0.5))
    if found and 4 * found[-1] <= 3 * latest:
        found.append(latest)
    return (*found, most)


def calls(call_s: float) -> int:
    """The calls of each side in a pair, if a call of both sides together takes `call_s` seconds."""
    whole = round(PAIR_S / call_s / WHOLE_BLOCKS) if call_s > 0 else MOST_CALLS
    return min(MOST_CALLS, max(FEWEST_CALLS, WHOLE_BLOCKS * whole))


def share(planned: Sequence[int], pairs: int, power: int) -> float:
    """The share of the whole error that the look after `pairs` pairs may spend.

    The spent error grows with a power of the number of pairs (Kim and DeMets' family). The shares add up to 1, which
    allows for any dependence between looks.
    """
    earlier, most = max((one for one in planned if one < pairs), default=0), planned[-1]
    return (min(pairs, most) / most) ** power - (earlier / most) ** power


def errors(policy: Policy, comparisons: int, planned: Sequence[int], pairs: int) -> Errors:
    """The allowed errors of the look after `pairs` pairs. The error of alarms is shared by the whole suite and all its
    looks; that of SAME belongs to one comparison."""
    return Errors(
        alone=(1 - policy.same_confidence) * share(planned, pairs, OF_SAME),
        alarm=(1 - policy.paired_confidence) * share(planned, pairs, OF_ALARMS) / comparisons,
    )


def pairs_needed(effect: Effect, band: float, policy: Policy, comparisons: int) -> int | None:
    """The number of pairs after which an experiment with this effect would end; None if above `MOST_PAIRS`.

    More pairs also give a better estimate of their scatter, so fewer are needed than this interval's width suggests.
    """
    edge, at = math.log1p(band), abs(effect.mean)
    for pairs in range(effect.trials + 1, MOST_PAIRS + 1):
        later = estimate(from_scatter(at, effect.scatter, pairs), errors(policy, comparisons, looks(pairs), pairs))
        if math.log(later.high) <= edge or math.log(later.alarm_low) > edge:
            return pairs
    return None


def smallest(sd: float, planned: Sequence[int], band: float, policy: Policy, comparisons: int) -> float:
    """The slowdown that pairs with the scatter `sd` detect with a power of 95 %: 0.02 is 2 %.

    Each experiment has only its own estimate of the scatter, hence Student's non-central t. Only the last look is
    counted, although an earlier one may already detect the slowdown.
    """
    last = from_scatter(0.0, sd, planned[-1])
    alarm = float(stdtrit(last.dof, 1 - errors(policy, comparisons, planned, planned[-1]).alarm))
    beyond = float(nctdtrinc(last.dof, 1 - POWER, alarm)) * last.error
    return (1 + band) * math.exp(beyond) - 1


def upper(sd: float, dof: float) -> float:
    """An upper bound (80 %) of the true scatter if `sd` was measured: few pairs give only a rough estimate."""
    return sd * math.sqrt(dof / float(chdtri(dof, UPPER)))
