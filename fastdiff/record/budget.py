"""How far a picture may be from the reference's."""

from __future__ import annotations

from dataclasses import dataclass

from fastdiff.record.errors import UserError


@dataclass(frozen=True)
class Budget:
    """How far a stage's picture may be from the reference's, and where these numbers come from."""

    ssim: float
    worst_tile: float
    measured: str

    def __post_init__(self) -> None:
        for name in ("ssim", "worst_tile"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
                raise UserError("recipe", f"budget: {name} is {value!r}; give a number from 0 to 1.")
