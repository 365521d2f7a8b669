"""The centre of paired ratios and its interval, by ranks: one wild pair moves neither far."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations_with_replacement
from statistics import median
from typing import TYPE_CHECKING

from scipy.stats import norm

if TYPE_CHECKING:
    from collections.abc import Sequence

FEWEST = 6
"""Of fewer pairs no interval of 95 % is known by ranks."""


@dataclass(frozen=True)
class Interval:
    middle: float
    low: float
    high: float
    pairs: int

    def __str__(self) -> str:
        return f"{self.middle:.4f} ({self.low:.4f} to {self.high:.4f} at 95 %, {self.pairs} pairs)"


def interval(ratios: Sequence[float], confidence: float = 0.95) -> Interval:
    """Hodges and Lehmann: the median of the means of every two logarithms; the interval is Wilcoxon's."""
    count = len(ratios)
    if count < FEWEST:
        raise ValueError(f"{count} pairs are too few for an interval; give at least {FEWEST}.")
    logarithms = [math.log(ratio) for ratio in ratios]
    means = sorted((one + other) / 2 for one, other in combinations_with_replacement(logarithms, 2))
    deviation = math.sqrt(count * (count + 1) * (2 * count + 1) / 24)
    cut = max(0, math.floor(count * (count + 1) / 4 - float(norm.ppf((1 + confidence) / 2)) * deviation - 0.5))
    return Interval(math.exp(median(means)), math.exp(means[cut]), math.exp(means[-1 - cut]), count)
