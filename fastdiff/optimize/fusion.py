"""One matrix product for query, key and value instead of three."""

from __future__ import annotations

from typing import Any


def fuse_qkv(parts: list[Any]) -> None:
    """Each part on its own: the pipeline's method of this name exists for pipelines with a UNet only."""
    for part in parts:
        if hasattr(part, "fuse_qkv_projections"):
            part.fuse_qkv_projections()
