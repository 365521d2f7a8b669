"""Weights from the hub, on a fake of its cache: the pinned commit, safetensors alone, no code, and a clear sentence."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import warm

from fastdiff.models import CATALOGUE
from fastdiff.models.twins import TWINS

SDXL = next(model for model in CATALOGUE if model.name == "sdxl")

LOAD = """
import json, os
from dataclasses import replace
from pathlib import Path

def test_load():
    from fastdiff.models import CATALOGUE
    from fastdiff.record.errors import UserError
    from fastdiff.models.loading import load
    model = next(model for model in CATALOGUE if model.name == "sdxl").with_weights("hub")
    try:
        pipeline = load(model, "bfloat16", *os.environ["HOW"].split())
        found = {part: str(getattr(pipeline, part).dtype) for part in ("unet", "vae", "text_encoder_2")}
        found |= {"vae_class": type(pipeline.vae).__name__, "blocks": pipeline.vae.config.block_out_channels}
    except UserError as error:
        found = {"refused": str(error)}
    Path("found.json").write_text(json.dumps(found))
"""


def snapshot(cache: Path, name: str, revision: str | None) -> Path:
    assert revision is not None
    return cache / f"models--{name.replace('/', '--')}" / "snapshots" / revision


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache as the hub's library leaves it, with a twin in the place of SDXL, its autoencoder and the tiny one."""
    from fastdiff.models import dummy

    cache = tmp_path_factory.mktemp("hub")
    pipeline = dummy.assemble(TWINS["sdxl"], "float32", "cpu")
    pipeline.save_pretrained(snapshot(cache, SDXL.source, SDXL.revision))
    safe = snapshot(cache, str(SDXL.vae), SDXL.vae_revision)
    pipeline.vae.save_pretrained(safe)
    tiny = dummy.assemble(TWINS["sdxl"], "float32", "cpu", autoencoder="tiny").vae
    tiny.save_pretrained(snapshot(cache, str(SDXL.tiny_autoencoder), SDXL.tiny_revision))
    return cache


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all tests: the library reads where its cache is when it is imported."""
    return tmp_path_factory.mktemp("place") / "hub"


@pytest.fixture
def cache(filled: Path, place: Path) -> Path:
    shutil.rmtree(place, ignore_errors=True)
    return Path(shutil.copytree(filled, place))


def loaded(cache: Path, how: str = "") -> dict[str, Any]:
    environment = os.environ | {"HF_HUB_CACHE": str(cache), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "HOW": how}
    (cache.parent / "test_load.py").write_text(LOAD)
    done = warm.pytest("test_load.py", "-q", "-p", "no:cacheprovider", cwd=cache.parent, env=environment, timeout=120)
    assert done.returncode == 0, done.stdout
    found: dict[str, Any] = json.loads((cache.parent / "found.json").read_text())
    return found


def test_the_pinned_commit_is_loaded_with_the_safe_autoencoder(cache: Path) -> None:
    safe = snapshot(cache, str(SDXL.vae), SDXL.vae_revision) / "config.json"
    config = json.loads(safe.read_text())
    assert loaded(cache) == {
        **dict.fromkeys(("unet", "vae", "text_encoder_2"), "torch.bfloat16"),
        "vae_class": "AutoencoderKL",
        "blocks": config["block_out_channels"],
    }


def test_the_tiny_autoencoder_comes_from_its_own_place(cache: Path) -> None:
    assert loaded(cache, "tiny")["vae_class"] == "AutoencoderTiny"


def test_the_pipeline_s_own_autoencoder_is_loaded_where_it_is_asked_for(cache: Path) -> None:
    shutil.rmtree(snapshot(cache, str(SDXL.vae), SDXL.vae_revision))
    assert "refused" in loaded(cache)
    assert loaded(cache, "pipeline")["vae_class"] == "AutoencoderKL"


def test_another_commit_is_not_taken_for_the_pinned_one(cache: Path) -> None:
    here = snapshot(cache, SDXL.source, SDXL.revision)
    here.rename(here.with_name("0" * 40))
    said = loaded(cache)["refused"]
    assert "the weights of 'sdxl' could not be loaded from stabilityai/stable-diffusion-xl-base-1.0" in said
    assert "--fastdiff-weights dummy" in said


def test_an_empty_cache_without_a_connection_is_one_sentence(place: Path) -> None:
    shutil.rmtree(place, ignore_errors=True)
    said = loaded(place)["refused"]
    assert "\n" not in said
    assert "check the connection" in said


def test_pickled_weights_are_never_read(cache: Path) -> None:
    """A pickle is a program; the file here is none at all, so reading it would be another error."""
    unet = snapshot(cache, SDXL.source, SDXL.revision) / "unet"
    (unet / "diffusion_pytorch_model.safetensors").unlink()
    (unet / "diffusion_pytorch_model.bin").write_bytes(b"not even a pickle")
    assert "safetensors" in loaded(cache)["refused"]


def test_code_in_the_repository_is_never_run(cache: Path, tmp_path: Path) -> None:
    folder = snapshot(cache, SDXL.source, SDXL.revision)
    trace = tmp_path / "it ran"
    code = (
        f"from pathlib import Path\nPath({str(trace)!r}).touch()\nfrom diffusers import UNet2DConditionModel as Mine\n"
    )
    (folder / "unet" / "mine.py").write_text(code)
    (folder / "pipeline.py").write_text(code.replace("UNet2DConditionModel", "StableDiffusionXLPipeline"))
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | {"unet": ["mine", "Mine"]}))
    loaded(cache)
    assert not trace.exists()
