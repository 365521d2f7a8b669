"""Which linear layers a recipe quantizes, as data: by their shape, by their name, or by a function of one's own."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from fastdiff.record.errors import UserError

NARROWEST = 16
"""Layers with as few inputs have nothing to gain."""


@dataclass(frozen=True)
class Filter:
    """Selects the layers for which everything that is given here holds."""

    inputs_above: int = NARROWEST
    shapes: tuple[tuple[int, int], ...] = ()
    """Inputs and outputs; empty selects every shape."""
    without_shapes: tuple[tuple[int, int], ...] = ()
    names: tuple[str, ...] = ()
    """Patterns such as `*.ff.net.*`, for names inside of the denoiser or the autoencoder; empty selects every name."""
    without_names: tuple[str, ...] = ()
    function: str = ""
    """`package.module:function`: called with a layer and its name, it answers whether to quantize the layer."""

    def __post_init__(self) -> None:
        if isinstance(self.inputs_above, bool) or not isinstance(self.inputs_above, int) or self.inputs_above < 0:
            raise UserError("recipe", f"filter: inputs_above is {self.inputs_above!r}; give a whole number.")
        for kind in ("shapes", "without_shapes"):
            for shape in _several(kind, getattr(self, kind)):
                if not (isinstance(shape, tuple) and len(shape) == 2 and all(type(side) is int for side in shape)):
                    raise UserError("recipe", f"filter: {kind} holds {shape!r}; give pairs such as [640, 1280].")
        for kind in ("names", "without_names"):
            for name in _several(kind, getattr(self, kind)):
                if not isinstance(name, str):
                    raise UserError("recipe", f"filter: {kind} holds {name!r}; give patterns in quotes.")
        if not isinstance(self.function, str) or (self.function and not all(self.function.partition(":"))):
            raise UserError("recipe", f'filter: function is {self.function!r}; write "package.module:function".')

    def selects(self, name: str, inputs: int, outputs: int) -> bool:
        """Without the function, which needs the layer itself."""
        shape = (inputs, outputs)
        return (
            inputs > self.inputs_above
            and (not self.shapes or shape in self.shapes)
            and shape not in self.without_shapes
            and (not self.names or _matches(name, self.names))
            and not _matches(name, self.without_names)
        )


def _several(kind: str, value: Any) -> tuple[Any, ...]:
    if not isinstance(value, tuple):
        raise UserError("recipe", f"filter: {kind} is {value!r}; give a list.")
    return value


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
