"""Pipelines of the user's own, really built and called, here and in a process of their own."""

from __future__ import annotations

import csv
import os
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import owned
import pytest
import warm
from here import DTYPE, HERE
from owned import live as live
from torch._dynamo.utils import counters
from typer.testing import CliRunner

from fastdiff.cli import app
from fastdiff.instruments import fingerprint
from fastdiff.models import calling, factories
from fastdiff.models.libraries import torch
from fastdiff.optimize import layout
from fastdiff.plugin.stages import SKIPPING
from fastdiff.quality.answers import pictures
from fastdiff.quality.parity import assert_parity
from fastdiff.record import files
from fastdiff.record.budget import Close
from fastdiff.record.errors import UserError
from fastdiff.stages.ladder import Stage
from fastdiff.stages.recipe import Compile, Recipe
from fastdiff.trial import faults
from fastdiff.trial.fresh import Fresh
from fastdiff.trial.live import LiveStage
from fastdiff.trial.reference import Reference
from fastdiff.trial.work import Work

if TYPE_CHECKING:
    from fastdiff.models import Model

SUITE = Path(__file__).parent.parent / "perf_tests"
NO_ATTENTION = "attention: no attention module was found, so nothing shows which kind is in use."


@pytest.fixture(autouse=True)
def tiny_weights(tiny: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINY_PIPELINE", tiny.source)


def own(name: str) -> Model:
    return owned.own(f"pipelines.py::{name}")


def stages(*names: str, stage: Stage = HERE["sdpa"]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "live", [(f"pipelines.py::{name}", stage) for name in names], ids=names, indirect=True
    )


# -- of diffusers -----------------------------------------------------------------------------------------------------


@stages("unipc")
def test_a_scheduler_with_options_negative_words_and_another_shape(live: LiveStage) -> None:
    live.first_call()
    assert type(live.built.pipeline.scheduler).__name__ == "UniPCMultistepScheduler"
    assert live.images.shape == (1, 64, 96, 3)
    assert (live.unapplied, live.unproven) == ([], []), "attention of diffusers is proven as ours"
    assert live.added == ["a CPU generator", 'output_type="np" for the pictures']
    before = live.images
    live.request = replace(live.request, call=dict(live.request.call) | {"negative_prompt": "red"})
    assert not np.array_equal(live.draw(), before), "the negative words reach the pipeline"
    live.take_apart()
    assert live.components is not None
    assert len(live.components.steps_s) == 3
    assert min(live.components.text_s, live.components.decode_s) > 0
    live.request = live.request.changed(steps=2, size=64)
    assert live.draw().shape == (1, 64, 64, 3), "as --fastdiff-size asks"
    request = live.trial().request
    assert {one: request[one] for one in ("negative_prompt", "guidance")} == {
        "negative_prompt": "red",
        "guidance": 4.0,
    }


@stages("from-a-picture")
def test_image_to_image(live: LiveStage) -> None:
    assert live.request.steps == 4, "which its function says when it is called"
    live.first_call()
    assert live.images.shape == (1, 64, 64, 3)
    assert np.array_equal(live.draw(), live.images), "every call begins with the same noise"
    assert {str(one.dtype) for one in live.built.pipeline.unet.parameters()} == {f"torch.{DTYPE}"}, "it took no dtype"
    live.take_apart()
    assert live.components is not None
    assert len(live.components.steps_s) == 2, "half of them, as `strength` says"


@stages("plain")
def test_the_steps_that_a_call_takes_of_its_own_accord_are_known(live: LiveStage) -> None:
    assert live.request.steps == 50
    assert "num_inference_steps=50" in live.added
    with live._few_steps():
        assert live.draw().shape == (1, 64, 64, 3)
    assert live.trial().request["steps"] == 50


def stays_close(live: LiveStage) -> None:
    first = live.images
    assert isinstance(first, dict)
    assert_parity(live.likeness_to(Reference("other", first)), live.budget)
    assert live.quality is not None
    assert (live.quality.relative_l2, live.quality.passed) == (0, True)
    found = live.likeness_to(Reference("other", {name: 1.2 * one for name, one in first.items()}))
    assert "a relative L2 of " in (found.shortfall(live.budget) or "")
    assert live.quality.relative_l2 == pytest.approx(1 / 6)


@stages("latents")
def test_latents_are_judged_as_a_whole(live: LiveStage) -> None:
    live.first_call()
    assert {name: one.shape for name, one in live.images.items()} == {"images": (1, 4, 32, 48)}
    assert live.model.close == Close(elements=False), "as its output_type says"
    assert live.added == ["a CPU generator"]
    stays_close(live)


@stages("numbers")
def test_other_tensors_are_those_that_the_file_names(live: LiveStage) -> None:
    assert live.model.close == Close(elements=False, relative_l2=0.05)
    assert {name: one.shape for name, one in live.images.items()} == {"output": (1, 5, 7)}
    stays_close(live)


@stages("wan", stage=HERE["fp32"])
def test_a_video_with_two_denoisers(live: LiveStage) -> None:
    live.first_call()
    assert live.images.shape == (1, 9, 64, 96, 3), "one video of nine frames"
    live.likeness_to(Reference("other", live.images))
    assert live.quality is not None
    assert live.quality.flicker == 0
    assert len(live.built.anatomy.denoisers) == 2
    assert live.unapplied == []
    live.take_apart()
    assert live.components is not None
    assert len(live.components.steps_s) == 4
    assert live.components.decode_s > 0
    assert live.memory.where == "decode"
    layout.channels_last(live.built.parts)  # of 3-D convolutions there is no such layout
    assert np.isfinite(live.draw()).all()


# -- of one's own -----------------------------------------------------------------------------------------------------


@stages("mine")
def test_a_class_that_diffusers_does_not_know(live: LiveStage) -> None:
    live.first_call()
    assert live.images.shape == (1, 64, 64, 3)
    assert np.array_equal(live.draw(), live.images), "without a generator torch's seed is set before each call"
    assert live.images.std() > 0.05
    assert (live.unapplied, live.unproven) == ([], [NO_ATTENTION])
    assert live.added == ["torch.manual_seed(0) before each call"]
    live.take_apart()
    assert live.components is not None
    assert len(live.components.steps_s) == 4
    live.count()
    assert live.facts["flops_in_a_step"] == 2 * 2 * 64 * 64 * 16 * 32
    assert live.memory.where in ("denoising", "decode")
    assert live.weights == "own"
    assert live.trial().request == {"batch": 1, "seed": 0, "text": "a cat"}


@stages("mine")
def test_torch_has_its_own_seed_again_afterwards(live: LiveStage) -> None:
    live.close()
    torch.manual_seed(17)
    before = torch.get_rng_state()
    model = own("mine")
    LiveStage(model, HERE["fp32"], "cpu", model.request).close()
    assert torch.equal(torch.get_rng_state(), before)


@stages("clip")
def test_what_was_counted_stays_with_a_closed_stage(live: LiveStage) -> None:
    """pytest ends the last stage of a session before the session asks what is to be kept of it."""
    counters["stats"]["unique_graphs"] = 2
    live.compilation = fingerprint.compilation()
    live.close()
    assert (live.facts["graphs"], live.facts["recompiles"]) == (2, 0)


@stages("function", "clip")
def test_what_has_no_parts_is_one_component(live: LiveStage) -> None:
    live.first_call()
    assert live.images.shape == ((2, 64, 64, 3) if live.model.name == "function" else (1, 3, 64, 64, 3))
    assert np.array_equal(live.draw(), live.images)
    live.take_apart()
    assert live.components is not None
    assert (live.components.text_s, live.components.steps_s, live.components.decode_s) == (0, (), 0)
    assert live.memory.where == "rest"
    live.count()
    assert live.unproven[0].startswith("dtype: no module with parameters was found")
    assert live.unapplied == []


def test_what_has_no_place_in_it_is_refused() -> None:
    for changes, sentence in (
        ({"scheduler": "DDIMScheduler"}, "Mine has no scheduler of diffusers"),
        ({"vae_tiling": True}, "Decoder has no tile_latent_min_size"),
        ({"cache": "first-block"}, "diffusers' caches are made for transformers"),
        ({"offload": "group"}, "Mine is no pipeline of diffusers"),
        ({"batch": 2}, "the call takes no num_images_per_prompt"),
        ({"steps": 2}, "the call takes no num_inference_steps"),
        ({"compile": Compile(regional=True, mode="default")}, "Net does not say which of its blocks repeat"),
        ({"text": "precomputed"}, "has no text encoders"),
    ):
        stage, model = Stage("mine", Recipe(attention="sdpa", **changes), "an idea"), own("mine")
        with pytest.raises(UserError, match=sentence):
            LiveStage(model, stage, "cpu", model.request)
    compiled, model = Stage("mine", Recipe(compile=Compile(), attention="sdpa"), "an idea"), own("clip")
    with pytest.raises(UserError, match="nothing can be compiled; name what is to be"):
        LiveStage(model, compiled, "cpu", model.request)


def test_a_part_that_is_not_there_is_refused(tmp_path: Path) -> None:
    text = (owned.FOLDER / "pipelines.py").read_text()
    (tmp_path / "pipelines.py").write_text(text.replace('step="sampler.step"', 'step="sampler.stepp"'))
    (model,) = factories.models("pipelines.py::mine", tmp_path)
    with pytest.raises(UserError, match=r"Mine has no sampler\.stepp that can be called; name another\."):
        LiveStage(model, HERE["sdpa"], "cpu", model.request)


@pytest.mark.parametrize(
    ("right", "wrong", "sentence"),
    [
        (
            'text="a cat"',
            'txet="a cat"',
            "no argument of the call is called 'txet'; did you mean 'text'? There are: text, ",
        ),
        (
            "    return Mine()",
            "    Mine()",
            "::mine must return a pipeline, and it returned nothing; end it with: return pipe",
        ),
        ("    return Mine()", "    return 3  #", "::mine must return a pipeline, and it returned the type int"),
    ],
)
def test_a_slip_is_one_sentence(right: str, wrong: str, sentence: str, tmp_path: Path) -> None:
    """And no stage is skipped for it."""
    text = (owned.FOLDER / "pipelines.py").read_text()
    before, mine, after = text.partition('    "mine",')
    assert right in after
    (tmp_path / "pipelines.py").write_text(before + mine + after.replace(right, wrong, 1))
    (model,) = factories.models("pipelines.py::mine", tmp_path)
    with pytest.raises(UserError, match=re.escape(sentence)) as caught:
        LiveStage(model, HERE["sdpa"], "cpu", model.request).first_call()
    assert caught.value.code not in SKIPPING


@stages("mine", "function")
def test_faults_are_put_in_where_there_is_a_place_for_them(live: LiveStage, monkeypatch: pytest.MonkeyPatch) -> None:
    spent: list[float] = []
    monkeypatch.setattr(faults, "_spend", spent.append)
    known = live.model.name == "mine"
    faults.put_in(faults.parse("slow:10%"), live)
    live.generate()
    assert len(spent) == 1, "in the decoder, or else at the end of the call"
    assert spent[0] > 0
    step = faults.parse(f"slow-step:10%@{live.stage.name}")
    if not known:
        with pytest.raises(UserError, match="function has no step that is known"):
            faults.put_in(step, live)
        return
    faults.put_in(step, live)
    live.generate()
    assert len(spent) == 1 + 1 + 4, "a call of four steps, and its decoder"
    faults.put_in(faults.parse("black-tile"), live)
    assert live.draw()[:, :8, :8].max() == 0


def test_both_sides_do_what_todays_file_asks() -> None:
    def draw(text: str, sizes: tuple[int, ...], image: object, height: int = 1, width: int = 1) -> None: ...

    picture = object()
    accepted = calling.of(draw, {"text": "a dog", "sizes": (1, 2), "image": picture, "height": 8, "width": 16}, {})
    today = factories.request_of({"text": "a cat", "sizes": [1, 2], "height": 8, "width": 16})
    asked = accepted.arguments(accepted.completed(today))
    assert asked == {"text": "a cat", "sizes": (1, 2), "image": picture, "height": 8, "width": 16}
    asked = accepted.arguments(accepted.completed(today.changed(size=64)))
    assert (asked["height"], asked["width"]) == (64, 64)


# -- what an answer holds ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "output", "shape"),
    [
        (torch.rand(2, 3, 8, 16), None, (2, 8, 16, 3)),
        (torch.rand(3, 8, 16).to(torch.bfloat16), None, (1, 8, 16, 3)),
        (np.zeros((8, 16, 3), dtype=np.uint8), None, (1, 8, 16, 3)),
        ({"images": np.zeros((1, 8, 16, 1))}, None, (1, 8, 16, 3)),
        (([np.zeros((8, 16, 3)), np.ones((8, 16, 3))], "nothing unsafe"), None, (2, 8, 16, 3)),
        ({"video": torch.rand(1, 5, 3, 8, 16)}, "video", (1, 5, 8, 16, 3)),
        ({"img": torch.rand(1, 3, 8, 16)}, lambda found: found["img"], (1, 8, 16, 3)),
    ],
)
def test_pictures_are_found(answer: Any, output: Any, shape: tuple[int, ...]) -> None:
    found = pictures(answer, output)
    assert found.shape == shape
    assert 0 <= found.min() <= found.max() <= 1


