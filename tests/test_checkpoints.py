"""What `--ckpt` names: well-known names, others asked for their class, on a fake of the hub's cache and in folders."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from huggingface_hub import constants
from typer.testing import CliRunner

from fastdiff.cli import app
from fastdiff.cli import row as row_module
from fastdiff.experiments import published
from fastdiff.models import CATALOGUE, Model, checkpoints
from fastdiff.record.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping

MODELS = {model.name: model for model in CATALOGUE}
SDXL, SD15 = MODELS["sdxl"], MODELS["sd15"]


@pytest.fixture(autouse=True)
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub, and no connection."""
    cache = tmp_path / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return cache


def put(cache: Path, name: str, index: Mapping[str, object]) -> None:
    """As the hub's library leaves a repository of which it has read the index: a link to a blob."""
    place, commit = cache / f"models--{name.replace('/', '--')}", "0" * 40
    blob = place / "blobs" / "index"
    for folder in (blob.parent, place / "snapshots" / commit, place / "refs"):
        folder.mkdir(parents=True)
    blob.write_text(json.dumps(index))
    (place / "snapshots" / commit / "model_index.json").symlink_to(blob)
    (place / "refs" / "main").write_text(commit)


@pytest.mark.parametrize(
    ("checkpoint", "model"),
    [
        ("runwayml/stable-diffusion-v1-5", "sd15"),
        ("stable-diffusion-v1-5/stable-diffusion-v1-5", "sd15"),
        ("stabilityai/stable-diffusion-xl-base-1.0", "sdxl"),
        ("segmind/SSD-1B", "ssd-1b"),
        ("PixArt-alpha/PixArt-XL-2-1024-MS", "pixart-alpha"),
        ("black-forest-labs/FLUX.1-schnell", "flux-schnell"),
    ],
)
def test_the_documents_checkpoints_are_the_catalogues_models(checkpoint: str, model: str) -> None:
    """With their request and their commit, without asking the hub; a moved one is loaded from its present place."""
    assert published.model(checkpoint=checkpoint) == (MODELS[model], MODELS[model].source)
    assert published.model(model, checkpoint)[0] == MODELS[model]
    assert published.model(model)[0] == MODELS[model]


def test_every_other_name_is_of_a_model_that_there_is() -> None:
    assert set(checkpoints.OTHER_NAMES.values()) <= set(MODELS)
    assert {kin.model for kin in checkpoints.KIN.values()} <= set(MODELS)
    known = [*checkpoints.OTHER_NAMES, *checkpoints.KIN, *(model.source for model in CATALOGUE)]
    assert len(known) == len(set(known))


@pytest.mark.parametrize("name", sorted(checkpoints.KIN))
def test_well_known_kin_has_a_request_of_its_own(name: str) -> None:
    kin = checkpoints.KIN[name]
    model, called = published.model(checkpoint=name)
    assert (model.source, model.revision, model.weights, called) == (name, None, "hub", name)
    plain = MODELS[kin.model]
    assert (model.pipeline, model.request.prompt) == (plain.pipeline, plain.request.prompt)
    wanted = {"size": kin.size, "steps": kin.steps, "guidance": kin.guidance}
    for what, value in wanted.items():
        assert getattr(model.request, what) == (getattr(plain.request, what) if value is None else value)
    assert published.model("sd15" if kin.model == "sd15" else kin.model)[0] == plain, "the catalogue stays as it is"


def test_turbo_draws_in_one_step() -> None:
    request = published.model(checkpoint="stabilityai/sdxl-turbo")[0].request
    assert (request.size, request.steps, request.guidance) == (512, 1, 0.0)


