"""Modules of the user's own: measured as one component, and judged by how close their tensors are."""

from __future__ import annotations

import os
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import owned
import pytest
import warm
from here import HERE
from owned import live as live
from typer.testing import CliRunner

import fastdiff
from fastdiff.cli import app
from fastdiff.compare.pairs import picture
from fastdiff.compare.verdicts import CHANGED, SAME
from fastdiff.experiments import ab
from fastdiff.models import factories, modules, toml
from fastdiff.models.libraries import torch
from fastdiff.quality import tensors
from fastdiff.quality.parity import assert_parity, assert_sound, unsound
from fastdiff.record import files
from fastdiff.record.budget import Close
from fastdiff.record.errors import UserError
from fastdiff.record.outputs import LARGEST_KEPT, keep, read_whole, write_whole
from fastdiff.report import sentences as reasons
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
FP32 = HERE["fp32"]
BF16 = Stage("bf16", Recipe(dtype="bfloat16"), "in bfloat16", "fp32")
"""Also where a CPU only emulates it: these modules take a moment even so."""
INT8 = Stage("int8", Recipe(quantize="int8-dynamic", compile=Compile()), "in int8", "fp32")


def own(name: str) -> Model:
    return owned.own(f"modules.py::{name}")


def stage(name: str, of: Stage = FP32) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("live", [(f"modules.py::{name}", of)], ids=[f"{name}-{of.name}"], indirect=True)


def reference(name: str) -> Reference:
    """What its first stage answers."""
    model = own(name)
    first = LiveStage(model, FP32, "cpu", model.request)
    try:
        return Reference("fp32", first.images)
    finally:
        first.close()


# -- the file ---------------------------------------------------------------------------------------------------------


def test_a_module_is_named_by_its_path() -> None:
    block = own("block")
    assert block.stages == ("fp32", "bf16", "compile", "int8")
    assert block.close == Close(elements=True, rtol=1e-2)
    assert (block.request.shown, own("function").request.call) == ("batch 1", {"power": 2})
    assert own("plain").close == Close(elements=True)
    assert factories.factory(block)(device="cpu", dtype=torch.float32).wide.in_features == 64


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"inputs": 3}, "inputs is 3; give a dict, a tuple, or a function that returns one."),
        ({"inputs": {"a b": 1}}, "inputs has the names 'a b'; give names of arguments, or a tuple."),
        ({"close": 0.1}, "close is 0.1; give a dict, such as dict(rtol=0.01)."),
        ({"close": {"tol": 0.1}}, "no number is called 'tol'; did you mean 'rtol'?"),
        ({"close": {"rtol": -1}}, "close: rtol is -1; give a number from 0 on."),
        ({"close": {"atol": float("nan")}}, "close: atol is nan; give a number from 0 on."),
        ({"stages": "fp32"}, "stages is 'fp32'; give a list of names."),
        ({"make": lambda width: None}, "takes width; it is given device and dtype alone"),
    ],
)
def test_a_decorator_refuses_what_it_cannot_use(given: dict[str, Any], sentence: str) -> None:
    make = given.pop("make", lambda: None)
    with pytest.raises(UserError, match=re.escape(sentence)):
        fastdiff.module("block", **{"inputs": {}, **given})(make)


def test_a_model_of_the_configuration_may_answer_latents() -> None:
    request = {"prompt": "a cat", "steps": 2, "size": 64, "guidance": 2.0, "call": {"output_type": "latent"}}
    table = {"pipeline": "FluxPipeline", "source": "org/name", "request": request}
    (found,) = toml.models({"mine": table | {"close": {"relative-l2": 0.05}}}, owned.FOLDER)
    assert found.close == Close(elements=False, relative_l2=0.05)
    with pytest.raises(UserError, match="model 'mine': close: no number is called 'ssim'"):
        toml.models({"mine": table | {"close": {"ssim": 0.05}}}, owned.FOLDER)


# -- one component ----------------------------------------------------------------------------------------------------


