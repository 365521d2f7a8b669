"""The noise that a picture begins with, the same for every dtype.

A pipeline draws it in its own dtype. Before torch 2.12 the same seed gave unrelated numbers in float32, bfloat16 and
float16, so that a half-precision stage drew another picture than the reference, and parity meant nothing.
"""

from __future__ import annotations

import functools
import inspect
import re
import sys
from typing import TYPE_CHECKING, Any

from fastdiff.models.libraries import torch

if TYPE_CHECKING:
    from collections.abc import Callable

ALIKE = 0.05
"""Numbers of a normal distribution that were rounded to bfloat16 differ by less; unrelated ones by about 4."""
DRAWING = re.compile(r"prepare_(\w+_)?latents(_\w+)?|_encode_vae_image")
"""Methods of diffusers' pipelines that draw, some of them while they encode a picture."""
DRAWS = "randn_tensor"
"""diffusers' function for it, under the name that its modules import."""
ENCODER = "diffusers.models.autoencoders.vae"


def draw_in_float32(pipeline: Any) -> None:
    """Where this torch needs it, the latents are drawn in float32 and then rounded."""
    if dtypes_draw_alike():
        return
    for name in filter(DRAWING.fullmatch, dir(pipeline)):
        setattr(pipeline, name, _in_float32(getattr(pipeline, name)))


@functools.cache
def dtypes_draw_alike() -> bool:
    whole, half = (
        torch.randn(256, generator=torch.Generator().manual_seed(0), dtype=dtype)
        for dtype in (torch.float32, torch.bfloat16)
    )
    return bool((whole - half.float()).abs().max() < ALIKE)


def _in_float32(method: Callable[..., Any]) -> Callable[..., Any]:
    """The same method. While it runs, its module and the encoders' have another `randn_tensor`."""
    modules = [getattr(inspect.unwrap(method), "__globals__", {}), vars(sys.modules.get(ENCODER, object))]
    places = [names for names in modules if DRAWS in names]

    @functools.wraps(method, updated=())
    def drawing(*args: Any, **kwargs: Any) -> Any:
        before = [names[DRAWS] for names in places]
        for names, draw in zip(places, before, strict=True):
            if getattr(draw, "func", None) is not _rounded:  # one of these methods calls another one
                names[DRAWS] = functools.partial(_rounded, draw)
        try:
            return method(*args, **kwargs)
        finally:
            for names, draw in zip(places, before, strict=True):
                names[DRAWS] = draw

    return drawing


def _rounded(draw: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    asked = inspect.signature(draw).bind(*args, **kwargs)
    dtype, asked.arguments["dtype"] = asked.arguments.get("dtype"), torch.float32
    return draw(*asked.args, **asked.kwargs).to(dtype or torch.get_default_dtype())
