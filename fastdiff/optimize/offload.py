"""Weights that wait on the host until they are needed, to save device memory."""

from __future__ import annotations

from typing import Any


def offload(pipeline: Any, kind: str, device: str) -> None:
    if kind == "model":
        pipeline.enable_model_cpu_offload(device=device)
    elif kind == "sequential":
        pipeline.enable_sequential_cpu_offload(device=device)
