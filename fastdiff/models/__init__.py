"""Which models there are: the catalogue. Data only; `loading` turns an entry into a pipeline."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fastdiff.models.shapes import FOLDER as SHAPES_FOLDER

ASTRONAUT = "Astronaut in a jungle, cold color palette, muted colors, detailed, 8k"
"""The prompt of the published benchmark."""


@dataclass(frozen=True)
class Request:
    """What a pipeline is asked to draw. `batch` pictures of one prompt, with the seeds `seed`, `seed` + 1, ..."""

    prompt: str
    steps: int
    size: int
    guidance: float
    batch: int = 1
    seed: int = 0

    def changed(self, *, steps: int | None = None, size: int | None = None, batch: int | None = None) -> Request:
        asked: dict[str, Any] = {"steps": steps, "size": size, "batch": batch}
        return replace(self, **{name: value for name, value in asked.items() if value is not None})


@dataclass(frozen=True)
class Model:
    """An entry of the catalogue. `source` is a folder in diffusers' layout or a name on the hub."""

    name: str
    pipeline: str
    source: str
    request: Request
    denoiser: str = "unet"
    vae: str | None = None
    """Another autoencoder that replaces the pipeline's own, for instance one that is safe in half precision."""
    tiny_autoencoder: str | None = None
    without: tuple[str, ...] = ()
    """Parts that are not loaded, for instance the safety checker."""

    @property
    def folder(self) -> Path | None:
        """Where the weights lie, if they do not come from the hub."""
        path = Path(self.source).expanduser()
        return path if path.is_absolute() or path.exists() else None


CATALOGUE = (
    Model(
        "shapes",
        "StableDiffusionXLPipeline",
        str(SHAPES_FOLDER),
        Request("a large red circle on a blue background", steps=8, size=256, guidance=2.0),
    ),
    Model(
        "sdxl",
        "StableDiffusionXLPipeline",
        "stabilityai/stable-diffusion-xl-base-1.0",
        Request(ASTRONAUT, steps=30, size=1024, guidance=5.0),
        vae="madebyollin/sdxl-vae-fp16-fix",
        tiny_autoencoder="madebyollin/taesdxl",
    ),
    Model(
        "ssd-1b",
        "StableDiffusionXLPipeline",
        "segmind/SSD-1B",
        Request(ASTRONAUT, steps=30, size=1024, guidance=5.0),
        vae="madebyollin/sdxl-vae-fp16-fix",
        tiny_autoencoder="madebyollin/taesdxl",
    ),
    Model(
        "sd15",
        "StableDiffusionPipeline",
        "stable-diffusion-v1-5/stable-diffusion-v1-5",
        Request(ASTRONAUT, steps=30, size=512, guidance=7.5),
        tiny_autoencoder="madebyollin/taesd",
        without=("safety_checker", "feature_extractor"),
    ),
    Model(
        "pixart-alpha",
        "PixArtAlphaPipeline",
        "PixArt-alpha/PixArt-XL-2-1024-MS",
        Request(ASTRONAUT, steps=30, size=1024, guidance=4.5),
        denoiser="transformer",
        tiny_autoencoder="madebyollin/taesd",
    ),
)
