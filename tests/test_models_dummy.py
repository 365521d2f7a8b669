"""Random weights: they lie where they were asked for and nowhere else, and pictures come out that can be compared."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from fastdiff.models import CATALOGUE, Request, dummy
from fastdiff.models.architectures import ARCHITECTURES, Architecture
from fastdiff.models.filters import published
from fastdiff.models.libraries import torch
from fastdiff.models.tokenizers import tokenizer
from fastdiff.models.twins import TWINS
from fastdiff.optimize import noise, quantization
from fastdiff.quality.metrics import likeness
from fastdiff.quality.tripwires import tripped
from fastdiff.record.errors import UserError
from fastdiff.stages.budgets import LOSSLESS, QUANTIZED

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

MIB = 2**20


@pytest.mark.parametrize("model", TWINS)
def test_a_twin_draws_the_same_picture_for_the_same_seed(model: str) -> None:
    first, again, other = (dummy.assemble(TWINS[model], "float32", "cpu", seed=seed) for seed in (0, 0, 1))
    asked = request(model)
    images = draw(first, model, asked)
    assert tripped(images) is None
    assert (draw(again, model, asked) == images).all()
    assert likeness(draw(other, model, asked), images).ssim < LOSSLESS.worst_tile


@pytest.mark.nightly
@pytest.mark.alone
@pytest.mark.parametrize("model", TWINS)
def test_a_twin_is_quick(model: str) -> None:
    twin, seconds = dummy.assemble(TWINS[model], "float32", "cpu"), []
    for _ in range(3):
        began = time.perf_counter()
        draw(twin, model, request(model))
        seconds.append(time.perf_counter() - began)
    assert min(seconds) < 1.0


@pytest.mark.parametrize("steps", [2, pytest.param(12, marks=pytest.mark.nightly)])
@pytest.mark.parametrize("model", TWINS)
def test_a_twin_draws_the_same_picture_in_bf16(model: str, steps: int) -> None:
    """Within the budget of the suite; and a denoiser that does nothing, or is told something else, is beyond it."""
    asked = request(model, steps=steps)
    exact, rounded = (assembled(TWINS[model], dtype, "cpu") for dtype in ("float32", "bfloat16"))
    images = draw(exact, model, asked)
    found = likeness(draw(rounded, model, asked), images)
    assert found.ssim > LOSSLESS.ssim
    assert found.worst_tile > LOSSLESS.worst_tile
    assert likeness(draw(exact, model, replace(asked, prompt="blue")), images).ssim < LOSSLESS.ssim
    denoiser(exact).register_forward_hook(lambda module, inputs, output: (torch.zeros_like(output[0]),))
    assert likeness(draw(exact, model, asked), images).ssim < LOSSLESS.ssim


@pytest.mark.parametrize("model", TWINS)
def test_a_twin_draws_the_same_picture_in_int8(model: str) -> None:
    """In eager mode, because nothing but the widths is in question here."""
    images = draw(assembled(TWINS[model], "float32", "cpu"), model, request(model))
    quantized = assembled(TWINS[model], "bfloat16", "cpu")
    part = denoiser(quantized)
    quantization.quantize([part], "int8-dynamic", published(next(one for one in CATALOGUE if one.name == model)))
    assert sum(map(quantization.is_quantized, part.modules())) >= 20
    found = likeness(draw(quantized, model, request(model)), images)
    assert found.ssim > QUANTIZED.ssim
    assert found.worst_tile > QUANTIZED.worst_tile


@pytest.mark.parametrize("model", TWINS)
def test_the_tiny_autoencoder_draws_a_picture_too(model: str) -> None:
    exact, rounded = (assembled(TWINS[model], dtype, "cpu", "tiny") for dtype in ("float32", "bfloat16"))
    assert type(exact.vae).__name__ == "AutoencoderTiny"
    images = draw(exact, model, request(model))
    assert tripped(images) is None
    assert (images == 0).mean() < 0.5
    assert likeness(draw(rounded, model, request(model)), images).ssim > LOSSLESS.ssim


@pytest.mark.parametrize("model", ["pixart-alpha", "flux-schnell", "flux-dev"])
def test_synthetic_text_takes_the_place_of_a_prompt(model: str) -> None:
    """Embeddings of the full-size model's shape, in a denoiser of the twin's size, for two pictures at once."""
    architecture = without_text(model)
    asked = request(model).changed(batch=2)
    pipeline = dummy.assemble(architecture, "float32", "cpu")

    def drawn(prompt: str, seed: int = 0) -> np.ndarray:
        words = dummy.conditioning(architecture, replace(asked, prompt=prompt), "float32", "cpu", seed)
        assert words is not None
        return call(pipeline, architecture, asked, words)

    images = drawn("a red circle")
    assert images.shape == (2, 64, 64, 3)
    assert tripped(images) is None
    assert (drawn("a red circle") == images).all()
    assert likeness(drawn("blue"), images).ssim < LOSSLESS.ssim
    assert likeness(drawn("a red circle", seed=1), images).ssim < LOSSLESS.ssim


def test_one_text_for_all_pictures_and_every_dtype() -> None:
    architecture, asked = ARCHITECTURES["pixart-alpha"], request("pixart-alpha").changed(batch=3)
    exact = dummy.conditioning(architecture, asked, "float32", "cpu")
    rounded = dummy.conditioning(architecture, asked, "bfloat16", "cpu")
    assert exact is not None
    assert rounded is not None
    assert exact["prompt_embeds"].shape == (3, 120, 4096)
    assert exact["num_images_per_prompt"] == 1
    assert (exact["prompt_embeds"][0] == exact["prompt_embeds"][2]).all()
    assert (rounded["prompt_embeds"] == exact["prompt_embeds"].bfloat16()).all()
    assert exact["prompt_attention_mask"].sum(1).tolist() == [len(asked.prompt) // 4 + 1] * 3
    assert exact["negative_prompt_attention_mask"].sum(1).tolist() == [1] * 3


@pytest.mark.parametrize("model", TWINS)
def test_where_there_are_text_encoders_nothing_replaces_them(model: str) -> None:
    assert dummy.conditioning(TWINS[model], request(model), "float32", "cpu") is None


def test_weights_of_another_dtype_are_the_same_ones_rounded() -> None:
    part = TWINS["flux-dev"].parts["transformer"]
    exact, rounded = (dummy.filled(dummy.skeleton(part, dtype), dtype, "cpu") for dtype in ("float32", "bfloat16"))
    for (name, one), (_, other) in zip(exact.named_parameters(), rounded.named_parameters(), strict=True):
        assert torch.equal(one.bfloat16(), other), name


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("pixart-alpha", "transformer"),  # positions in a buffer
        ("pixart-alpha", "text_encoder"),  # transformers keeps a part of it in fp32, but only against fp16
        ("sdxl", "text_encoder_2"),
        ("sdxl", "unet"),
        ("flux-dev", "vae"),
    ],
)
def test_a_module_is_what_from_pretrained_would_load(model: str, name: str, dtype: str, tmp_path: Path) -> None:
    """The same dtypes, and buffers with the same values: what is no weight is not random."""
    part = TWINS[model].parts[name]
    made = dummy.filled(dummy.skeleton(part, dtype), dtype, "cpu")
    made.save_pretrained(tmp_path)
    loaded = type(made).from_pretrained(tmp_path, dtype=getattr(torch, dtype))
    assert dtypes(made) == dtypes(loaded)
    assert made.training == loaded.training is False
    for (key, mine), (_, theirs) in zip(made.named_buffers(), loaded.named_buffers(), strict=True):
        assert torch.equal(mine, theirs), key
    if name == "text_encoder" and dtype == "float16":
        assert torch.float32 in dtypes(made).values()


def test_tied_weights_stay_tied() -> None:
    made = dummy.filled(dummy.skeleton(TWINS["pixart-alpha"].parts["text_encoder"]), "float32", "cpu")
    assert made.shared.weight is made.encoder.embed_tokens.weight


def test_clip_reads_bytes_between_its_markers() -> None:
    """With the numbers that the real one gives to markers and to padding."""
    first, second = (ARCHITECTURES["sdxl"].tokenizers[name] for name in ("tokenizer", "tokenizer_2"))
    read = {"padding": "max_length", "truncation": True}
    short, long = tokenizer(first, 49408)(["ab", "x" * 500], **read).input_ids
    assert short[:4] == [49406, 64, 65 + 256, 49407]
    assert set(short[4:]) == {49407}
    assert len(short) == len(long) == 77
    assert set(tokenizer(second, 49408)(["ab"], **read).input_ids[0][4:]) == {0}


def test_a_vocabulary_without_room_for_bytes_is_refused() -> None:
    with pytest.raises(ValueError, match="give it 514 at least"):
        tokenizer(ARCHITECTURES["sdxl"].tokenizers["tokenizer"], 100)


# -- memory, in a process of its own because the highest mark is never lowered ----------------------------------------

WITNESS = """
import json, resource, sys, time
from fastdiff.models import dummy
from fastdiff.models.architectures import ARCHITECTURES
from fastdiff.models.twins import TWINS
from fastdiff.models.libraries import torch

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

