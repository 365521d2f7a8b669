"""Inpainting, ControlNet, IP-Adapter, LoRA, a chain with a refiner: of the user's own, on tiny random weights."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import owned
import pytest
import warm
from here import HERE

from fastdiff.models import factories
from fastdiff.models.libraries import diffusers, torch
from fastdiff.quality.parity import assert_parity, assert_sound
from fastdiff.record import files
from fastdiff.trial.live import LiveStage
from fastdiff.trial.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fastdiff.models import Model

SUITE = Path(__file__).parent.parent / "perf_tests"
STEPS = {"inpainting": 1, "controlnet": 2, "ip-adapter": 2, "lora": 2, "lora-beside": 2, "refiner": 2}
"""Of a call, by the name of the pipeline; `strength` leaves half of them out."""
WITH_PEFT = ("lora", "lora-beside")


@pytest.fixture(autouse=True)
def tiny_weights(tiny: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINY_PIPELINE", tiny.source)


@pytest.fixture
def a_lora(tiny: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The weights of one, as they are kept in a file."""
    peft = pytest.importorskip("peft", reason="the extra `peft` is not installed")
    kind = diffusers.StableDiffusionXLPipeline
    unet = diffusers.UNet2DConditionModel.from_pretrained(tiny.source, subfolder="unet")
    unet.add_adapter(peft.LoraConfig(r=4, target_modules=["to_q", "to_v"], init_lora_weights=False))
    layers = peft.get_peft_model_state_dict(unet)
    kind.save_lora_weights(tmp_path / "lora", unet_lora_layers=layers)
    monkeypatch.setenv("TINY_LORA", str(tmp_path / "lora"))
    return tmp_path / "lora"


def own(name: str) -> Model:
    return owned.own(f"kinds.py::{name}")


@pytest.fixture
def built(request: pytest.FixtureRequest) -> Iterator[Callable[[str, str], LiveStage]]:
    alive: list[LiveStage] = []

    def build(name: str, stage: str = "sdpa") -> LiveStage:
        for one in alive:
            one.close()
        if name in WITH_PEFT:
            request.getfixturevalue("a_lora")
        model = own(name)
        alive.append(LiveStage(model, HERE[stage], "cpu", model.request))
        alive[-1].first_call()
        return alive[-1]

    yield build
    for one in alive:
        one.close()


@pytest.mark.parametrize("name", [name for name in STEPS if name != "lora-beside"])
def test_it_is_drawn_proven_and_taken_apart(built: Callable[..., LiveStage], name: str) -> None:
    live = built(name)
    assert isinstance(live.images, np.ndarray)
    assert live.images.shape == (1, 64, 96, 3)
    assert_sound(live.images)
    assert live.unapplied == []
    live.take_apart()
    assert live.components is not None
    assert len(live.components.steps_s) == STEPS[name]
    assert min(live.components.text_s, live.components.decode_s) > 0


@pytest.mark.nightly
def test_inpainting_draws_where_the_mask_is(built: Callable[..., LiveStage]) -> None:
    live = built("inpainting")
    first = live.images
    assert isinstance(first, np.ndarray)
    assert live.request.call["negative_prompt"] == "blue"
    live.request = replace(live.request, call=live.request.call | {"negative_prompt": "a large green square"})
    other = live.draw()
    assert isinstance(other, np.ndarray)
    changed = np.abs(other - first).mean(axis=(0, 1, 3))
    assert changed[:40].mean() > 2 * changed[-40:].mean() > 0


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("name", "argument", "changed"),
    [
        ("controlnet", "controlnet_conditioning_scale", 0.0),
        ("ip-adapter", "ip_adapter_image_embeds", [torch.zeros(2, 1, 16)]),
    ],
)
def test_what_steers_reaches_the_picture(
    built: Callable[..., LiveStage], name: str, argument: str, changed: Any
) -> None:
    live = built(name, "fp32")
    first: Any = live.images
    given: Any = live.built.calling.given
    live.built.calling.given = given | {argument: changed}
    live.request = factories.request_of(live.built.calling.given)
    assert not np.allclose(live.draw(), first, atol=1e-3)


def test_an_adapter_that_looks_at_a_picture_keeps_its_attention(built: Callable[..., LiveStage]) -> None:
    """It cannot be written out: the reference's attention is named as not proven, not as wrong."""
    live = built("ip-adapter", "fp32")
    assert live.unapplied == []
    (sentence,) = live.unproven
    assert sentence.startswith("attention: vanilla was not applied to ")
    assert "IPAdapterAttnProcessor2_0" in sentence


@pytest.mark.nightly
def test_two_models_in_a_row_are_both_optimized(built: Callable[..., LiveStage]) -> None:
    live = built("refiner")
    assert len(live.built.anatomy.denoisers) == 2
    assert len({id(one) for one in live.built.parts}) == 3
    assert live.unproven == []
    assert {name for name in live.facts if name.startswith("dtypes.refiner")} != set()


@pytest.mark.nightly
def test_a_lora_changes_the_picture_and_is_fused(built: Callable[..., LiveStage]) -> None:
    fused: Any = built("lora", "fp32").images
    beside = built("lora-beside", "fp32")
    assert_parity(beside.likeness_to(Reference("fused", fused)), beside.budget)
    beside.built.pipeline.disable_lora()
    assert not np.allclose(beside.draw(), fused, atol=1e-3)


@pytest.mark.nightly
def test_a_session_measures_all_of_them(tmp_path: Path, tiny: Model, a_lora: Path) -> None:
    shutil.copytree(SUITE, tmp_path / "perf_tests", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(owned.FOLDER / "kinds.py", tmp_path / "perf_tests" / "kinds.py")
    (tmp_path / "pytest.ini").write_text("[pytest]\nfastdiff_rounds = 2\n")
    options = ("--fastdiff-model=perf_tests/kinds.py", "--fastdiff-stage=fp32,sdpa", "-p", "no:cacheprovider")
    done = warm.pytest("perf_tests", *options, cwd=tmp_path, env=dict(os.environ))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{8 * len(STEPS)} passed" in done.stdout
    (path,) = (tmp_path / "runs").glob("*.json")
    assert {one.state for one in files.read(path).stages} == {"measured"}
