"""What stored seconds are good for where software differs: which stages are measured in pairs first, and which at all.

They decide nothing: pairs do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastdiff.compare.comparison import comparable, undisturbed
from fastdiff.compare.effect import centre

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastdiff.record.run import Baseline, Device, Trial


@dataclass(frozen=True)
class Screened:
    """A stage that pairs may be measured of."""

    id: str
    model: str
    moved: float | None
    """How far its seconds lie from the accepted ones: the absolute logarithm of the ratio. None: not comparable."""
    band: float
    """Beyond it the stored seconds show a change."""

    @property
    def flagged(self) -> bool:
        """What cannot be compared may have changed."""
        return self.moved is None or self.moved > math.log1p(self.band)


def moved(trial: Trial, baseline: Baseline | None, device: Device) -> float | None:
    base, _ = comparable(trial, baseline, device)
    if base is None or not undisturbed(base) or not undisturbed(trial):
        return None
    return abs(centre(trial.samples) - centre(base.samples))


def in_order(stages: Sequence[Screened]) -> list[Screened]:
    """The most changed first; among equals, and where nothing is comparable, as the ladder has them."""
    return sorted(stages, key=lambda one: -(one.moved or 0.0))


def worth_it(stages: Sequence[Screened]) -> set[str]:
    """Where the sides take turns on a device that is paid by the hour: the flagged stages, and the last one of each
    model's ladder, which has every optimization."""
    last = {one.model: one.id for one in stages}
    return {one.id for one in stages if one.flagged} | set(last.values())
