"""Tensors in what a module answers, or a pipeline that stops at latents: which there are, and how close they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fastdiff.models.libraries import torch
from fastdiff.quality.answers import found_in
from fastdiff.record.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastdiff.record.budget import Budget, Close
    from fastdiff.stages.recipe import Recipe

Tensors = dict[str, np.ndarray]
"""By their place in the answer."""
ONLY = "output"
"""What a tensor is called that is the whole answer."""

RTOL = {"float32": 1e-3, "float16": 5e-3, "half": 2e-2, "bfloat16": 2e-2}
"""What a number may be off by, as a share: some times what was measured of a transformer's block, 0.003 in bfloat16,
0.0004 in float16, 0.003 in int8, and twice as much of eight in a row (relative L2, random weights, a CPU). In float32
TF32 is allowed, which rounds to 11 bits."""
RTOL_QUANTIZED = 0.05
EXTREME = 5.0
"""Of atol, where none is given: rtol times the root mean square of the reference times this. The largest of a million
rounding errors is five times a usual one, and it may hit a number that is nearly zero."""


def tensors(answer: Any, output: str | Callable[[Any], Any] | None = None) -> Tensors:
    """`output`: an attribute or a key of the answer, or a function of it; None takes every tensor there is."""
    found = found_in(answer, output) if output else answer
    named = {name or ONLY: _array(one) for name, one in _tensors(found, "")}
    if not named:
        raise UserError(
            "run",
            f"the answer, a {type(answer).__name__}, holds no tensor; name what holds them: "
            "output=lambda answer: answer[...].",
        )
    return named


def _tensors(found: Any, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(found, torch.Tensor | np.ndarray):
        yield name, found
        return
    parts: Any = ()
    if isinstance(found, Mapping):
        parts = found.items()
    elif is_dataclass(found) and not isinstance(found, type):
        parts = [(one.name, getattr(found, one.name)) for one in fields(found)]
    elif isinstance(found, list | tuple):
        parts = enumerate(found)
    for part, value in parts:
        yield from _tensors(value, f"{name}.{part}" if name else str(part))


def _array(found: Any) -> np.ndarray:
    """A copy, because a module may answer a tensor that its next call writes into."""
    if isinstance(found, np.ndarray):
        return found.copy()
    values = found.detach().cpu()
    return np.asarray(values.float() if values.is_floating_point() else values).copy()


# -- how close --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Closeness:
    """Of the tensor that is farthest from the reference's; what is beyond its limits is one sentence."""

    relative_l2: float
    largest_error: float
    place: str
    """Where that is, such as `output[0, 17, 5]`."""
    wrong: str = ""

    def __str__(self) -> str:
        return f"relative L2 {self.relative_l2:.3g}, largest error {self.largest_error:.3g} at {self.place}"

    def shortfall(self, _: Budget) -> str | None:
        return self.wrong or None

    @property
    def numbers(self) -> dict[str, float | None]:
        """As a file can hold them."""
        both = {"relative_l2": self.relative_l2, "largest_error": self.largest_error}
        return {name: value if np.isfinite(value) else None for name, value in both.items()}


def limits(close: Close, recipe: Recipe, budget: Budget) -> Close:
    """With what the user left open: numbers are judged by the dtype, whole tensors by the stage's budget."""
    if close.elements and close.rtol is None:
        usual = RTOL_QUANTIZED if recipe.quantize != "none" else RTOL[recipe.dtype]
        return replace(close, rtol=usual if close.atol is None else 0.0)
    if not close.elements and close.relative_l2 is None:
        return replace(close, relative_l2=budget.relative_l2)
    return close


def closeness(found: Tensors, reference: Tensors, within: Close) -> Closeness:
    """`within` as `limits` has completed it."""
    if _layout(found) != _layout(reference):
        sentence = f"the answer is {_listed(found)}, and the reference's is {_listed(reference)}."
        return Closeness(float("inf"), float("inf"), "its shape", sentence)
    each = [_closeness(name, one, reference[name], within) for name, one in found.items()]
    # What is beyond its limits comes first, then what is farthest; a distance that is no number is farthest of all.
    return max(each, key=lambda one: (bool(one.wrong), not np.isfinite(one.relative_l2), one.relative_l2))


def _closeness(name: str, found: np.ndarray, reference: np.ndarray, within: Close) -> Closeness:
    wanted = reference.astype(np.result_type(reference.dtype, np.float64))
    with np.errstate(invalid="ignore"):  # infinity less infinity
        error = np.abs(found - wanted)
    error = np.where(np.isnan(error), np.inf, error)
    if not error.size:
        return Closeness(0.0, 0.0, name)
    size, distance = (float(np.sqrt(np.sum(np.abs(one) ** 2))) for one in (wanted, error))
    relative = distance / size if size else float(distance > 0)
    largest = _place(error)
    known = Closeness(relative, float(error[largest]), _shown(name, largest))
    beyond = _beyond(name, found, wanted, error, within) if within.elements else ""
    if not beyond and within.relative_l2 is not None and not relative <= within.relative_l2:
        beyond = f"{name}: {known}; a relative L2 of {within.relative_l2:g} is allowed."
    return replace(known, wrong=beyond)


def _beyond(name: str, found: np.ndarray, wanted: np.ndarray, error: np.ndarray, within: Close) -> str:
    """Which number is farthest beyond what is allowed for it; empty where none is."""
    # A number of the reference that is none allows nothing, and says nothing of how large the others are.
    size, rtol = np.where(np.isfinite(wanted), np.abs(wanted), 0.0), within.rtol or 0.0
    usual = EXTREME * rtol * float(np.sqrt(np.mean(size**2)))
    atol = usual if within.atol is None else within.atol
    excess = error - (atol + rtol * size)
    count, place = int((excess > 0).sum()), _place(excess)
    if not count:
        return ""
    allowed = atol + rtol * float(size[place])
    return (
        f"{_shown(name, place)} is {found[place]:.6g} where the reference has {wanted[place]:.6g}: "
        f"{float(error[place]):.3g} apart, and {allowed:.3g} is allowed (atol {atol:.3g} + rtol {rtol:g} of it); "
        f"{count} of {error.size} numbers are too far apart."
    )


def _place(values: np.ndarray) -> tuple[int, ...]:
    return tuple(int(one) for one in np.unravel_index(int(values.argmax()), values.shape))


def _shown(name: str, place: tuple[int, ...]) -> str:
    return f"{name}[{', '.join(map(str, place))}]" if place else name


def _layout(found: Tensors) -> list[tuple[str, tuple[int, ...]]]:
    return [(name, one.shape) for name, one in found.items()]


def _listed(found: Tensors) -> str:
    return ", ".join(f"{name} {one.shape}" for name, one in found.items())


# -- wrong, whatever they are compared with ---------------------------------------------------------------------------


def tripped(found: Tensors) -> str | None:
    """Says in one sentence what is wrong with the first bad tensor; None if nothing is. Zeros are like any zeros."""
    for name, one in found.items():
        if not (bad := ~np.isfinite(one)).any():
            continue
        where = _shown(name, _place(bad))
        return f"{int(bad.sum())} of {one.size} values of {name} are not numbers, the first is {where}."
    floats = [one for one in found.values() if one.size > 1 and not np.issubdtype(one.dtype, np.integer)]
    if floats and all((one == one.flat[0]).all() for one in floats):
        constant = {name: one.flat[0] for name, one in found.items() if one.size and (one == one.flat[0]).all()}
        return " and ".join(f"every value of {name} is {value:g}" for name, value in constant.items()) + "."
    return None
