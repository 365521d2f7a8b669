"""The components of a call add up to it, and the pipeline is afterwards what it was before."""

from __future__ import annotations

import functools
import inspect
import time
from typing import TYPE_CHECKING, Any

import pytest

from fastdiff.instruments import components
from fastdiff.instruments.boundaries import DECODE, DENOISING, REST, TEXT, boundaries
from fastdiff.models.anatomy import Anatomy
from fastdiff.models.libraries import torch

if TYPE_CHECKING:
    from fastdiff.trial.live import LiveStage

PAUSE_S = 0.3


class Clock:
    """Each look at it takes a millisecond; other work on the machine does not count."""

    now = 0.0

    def __call__(self) -> float:
        self.now += 0.001
        return self.now


def slow(owner: Any, name: str, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    original = getattr(owner, name)

    @functools.wraps(original)  # pipelines look up which arguments their scheduler takes
    def slower(*args: Any, **kwargs: Any) -> Any:
        clock.now += PAUSE_S
        return original(*args, **kwargs)

    monkeypatch.setattr(owner, name, slower)


def own(live: LiveStage) -> list[set[str]]:
    pipeline = live.built.pipeline
    return [set(vars(owner)) for owner in (pipeline, pipeline.scheduler, pipeline.vae)]


def test_stretches_follow_the_call(live: LiveStage) -> None:
    ended: list[str] = []
    with boundaries(live.built.anatomy, ended.append):
        live.generate()
    assert ended == [REST, TEXT, REST, DENOISING, DENOISING, REST, DECODE, REST]


@pytest.mark.alone
def test_parts_add_up_to_the_call(live: LiveStage) -> None:
    wall_s = []

    def call() -> None:
        began = time.perf_counter()
        live.generate()
        wall_s.append(time.perf_counter() - began)

    found = components.measure(live.built, call)
    parts = [found.text_s, *found.steps_s, found.decode_s, found.rest_s]
    assert len(found.steps_s) == live.request.steps
    assert all(part > 0 for part in parts)
    assert any(sum(parts) == pytest.approx(one, rel=0.02) for one in wall_s)


@pytest.mark.parametrize(
    ("owner", "name", "part"),
    [
        ("text_encoder", "forward", "text_s"),
        ("unet", "forward", "steps_s"),
        ("scheduler", "step", "steps_s"),
        ("scheduler", "set_timesteps", "rest_s"),
        ("vae", "decode", "decode_s"),
        ("image_processor", "postprocess", "rest_s"),
    ],
)
def test_what_is_slow_is_named(
    live: LiveStage, monkeypatch: pytest.MonkeyPatch, owner: str, name: str, part: str
) -> None:
    monkeypatch.setattr(components, "synchronised_clock", clock := Clock())
    before = components.measure(live.built, live.generate)
    slow(getattr(live.built.pipeline, owner), name, clock, monkeypatch)
    after = components.measure(live.built, live.generate)
    grown = {
        "text_s": after.text_s - before.text_s,
        "steps_s": min(after.steps_s) - min(before.steps_s),  # every step is slower, not only one
        "decode_s": after.decode_s - before.decode_s,
        "rest_s": after.rest_s - before.rest_s,
    }
    assert grown[part] == pytest.approx(PAUSE_S, rel=0.01)
    assert max(grown, key=lambda name: grown[name]) == part


@pytest.mark.parametrize(("pauses", "calls", "decode_s"), [((0.5, 0.1, 0.2), 3, 0.2), ((3.0, 0.1, 0.1), 1, 3.0)])
def test_one_disturbed_call_decides_nothing(
    live: LiveStage, monkeypatch: pytest.MonkeyPatch, pauses: tuple[float, ...], calls: int, decode_s: float
) -> None:
    """A long call is made once."""
    monkeypatch.setattr(components, "synchronised_clock", clock := Clock())
    coming = iter(pauses)
    original, made = live.built.pipeline.vae.decode, []

    @functools.wraps(original)
    def disturbed(*args: Any, **kwargs: Any) -> Any:
        made.append(pause := next(coming))
        clock.now += pause
        return original(*args, **kwargs)

    monkeypatch.setattr(live.built.pipeline.vae, "decode", disturbed)
    found = components.measure(live.built, live.generate)
    assert (len(made), found.decode_s) == (calls, pytest.approx(decode_s, abs=0.01))


def test_the_pipeline_is_left_as_it_was(live: LiveStage) -> None:
    before = own(live)
    components.measure(live.built, live.generate)
    assert own(live) == before

    def interrupted() -> None:
        live.built.pipeline.encode_prompt("a", device="cpu")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        components.measure(live.built, interrupted)
    assert own(live) == before


def test_what_was_put_on_the_instance_is_put_back(live: LiveStage) -> None:
    """As compilation puts a compiled `decode` there."""
    vae = live.built.pipeline.vae
    original = vae.decode
    calls: list[str] = []

    def compiled(*args: Any, **kwargs: Any) -> Any:
        calls.append("decode")
        return original(*args, **kwargs)

    vae.decode = compiled
    components.measure(live.built, live.generate)
    assert set(calls) == {"decode"}
    assert vae.decode is compiled


def test_arguments_of_the_scheduler_stay_visible(live: LiveStage) -> None:
    scheduler = live.built.pipeline.scheduler
    before = inspect.signature(scheduler.step)
    with boundaries(live.built.anatomy, lambda component: None):
        assert inspect.signature(scheduler.step) == before


def text_encoder_of(kind: str) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

    if kind == "clip":
        config = CLIPTextConfig(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2)
        return CLIPTextModel(config)
    return T5EncoderModel(T5Config(d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2, vocab_size=64))


@pytest.mark.parametrize("kind", ["StableDiffusionPipeline", "PixArtAlphaPipeline"])
def test_every_pipeline_of_the_catalogue_has_these_boundaries(kind: str) -> None:
    """Made of the smallest parts, and given embeddings: a tokenizer would have to come from somewhere."""
    from fastdiff.models.libraries import diffusers

    vae = diffusers.AutoencoderKL(block_out_channels=(16, 16), norm_num_groups=8, latent_channels=4, **_two_blocks())
    if kind == "PixArtAlphaPipeline":
        denoiser = diffusers.PixArtTransformer2DModel(
            num_attention_heads=2,
            attention_head_dim=8,
            num_layers=1,
            cross_attention_dim=16,
            caption_channels=16,
            sample_size=8,
            use_additional_conditions=False,
        )
        scheduler = diffusers.DPMSolverMultistepScheduler()
        pipeline = diffusers.PixArtAlphaPipeline(None, text_encoder_of("t5"), vae, denoiser, scheduler)
        mask = {"prompt_attention_mask": torch.ones(1, 4), "negative_prompt_attention_mask": torch.ones(1, 4)}
        more: dict[str, Any] = {**mask, "negative_prompt": None, "use_resolution_binning": False}
    else:
        denoiser = diffusers.UNet2DConditionModel(
            sample_size=8,
            block_out_channels=(16, 16),
            layers_per_block=1,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            cross_attention_dim=16,
            attention_head_dim=2,
            norm_num_groups=8,
        )
        encoder = text_encoder_of("clip")
        scheduler = diffusers.DDIMScheduler(steps_offset=1, clip_sample=False)
        pipeline = diffusers.StableDiffusionPipeline(
            vae, encoder, None, denoiser, scheduler, None, None, requires_safety_checker=False
        )
        more = {}
    pipeline.set_progress_bar_config(disable=True)
    ended: list[str] = []
    with boundaries(Anatomy(pipeline), ended.append):
        pipeline(
            prompt_embeds=torch.zeros(1, 4, 16),
            negative_prompt_embeds=torch.zeros(1, 4, 16),
            height=16,
            width=16,
            num_inference_steps=3,
            **more,
        )
    assert ended == [REST, TEXT, REST, *[DENOISING] * 3, REST, DECODE, REST]


def _two_blocks() -> dict[str, Any]:
    return {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
