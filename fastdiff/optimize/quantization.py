"""Dynamic int8 in the layers that gain from it, after the 1x1 convolutions that matter have become linear layers."""

from __future__ import annotations

from typing import Any

from fastdiff.models.libraries import torch

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


def int8_dynamic(parts: list[Any]) -> None:
    from torchao.quantization import (
        Int8DynamicActivationInt8WeightConfig,
        quantize_,
        swap_conv2d_1x1_to_linear,
    )

    for part in parts:
        swap_conv2d_1x1_to_linear(part, worth_linear)
        # The recipe's own inductor flags hold; torchao would set others for the whole process.
        quantize_(part, Int8DynamicActivationInt8WeightConfig(set_inductor_config=False), worth_int8)
