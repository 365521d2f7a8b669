"""Trains the embedded model's tiny autoencoder: `python -m tools.shapes.distil`.

Its decoder learns to draw what the model's own autoencoder draws of the denoiser's latents. These differ from encoded
pictures, most of all in flat colour: a decoder that had seen encoded ones alone drew blue as green in places. The
training goes on where Ctrl-C left it. `--measure` compares the two decoders on captions that no training has seen.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import nn
from torch.nn import functional

from fastdiff.models.libraries import diffusers, torch
from fastdiff.models.shapes import FOLDER, TINY_AUTOENCODER
from fastdiff.quality.metrics import likeness
from tools.shapes import architecture
from tools.shapes.pictures import Scene, draw, every_scene, place
from tools.shapes.score import GUIDANCE, Exam, load
from tools.shapes.train import SEED, Lesson, as_tensor, learning_rate, picture_loss, set_rate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
    from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import StableDiffusionXLPipeline

    Way = Callable[[StableDiffusionXLPipeline, Sequence[Scene], int], torch.Tensor]
    """From a pipeline, scenes and a seed to latents as a denoiser has them."""


@dataclass(frozen=True)
class Plan:
    pictures: int = 304
    """Each pair of colours at least twice. The first 96 pictures had 46 of the 56 pairs, and a decoder that had learnt
    from them drew whole shapes in a wrong colour."""
    steps: int = 5300
    sketched: int = 8
    """Pictures of a step. Their colours are decided where they have 32x32 places, at a tenth of the decoder's work."""
    drawn: int = 2
    """Of these, how many are drawn to the last pixel, in one square."""
    learning_rate: float = 1.5e-3
    warm_up_steps: int = 50


PLAN = Plan()
DRAWN_TOGETHER = 4
STEPS = 8
"""Of a drawing, as in the embedded model's request."""
REDRAWN = 3 / STEPS
"""Share of the steps that a picture is denoised in again: the last ones make the latents what a denoiser leaves."""
NOISE = 0.1
"""The most that is added to an encoded picture, as a share of the latents' spread."""

SCALE = 8
"""Pixels to a latent."""
SKETCH = 4
"""Pixels to a place of a sketch: what the body of the decoder knows, read by one layer that is thrown away."""
CUT = 16
"""Latents along a side of the square that is drawn to the last pixel."""
REACH = 3
"""Latents from a cut that are drawn and not judged: there convolutions lack what the whole picture would show them."""
ENCODED = 8
"""Latents along a side of the square that the encoder learns from. No stage encodes, so it gets a small part of the
time."""

PATCH = 16
"""Pixels along a side of what has one colour to an eye."""
WINDOW, STRIDE = 8, 4
"""Of structural similarity while training: coarser than what is measured, and a tenth of its work."""
COLOUR, STRUCTURE = 4.0, 0.25
"""Weights of the colour of small patches and of structural similarity, beside the loss that the autoencoder had."""


def drawn(model: StableDiffusionXLPipeline, scenes: Sequence[Scene], seed: int) -> torch.Tensor:
    return model(
        [scene.caption for scene in scenes],
        num_inference_steps=STEPS,
        guidance_scale=GUIDANCE,
        height=Exam.size,
        width=Exam.size,
        generator=_noise(scenes, seed),
        output_type="latent",
    ).images


def redrawn(model: StableDiffusionXLPipeline, scenes: Sequence[Scene], seed: int) -> torch.Tensor:
    """An encoded picture after the last steps of a drawing, at three eighths of the cost of a whole one."""
    again = diffusers.StableDiffusionXLImg2ImgPipeline(**model.components)
    again.set_progress_bar_config(disable=True)
    return again(
        [scene.caption for scene in scenes],
        image=_encoded(model.vae, scenes, seed),
        strength=REDRAWN,
        num_inference_steps=STEPS,
        guidance_scale=GUIDANCE,
        generator=_noise(scenes, seed),
        output_type="latent",
    ).images


def encoded(model: StableDiffusionXLPipeline, scenes: Sequence[Scene], seed: int) -> torch.Tensor:
    clean = _encoded(model.vae, scenes, seed)
    noise = torch.Generator().manual_seed(seed)
    amount = NOISE * torch.rand((len(clean), 1, 1, 1), generator=noise)
    return clean + amount * clean.std() * torch.randn(clean.shape, generator=noise)


WAYS: tuple[Way, ...] = (drawn, redrawn, redrawn, encoded)


def _noise(scenes: Sequence[Scene], seed: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed + index) for index in range(len(scenes))]


def _encoded(vae: AutoencoderKL, scenes: Sequence[Scene], seed: int) -> torch.Tensor:
    random = np.random.default_rng(seed)
    pictures = torch.stack([as_tensor(draw(scene, place(scene, random), Exam.size)) for scene in scenes])
    return vae.encode(pictures).latent_dist.mode() * vae.config.scaling_factor


