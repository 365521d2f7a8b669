"""What a built stage draws, and what is kept of how like the reference it is."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from fastdiff.models.loading import output_of
from fastdiff.quality.answers import pictures
from fastdiff.quality.metrics import Likeness
from fastdiff.quality.tensors import tensors
from fastdiff.record.run import Quality

if TYPE_CHECKING:
    from fastdiff.models import Request
    from fastdiff.optimize import Built
    from fastdiff.quality.tensors import Closeness
    from fastdiff.record.budget import Budget
    from fastdiff.record.outputs import Output


def draw(built: Built, request: Request) -> Output:
    """By one call."""
    output = output_of(built.model)
    if built.model.close is not None:
        return tensors(built.call(request), output)
    return pictures(built.call(request, output="np"), output)


def kept(found: Likeness | Closeness, reference: str, budget: Budget) -> Quality | None:
    """None of what is not a number: the judgement over pictures says so, and a file cannot hold it."""
    wrong = found.shortfall(budget) or ""
    if not isinstance(found, Likeness):
        numbers = found.numbers
        if None in numbers.values() and not wrong:
            return None
        return Quality(reference, None, None, None, not wrong, wrong, largest_at=found.place, **numbers)
    if not math.isfinite(found.ssim):
        return None
    psnr = found.psnr_db if math.isfinite(found.psnr_db) else None
    return Quality(reference, found.ssim, found.worst_tile, psnr, not wrong, wrong, found.flicker)
