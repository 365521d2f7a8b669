"""Memory layout of the convolutions."""

from __future__ import annotations

from typing import Any

from fastdiff.models.libraries import torch


def channels_last(parts: list[Any]) -> None:
    """Of 2-D ones: those of a video's decoder have a third side, and `Module.to` would refuse the whole part. As that
    does, kernels of 1x1 get the strides too, by which libraries choose a layout; `contiguous` would leave them."""
    for part in parts:
        for parameter in part.parameters():
            if parameter.dim() == 4:
                one = parameter.data
                parameter.data = one.to(one.device, one.dtype, memory_format=torch.channels_last)
