"""Memory layout of the convolutions."""

from __future__ import annotations

from typing import Any

from fastdiff.models.libraries import torch


def channels_last(parts: list[Any]) -> None:
    for part in parts:
        part.to(memory_format=torch.channels_last)
