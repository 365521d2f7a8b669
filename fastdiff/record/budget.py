"""How far what a stage draws may be from the reference's."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from fastdiff.record.errors import UserError


@dataclass(frozen=True)
class Budget:
    """How far a stage's picture may be from the reference's, and where these numbers come from."""

    ssim: float
    worst_tile: float
    measured: str
    flicker: float = 0.05
    """Of a video: by how much the error of a tile may change from one frame to the next, as a share of the range from
    black to white. A choice: an eye sees two per cent in a still region, and moving edges take more."""
    relative_l2: float = 0.1
    """Of latents. A choice: rounding to bfloat16 takes a sampler of 30 steps some per cent away from its path."""

    def __post_init__(self) -> None:
        for name in ("ssim", "worst_tile", "flicker", "relative_l2"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
                raise UserError("recipe", f"budget: {name} is {value!r}; give a number from 0 to 1.")


@dataclass(frozen=True)
class Close:
    """How far tensors may be from the reference's, where a module or a pipeline answers those and no pictures."""

    elements: bool
    """Whether each number is judged, as a module's are; else the whole tensor, as latents are."""
    rtol: float | None = None
    """|found - reference| <= atol + rtol * |reference|, as `torch.testing.assert_close` has it. None: by the dtype."""
    atol: float | None = None
    """None: from rtol and from how large the tensor's numbers are."""
    relative_l2: float | None = None
    """None: latents have the stage's budget, and of a module only the numbers are judged."""

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            if one.name == "elements" or value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
                raise UserError("recipe", f"close: {one.name} is {value!r}; give a number from 0 on.")
