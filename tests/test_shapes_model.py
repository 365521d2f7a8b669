"""The embedded model: what it weighs, that it loads as any model does, that it is good, that it can be trained."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from fastdiff.models import CATALOGUE
from fastdiff.models.shapes import FOLDER
from tools.shapes import architecture
from tools.shapes.pictures import every_scene
from tools.shapes.score import Exam, choose_scenes, draw_all, load, measure_round_trip

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.nightly


def test_weights_are_light_and_in_half_precision() -> None:
    from safetensors import safe_open

    files = sorted(FOLDER.rglob("*.safetensors"))
    assert len(files) == 5
    assert sum(file.stat().st_size for file in files) < 16e6
    for file in files:
        with safe_open(file, "pt") as opened:
            dtypes = {opened.get_slice(name).get_dtype() for name in opened.keys()}  # noqa: SIM118 (not a dict)
        assert dtypes == {"F16"} or file.parent.name.startswith("text_encoder"), (file, dtypes)


def test_architecture_is_that_of_sdxl() -> None:
    index = json.loads((FOLDER / "model_index.json").read_text())
    assert index["_class_name"] == "StableDiffusionXLPipeline"
    assert index["scheduler"][1] == "EulerDiscreteScheduler"
    unet = json.loads((FOLDER / "unet/config.json").read_text())
    assert unet["addition_embed_type"] == "text_time"
    assert unet["use_linear_projection"] is True
    assert unet["down_block_types"][0] == "CrossAttnDownBlock2D"
    vae = json.loads((FOLDER / "vae/config.json").read_text())
    assert len(vae["down_block_types"]) == 4, "8x downsampling"
    assert (FOLDER / "tokenizer/vocab.json").is_file()
    assert (FOLDER / "tokenizer/merges.txt").is_file()


def test_every_word_of_a_caption_is_one_token(tmp_path: Path) -> None:
    tokenizer = architecture.save_tokenizer(tmp_path)
    for scene in every_scene():
        assert len(tokenizer.tokenize(scene.caption)) == len(scene.caption.split()), scene.caption
    assert tokenizer.model_max_length == architecture.TOKENS
    assert tokenizer("any other wörds 8k, too").input_ids[-1] == tokenizer.eos_token_id


def test_held_out_scenes_are_a_tenth_and_never_change() -> None:
    scenes = list(every_scene())
    held_out = [scene.caption for scene in scenes if scene.held_out]
    assert len(scenes) == 448
    assert len(held_out) == 40
    assert held_out[0] == "a small red ring on a yellow background"


def test_autoencoder_keeps_pictures() -> None:
    found = measure_round_trip(load(FOLDER).vae, seed=1)
    assert found.mean_db >= 30


def test_it_draws_what_the_caption_says() -> None:
    """A small sample of what `python -m tools.shapes.score` measures; bounds leave room for its size."""
    exam = Exam(captions=16, steps=8, batch=8)
    drawings = list(draw_all(load(FOLDER), choose_scenes(exam.captions, seed=5), exam))
    right = {field: sum(d.right(field) for d in drawings) for field in ("colour", "background", "size", "shape")}
    assert right["colour"] >= 14, right
    assert right["background"] >= 14, right
    assert right["size"] >= 13, right
    assert right["shape"] >= 12, right


def test_guidance_matters() -> None:
    """Without guidance the second half of every call's batch is not there, and the picture is another one."""
    from fastdiff.models.libraries import torch

    pipeline = load(FOLDER)
    request = CATALOGUE[0].request

    def picture(guidance: float):
        seed = torch.Generator("cpu").manual_seed(0)
        return pipeline(
            request.prompt, num_inference_steps=4, guidance_scale=guidance, generator=seed, output_type="np"
        ).images

    assert abs(picture(1.0) - picture(4.0)).max() > 0.05


@pytest.mark.timeout(600)
def test_training_resumes_after_an_interrupt_and_exports(tmp_path: Path) -> None:
    """Lessons of seconds: what comes out cannot draw, but it is the same format and the same way."""
    command = [sys.executable, "-m", "tools.shapes.train", "--work", "work", "--target", "model"]
    command += ["--scale", "0.001"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("vae:"):
            break
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=120)
    assert process.returncode == 1
    assert (tmp_path / "work/vae.pt").is_file()
    finished = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=500, check=False)
    assert finished.returncode == 0, finished.stderr
    assert "MB of weights" in finished.stdout
    load(tmp_path / "model")
