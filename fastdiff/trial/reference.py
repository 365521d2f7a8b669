"""The reference pictures (or tensors) of a run, with which those of the other stages are compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastdiff.record.outputs import Output


@dataclass(frozen=True)
class Reference:
    stage: str
    """The stage that drew them."""
    images: Output
