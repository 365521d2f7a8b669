"""Another scheduler than the model's: how the steps follow each other, and so how few of them are enough."""

from __future__ import annotations

from typing import Any

from fastdiff.models.libraries import diffusers
from fastdiff.record.errors import UserError, unknown

DISTILLED = "LCMScheduler"
"""For models that were distilled to few steps; reads the same configuration as DDIM's, and is on no one's list."""


def schedule(pipeline: Any, name: str) -> None:
    """With the configuration of the scheduler that it replaces."""
    if not hasattr(getattr(pipeline, "scheduler", None), "compatibles"):
        raise UserError("recipe", f"{type(pipeline).__name__} has no scheduler of diffusers; leave that out.")
    compatible = sorted(one.__name__ for one in pipeline.scheduler.compatibles)
    compatible += [DISTILLED] if "DDIMScheduler" in compatible else []
    if name not in compatible:
        raise UserError("recipe", f"{type(pipeline).__name__}: {unknown('scheduler', name, compatible)}")
    pipeline.scheduler = getattr(diffusers, name).from_config(pipeline.scheduler.config)
