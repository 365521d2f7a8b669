"""Trains the embedded model from nothing: `python -m tools.shapes.train`.

Three lessons, each resumed where Ctrl-C left it: the autoencoder, the denoiser on small pictures, the denoiser on
full-size pictures; then the export to `weights/`. Two shared cores needed 156 minutes.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import json
import math
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from torch import nn
from torch.nn import functional

from fastdiff.host.processor import emulated
from fastdiff.models.libraries import diffusers, torch
from fastdiff.models.shapes import FOLDER
from tools.shapes import architecture
from tools.shapes.pictures import Scene, draw, every_scene, place

if TYPE_CHECKING:
    from collections.abc import Iterator

SEED = 2026


@dataclass(frozen=True)
class VaeLesson:
    steps: int = 3600
    batch: int = 16
    crop: int = 64
    """The autoencoder is local: crops teach it as much as whole pictures and cost a fraction."""
    learning_rate: float = 3e-3
    kl: float = 2e-4
    pictures: int = 3000


@dataclass(frozen=True)
class DenoiserLesson:
    pixels: int
    steps: int
    batch: int
    learning_rate: float
    pictures: int
    warm_up_steps: int = 100
    bf16: bool = False
    """Mixed precision, on a CPU with instructions for it: there 1.3x faster at 32x32 latents, slower at 16x16."""


VAE = VaeLesson()
SMALL = DenoiserLesson(pixels=128, steps=3300, batch=32, learning_rate=1e-3, pictures=8000)
FULL = DenoiserLesson(pixels=256, steps=2800, batch=8, learning_rate=3e-4, pictures=2600, bf16=True)
"""Most of what there is to learn does not depend on resolution, and a small step costs a quarter of a full one."""

Plan = TypeVar("Plan", VaeLesson, DenoiserLesson)

CAPTION_DROPOUT = 0.1
EMA_DECAY = 0.998
SAVE_EVERY_S = 60
FEWEST_PICTURES = 32
"""Of a lesson, however short: a batch of the largest."""


class Denoiser(nn.Module):
    """What the second and third lesson train: the UNet together with both text encoders."""

    def __init__(self) -> None:
        super().__init__()
        self.unet = architecture.unet()
        self.text_encoder, self.text_encoder_2 = architecture.text_encoders()

    def forward(
        self, noisy: torch.Tensor, timesteps: torch.Tensor, tokens: torch.Tensor, keep: torch.Tensor, pixels: int
    ) -> torch.Tensor:
        """`keep` is 0 where the caption is dropped: SDXL's pipeline shows zeros for an empty prompt, so do we."""
        first = self.text_encoder(tokens, output_hidden_states=True)
        second = self.text_encoder_2(tokens, output_hidden_states=True)
        words = torch.cat([first.hidden_states[-2], second.hidden_states[-2]], dim=-1) * keep[:, None, None]
        whole = second.text_embeds * keep[:, None]
        sizes = torch.tensor([pixels, pixels, 0, 0, pixels, pixels], dtype=torch.float32).expand(len(noisy), 6)
        condition = {"text_embeds": whole, "time_ids": sizes}
        return self.unet(noisy, timesteps, words, added_cond_kwargs=condition, return_dict=False)[0]


