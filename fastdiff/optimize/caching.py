"""Caches of diffusers' own hooks: what an earlier step computed is used again, and the picture changes a little."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastdiff.optimize.attention import without_notice
from fastdiff.record.errors import UserError

if TYPE_CHECKING:
    from fastdiff.models import Request

THRESHOLD = 0.1
"""Of the first-block cache: by what share its residual may change for the other blocks to be skipped."""
EVERY = 2
"""Attention is computed anew in every second step."""
TIMESTEPS = (100, 800)
"""Where attention may be used again: neither in the first steps, which decide the layout, nor in the last."""
FEWEST_STEPS = 4
INTERVAL = 3
"""Of TaylorSeer: one step in so many is computed, the others are extrapolated."""


def cache(pipeline: Any, denoiser: Any, kind: str, request: Request) -> None:
    if not hasattr(denoiser, "enable_cache"):
        raise UserError(
            "recipe",
            f"diffusers' caches are made for transformers, and {type(denoiser).__name__} has no place for them; "
            'set cache = "none".',
        )
    if request.steps is not None and request.steps < FEWEST_STEPS:
        raise UserError(
            "recipe",
            f"a cache uses what earlier steps computed, and there are {request.steps} steps in all; "
            f"use --fastdiff-steps {FEWEST_STEPS} or more.",
        )
    with without_notice("diffusers.hooks.faster_cache"):
        denoiser.enable_cache(_configuration(pipeline, kind))


def _configuration(pipeline: Any, kind: str) -> Any:
    from diffusers import (
        FasterCacheConfig,
        FirstBlockCacheConfig,
        PyramidAttentionBroadcastConfig,
        TaylorSeerCacheConfig,
    )

    def now() -> Any:
        return pipeline.current_timestep

    if kind == "first-block":
        return FirstBlockCacheConfig(threshold=THRESHOLD)
    if kind == "pyramid-attention":
        return PyramidAttentionBroadcastConfig(
            spatial_attention_block_skip_range=EVERY,
            spatial_attention_timestep_skip_range=TIMESTEPS,
            current_timestep_callback=now,
        )
    if kind == "faster":
        return FasterCacheConfig(
            spatial_attention_block_skip_range=EVERY,
            spatial_attention_timestep_skip_range=TIMESTEPS,
            current_timestep_callback=now,
            attention_weight_callback=lambda _: 0.5,
            tensor_format="BFCHW",
            is_guidance_distilled=True,
        )
    return TaylorSeerCacheConfig(cache_interval=INTERVAL, disable_cache_before_step=2)
