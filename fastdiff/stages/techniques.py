"""The memory techniques: each trades time against memory, and is compared with one default."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fastdiff.stages.budgets import LOSSLESS, TILED, TINY
from fastdiff.stages.ladder import Ladder, Stage
from fastdiff.stages.recipe import Compile, Recipe

if TYPE_CHECKING:
    from fastdiff.record.budget import Budget

UNOPTIMIZED = Recipe(tf32=False, attention="vanilla-denoiser", autoencoder="pipeline")
"""As published: only the UNet's attention was written out, and the pipeline kept the autoencoder that it came with."""
HALF = replace(UNOPTIMIZED, dtype="half", tf32=True)
DEFAULT = replace(HALF, attention="sdpa")
"""What the published memory techniques are measured against."""


def _technique(name: str, adds: str, budget: Budget = LOSSLESS, **changes: Any) -> Stage:
    return Stage(f"default+{name}", replace(DEFAULT, **changes), adds, "default", budget)


TECHNIQUES = Ladder(
    (
        Stage("unoptimized", UNOPTIMIZED, "float32, attention of the denoiser written out"),
        Stage("half", HALF, "float16 (on a CPU bfloat16), attention of the denoiser written out", "unoptimized"),
        Stage("default", DEFAULT, "attention in one kernel", "half"),
        _technique(
            "compile",
            "the denoiser compiled as a full graph",
            compile=Compile(mode="reduce-overhead", decoder=False, flags=()),
        ),
        _technique("model-offload", "models wait on the host until they are called", offload="model"),
        _technique("sequential-offload", "layers wait on the host until they are called", offload="sequential"),
        _technique("group-offload", "groups of layers wait on the host until they are called", offload="group"),
        _technique("vae-slicing", "pictures of a batch are decoded one by one", vae_slicing=True),
        _technique("vae-tiling", "a picture is decoded in tiles", TILED, vae_tiling=True),
        _technique(
            "vae-slicing+sequential-offload",
            "pictures decoded one by one, layers on the host",
            vae_slicing=True,
            offload="sequential",
        ),
        _technique("precomputed-text", "the prompt encoded once, the encoders dropped", text="precomputed"),
        _technique("tiny-autoencoder", "a distilled decoder", TINY, autoencoder="tiny"),
    ),
    compared_with="default",
)
"""The published memory techniques (https://huggingface.co/blog/simple_sdxl_optimizations), and two that came later."""
