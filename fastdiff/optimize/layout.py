"""Memory layout of the convolutions."""

from __future__ import annotations

from typing import Any

from fastdiff.models.libraries import torch


def channels_last(parts: list[Any]) -> None:
    """Of 2-D ones: those of a video's decoder have a third side, and `Module.to` would refuse the whole part."""
    for part in parts:
        for parameter in part.parameters():
            if parameter.dim() == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