@pytest.mark.parametrize(
    ("answer", "output", "sentence"),
    [
        (torch.rand(1, 4, 8, 8), None, r"the answer has the shape \(1, 4, 8, 8\), which is no picture; name what"),
        ({"img": 1}, None, "the answer holds a dict and no pictures; name what holds the pictures"),
        ({"img": 1}, "image", "the answer, a dict, has no image; name what"),
        (torch.rand(1, 3, 8, 8) * 2 - 1, None, "has values from -.* to .*, and pictures have 0 to 1"),
        (torch.rand(1, 3, 8, 8) * 255, None, "has values from .* to 2.., and pictures have 0 to 1"),
    ],
)
def test_what_is_no_picture_is_refused(answer: Any, output: Any, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        pictures(answer, output)


def test_what_is_not_a_number_stays_for_the_tripwire() -> None:
    found = torch.rand(1, 3, 8, 8)
    found[0, 0, 0, 0] = float("nan")
    assert np.isnan(pictures(found)).sum() == 1


# -- elsewhere --------------------------------------------------------------------------------------------------------


@pytest.fixture
def project(tmp_path: Path) -> Path:
    shutil.copytree(SUITE, tmp_path / "perf_tests", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(owned.FOLDER / "pipelines.py", tmp_path / "perf_tests" / "pipelines.py")
    (tmp_path / "pytest.ini").write_text("[pytest]\nfastdiff_rounds = 2\n")
    return tmp_path


def test_a_session_measures_it(project: Path) -> None:
    options = ("--fastdiff-model=perf_tests/pipelines.py::mine", "--fastdiff-stage=fp32,sdpa", "-p", "no:cacheprovider")
    done = warm.pytest("perf_tests", *options, cwd=project, env=dict(os.environ))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "8 passed" in done.stdout
    assert "mine-sdpa: fastdiff adds torch.manual_seed(0) before each call" in done.stdout
    assert f"mine-sdpa: not proven: {NO_ATTENTION}" in done.stdout
    (path,) = (project / "runs").glob("*.json")
    run = files.read(path)
    assert [(one.id, one.state, one.weights) for one in run.stages] == [
        ("mine-fp32", "measured", "own"),
        ("mine-sdpa", "measured", "own"),
    ]
    assert run.outcome == "passed"


def test_a_process_of_its_own_builds_it(tmp_path: Path) -> None:
    """As one side of a pair; its file lies in the checkout of that side."""
    shutil.copy(owned.FOLDER / "pipelines.py", tmp_path)
    text = (tmp_path / "pipelines.py").read_text()
    (tmp_path / "pipelines.py").write_text(
        text.replace("def __call__(self, text, steps=4)", "def __call__(self, text, steps=3)")
    )
    model = factories.moved(own("mine"), owned.FOLDER, tmp_path)
    work = Work(model, HERE["sdpa"], HERE["sdpa"], "cpu", model.request)
    with Fresh("old", Path(sys.executable), {"PYTHONPATH": str(Path(__file__).parents[1])}).side(work) as side:
        side.build()()
        assert side.sample()().wall_s > 0
        side.examine(tmp_path / "pictures.npy")()
        trial = side.trial()
    assert trial.components is not None
    assert len(trial.components.steps_s) == 3, "the file of its own side"
    assert trial.unproven == (NO_ATTENTION,)
    assert np.load(tmp_path / "pictures.npy").shape == (1, 64, 64, 3)


def test_one_setting_of_it_is_measured(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    asked = [
        "run",
        "--model",
        "perf_tests/pipelines.py::mine",
        "--dtype",
        "float32",
        "--rounds",
        "1",
        "--device",
        "cpu",
    ]
    done = CliRunner().invoke(app, asked, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "fastdiff adds torch.manual_seed(0) before each call" in done.output
    assert f"not proven: {NO_ATTENTION}" in done.output
    (row,) = csv.DictReader(next((project / "results").glob("mine-*.csv")).open())
    assert (row["ckpt_id"], row["model"], row["weights"]) == ("perf_tests/pipelines.py::mine", "mine", "own")
    assert float(row["time (secs)"]) > 0
    assert str(project) not in str(row), "where the project lies is private"
    done = CliRunner().invoke(app, [*asked, "--ckpt", "org/name"])
    assert (done.exit_code, "loads its weights itself; leave out --ckpt" in done.output) == (2, True)


def test_a_file_that_the_function_does_not_find_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "gone.py").write_text(
        "import fastdiff\n\n\n@fastdiff.pipeline('gone', call=dict(prompt='a'))\ndef gone(dtype):\n"
        "    return open('weights/mine')\n"
    )
    (model,) = factories.models("gone.py::gone", tmp_path)
    with pytest.raises(UserError, match=r"the function of .*gone\.py::gone could not load it: .*weights/mine"):
        LiveStage(model, HERE["fp32"], "cpu", model.request)
