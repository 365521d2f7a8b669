"""The pictures in what a pipeline answers: floats from 0 to 1, of the shape (pictures, height, width, 3), or of videos
(videos, frames, height, width, 3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastdiff.models.libraries import torch
from fastdiff.record.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES = ("images", "frames")
"""How diffusers calls them."""
LOWEST, HIGHEST = -0.5, 2.0
"""What a decoder overshoots by is less; numbers from -1 to 1, or to 255, are beyond it."""


def pictures(answer: Any, output: str | Callable[[Any], Any] | None = None) -> np.ndarray:
    """`output`: an attribute or a key of the answer, or a function of it; None looks for them."""
    found = _array(found_in(answer, output), output)
    if found.ndim > 4:
        videos = found.reshape(-1, *found.shape[-4:])
        frames = _pictures(videos.reshape(-1, *videos.shape[2:]))
        return frames.reshape(*videos.shape[:2], *frames.shape[1:])
    return _pictures(found)


def _pictures(found: np.ndarray) -> np.ndarray:
    if found.ndim == 2 or (found.ndim == 3 and {found.shape[0], found.shape[-1]} & {1, 3, 4}):
        found = found[None]
    if found.ndim == 4 and found.shape[-1] not in (1, 3) and found.shape[1] in (1, 3):
        found = np.moveaxis(found, 1, -1)
    if found.ndim == 3:
        found = found[..., None]
    if found.ndim != 4 or found.shape[-1] not in (1, 3):
        raise UserError("run", f"the answer has the shape {found.shape}, which is no picture; {NAME_THEM}")
    return _floats(found if found.shape[-1] == 3 else found.repeat(3, axis=-1))


NAME_THEM = (
    "name what holds the pictures: @fastdiff.pipeline(..., output=lambda answer: answer[...]); "
    "or, if they are tensors such as latents, close={}."
)


def found_in(answer: Any, output: str | Callable[[Any], Any] | None) -> Any:
    if callable(output):
        return output(answer)
    names = [output] if output else NAMES
    for name in names:
        if isinstance(answer, Mapping) and name in answer:
            return answer[name]
        if hasattr(answer, name):
            return getattr(answer, name)
    if output:
        raise UserError("run", f"the answer, a {type(answer).__name__}, has no {output}; {NAME_THEM}")
    # diffusers without `return_dict`: the pictures, and what else there is.
    return answer[0] if isinstance(answer, tuple) and answer else answer


def _array(found: Any, output: str | Callable[[Any], Any] | None) -> np.ndarray:
    if isinstance(found, torch.Tensor):
        values = found.detach().cpu()
        return np.asarray(values.float() if values.is_floating_point() else values)
    if isinstance(found, np.ndarray):
        return found
    if hasattr(found, "convert"):
        return np.asarray(found.convert("RGB"))
    if isinstance(found, Sequence) and not isinstance(found, str | bytes) and found:
        return np.stack([_array(one, output) for one in found])
    raise UserError("run", f"the answer holds a {type(found).__name__} and no pictures; {NAME_THEM}")


def _floats(found: np.ndarray) -> np.ndarray:
    if found.dtype == np.uint8:
        return found.astype(np.float32) / 255
    known = found[np.isfinite(found)]
    if known.size and (known.min() < LOWEST or known.max() > HIGHEST):
        raise UserError(
            "run",
            f"the answer has values from {known.min():.3g} to {known.max():.3g}, and pictures have 0 to 1; "
            "bring them there: @fastdiff.pipeline(..., output=lambda answer: (answer / 2 + 0.5)).",
        )
    return found.clip(0, 1)
