"""What was measured of the linear layers of a model, one shape at a time."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Shape:
    """All linear layers of one shape: a filter of shapes cannot tell them apart."""

    inputs: int
    outputs: int
    layers: int
    products: dict[int, int] = field(default_factory=dict)
    """By the number of rows that go in: how many products of one call have so many."""


@dataclass(frozen=True)
class Race:
    """A shape's products of one call in both ways, which took turns."""

    shape: Shape
    plain_s: tuple[float, ...]
    """Seconds, turn by turn."""
    quantized_s: tuple[float, ...]
