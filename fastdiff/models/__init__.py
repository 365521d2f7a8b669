"""Which models there are: the catalogue. Data only; `loading` turns an entry into a pipeline."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from fastdiff.models.shapes import FOLDER as SHAPES_FOLDER
from fastdiff.models.shapes import TINY_AUTOENCODER as SHAPES_TINY
from fastdiff.record.budget import Close  # noqa: TC001  (msgspec reads it)
from fastdiff.record.errors import UserError, unknown

ASTRONAUT = "Astronaut in a jungle, cold color palette, muted colors, detailed, 8k"
"""The prompt of the published benchmark."""


SIDE = 64
"""A picture's side is a multiple of it: latents are an eighth of the picture, and the denoisers halve them again."""


@dataclass(frozen=True)
class Request:
    """What a pipeline is asked to draw. `batch` pictures of one prompt, with the seeds `seed`, `seed` + 1, ... What is
    None is left to the pipeline."""

    prompt: str | None
    steps: int | None
    size: int | None
    guidance: float | None
    batch: int = 1
    seed: int = 0
    call: dict[str, Any] = field(default_factory=dict, hash=False)
    """Further arguments of the call, by the pipeline's own names, such as `negative_prompt`; plain data."""

    def changed(self, *, steps: int | None = None, size: int | None = None, batch: int | None = None) -> Request:
        asked: dict[str, Any] = {"steps": steps, "size": size, "batch": batch}
        return replace(self, **{name: value for name, value in asked.items() if value is not None})

    def as_kept(self) -> dict[str, Any]:
        """As a run keeps it: facts by name, without what is left to the pipeline."""
        own = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "call"}
        further = {name: _fact(value) for name, value in self.call.items()}
        return {name: value for name, value in own.items() if value is not None} | further

    @property
    def shown(self) -> str:
        """In a line."""
        height, width = self.call.get("height"), self.call.get("width")
        words = [f"{self.size} px"] if self.size else [f"{width} x {height} px"] if width and height else []
        words += [f"{self.steps} steps"] if self.steps else []
        words += [f"batch {self.batch}"]
        return ", ".join([*words, f'"{self.prompt}"'] if self.prompt is not None else words)


def _fact(value: Any) -> Any:
    """What a run file can hold; anything deeper is kept as its text."""
    if value is None or isinstance(value, str | int | float):
        return value
    texts = isinstance(value, list | tuple) and all(isinstance(one, str) for one in value)
    return list(value) if texts else json.dumps(value)


WEIGHTS = ("auto", "hub", "dummy", "twin", "tiny")
"""Where weights come from, besides a folder: the model's own place, the hub, the true architecture with random values,
or a copy of it that is small enough for a laptop: a twin by hand, of a model of the catalogue, or one that is shrunk by
rule, of a model that is named by its place."""

IDEAS = ("cache", "attention_backend", "regional", "flash")
"""What not every architecture has a place for."""

TWINS_REQUEST = {"steps": 2, "size": 128}
"""A twin's default request is small: random weights draw no better with more steps."""


IN_FILE = "::"
"""Between the path of a file and the name of the pipeline, or the module, that a function in it makes."""


@dataclass(frozen=True)
class Model:
    """An entry of the catalogue, a pipeline or a module of the user's own (`factories`), or a pipeline that is named by
    its place (`places`). `source` is a folder in diffusers' layout, a name on the hub, or `FILE.py::NAME`."""

    name: str
    pipeline: str
    source: str
    request: Request
    revision: str | None = None
    """Commit on the hub. A model without one is whatever the hub has today."""
    vae: str | None = None
    """Another autoencoder that replaces the pipeline's own, for instance one that is safe in half precision."""
    vae_revision: str | None = None
    tiny_autoencoder: str | None = None
    tiny_revision: str | None = None
    scheduler: str | None = None
    """Class that replaces the published scheduler, with its configuration."""
    without: tuple[str, ...] = ()
    """Parts that are not loaded, for instance the safety checker."""
    unsupported: tuple[str, ...] = ()
    """Ideas that the architecture has no place for; of IDEAS."""
    weights: str = "auto"
    """One of WEIGHTS, or a folder in diffusers' layout."""
    stages: tuple[str, ...] = ()
    """What is measured of it where no stage is named; empty: the whole ladder."""
    close: Close | None = None
    """How far what it answers may be from the reference's, where that are tensors; None: it draws pictures."""
    placed: bool = False
    """Whether it was named by its place: fastdiff knows of it what is found there, and calls it by its own defaults."""

    def __post_init__(self) -> None:
        for idea in self.unsupported:
            if idea not in IDEAS:
                raise UserError("recipe", f"model {self.name!r}: unsupported: {unknown('idea', idea, IDEAS)}")

    @property
    def factory(self) -> str:
        """The file and the name of the function that makes the pipeline; empty where fastdiff loads it."""
        return self.source if IN_FILE in self.source else ""

    @property
    def described(self) -> bool:
        """Whether the catalogue or the project describes it; of any other pipeline fastdiff knows what it finds."""
        return not (self.factory or self.placed)

    @property
    def folder(self) -> Path | None:
        """Where the weights lie, if they are neither on the hub nor made here."""
        if self.factory or self.weights in ("hub", *MADE_HERE):
            return None
        path = Path(self.source).expanduser()
        return path if path.is_absolute() or path.exists() else None

    @property
    def shown(self) -> str:
        """The name, and where the weights come from if that is not the model's own place."""
        if self.weights == "auto":
            return self.name
        return f"{self.name} ({self.weights if self.weights in WEIGHTS else 'folder'} weights)"

    @property
    def made_here(self) -> bool:
        """Whether the weights are random numbers, which draw a picture of nothing."""
        return self.weights in MADE_HERE

    def with_weights(self, weights: str) -> Model:
        """The same model with weights from elsewhere; refused in one sentence where there are none."""
        if weights == "auto":
            return self
        if self.factory:
            raise UserError("weights", f"{self.name!r} loads its weights itself; leave --fastdiff-weights out.")
        if weights == "hub":
            if self.folder is not None:
                raise UserError(
                    "weights", f"the weights of {self.name!r} lie in {self.folder}, not on the hub; use auto."
                )
            return replace(self, weights="hub")
        if self.placed:
            return self._made_in_its_place(weights)
        if weights in MADE_HERE:
            return self._made_by_description(weights)
        folder = Path(weights).expanduser().resolve()
        if not (folder / "model_index.json").is_file():
            raise UserError(
                "weights",
                f"{weights!r} is none of {', '.join(WEIGHTS)}, and no folder in diffusers' layout: "
                f"there is no {folder.name}/model_index.json.",
            )
        return replace(self, weights=str(folder), source=str(folder), revision=None, vae=None)

    def _made_by_description(self, weights: str) -> Model:
        from fastdiff.models.architectures import ARCHITECTURES

        if self.name not in ARCHITECTURES:
            raise UserError(
                "weights",
                f"the architecture of {self.name!r} is not described in fastdiff, so it has no {weights} weights; "
                f"there are: {', '.join(ARCHITECTURES)}.",
            )
        if weights == "tiny":
            raise UserError("weights", f"the small copy of {self.name!r} is its twin: --fastdiff-weights twin.")
        request = self.request.changed(**TWINS_REQUEST) if weights == "twin" else self.request
        return replace(self, weights=weights, request=request)

    def _made_in_its_place(self, weights: str) -> Model:
        if weights == "twin":
            raise UserError(
                "weights", f"{self.name!r} is named by its place, and its small copy is --fastdiff-weights tiny."
            )
        if weights not in MADE_HERE:
            raise UserError(
                "weights",
                f"{self.name!r} is named by the place of its weights; name the folder instead of it: {weights}",
            )
        return replace(self, weights=weights)


