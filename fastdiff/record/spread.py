"""The latency of a stage in three numbers."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median, quantiles
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastdiff.record.run import Trial


@dataclass(frozen=True)
class Spread:
    """A median, and between which values the middle half of the samples lies."""

    median: float
    low: float
    high: float


def latency(stage: Trial | None) -> Spread | None:
    """Over the samples that the machine did not disturb; None where there are none."""
    values = [r.wall_s for r in stage.samples if not r.void] if stage else []
    if len(values) < 2:
        return Spread(values[0], values[0], values[0]) if values else None
    low, _, high = quantiles(values, n=4, method="inclusive")
    return Spread(median(values), low, high)
