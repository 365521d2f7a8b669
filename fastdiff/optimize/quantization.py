"""Fewer bits in the layers that gain from it, after the 1x1 convolutions that matter have become linear layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastdiff.models.libraries import torch

if TYPE_CHECKING:
    from collections.abc import Callable

SLOWER_IN_INT8 = frozenset(
    {
        (1280, 640),
        (1920, 1280),
        (1920, 640),
        (2048, 1280),
        (2048, 2560),
        (2560, 1280),
        (256, 128),
        (2816, 1280),
        (320, 640),
        (512, 1536),
        (512, 256),
        (512, 512),
        (640, 1280),
        (640, 1920),
        (640, 320),
        (640, 5120),
        (640, 640),
        (960, 320),
        (960, 640),
    }
)
"""Inputs and outputs of SDXL's linear layers in which the conversion costs more than int8 saves, as published."""

NARROWEST = 16
"""Layers with as few inputs have nothing to gain."""
INT4_GROUP = 128
"""Inputs that share a scale; torchao's own default."""


def worth_int8(module: Any, name: str = "") -> bool:
    return (
        isinstance(module, torch.nn.Linear)
        and module.in_features > NARROWEST
        and (module.in_features, module.out_features) not in SLOWER_IN_INT8
    )


def worth_linear(module: Any, name: str = "") -> bool:
    return (
        isinstance(module, torch.nn.Conv2d)
        and module.kernel_size == (1, 1)
        and 128 in (module.in_channels, module.out_channels)
    )


def worth_weight_only(module: Any, name: str = "") -> bool:
    """Weights that only lie in fewer bits cost no conversion of activations, so the published list does not apply."""
    return isinstance(module, torch.nn.Linear) and module.in_features > NARROWEST


def worth_int4(module: Any, name: str = "") -> bool:
    """The kernel's groups and tiles must fit."""
    return worth_weight_only(module) and module.in_features % INT4_GROUP == 0 and module.out_features % 8 == 0


def worth_float8(module: Any, name: str = "") -> bool:
    """The scaled product needs both sides in multiples of 16."""
    return worth_int8(module) and module.in_features % 16 == 0 and module.out_features % 16 == 0


def quantize(parts: list[Any], kind: str) -> None:
    from torchao.quantization import quantize_, swap_conv2d_1x1_to_linear

    configuration, filter_ = _how(kind)
    for part in parts:
        swap_conv2d_1x1_to_linear(part, worth_linear)
        quantize_(part, configuration, filter_)


def _how(kind: str) -> tuple[Any, Callable[..., bool]]:
    """The recipe's own inductor flags hold: torchao would set others for the whole process."""
    import torchao.quantization as torchao

    if kind == "int8-dynamic":
        return torchao.Int8DynamicActivationInt8WeightConfig(set_inductor_config=False), worth_int8
    if kind == "int8-weight-only":
        return torchao.Int8WeightOnlyConfig(set_inductor_config=False), worth_weight_only
    if kind == "int4-weight-only":
        return (
            torchao.Int4WeightOnlyConfig(
                group_size=INT4_GROUP, int4_packing_format="tile_packed_to_4d", set_inductor_config=False
            ),
            worth_int4,
        )
    return (
        torchao.Float8DynamicActivationFloat8WeightConfig(granularity=torchao.PerRow(), set_inductor_config=False),
        worth_float8,
    )
