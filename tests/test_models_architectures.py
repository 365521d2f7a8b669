"""Full-size models as published, counted where they take no memory, and twins that have everything they have."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from fastdiff.models import CATALOGUE
from fastdiff.models.architectures import ARCHITECTURES, Part, Tokenizer
from fastdiff.models.dummy import skeleton
from fastdiff.models.filters import published
from fastdiff.models.libraries import torch
from fastdiff.models.twins import TWINS
from fastdiff.optimize import quantization

VAE = 83_653_863
TINY = 2_445_063
COUNTED = [
    ("sdxl", "unet", 2_567_463_684),
    ("sdxl", "vae", VAE),
    ("ssd-1b", "unet", 1_331_334_404),
    ("ssd-1b", "vae", VAE),
    ("sd15", "unet", 859_520_964),
    ("sd15", "vae", VAE),
    ("pixart-alpha", "transformer", 611_349_152),
    ("pixart-alpha", "vae", VAE),
    ("flux-schnell", "transformer", 11_891_178_560),
    ("flux-dev", "transformer", 11_901_408_320),
]
SHARED = [(model, name) for model, whole in ARCHITECTURES.items() for name in whole.parts]


@pytest.mark.parametrize(("model", "name", "parameters"), COUNTED)
def test_parameters_are_as_many_as_published(model: str, name: str, parameters: int) -> None:
    assert count(ARCHITECTURES[model].parts[name]) == parameters


@pytest.mark.parametrize("model", ["sdxl", "ssd-1b", "sd15", "pixart-alpha"])
def test_the_tiny_autoencoder_is_the_published_one(model: str) -> None:
    assert count(ARCHITECTURES[model].tiny_autoencoder) == TINY


@pytest.mark.parametrize(("name", "millions"), [("text_encoder", 123), ("text_encoder_2", 695)])
def test_text_encoders_have_their_true_size(name: str, millions: int) -> None:
    assert round(count(ARCHITECTURES["sdxl"].parts[name]) / 1e6) == millions


def test_flux_has_a_wider_latent_and_no_quantizing_convolutions() -> None:
    for autoencoder in (ARCHITECTURES["flux-dev"].parts["vae"], TWINS["flux-dev"].parts["vae"]):
        made = skeleton(autoencoder)
        assert (made.decoder.conv_in.in_channels, made.quant_conv, made.post_quant_conv) == (16, None, None)


@pytest.mark.nightly
def test_flops_of_sdxl_are_the_published_ones() -> None:
    """At 1024 px with guidance, in 30 steps."""
    unet, vae = (skeleton(ARCHITECTURES["sdxl"].parts[name]).to("meta") for name in ("unet", "vae"))
    step = flops(
        unet,
        torch.empty(2, 4, 128, 128, device="meta"),
        torch.empty((), device="meta"),
        torch.empty(2, 77, 2048, device="meta"),
        added_cond_kwargs={
            "text_embeds": torch.empty(2, 1280, device="meta"),
            "time_ids": torch.empty(2, 6, device="meta"),
        },
    )
    decode = flops(vae.decode, torch.empty(1, 4, 128, 128, device="meta"))
    assert step / 1e12 == pytest.approx(13.52, abs=0.005)
    assert decode / 1e12 == pytest.approx(10.47, abs=0.005)
    assert (30 * step + decode) / 1e12 == pytest.approx(416.1, abs=0.05)


@pytest.mark.parametrize(("model", "name"), SHARED)
def test_a_twin_has_every_block_of_the_original(model: str, name: str) -> None:
    """Layers by their classes, and parameters by their names without the numbers: no difference is allowed."""
    whole, twin = (skeleton(known[model].parts[name]) for known in (ARCHITECTURES, TWINS))
    assert classes(twin) == classes(whole)
    assert places(twin) == places(whole)


@pytest.mark.parametrize("model", TWINS)
def test_a_twin_is_small_and_has_layers_for_int8(model: str) -> None:
    parts = TWINS[model].parts
    assert sum(map(count, parts.values())) < 2e6
    denoiser = skeleton(parts["unet" if "unet" in parts else "transformer"])
    filter_ = published(next(one for one in CATALOGUE if one.name == model))
    assert any(quantization.selected(filter_, module, name) for name, module in denoiser.named_modules())
    # Only UNets have convolutions of one pixel that become linear.
    assert any(map(quantization.worth_linear, denoiser.modules())) == ("unet" in parts)


def test_twins_leave_no_text_encoder_out() -> None:
    for model, twin in TWINS.items():
        assert not twin.synthetic, model
        assert {name.replace("tokenizer", "text_encoder") for name in twin.tokenizers} <= set(twin.parts), model


def test_a_twin_keeps_what_decides_over_code_paths() -> None:
    assert skeleton(TWINS["pixart-alpha"].parts["transformer"]).use_additional_conditions
    assert TWINS["ssd-1b"].parts["unet"].config["mid_block_type"] == "UNetMidBlock2D"
    assert TWINS["flux-dev"].scheduler.config["use_dynamic_shifting"]
    assert not TWINS["flux-schnell"].scheduler.config["use_dynamic_shifting"]


def test_an_unknown_kind_of_tokenizer_is_refused() -> None:
    with pytest.raises(ValueError, match="'bert'; take clip or t5"):
        Tokenizer("bert", 77)


def test_reading_the_architectures_loads_no_library() -> None:
    code = "import sys, fastdiff.models.architectures; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert "fastdiff.models.architectures" in done.stdout.split()
    assert not {"torch", "diffusers", "transformers", "accelerate"} & set(done.stdout.split())


def count(part: Part) -> int:
    return sum(parameter.numel() for parameter in skeleton(part).parameters())


def classes(module: torch.nn.Module) -> set[str]:
    return {type(child).__name__ for child in module.modules()}


def places(module: torch.nn.Module) -> set[str]:
    return {re.sub(r"\d+", "N", name) for name, _ in module.named_parameters()}


def flops(forward: torch.nn.Module, *inputs: torch.Tensor, **more: object) -> int:
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        forward(*inputs, **more)
    return counter.get_total_flops()
