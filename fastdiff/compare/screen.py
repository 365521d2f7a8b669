"""When software differs: which stages are measured in pairs, and whose turn it is.

Stored seconds choose, until pairs know better. They do not decide verdicts; pairs do.
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
    looks: int = 0
    """How many planned looks its pairs have had; from the first one on, `moved` is what they show."""

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


def next_of(stages: Sequence[Screened]) -> str:
    """The stage that is measured up to its next look: the one with the fewest looks; of several, the one that changed
    most. So no stage takes the time in which all could have shown a large change."""
    return min(in_order(stages), key=lambda one: one.looks).id


def worth_it(stages: Sequence[Screened]) -> set[str]:
    """The stages to measure on a GPU, whose time is expensive: the flagged stages, and the last stage of each model's
    ladder, which has all optimizations."""
    last = {one.model: one.id for one in stages}
    return {one.id for one in stages if one.flagged} | set(last.values())
