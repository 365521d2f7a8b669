"""A stage that is alive: built, called once, counted, and ready to draw again and again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastdiff.measure import fingerprint, proof
from fastdiff.measure.fingerprint import Fingerprint
from fastdiff.measure.latency import synchronised_clock
from fastdiff.models.libraries import torch
from fastdiff.optimize import build
from fastdiff.quality.metrics import likeness

if TYPE_CHECKING:
    import numpy as np

    from fastdiff.models import Model, Request
    from fastdiff.optimize import Built
    from fastdiff.quality.metrics import Likeness
    from fastdiff.recipes import ImageBudget, Recipe, Stage


@dataclass(frozen=True)
class Reference:
    """The pictures that the others of the same run are compared with, and which stage drew them."""

    stage: str
    images: np.ndarray


class NotCompiledError(RuntimeError):
    """Nothing was compiled where a full graph was asked for."""


class LiveStage:
    """What the fixture `stage` gives to a test."""

    def __init__(self, model: Model, stage: Stage, device: str, request: Request, rounds: int) -> None:
        self.model, self.stage, self.device, self.request, self.rounds = model, stage, device, request, rounds
        self.built: Built = build(model, stage.recipe, device)
        try:
            self.structure = fingerprint.structure(self.built)
        except BaseException:
            self.built.close()
            raise
        self.compilation = fingerprint.Compilation()
        self.first_call_s = 0.0
        self.likeness: Likeness | None = None
        self._images: np.ndarray | None = None

    @property
    def id(self) -> str:
        return f"{self.model.name}-{self.stage.name}"

    @property
    def budget(self) -> ImageBudget:
        return self.stage.budget

    @property
    def load_s(self) -> float:
        return self.built.load_s

    def call(self, output: str = "pil") -> Any:
        """One pipeline call. Latents come from a CPU generator, so every device and dtype starts from the same ones."""
        asked = self.request
        seeds = [torch.Generator("cpu").manual_seed(asked.seed + i) for i in range(asked.batch)]
        return self.built.pipeline(
            prompt=asked.prompt,
            height=asked.size,
            width=asked.size,
            num_inference_steps=asked.steps,
            guidance_scale=asked.guidance,
            num_images_per_prompt=asked.batch,
            generator=seeds,
            output_type=output,
        ).images

    def generate(self) -> Any:
        """What is timed: one whole call, from the prompt to finished pictures."""
        return self.call()

    def first_call(self) -> float:
        """Compiles, if there is something to compile; seconds that never mix with the steady state's."""
        began = synchronised_clock()
        try:
            self.call()
        except RuntimeError as error:
            # torch says so in a hundred lines when a full graph was asked for and compilation is switched off.
            if "found no compiled frames" in str(error):
                raise NotCompiledError(proof.unapplied(self.recipe, self.fingerprint)[0]) from None
            raise
        self.first_call_s = synchronised_clock() - began
        self.compilation = fingerprint.compilation()
        return self.first_call_s

    @property
    def images(self) -> np.ndarray:
        """Pictures as floats from 0 to 1, drawn in the steady state: the first call may take another path."""
        if self._images is None:
            self._images = self.call(output="np")
        return self._images

    @property
    def fingerprint(self) -> Fingerprint:
        """Counted now, so that what happened since the first call shows."""
        now = fingerprint.compilation()
        return Fingerprint(self.structure, now, recompiles=now.graphs - self.compilation.graphs)

    @property
    def recipe(self) -> Recipe:
        """As it was cooked on this device."""
        return self.built.recipe

    @property
    def unapplied(self) -> list[str]:
        return proof.unapplied(self.recipe, self.fingerprint)

    def likeness_to(self, reference: Reference) -> Likeness:
        """The reference stage is compared with a second drawing of its own: it must at least be like itself."""
        images = self.call(output="np") if reference.stage == self.stage.name else self.images
        self.likeness = likeness(images, reference.images)
        return self.likeness

    def close(self) -> list[str]:
        """Ends the stage; names the global switches that it left changed."""
        return self.built.close()
