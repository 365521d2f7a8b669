"""The judgement over pictures: a stage's against the reference stage's of the same run."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from fastdiff.quality.metrics import Likeness
    from fastdiff.record.budget import Budget


def assert_sound(images: np.ndarray) -> None:
    """Fails on pictures that are wrong whatever they are compared with: NaN, black, one flat colour."""
    __tracebackhide__ = True
    from fastdiff.quality.tripwires import tripped  # imports NumPy, which collecting does not need

    if wrong := tripped(images):
        raise AssertionError(wrong)


def assert_parity(found: Likeness, budget: Budget) -> None:
    __tracebackhide__ = True
    if wrong := shortfall(found, budget):
        raise AssertionError(wrong)


def shortfall(found: Likeness, budget: Budget) -> str | None:
    """Says in one sentence what the budget asks for and the picture does not have; None if nothing is."""
    # Written as `not ... >=`, so that a likeness that is not a number falls short too.
    if not found.ssim >= budget.ssim:
        return f"{found}: the budget asks for an SSIM of at least {budget.ssim} ({budget.measured})."
    if not found.worst_tile >= budget.worst_tile:
        return f"{found}: the budget asks for at least {budget.worst_tile} in the worst tile ({budget.measured})."
    return None