whole = ARCHITECTURES["sdxl"].parts
dummy.assemble(TWINS["sdxl"], "bfloat16", "cpu")  # so that every library is loaded
"""

BUILD = """
before = peak()
skeletons = [dummy.skeleton(part) for part in whole.values()]
built = peak()
dummy.filled(dummy.skeleton(whole["text_encoder"], "bfloat16"), "bfloat16", "cpu")
print(json.dumps({"built": built - before, "filled": peak() - built}))
"""

STEP = """
before, began = peak(), time.monotonic()
unet = dummy.filled(dummy.skeleton(whole["unet"], "bfloat16"), "bfloat16", "cpu")
filled_s = time.monotonic() - began
assert not {str(tensor.dtype) for tensor in unet.parameters()} - {"torch.bfloat16"}
numbers = torch.Generator().manual_seed(0)
def given(*shape):
    return torch.randn(shape, generator=numbers).bfloat16()
began = time.monotonic()
with torch.no_grad():
    noise = unet(
        given(2, 4, 32, 32), torch.tensor(999.0), given(2, 77, 2048), return_dict=False,
        added_cond_kwargs={"text_embeds": given(2, 1280), "time_ids": given(2, 6)},
    )[0].float()
print(json.dumps({
    "filled_s": filled_s, "step_s": time.monotonic() - began, "before": before, "peak": peak(),
    "finite": bool(noise.isfinite().all()), "deviation": noise.std().item(),
}))
"""


@pytest.mark.nightly
def test_nothing_is_allocated_before_it_is_filled_and_nothing_twice() -> None:
    """SDXL's parts have 13 GB in fp32; 123 M parameters are filled in bf16 through chunks of 64 MiB."""
    seen = witness(BUILD)
    assert seen["built"] < 100 * MIB
    weights = 2 * 123_060_480
    # Beside a spare copy, there would be another 235 MiB, or 470 if it were in fp32.
    assert seen["filled"] < weights + 64 * MIB + 100 * MIB