@stage("block")
def test_a_module_is_one_component(live: LiveStage) -> None:
    live.first_call()
    assert live.images["output"].shape == (1, 96, 64)
    assert np.array_equal(live.draw()["output"], live.images["output"])
    assert (live.unapplied, live.unproven) == ([], []), "attention that is not there needs no proof"
    live.count()
    assert live.facts["flops"] == 2 * 2 * 96 * 64 * 256
    live.take_apart()
    assert live.components is not None
    assert (live.components.steps_s, live.components.decode_s) == ((), 0)
    assert live.memory.where == "rest"
    assert live.memory.weights_bytes == 4 * sum(one.numel() for one in live.built.parts[0].parameters())
    trial = live.trial()
    assert trial.request == {"batch": 1, "seed": 0, "x": "1 x 96 x 64"}
    assert trial.recipe == {"attention": "sdpa"}, "what is not written out is torch's choice"
    assert live.generate().requires_grad is False


@stage("plain", BF16)
def test_device_and_dtype_are_seen_to_where_the_file_takes_no_notice_of_them(live: LiveStage) -> None:
    assert {str(one.dtype) for one in live.built.parts[0].parameters()} == {"torch.bfloat16"}
    assert live.built.calling.given["0"].dtype == torch.bfloat16
    assert live.images["output"].shape == (2, 8, 32)
    assert live.trial().request["0"] == "2 x 8 x 32"


@stage("several", BF16)
def test_inputs_and_outputs_of_any_build(live: LiveStage) -> None:
    given = live.built.calling.given
    assert (given["x"]["hidden"].dtype, given["scale"].dtype) == (torch.bfloat16, torch.float32)
    assert {name: one.shape for name, one in live.images.items()} == {"0": (1, 8, 32), "1": ()}
    assert live.images["0"].dtype == np.float32
    assert np.array_equal(live.draw()["0"], live.images["0"]), "dropout draws the same with the same seed"
    whole = replace(live.model, source=live.model.source)
    assert factories.factory(whole).output is not None


def test_every_dtype_begins_with_the_same_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where torch draws others in another dtype, as it did before 2.12."""
    drawn = torch.randn

    def unrelated(*shape: int, dtype: Any = None, **options: Any) -> Any:
        torch.rand(3 if dtype == torch.bfloat16 else 5)
        return drawn(*shape, dtype=dtype, **options)

    monkeypatch.setattr(torch, "randn", unrelated)
    seen = {}
    for name, one in (("fp32", FP32), ("bf16", BF16)):
        live = LiveStage(own("several"), one, "cpu", own("several").request)
        seen[name] = live.built.calling.given["x"]["hidden"]
        live.close()
    assert torch.equal(seen["bf16"], seen["fp32"].to(torch.bfloat16))


def test_inputs_that_differ_in_more_than_their_dtype_are_left_as_they_are() -> None:
    def made(dtype: Any) -> Any:
        return {"x": torch.ones(2 if dtype == torch.float32 else 3, dtype=dtype)}

    assert modules.inputs(made, made, "bfloat16", "cpu")["x"].shape == (3,)


@stage("function")
def test_a_function_is_measured_too(live: LiveStage) -> None:
    live.first_call()
    assert live.images["output"][-1] == 1
    assert live.unproven == ["dtype: no module with parameters was found, so nothing shows that it is float32."]
    assert live.trial().request == {"batch": 1, "seed": 0, "x": "64", "power": 2}
    live.request = replace(live.request, call={"power": 3})
    assert live.draw()["output"][32] == pytest.approx((32 / 63) ** 3), "plain inputs are what the request says"


def test_what_a_module_writes_into_is_a_copy() -> None:
    for _ in range(2):  # the second stage begins with what the first one was given
        first = reference("counter").images["output"]
        assert first.tolist() == [1, 2, 3]
    live = LiveStage(own("counter"), FP32, "cpu", own("counter").request)
    try:
        kept = live.images["output"]
        live.call()
        assert kept.tolist() == [1, 2, 3]
    finally:
        live.close()


@pytest.mark.parametrize(
    ("name", "stage", "processor"),
    [
        ("attention", "fp32", "AttnProcessor"),
        ("attention", "sdpa", "AttnProcessor2_0"),
        ("dispatched", "fp32", "FluxAttnProcessor(_native_math)"),
        ("dispatched", "sdpa", "FluxAttnProcessor"),
    ],
)
def test_attention_of_diffusers_is_written_out_as_on_the_ladder(name: str, stage: str, processor: str) -> None:
    model = own(name)
    live = LiveStage(model, HERE[stage], "cpu", model.request)
    assert (live.unapplied, live.unproven) == ([], [])
    assert live.facts[f"processors.{processor}"] == 1
    live.close()


@pytest.mark.parametrize(
    ("name", "changes", "sentence"),
    [
        ("block", {"cache": "first-block"}, "Block has no place for them"),
        ("block", {"vae_tiling": True}, "has no autoencoder that is known"),
        ("block", {"text": "precomputed"}, "has no text encoders"),
        ("block", {"compile": Compile(regional=True, mode="default")}, "Block does not say which of its blocks repeat"),
        ("block", {"batch": 4}, "so it draws no batch of 4"),
        ("nothing", {}, "::nothing must return a pipeline, and it returned the type int"),
    ],
)
def test_what_has_no_place_in_a_module_is_refused(name: str, changes: dict[str, Any], sentence: str) -> None:
    model = own(name)
    with pytest.raises(UserError, match=re.escape(sentence)):
        LiveStage(model, Stage("mine", Recipe(attention="sdpa", **changes), "an idea"), "cpu", model.request)


@pytest.fixture
def traced_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dynamo at work, and inductor left out."""

    def compile_(module: Any, **options: Any) -> None:
        whole = torch.compile(module._call_impl, backend="eager", fullgraph=options["fullgraph"])
        module._compiled_call_impl = whole

    monkeypatch.setattr(torch.nn.Module, "compile", compile_)


