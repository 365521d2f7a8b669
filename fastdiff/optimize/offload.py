"""Weights that wait on the host until they are needed, to save device memory."""

from __future__ import annotations

from typing import Any

from fastdiff.models.libraries import torch
from fastdiff.record.errors import UserError


def offload(pipeline: Any, kind: str, device: str) -> None:
    if not hasattr(pipeline, "enable_group_offload"):
        raise UserError(
            "recipe", f"{type(pipeline).__name__} is no pipeline of diffusers, which offload; leave it out."
        )
    if kind == "model":
        pipeline.enable_model_cpu_offload(device=device)
    elif kind == "sequential":
        pipeline.enable_sequential_cpu_offload(device=device)
    elif kind == "group":
        # A stream fetches the next layer while the present one computes; a CPU has none.
        pipeline.enable_group_offload(
            onload_device=torch.device(device),
            offload_device=torch.device("cpu"),
            offload_type="leaf_level",
            use_stream=torch.device(device).type == "cuda",
        )