@pytest.mark.parametrize(("free", "refused"), [(10**6, True), (10**12, False), (None, False)])
def test_weights_that_do_not_fit_are_refused_before_one_is_drawn(
    free: int | None, refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dummy.memory, "available_bytes", lambda: free)
    drawn: list[str] = []
    monkeypatch.setattr(dummy, "_draw", lambda weight, name, *_: drawn.append(name))
    said = r"in float32 plus one call need about 0\.0 GB of memory; only 0\.0 GB are free\. .* --fastdiff-weights twin"
    with pytest.raises(UserError, match=said) if refused else nullcontext():
        dummy.assemble(TWINS["sdxl"], "float32", "cpu")
    assert bool(drawn) is not refused


@pytest.mark.skipif(
    os.environ.get("FASTDIFF_FULL_SIZE") != "1",
    reason="takes minutes and 6 GB of memory; FASTDIFF_FULL_SIZE=1 runs it",
)
def test_sdxl_in_full_size_takes_a_step_on_the_cpu() -> None:
    seen = witness(STEP, timeout_s=1800)
    print(seen)
    assert seen["finite"]
    assert 0.05 < seen["deviation"] < 5
    assert seen["peak"] < 24 * 1024 * MIB
    assert seen["peak"] - seen["before"] < 2 * 2_567_463_684 + 2048 * MIB


def witness(code: str, timeout_s: float = 120) -> dict[str, Any]:
    done = subprocess.run([sys.executable, "-c", WITNESS + code], capture_output=True, text=True, timeout=timeout_s)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


# -- drawing ----------------------------------------------------------------------------------------------------------


def request(model: str, steps: int = 2) -> Request:
    guidance = next(one for one in CATALOGUE if one.name == model).request.guidance
    return Request("a large red circle on a blue background", steps=steps, size=64, guidance=guidance)


def assembled(architecture: Architecture, dtype: str, *how: str) -> Any:
    """As a stage is built: every dtype begins with the same noise."""
    pipeline = dummy.assemble(architecture, dtype, *how)
    noise.draw_in_float32(pipeline)
    return pipeline


def draw(pipeline: Any, model: str, asked: Request) -> np.ndarray:
    return call(pipeline, TWINS[model], asked, {"prompt": asked.prompt})


def call(pipeline: Any, architecture: Architecture, asked: Request, words: dict[str, Any]) -> np.ndarray:
    pipeline.set_progress_bar_config(disable=True)
    arguments = {
        "height": asked.size,
        "width": asked.size,
        "num_inference_steps": asked.steps,
        "guidance_scale": asked.guidance,
        "num_images_per_prompt": asked.batch,
        "generator": [torch.Generator("cpu").manual_seed(asked.seed + i) for i in range(asked.batch)],
        "output_type": "np",
    }
    return pipeline(**arguments | architecture.call | words).images


def denoiser(pipeline: Any) -> Any:
    return pipeline.unet if "unet" in pipeline.components else pipeline.transformer


def without_text(model: str) -> Architecture:
    """The full-size model's text, and the twin's denoiser widened to take it."""
    whole, twin = ARCHITECTURES[model], TWINS[model]
    widths = {
        key: whole.parts["transformer"].config[key]
        for key in ("caption_channels", "joint_attention_dim", "pooled_projection_dim")
        if key in whole.parts["transformer"].config
    }
    return replace(whole, parts={"transformer": twin.parts["transformer"].changed(**widths), "vae": twin.parts["vae"]})


def dtypes(module: Any) -> dict[str, Any]:
    return {name: tensor.dtype for name, tensor in (*module.named_parameters(), *module.named_buffers())}