def test_a_compiled_module_is_one_graph(traced_only: None) -> None:
    model = own("block")
    live = LiveStage(model, Stage("mine", Recipe(compile=Compile()), "compiled"), "cpu", model.request)
    assert live.unapplied == [
        "compile: 0 of 1 parts were compiled; is TORCH_COMPILE_DISABLE or TORCHDYNAMO_DISABLE set?"
    ]
    live.first_call()
    assert live.unapplied == []
    assert live.facts["graphs"] == 1
    live.close()


# -- parity -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "of"), [("several", BF16), ("plain", BF16), ("plain", INT8), ("attention", BF16)])
def test_another_precision_is_close_by_default(name: str, of: Stage, traced_only: None) -> None:
    first, model = reference(name), own(name)
    live = LiveStage(model, of, "cpu", model.request)
    found = live.likeness_to(first)
    live.close()
    assert live.quality is not None
    assert live.quality.passed, live.quality.reason
    assert 0 < live.quality.relative_l2 < 0.05
    assert (live.quality.ssim, live.quality.worst_tile) == (None, None)
    assert live.quality.largest_at.endswith("]") or live.quality.largest_at == "1"
    assert_parity(found, live.budget)


@stage("block")
def test_the_largest_error_is_named_with_its_place(live: LiveStage) -> None:
    first = live.images
    spoiled = {"output": first["output"].copy()}
    spoiled["output"][0, 17, 5] += 3
    found = live.likeness_to(Reference("other", spoiled))
    assert live.quality is not None
    assert not live.quality.passed
    assert live.quality.largest_at == "output[0, 17, 5]"
    assert live.quality.largest_error == pytest.approx(3)
    value = first["output"][0, 17, 5]
    with pytest.raises(AssertionError, match=r"output\[0, 17, 5\] is ") as failure:
        assert_parity(found, live.budget)
    said = str(failure.value)
    assert said.startswith(f"output[0, 17, 5] is {value:.6g} where the reference has {value + 3:.6g}: 3 apart, and ")
    assert said.endswith("1 of 6144 numbers are too far apart.")
    assert said == live.quality.reason


@stage("block")
def test_what_is_no_number_or_the_same_everywhere_trips(live: LiveStage) -> None:
    assert_sound(live.images)
    faults.put_in(faults.parse("nan"), live)
    with pytest.raises(
        AssertionError, match=r"3 of 6144 values of output are not numbers, the first is output\[0, 0, 0\]"
    ):
        assert_sound(live.draw())
    assert live.likeness_to(Reference("other", live.images)).shortfall(live.budget) is None
    with pytest.raises(UserError, match="block answers tensors and no pictures"):
        faults.put_in(faults.parse("black-tile@fp32"), live)
    said = unsound({"a": np.ones(3), "b": np.zeros(2)})
    assert said == "every value of a is 1 and every value of b is 0."
    assert unsound({"a": np.ones(3), "b": np.arange(2.0), "c": np.zeros(4, int)}) is None