class Lesson:
    """The course, the checkpoint and the progress line of a lesson.

    It lasts for a number of steps, not of minutes: a slow or busy machine learns the same, only later.
    """

    def __init__(self, name: str, folder: Path, planned: int, state: dict[str, object]) -> None:
        self.name, self.path, self.planned = name, folder / f"{name}.pt", planned
        self.state = state
        self.used, self.steps, self._loss = 0.0, 0, float("nan")
        if self.path.exists():
            saved = torch.load(self.path, weights_only=True)
            self.used, self.steps = saved["used"], saved["steps"]
            for key, part in state.items():
                part.load_state_dict(saved[key])  # type: ignore[attr-defined]

    @property
    def done(self) -> float:
        return min(self.steps / self.planned, 1.0)

    def __iter__(self) -> Iterator[float]:
        """Yields the share that is done before each step, and keeps the checkpoint fresh."""
        saved_at = shown_at = self.used
        try:
            while self.steps < self.planned:
                began = time.perf_counter()
                yield self.done
                self.steps += 1
                self.used += time.perf_counter() - began
                if self.used - saved_at > SAVE_EVERY_S:
                    saved_at = self.used
                    self.save()
                if self.used - shown_at > 5 or self.steps == 1:
                    shown_at = self.used
                    rest = (self.planned - self.steps) * self.used / self.steps / 60
                    print(
                        f"{self.name}: {self.done:5.1%}  step {self.steps}  loss {self._loss:.4f}  {rest:.0f} min left",
                        flush=True,
                    )
        finally:
            self.save()

    def report(self, loss: torch.Tensor) -> None:
        now = float(loss.detach())
        self._loss = now if math.isnan(self._loss) else 0.98 * self._loss + 0.02 * now

    def save(self) -> None:
        saved = {key: part.state_dict() for key, part in self.state.items()}  # type: ignore[attr-defined]
        fresh = self.path.with_suffix(".new")
        torch.save(saved | {"used": self.used, "steps": self.steps}, fresh)
        fresh.replace(self.path)


def learning_rate(peak: float, done: float, warm: float = 1.0) -> float:
    return peak * min(warm, 1.0) * max(1.0 - done, 0.01)


def scaled(plan: Plan, factor: float) -> Plan:
    """A longer or shorter lesson; a shorter one looks at fewer pictures too."""
    pictures = max(FEWEST_PICTURES, round(plan.pictures * min(factor, 1.0)))
    return replace(plan, steps=max(1, round(plan.steps * factor)), pictures=pictures)


