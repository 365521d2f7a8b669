"""The judgement over what a stage drew: against the reference stage's of the same run."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastdiff.quality.metrics import Likeness
    from fastdiff.quality.tensors import Closeness
    from fastdiff.record.budget import Budget, Close
    from fastdiff.record.outputs import Output
    from fastdiff.stages.recipe import Recipe


def assert_sound(images: Output) -> None:
    """Fails on what is wrong whatever it is compared with: NaN, a black picture, one flat colour."""
    __tracebackhide__ = True
    if wrong := unsound(images):
        raise AssertionError(wrong)


def assert_parity(found: Likeness | Closeness, budget: Budget) -> None:
    __tracebackhide__ = True
    if wrong := found.shortfall(budget):
        raise AssertionError(wrong)


def unsound(images: Output) -> str | None:
    """In one sentence; None where nothing is wrong."""
    from fastdiff.quality import tensors, tripwires  # import NumPy, which collecting does not need

    return tensors.tripped(images) if isinstance(images, dict) else tripwires.tripped(images)


def compared(
    images: Output, reference: Output, close: Close | None, recipe: Recipe, budget: Budget
) -> Likeness | Closeness:
    """Pictures with pictures, tensors with tensors; `close` says how far these may be apart."""
    from fastdiff.quality import metrics, tensors

    if isinstance(images, dict) and isinstance(reference, dict) and close is not None:
        return tensors.closeness(images, reference, tensors.limits(close, recipe, budget))
    if isinstance(images, dict) or isinstance(reference, dict):
        raise ValueError("pictures cannot be compared with tensors")
    alike = min(len(images), len(reference))  # a stage of another batch draws the same first ones
    return metrics.likeness(images[:alike], reference[:alike])