@pytest.mark.parametrize("within", [Close(True, rtol=0.1), Close(True, rtol=0.0, atol=0.1)], ids=["rtol", "atol"])
@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_a_reference_with_numbers_that_are_none_is_like_nothing(wrong: float, within: Close) -> None:
    found, reference = {"x": np.array([1.0, 5.0, -3.0])}, {"x": np.array([1.0, wrong, -3.0])}
    for answer in (found, reference):
        sentence = tensors.closeness(answer, reference, within).wrong
        assert sentence.startswith(f"x[1] is {answer['x'][1]:.6g} where the reference has {wrong:.6g}: inf apart, and ")
        assert sentence.endswith("1 of 3 numbers are too far apart.")


@stage("block")
def test_noise_that_was_put_in_is_found(live: LiveStage) -> None:
    first = {name: one.copy() for name, one in live.images.items()}
    faults.put_in(faults.parse("noise-image"), live)
    live.drawn = None
    found = live.likeness_to(Reference("other", first))
    assert "numbers are too far apart" in (found.shortfall(live.budget) or "")


@stage("block")
def test_an_answer_of_another_shape_is_one_sentence(live: LiveStage) -> None:
    found = live.likeness_to(Reference("other", {"output": np.ones((1, 3))}))
    assert found.shortfall(live.budget) == ("the answer is output (1, 96, 64), and the reference's is output (1, 3).")
    assert live.quality is not None
    assert (live.quality.relative_l2, live.quality.passed) == (None, False)


# -- what is kept -----------------------------------------------------------------------------------------------------


def test_tensors_lie_beside_the_run_and_large_ones_are_thinned(tmp_path: Path) -> None:
    small, large = {"a.b": np.arange(6.0).reshape(2, 3)}, {"x": np.arange(3 * LARGEST_KEPT, dtype=np.float32)[None]}
    keep(tmp_path, "small", small)
    keep(tmp_path, "large", large)
    with np.load(tmp_path / "small.npz") as file:
        assert np.array_equal(file["a.b"].reshape(file["shape of a.b"]), small["a.b"])
        assert file["every of a.b"] == 1
    with np.load(tmp_path / "large.npz") as file:
        assert np.array_equal(file["x"], large["x"][0, ::3])
        assert (file["every of x"], file["shape of x"].tolist()) == (3, [1, 3 * LARGEST_KEPT])
    named = {"file": np.arange(2.0), "allow_pickle": np.ones(3)}  # words of NumPy's own function for such files
    keep(tmp_path, "named", named)
    write_whole(tmp_path / "named.npy", named)
    assert list(read_whole(tmp_path / "named.npy")) == ["file", "allow_pickle"]
    with np.load(tmp_path / "named.npz") as file:
        assert np.array_equal(file["allow_pickle"], named["allow_pickle"])
    write_whole(tmp_path / "old.npy", large)
    assert np.array_equal(read_whole(tmp_path / "old.npy")["x"], large["x"])
    (tmp_path / "old.npy").write_bytes(b"PK not a file")
    with pytest.raises(UserError, match="cannot be read"):
        read_whole(tmp_path / "old.npy")


# -- elsewhere --------------------------------------------------------------------------------------------------------


