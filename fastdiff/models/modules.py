"""Modules of the user's own: one in the place of a pipeline, and the inputs of its calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastdiff.models import factories
from fastdiff.models.libraries import torch
from fastdiff.record.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MODULE = "module"
"""Where the module is in what stands for a pipeline."""


class Alone:
    """A module, or another callable, in the place of a pipeline: the whole call is its one component."""

    def __init__(self, module: Any) -> None:
        self.module = module

    @torch.no_grad()
    def __call__(self, **given: Any) -> Any:
        """Positional arguments have their places for names, which no keyword argument can have."""
        positional = [value for name, value in given.items() if name.isdigit()]
        named = {name: value for name, value in given.items() if not name.isdigit()}
        return self.module(*positional, **named)


def inputs(asked: Any, call: Callable[[Any], Any], dtype: str, device: str) -> Mapping[str, Any]:
    """By name. `asked` is what the user's file says, and `call` has a function of it made with the seed, in a dtype.

    What such a function draws is drawn in float32 and then rounded: every stage begins with the same numbers, which
    torch did not draw in all dtypes before 2.12.
    """
    wanted = getattr(torch, dtype)
    found = call(wanted) if callable(asked) else asked
    if wrong := factories.wrong_inputs(found):
        raise UserError("recipe", wrong)
    if callable(asked) and dtype != "float32":
        found = _rounded(call(torch.float32), found)
    named = found if not isinstance(found, tuple) else {str(place): value for place, value in enumerate(found)}
    # Copies, because a module may write into its inputs, and those of a file are every stage's.
    return dict(_each(named, lambda one: one.to(device, copy=True)))


def cast(given: Any, dtype: str) -> Any:
    """Floating-point inputs in the dtype of the stage, where the user's file did not see to that."""
    wanted = getattr(torch, dtype)
    return _each(given, lambda one: one.to(wanted) if one.is_floating_point() else one)


def shapes(given: Mapping[str, Any]) -> dict[str, str]:
    """Of the tensors, for the request that a run keeps."""
    from torch.utils import _pytree

    found = {name: [one for one in _pytree.tree_leaves(value) if _is_tensor(one)] for name, value in given.items()}
    return {name: ", ".join(map(_shape, ones)) for name, ones in found.items() if ones}


def _shape(one: Any) -> str:
    return " x ".join(map(str, one.shape)) or "1"


def _rounded(whole: Any, template: Any) -> Any:
    """The numbers of one in the dtypes of the other, where both are of one build; else a dtype means more than that."""
    from torch.utils import _pytree

    values, layout = _pytree.tree_flatten(whole)
    wanted, same = _pytree.tree_flatten(template)
    if layout != same or [_layout(one) for one in values] != [_layout(one) for one in wanted]:
        return template
    return _pytree.tree_unflatten(
        [one.to(like.dtype) if _is_tensor(one) else like for one, like in zip(values, wanted, strict=True)], same
    )


def _layout(one: Any) -> Any:
    return one.shape if _is_tensor(one) else type(one)


def _each(given: Any, change: Callable[[Any], Any]) -> Any:
    from torch.utils import _pytree

    return _pytree.tree_map(lambda one: change(one) if _is_tensor(one) else one, given)


def _is_tensor(one: Any) -> bool:
    return isinstance(one, torch.Tensor)