def train_vae(folder: Path, lesson_plan: VaeLesson) -> nn.Module:
    torch.manual_seed(SEED)
    random = np.random.default_rng(SEED)
    vae = architecture.vae().to(memory_format=torch.channels_last)  # a quarter faster; the 128 px UNet gains nothing
    optimizer = torch.optim.AdamW(vae.parameters(), lr=lesson_plan.learning_rate, weight_decay=1e-4)
    lesson = Lesson("vae", folder, lesson_plan.steps, {"model": vae, "optimizer": optimizer})
    if lesson.done < 1:
        scenes = [scene for scene in every_scene() if not scene.held_out]
        gallery = [
            _random_picture(scenes, random, pixels) for pixels in (128, 256) for _ in range(lesson_plan.pictures // 2)
        ]
        for done in lesson:
            set_rate(optimizer, learning_rate(lesson_plan.learning_rate, done, (lesson.steps + 1) / 100))
            pictures = torch.stack([_crop(gallery, random, lesson_plan.crop) for _ in range(lesson_plan.batch)])
            posterior = vae.encode(pictures).latent_dist
            drawn = vae.decode(posterior.sample(), return_dict=False)[0]
            loss = picture_loss(drawn, pictures) + lesson_plan.kl * posterior.kl().mean() / pictures[0].numel() * 64
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
            optimizer.step()
            lesson.report(loss)
    return vae.eval().requires_grad_(False)


def picture_loss(drawn: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """L1 for colour, L2 for outliers, and the difference of neighbouring pixels so that edges stay crisp."""
    across = (drawn - wanted).diff(dim=-1).abs().mean() + (drawn - wanted).diff(dim=-2).abs().mean()
    return functional.l1_loss(drawn, wanted) + functional.mse_loss(drawn, wanted) + across


def _random_picture(scenes: list[Scene], random: np.random.Generator, pixels: int) -> np.ndarray:
    scene = scenes[random.integers(len(scenes))]
    return draw(scene, place(scene, random), pixels)


def _crop(gallery: list[np.ndarray], random: np.random.Generator, side: int) -> torch.Tensor:
    """A crop that shows an edge, if one is found in three tries: flat colour teaches little."""
    for _ in range(3):
        picture = gallery[random.integers(len(gallery))]
        top, left = random.integers(0, picture.shape[0] - side + 1, size=2)
        cut = picture[top : top + side, left : left + side]
        if cut.min(axis=(0, 1)).tolist() != cut.max(axis=(0, 1)).tolist():
            break
    return as_tensor(cut)


def as_tensor(picture: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1).float() / 127.5 - 1


def encode_pictures(folder: Path, vae: nn.Module, lesson: DenoiserLesson) -> tuple[torch.Tensor, torch.Tensor]:
    """The latents (mean and log-variance in half precision) and the tokens that a lesson draws from."""
    path = folder / f"latents-{lesson.pixels}.pt"
    if not path.exists():
        random = np.random.default_rng(SEED + lesson.pixels)
        scenes = [scene for scene in every_scene() if not scene.held_out]
        shown = [scenes[random.integers(len(scenes))] for _ in range(lesson.pictures)]
        tokenizer = architecture.save_tokenizer(folder / "tokenizer")
        latents = []
        for start in range(0, len(shown), 32):
            batch = torch.stack(
                [as_tensor(draw(s, place(s, random), lesson.pixels)) for s in shown[start : start + 32]]
            )
            latents.append(vae.encode(batch).latent_dist.mode().half())
            if start % 1024 == 0:
                print(f"latents of {lesson.pixels} px pictures: {start / len(shown):4.0%}", flush=True)
        captions = [scene.caption for scene in shown]
        tokens = tokenizer(
            captions, padding="max_length", max_length=architecture.TOKENS, return_tensors="pt"
        ).input_ids
        torch.save((torch.cat(latents), tokens), path)
    return torch.load(path, weights_only=True)  # unpickling would run what the file says


def measure_scale(vae: nn.Module) -> None:
    """Latents of unit variance are what a noise schedule is made for; the factor goes into the configuration."""
    random = np.random.default_rng(SEED)
    scenes = [scene for scene in every_scene() if not scene.held_out]
    pictures = torch.stack([as_tensor(_random_picture(scenes, random, SMALL.pixels)) for _ in range(256)])
    latents = torch.cat([vae.encode(some).latent_dist.mode() for some in pictures.split(32)])
    vae.register_to_config(scaling_factor=round(1 / float(latents.std()), 5))


def train_denoiser(folder: Path, vae: nn.Module, plan: DenoiserLesson, start: Denoiser | None) -> Denoiser:
    """One lesson; `start` is what the lesson before it learnt. Returns the averaged weights."""
    torch.manual_seed(SEED + plan.pixels)  # the first weights
    latents, tokens = encode_pictures(folder, vae, plan)
    model = start or Denoiser()
    average = copy.deepcopy(model).requires_grad_(False)
    optimizer = torch.optim.AdamW(model.parameters(), lr=plan.learning_rate, weight_decay=1e-2)
    lesson = Lesson(
        f"denoiser-{plan.pixels}", folder, plan.steps, {"model": model, "average": average, "optimizer": optimizer}
    )
    torch.manual_seed(SEED + plan.pixels + lesson.steps)  # a resumed lesson must not see the same batches again
    alphas = architecture.scheduler().alphas_cumprod
    mixed = plan.bf16 and "bfloat16" not in emulated("cpu")
    for done in lesson:
        set_rate(optimizer, learning_rate(plan.learning_rate, done, (lesson.steps + 1) / plan.warm_up_steps))
        chosen = torch.randint(0, len(latents), (plan.batch,))
        clean = latents[chosen].float() * vae.config.scaling_factor
        noise = torch.randn_like(clean)
        timesteps = _spread_timesteps(plan.batch, len(alphas))
        signal = alphas[timesteps].sqrt()[:, None, None, None]
        spread = (1 - alphas[timesteps]).sqrt()[:, None, None, None]
        keep = (torch.rand(plan.batch) >= CAPTION_DROPOUT).float()
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            velocity = model(signal * clean + spread * noise, timesteps, tokens[chosen], keep, plan.pixels)
        loss = functional.mse_loss(velocity.float(), signal * noise - spread * clean)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        _follow(average, model, min(EMA_DECAY, (1 + lesson.steps) / (10 + lesson.steps)))
        lesson.report(loss)
    return average


def _spread_timesteps(batch: int, steps: int) -> torch.Tensor:
    """One timestep from each of `batch` equal slices: the same expectation as drawing freely, with less noise."""
    return ((torch.arange(batch) + torch.rand(batch)) * steps / batch).long()


@torch.no_grad()
def _follow(average: nn.Module, model: nn.Module, decay: float) -> None:
    torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - decay)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


def trained(folder: Path) -> tuple[nn.Module, Denoiser]:
    """The autoencoder and the denoiser of an exported model, in float32."""
    pipeline = diffusers.StableDiffusionXLPipeline.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    denoiser = Denoiser()
    denoiser.unet, denoiser.text_encoder = pipeline.unet, pipeline.text_encoder
    denoiser.text_encoder_2 = pipeline.text_encoder_2
    return pipeline.vae.eval().requires_grad_(False), denoiser.train()


def export(folder: Path, vae: nn.Module, denoiser: Denoiser, target: Path) -> None:
    tokenizer = architecture.save_tokenizer(folder / "tokenizer")
    pipeline = diffusers.StableDiffusionXLPipeline(
        vae=vae,
        text_encoder=denoiser.text_encoder,
        text_encoder_2=denoiser.text_encoder_2,
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        unet=denoiser.unet,
        scheduler=architecture.scheduler(),
        add_watermarker=False,
    )
    pipeline.to(torch.float16).save_pretrained(target, safe_serialization=True)
    # transformers writes its own single file; the two that the format is named for go beside it.
    for name, file in itertools.product(("tokenizer", "tokenizer_2"), ("vocab.json", "merges.txt")):
        shutil.copy(folder / "tokenizer" / file, target / name / file)
    for config in target.glob("*/config.json"):
        # A model that learnt on says where it was loaded from, which is private.
        known = json.loads(config.read_text())
        known.pop("_name_or_path", None)
        config.write_text(json.dumps(known, indent=2, sort_keys=True) + "\n")
    weights = sum(file.stat().st_size for file in target.rglob("*.safetensors"))
    print(f"{target}: {weights / 1e6:.1f} MB of weights")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.shapes.train", description=__doc__)
    parser.add_argument(
        "--work", type=Path, default=Path("shapes-training"), help="folder for checkpoints (%(default)s)"
    )
    parser.add_argument("--target", type=Path, default=FOLDER, help="folder that receives the model (%(default)s)")
    parser.add_argument("--scale", type=float, default=1.0, help="lengthen or shorten every lesson by this factor")
    parser.add_argument("--start", type=Path, help="a trained model: its autoencoder stays, and its denoiser learns on")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    try:
        if options.start:
            # In a folder of its own, so that another course's lessons and latents are never taken for this one's.
            options.work = options.work / "onward"
            options.work.mkdir(exist_ok=True)
            vae, learnt = trained(options.start)
        else:
            vae = train_vae(options.work, scaled(VAE, options.scale))
            measure_scale(vae)
            learnt = train_denoiser(options.work, vae, scaled(SMALL, options.scale), None)
        denoiser = train_denoiser(options.work, vae, scaled(FULL, options.scale), learnt.requires_grad_(True))
    except KeyboardInterrupt:
        raise SystemExit(f"\nstopped; the same command goes on from {options.work}") from None
    export(options.work, vae, denoiser, options.target)


if __name__ == "__main__":
    main()
