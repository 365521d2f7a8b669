"""How the autoencoder decodes: picture by picture, in tiles, or in float32."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from fastdiff.models.libraries import torch
from fastdiff.record.errors import UserError

if TYPE_CHECKING:
    from fastdiff.models import Request

TILES_A_SIDE = 2
"""diffusers' own tiles are as large as the model's usual picture, which would stay in one piece."""


def slicing(autoencoder: Any, request: Request) -> None:
    if request.batch < 2:
        raise UserError(
            "recipe",
            "vae_slicing decodes the pictures of a batch one by one, and there is one picture; use --fastdiff-batch 4.",
        )
    _require(autoencoder, "enable_slicing")
    autoencoder.enable_slicing()


def tiling(autoencoder: Any, request: Request) -> None:
    """Tiles of half the side, with diffusers' own overlap."""
    _require(autoencoder, "tile_latent_min_size")
    if request.size is None:
        raise UserError("recipe", "tiles are half a square picture's side, and the request names none; leave it out.")
    autoencoder.enable_tiling()
    factor = autoencoder.tile_sample_min_size // autoencoder.tile_latent_min_size
    autoencoder.tile_latent_min_size = request.size // factor // TILES_A_SIDE
    autoencoder.tile_sample_min_size = autoencoder.tile_latent_min_size * factor


def _require(autoencoder: Any, name: str) -> None:
    if not hasattr(autoencoder, name):
        raise UserError("recipe", f"{type(autoencoder).__name__} has no {name}; leave the stage out.")


def upcast(autoencoder: Any) -> None:
    """The latents come in the denoiser's dtype, and pipelines raise them for float16 alone."""
    torch.nn.Module.to(autoencoder, torch.float32)  # diffusers' own says each time that it might be unwise
    original = autoencoder.decode

    @functools.wraps(original)
    def decode(latents: Any, *args: Any, **kwargs: Any) -> Any:
        return original(latents.float(), *args, **kwargs)

    autoencoder.decode = decode
