"""The pictures that the others of the same run are compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Reference:
    stage: str
    """Which stage drew them."""
    images: np.ndarray
