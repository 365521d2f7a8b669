"""How float32 products are computed: strictly, or rounded to TF32 where the device has it."""

from __future__ import annotations

from typing import Any

from fastdiff.models.libraries import torch


def switches(tf32: bool, device: str) -> dict[str, Any]:
    """A CPU has no TF32, and its libraries may read the same permission as one for bfloat16."""
    allowed = tf32 and torch.device(device).type == "cuda"
    return {"float32_matmul_precision": "high" if allowed else "highest", "cudnn.allow_tf32": allowed}