@pytest.mark.parametrize(
    ("cls", "model"),
    [
        ("StableDiffusionXLPipeline", "sdxl"),
        ("StableDiffusionPipeline", "sd15"),
        ("PixArtAlphaPipeline", "pixart-alpha"),
    ],
)
def test_an_unknown_name_is_asked_for_its_class(hub: Path, cls: str, model: str) -> None:
    put(hub, "someone/fine-tuned", {"_class_name": cls})
    found, called = published.model(checkpoint="someone/fine-tuned")
    plain = MODELS[model]
    assert found == replace(plain, name="fine-tuned", source=called, revision=None, weights="hub")
    assert called == "someone/fine-tuned"
    asked = published.setting((found, called), published.recipe(dtype="float32"), device="cpu", rounds=1)
    assert f"{plain.request.size} px, {plain.request.steps} steps" in row_module.headline(asked)[0]


def test_a_folder_is_asked_for_its_class(tiny: Model, tmp_path: Path) -> None:
    found, called = published.model(checkpoint=tiny.source)
    assert (found.pipeline, found.request, found.vae) == (tiny.pipeline, SDXL.request, None)
    assert (found.source, called) == (str(Path(tiny.source).resolve()), tiny.source)
    assert published.model("shapes", tiny.source)[0].request == MODELS["shapes"].request, "where it is named"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline"}))
    assert published.model(checkpoint=str(tmp_path / "mine"))[0].request == SD15.request


def test_random_weights_are_not_passed_off_as_the_models_own() -> None:
    twin, called = published.model("sdxl", weights="twin")
    assert (twin.weights, called) == ("twin", SDXL.source)
    asked = published.setting((twin, called), published.recipe(), device="cpu", rounds=1)
    assert row_module.headline(asked)[0].startswith("sdxl (twin) on ")
    assert published.model() == published.model("shapes")
    assert published.model()[1] == "shapes", "and no folder of this machine"


INDEXES = {
    "someone/inpainting": {"_class_name": "StableDiffusionXLInpaintPipeline"},
    "someone/flux": {"_class_name": "FluxPipeline"},
    "someone/pixart": {"_class_name": "PixArtAlphaPipeline"},
    "someone/nothing": {},
}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            "--ckpt someone/inpainting",
            "someone/inpainting is a StableDiffusionXLInpaintPipeline, which is none of StableDiffusionXLPipeline, "
            "StableDiffusionPipeline, PixArtAlphaPipeline, FluxPipeline; describe it in pyproject.toml",
        ),
        ("--ckpt someone/flux", "add --model flux-schnell or --model flux-dev."),
        (
            "--model sdxl --ckpt someone/pixart",
            "someone/pixart is a PixArtAlphaPipeline, and 'sdxl' is a StableDiffusionXLPipeline; leave out --model.",
        ),
        ("--model sdxl --ckpt runwayml/stable-diffusion-v1-5", "is 'sd15', and not 'sdxl'; leave out --model."),
        ("--ckpt someone/nothing", "names no pipeline class"),
        ("--ckpt someone/unheard-of", "the hub did not say what someone/unheard-of is"),
        ("--ckpt a/b/c/d", "the hub did not say what a/b/c/d is"),
        ("--ckpt ./nowhere", "no folder in diffusers' layout"),
    ],
)
def test_what_is_no_model_is_one_sentence(hub: Path, tmp_path: Path, arguments: str, sentence: str) -> None:
    for name, index in INDEXES.items():
        put(hub, name, index)
    done = CliRunner().invoke(app, ["run", *arguments.split(), "--out", str(tmp_path / "results")])
    assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1), done.output
    assert sentence in done.stderr
    assert not (tmp_path / "results").exists()


def test_a_named_model_decides_among_several(hub: Path) -> None:
    put(hub, "someone/flux", {"_class_name": "FluxPipeline"})
    assert published.model("flux-dev", "someone/flux")[0].request == MODELS["flux-dev"].request


def test_a_broken_index_is_one_sentence(hub: Path, tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text("{")
    with pytest.raises(UserError, match=r"model_index\.json: this is not whole JSON"):
        published.model(checkpoint=str(tmp_path))
