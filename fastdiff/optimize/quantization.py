"""Fewer bits in the layers that gain from it, after the 1x1 convolutions that matter have become linear layers."""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING, Any

from fastdiff.models.filters import published
from fastdiff.models.libraries import torch
from fastdiff.record.errors import UserError
from fastdiff.stages.filters import Filter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from fastdiff.models import Model
    from fastdiff.stages.recipe import Recipe

INT4_GROUP = 128
"""Inputs that share a scale; torchao's own default."""

MULTIPLES = {
    "int8-dynamic": (1, 1),
    "int8-weight-only": (16, 1),
    "int4-weight-only": (INT4_GROUP, 8),
    "float8-dynamic": (16, 16),
}
"""Of what inputs and outputs must be a multiple for the kernel. Of int8-weight-only a CPU's: inductor takes
`torch._weight_int8pack_mm`, which with AVX512 ends the process with a segmentation fault where 24 or 40 inputs come."""


def filter_of(model: Model, recipe: Recipe) -> Filter:
    """The recipe's own, or else the published one. Weights that only lie in fewer bits cost no conversion of
    activations, so what was published about dynamic kinds does not apply to them."""
    if recipe.filter is not None:
        return recipe.filter
    return published(model) if recipe.quantize.endswith("-dynamic") else Filter()


def selected(filter_: Filter, module: Any, name: str) -> bool:
    return (
        isinstance(module, torch.nn.Linear)
        and filter_.selects(name, module.in_features, module.out_features)
        and (not filter_.function or bool(_function(filter_.function)(module, name)))
    )


def fits(kind: str, linear: Any) -> bool:
    """Whether the kernel takes layers of this shape; what it does not take stays as it is."""
    inputs, outputs = MULTIPLES[kind]
    return linear.in_features % inputs == 0 and linear.out_features % outputs == 0


def is_quantized(module: Any) -> bool:
    weight = getattr(module, "weight", None)
    return weight is not None and type(weight).__module__.startswith("torchao.")


def worth_linear(module: Any, name: str = "") -> bool:
    return (
        isinstance(module, torch.nn.Conv2d)
        and module.kernel_size == (1, 1)
        and 128 in (module.in_channels, module.out_channels)
    )


def convolutions_to_linear(parts: Iterable[Any]) -> None:
    from torchao.quantization import swap_conv2d_1x1_to_linear

    for part in parts:
        swap_conv2d_1x1_to_linear(part, worth_linear)


def quantize(parts: list[Any], kind: str, filter_: Filter) -> None:
    from torchao.quantization import quantize_

    convolutions_to_linear(parts)
    for part in parts:
        quantize_(
            part, _configuration(kind), lambda module, name: selected(filter_, module, name) and fits(kind, module)
        )


def _configuration(kind: str) -> Any:
    """The recipe's own inductor flags hold: torchao would set others for the whole process."""
    import torchao.quantization as torchao

    if kind == "int8-dynamic":
        return torchao.Int8DynamicActivationInt8WeightConfig(set_inductor_config=False)
    if kind == "int8-weight-only":
        return torchao.Int8WeightOnlyConfig(set_inductor_config=False)
    if kind == "int4-weight-only":
        return torchao.Int4WeightOnlyConfig(
            group_size=INT4_GROUP, int4_packing_format="tile_packed_to_4d", set_inductor_config=False
        )
    return torchao.Float8DynamicActivationFloat8WeightConfig(granularity=torchao.PerRow(), set_inductor_config=False)


def _function(path: str) -> Callable[[Any, str], object]:
    """Modules of the project are found as from its folder, which `pytest` without `python -m` does not look into."""
    module, _, name = path.partition(":")
    here = os.getcwd()  # noqa: PTH109  (sys.path holds texts)
    sys.path.append(here)
    try:
        found: Callable[[Any, str], object] = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise UserError(
            "recipe", f"filter: {path} cannot be imported ({error}); give package.module:function."
        ) from None
    finally:
        sys.path.remove(here)
    return found