MADE_HERE = ("dummy", "twin", "tiny")
EMBEDDED = "shapes"
"""What is measured where no model is named."""

FP16_VAE = "207b116dae70ace3637169f1ddd2434b91b3a8cd"
TAESD = "614f76814bbe30edbe2e627ace1c2234c81a2c0e"
TAESDXL = "b20258aaef75ef61e659c1e0f14f251cf0ad153e"

CATALOGUE = (
    Model(
        EMBEDDED,
        "StableDiffusionXLPipeline",
        str(SHAPES_FOLDER),
        Request("a large red circle on a blue background", steps=8, size=256, guidance=2.0),
        unsupported=("cache", "attention_backend"),
        tiny_autoencoder=str(SHAPES_TINY),
    ),
    Model(
        "sdxl",
        "StableDiffusionXLPipeline",
        "stabilityai/stable-diffusion-xl-base-1.0",
        Request(ASTRONAUT, steps=30, size=1024, guidance=5.0),
        revision="462165984030d82259a11f4367a4eed129e94a7b",
        vae="madebyollin/sdxl-vae-fp16-fix",
        vae_revision=FP16_VAE,
        tiny_autoencoder="madebyollin/taesdxl",
        tiny_revision=TAESDXL,
        unsupported=("cache", "attention_backend"),
    ),
    Model(
        "ssd-1b",
        "StableDiffusionXLPipeline",
        "segmind/SSD-1B",
        Request(ASTRONAUT, steps=30, size=1024, guidance=5.0),
        revision="60987f37e94cd59c36b1cba832b9f97b57395a10",
        vae="madebyollin/sdxl-vae-fp16-fix",
        vae_revision=FP16_VAE,
        tiny_autoencoder="madebyollin/taesdxl",
        tiny_revision=TAESDXL,
        unsupported=("cache", "attention_backend"),
    ),
    Model(
        "sd15",
        "StableDiffusionPipeline",
        "stable-diffusion-v1-5/stable-diffusion-v1-5",
        Request(ASTRONAUT, steps=30, size=512, guidance=7.5),
        revision="451f4fe16113bff5a5d2269ed5ad43b0592e9a14",
        tiny_autoencoder="madebyollin/taesd",
        tiny_revision=TAESD,
        scheduler="EulerDiscreteScheduler",  # PNDM, which it was published with, reads its tables on the GPU
        without=("safety_checker", "feature_extractor"),
        unsupported=("cache", "attention_backend"),
    ),
    Model(
        "pixart-alpha",
        "PixArtAlphaPipeline",
        "PixArt-alpha/PixArt-XL-2-1024-MS",
        Request(ASTRONAUT, steps=30, size=1024, guidance=4.5),
        revision="b89adadeccd9ead2adcb9fa2825d3fabec48d404",
        tiny_autoencoder="madebyollin/taesd",
        tiny_revision=TAESD,
        # Flash attention on a GPU takes no mask, and its text has one.
        unsupported=("cache", "attention_backend", "regional", "flash"),
    ),
    Model(
        "flux-schnell",
        "FluxPipeline",
        "black-forest-labs/FLUX.1-schnell",
        Request(ASTRONAUT, steps=4, size=1024, guidance=0.0),
        revision="741f7c3ce8b383c54771c7003378a50191e9efe9",
        tiny_autoencoder="madebyollin/taef1",
    ),
    Model(
        "flux-dev",
        "FluxPipeline",
        "black-forest-labs/FLUX.1-dev",
        Request(ASTRONAUT, steps=28, size=1024, guidance=3.5),
        revision="3de623fc3c33e44ffbe2bad470d0f45bccf2eb21",
        tiny_autoencoder="madebyollin/taef1",
    ),
)
