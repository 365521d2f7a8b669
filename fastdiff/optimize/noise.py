"""The noise that a picture begins with, the same for every dtype.

A pipeline draws it in its own dtype. Before torch 2.12 the same seed gave unrelated numbers in float32, bfloat16 and
float16, so that a half-precision stage drew another picture than the reference, and parity meant nothing.
"""

from __future__ import annotations

import functools
import inspect
from typing import Any

from fastdiff.models.libraries import torch

ALIKE = 0.05
"""Numbers of a normal distribution that were rounded to bfloat16 differ by less; unrelated ones by about 4."""


def draw_in_float32(pipeline: Any) -> None:
    """Where this torch needs it, the latents are drawn in float32 and then rounded."""
    prepares = getattr(pipeline, "prepare_latents", None)
    if prepares and "dtype" in inspect.signature(prepares).parameters and not dtypes_draw_alike():
        _wrap(pipeline)


@functools.cache
def dtypes_draw_alike() -> bool:
    whole, half = (
        torch.randn(256, generator=torch.Generator().manual_seed(0), dtype=dtype)
        for dtype in (torch.float32, torch.bfloat16)
    )
    return bool((whole - half.float()).abs().max() < ALIKE)


def _wrap(pipeline: Any) -> None:
    original = pipeline.prepare_latents
    signature = inspect.signature(original)

    @functools.wraps(original, updated=())
    def prepare(*args: Any, **kwargs: Any) -> Any:
        asked = signature.bind(*args, **kwargs)
        dtype, asked.arguments["dtype"] = asked.arguments["dtype"], torch.float32
        found = original(*asked.args, **asked.kwargs)
        # Flux's come with the places of its tokens.
        return tuple(one.to(dtype) for one in found) if isinstance(found, tuple) else found.to(dtype)

    pipeline.prepare_latents = prepare