@torch.inference_mode()
def collect(
    path: Path, model: StableDiffusionXLPipeline, scenes: Sequence[Scene], ways: Sequence[Way], seed: int
) -> torch.Tensor:
    """The latents of every scene, made in the ways in turn, and kept in a file as far as they are made."""
    found = list(torch.load(path, weights_only=True)) if path.exists() else []
    for start in range(len(found), len(scenes), DRAWN_TOGETHER):
        way = ways[start // DRAWN_TOGETHER % len(ways)]
        found += way(model, scenes[start : start + DRAWN_TOGETHER], seed + start)
        fresh = path.with_suffix(".new")
        torch.save(torch.stack(found), fresh)
        fresh.replace(path)
        print(f"{path.name}: {len(found)} of {len(scenes)}", flush=True)
    return torch.stack(found)


@torch.inference_mode()
def decoded(autoencoder: AutoencoderKL | AutoencoderTiny, latents: torch.Tensor) -> torch.Tensor:
    """As a pipeline decodes, a few at a time."""
    parts = (latents / autoencoder.config.scaling_factor).split(DRAWN_TOGETHER)
    return torch.cat([autoencoder.decode(part, return_dict=False)[0].clamp(-1, 1) for part in parts])


def train(folder: Path, model: StableDiffusionXLPipeline, plan: Plan) -> AutoencoderTiny:
    """Its factor is 1, so its latents are scaled as a denoiser has them."""
    scenes = [scene for scene in every_scene() if not scene.held_out]
    order = np.random.default_rng(SEED).permutation(len(scenes))[: plan.pictures]
    latents = collect(folder / "latents.pt", model, [scenes[index] for index in order], WAYS, SEED)
    torch.manual_seed(SEED)
    tiny = architecture.tiny_autoencoder().to(memory_format=torch.channels_last)
    decoder = Decoder(tiny)
    optimizer = torch.optim.AdamW(
        [*tiny.parameters(), *decoder.head.parameters()], lr=plan.learning_rate, weight_decay=1e-4
    )
    lesson = Lesson("tiny", folder, plan.steps, {"model": tiny, "head": decoder.head, "optimizer": optimizer})
    if lesson.done < 1:
        pictures = decoded(model.vae, latents)
        # Tensors made in inference mode take no part in training.
        latents, pictures = latents.clone(), pictures.clone()
        for done in lesson:
            set_rate(optimizer, learning_rate(plan.learning_rate, done, (lesson.steps + 1) / plan.warm_up_steps))
            chosen = torch.randint(len(latents), (plan.sketched,))
            wanted, few = pictures[chosen], chosen[: plan.drawn]
            features = decoder.features(latents[chosen])
            down, across = _span(latents.shape[-2]), _span(latents.shape[-1])
            found = decoder.finish(features[: plan.drawn, :, down.cut, across.cut])
            loss = sketch_loss(decoder.sketch(features), wanted) + distillation_loss(
                found[..., down.judged, across.judged], pictures[few][..., down.pixels, across.pixels]
            )
            code, shown = _square(latents[few], pictures[few])
            loss = loss + functional.mse_loss(tiny.encode(shown, return_dict=False)[0], code)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(optimizer.param_groups[0]["params"], 1.0)
            optimizer.step()
            lesson.report(loss)
    return tiny.eval().requires_grad_(False)


class Decoder:
    """The tiny decoder in two: its body, before the first enlargement, always sees whole pictures, because colours
    depend on all of it; the rest, nine tenths of the work, draws what the body has decided, so squares teach it."""

    def __init__(self, tiny: AutoencoderTiny) -> None:
        layers = tiny.decoder.layers
        first = next(index for index, layer in enumerate(layers) if isinstance(layer, nn.Upsample))
        self.body, self.rest = layers[:first], layers[first:]
        of_a_latent = (SCALE // SKETCH) ** 2
        channels = tiny.config.decoder_block_out_channels[0]
        self.head = nn.Sequential(nn.Conv2d(channels, 3 * of_a_latent, 1), nn.PixelShuffle(SCALE // SKETCH))

    def features(self, latents: torch.Tensor) -> torch.Tensor:
        """With diffusers' own way to keep latents in bounds."""
        return self.body(3 * torch.tanh(latents.contiguous(memory_format=torch.channels_last) / 3))

    def sketch(self, features: torch.Tensor) -> torch.Tensor:
        return 2 * self.head(features) - 1

    def finish(self, features: torch.Tensor) -> torch.Tensor:
        return 2 * self.rest(features) - 1


def sketch_loss(found: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    small = functional.avg_pool2d(wanted, SKETCH)
    return functional.l1_loss(found, small) + 2 * functional.mse_loss(found, small)


def distillation_loss(found: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    patches = functional.mse_loss(functional.avg_pool2d(found, SCALE), functional.avg_pool2d(wanted, SCALE))
    return picture_loss(found, wanted) + COLOUR * patches + STRUCTURE * (1 - _similarity(found, wanted))


def _similarity(found: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Structural similarity, with its usual constants for values from -1 to 1."""

    def mean(values: torch.Tensor) -> torch.Tensor:
        return functional.avg_pool2d(values, WINDOW, STRIDE)

    one, other = mean(found), mean(wanted)
    spread, other_spread = mean(found**2) - one**2, mean(wanted**2) - other**2
    together = mean(found * wanted) - one * other
    light, contrast = 0.02**2, 0.06**2
    alike = (2 * one * other + light) * (2 * together + contrast)
    return (alike / ((one**2 + other**2 + light) * (spread + other_spread + contrast))).mean()


@dataclass(frozen=True)
class Span:
    """One side of a square in a picture of `whole` latents."""

    start: int
    whole: int

    @property
    def cut(self) -> slice:
        return slice(self.start, self.start + CUT)

    @property
    def judged(self) -> slice:
        """In pixels of the square: up to the picture's borders, which are real, and not up to a cut."""
        end = CUT if self.start + CUT == self.whole else CUT - REACH
        return slice(SCALE * REACH if self.start else 0, SCALE * end)

    @property
    def pixels(self) -> slice:
        """The same in pixels of the picture."""
        return slice(SCALE * self.start + self.judged.start, SCALE * self.start + self.judged.stop)


def _span(whole: int) -> Span:
    """Borders get a few chances more: an even choice would hardly ever show them."""
    last = whole - CUT
    return Span(min(max(int(torch.randint(-2, last + 3, ())), 0), last), whole)


def _square(latents: torch.Tensor, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The same square of both, somewhere. What the autoencoder drew of a whole picture is cut, not the picture of a
    cut: the autoencoder normalises over all that it sees, so that would have other colours."""
    top, left = (int(torch.randint(latents.shape[-1] - ENCODED + 1, ())) for _ in range(2))
    shown = pictures[..., SCALE * top : SCALE * (top + ENCODED), SCALE * left : SCALE * (left + ENCODED)]
    return latents[..., top : top + ENCODED, left : left + ENCODED], shown


@dataclass(frozen=True)
class Alike:
    """Pictures by the tiny autoencoder beside those by the model's own."""

    ssim: np.ndarray
    psnr_db: np.ndarray
    patch_error: np.ndarray
    """The most that the mean colour of a patch differs in one channel, of 255."""

    def __str__(self) -> str:
        return (
            f"{len(self.ssim)} pictures: SSIM {self.ssim.mean():.3f} on average, {self.ssim.min():.3f} at worst; "
            f"{self.psnr_db.mean():.1f} dB on average, {self.psnr_db.min():.1f} dB at worst; the colour of the worst "
            f"patch is off by {self.patch_error.mean():.0f} of 255 on average, by {self.patch_error.max():.0f} at worst"
        )


def alike(found: torch.Tensor, wanted: torch.Tensor) -> Alike:
    """Both from -1 to 1, in the shape (pictures, 3, height, width)."""
    patches = functional.avg_pool2d(found - wanted, PATCH).abs().amax(dim=(1, 2, 3)) * 127.5
    one, other = (((values + 1) / 2).permute(0, 2, 3, 1).numpy() for values in (found, wanted))
    each = [likeness(one[i : i + 1], other[i : i + 1]) for i in range(len(one))]
    return Alike(
        np.array([pair.ssim for pair in each]), np.array([pair.psnr_db for pair in each]), patches.double().numpy()
    )


def measure(folder: Path, model: StableDiffusionXLPipeline, tiny: AutoencoderTiny) -> Alike:
    """On drawings of captions that were kept out of the training, the denoiser's too."""
    scenes = [scene for scene in every_scene() if scene.held_out][::2]
    latents = collect(folder / "held-out.pt", model, scenes, (drawn,), 0)
    return alike(decoded(tiny, latents), decoded(model.vae, latents))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.shapes.distil", description=__doc__)
    parser.add_argument(
        "--work", type=Path, default=Path("shapes-training/tiny"), help="folder for checkpoints (%(default)s)"
    )
    parser.add_argument("--target", type=Path, default=FOLDER, help="folder of the model (%(default)s)")
    parser.add_argument("--scale", type=float, default=1.0, help="lengthen or shorten the training by this factor")
    parser.add_argument("--measure", action="store_true", help="train nothing, measure what is there")
    options = parser.parse_args(arguments)
    options.work.mkdir(parents=True, exist_ok=True)
    kept = options.target / TINY_AUTOENCODER.name
    model = load(options.target)
    model.set_progress_bar_config(disable=True)
    if options.measure:
        tiny = diffusers.AutoencoderTiny.from_pretrained(kept, dtype=torch.float32, local_files_only=True)
        print(measure(options.work, model, tiny))
        return
    try:
        tiny = train(options.work, model, replace(PLAN, steps=max(1, round(PLAN.steps * options.scale))))
    except KeyboardInterrupt:
        raise SystemExit(f"\nstopped; the same command goes on from {options.work}") from None
    tiny.to(torch.float16).save_pretrained(kept)
    print(f"{kept}: {sum(file.stat().st_size for file in kept.glob('*.safetensors')) / 1e6:.1f} MB of weights")


if __name__ == "__main__":
    main()