@pytest.fixture
def project(tmp_path: Path) -> Path:
    shutil.copytree(SUITE, tmp_path / "perf_tests", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(owned.FOLDER / "modules.py", tmp_path / "perf_tests" / "modules.py")
    (tmp_path / "pytest.ini").write_text("[pytest]\nfastdiff_rounds = 3\n")
    return tmp_path


OPTIONS = ("--fastdiff-model=perf_tests/modules.py::block", "--fastdiff-stage=fp32,sdpa", "-p", "no:cacheprovider")


def test_a_session_measures_it_and_its_run_is_accepted(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = warm.pytest("perf_tests", *OPTIONS, cwd=project, env=dict(os.environ))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "8 passed" in done.stdout
    assert "relative L2" in done.stdout
    assert "SSIM" not in done.stdout
    (path,) = (project / "runs").glob("*.json")
    run = files.read(path)
    assert [(one.id, one.state) for one in run.stages] == [("block-fp32", "measured"), ("block-sdpa", "measured")]
    errors = {one.stage: one.quality.relative_l2 for one in run.stages if one.quality}
    assert errors["fp32"] == 0
    assert errors["sdpa"] < 0.01, "none in float32, and little where this CPU has bfloat16"
    monkeypatch.chdir(project)
    done = CliRunner().invoke(app, ["accept", str(path), "--reason", "first", "--no-side"])
    assert done.exit_code == 0, done.output
    (kept,) = (project / "baselines").rglob("*.npz")
    assert kept.name == "block-fp32.npz"


@pytest.mark.nightly
def test_a_slower_module_is_found_beside_the_accepted_run(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert warm.pytest("perf_tests", *OPTIONS, cwd=project, env=dict(os.environ)).returncode == 0
    (path,) = (project / "runs").glob("*.json")
    monkeypatch.chdir(project)
    done = CliRunner().invoke(app, ["accept", str(path), "--reason", "first", "--no-side"])
    assert done.exit_code == 0, done.output
    slower = ("--benchmark-compare", "--fastdiff-confirm=none", "--fastdiff-inject=slow:900%@sdpa")
    done = warm.pytest("perf_tests", *OPTIONS, *slower, cwd=project, env=dict(os.environ))
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(r"SLOW +block-sdpa latency", done.stdout)


@pytest.mark.nightly
def test_a_process_of_its_own_builds_it(tmp_path: Path) -> None:
    work = Work(own("block"), FP32, FP32, "cpu", own("block").request)
    with Fresh("old", Path(sys.executable), {"PYTHONPATH": str(Path(__file__).parents[1])}).side(work) as side:
        side.build()()
        assert side.sample()().wall_s > 0
        side.examine(tmp_path / "answer.npy")()
        trial = side.trial()
    assert trial.request["x"] == "1 x 96 x 64"
    found = read_whole(tmp_path / "answer.npy")
    assert isinstance(found, dict)
    assert np.allclose(found["output"], reference("block").images["output"], atol=1e-5)


@pytest.mark.parametrize(
    ("spoil", "word", "sentence"),
    [
        (0, SAME, "the two sides answer the same within the stage's limits (relative L2 0, largest error 0)"),
        (3, CHANGED, "the two sides answer different numbers: output[0, 17, 5] is "),
        (np.nan, CHANGED, "the two sides answer different numbers: new: 1 of 6144 values of output are not numbers"),
    ],
)
def test_two_sides_of_a_pair_are_compared(tmp_path: Path, spoil: float, word: str, sentence: str) -> None:
    runner: Any = SimpleNamespace(folder=tmp_path, pictures=lambda name: tmp_path / f"{name}.npy")
    work = Work(own("block"), FP32, FP32, "cpu", own("block").request)
    question: Any = SimpleNamespace(new=SimpleNamespace(work=work))
    old = reference("block").images
    new = {"output": old["output"].copy()}
    new["output"][0, 17, 5] += spoil
    write_whole(tmp_path / "old.npy", old)
    write_whole(tmp_path / "new.npy", new)
    found = ab._compare(runner, question)
    assert found is not None
    verdict = picture(found)
    assert verdict.word == word
    assert reasons.sentence(verdict.reason).startswith(sentence)
    assert list(tmp_path.iterdir()) == [], "no picture, and nothing else, is left"


@pytest.mark.nightly
def test_pairs_of_it_are_measured(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    asked = ["ab", "--model", "perf_tests/modules.py::block", "--stage", "fp32", "--device", "cpu"]
    done = CliRunner().invoke(app, [*asked, "--pairs", "5", "--calls", "4"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "the two sides answer the same within the stage's limits" in done.output


def test_one_setting_of_it_is_measured(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    asked = ["run", "--model", "perf_tests/modules.py::block", "--dtype", "float32", "--rounds", "1", "--device", "cpu"]
    done = CliRunner().invoke(app, asked, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    (kept,) = (project / "results").glob("block-*.npz")
    assert f"tensors     results/{kept.name}" in done.output
    done = CliRunner().invoke(app, [*asked[:2], "perf_tests/modules.py::zeros", *asked[3:]])
    assert (done.exit_code, "nothing was timed, because every value of output is 0." in done.output) == (2, True)
