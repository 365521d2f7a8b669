"""Stored seconds when software differs: they choose which stages are measured in pairs, and in which order.

They do not decide verdicts; pairs do.
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
    """A candidate for pairs."""

    id: str
    model: str
    moved: float | None
    """How far its seconds lie from the accepted ones: the absolute logarithm of the ratio. None: not comparable."""
    band: float
    """If `moved` is beyond this band, the stored seconds show a change."""

    @property
    def flagged(self) -> bool:
        """Whether the stage may have changed; also true if it cannot be compared."""
        return self.moved is None or self.moved > math.log1p(self.band)


def moved(trial: Trial, baseline: Baseline | None, device: Device) -> float | None:
    base, _ = comparable(trial, baseline, device)
    if base is None or not undisturbed(base) or not undisturbed(trial):
        return None
    return abs(centre(trial.samples) - centre(base.samples))


def in_order(stages: Sequence[Screened]) -> list[Screened]:
    """The largest change first; equal or incomparable stages in the order of the ladder."""
    return sorted(stages, key=lambda one: -(one.moved or 0.0))


def worth_it(stages: Sequence[Screened]) -> set[str]:
    """The stages to measure on a GPU, whose time is expensive: the flagged stages, and the last stage of each model's
    ladder, which has all optimizations."""
    last = {one.model: one.id for one in stages}
    return {one.id for one in stages if one.flagged} | set(last.values())
