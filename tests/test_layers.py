"""`fastdiff layers`: the shapes of a pipeline's layers, their race, and the filter that is proposed."""

from __future__ import annotations

import tomllib
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from here import DTYPE
from typer.testing import CliRunner

from fastdiff.cli import app
from fastdiff.compare.layers import gains, ratio, without
from fastdiff.experiments import layers as experiment
from fastdiff.host import processor
from fastdiff.instruments import layers
from fastdiff.models.libraries import torch
from fastdiff.optimize import quantization
from fastdiff.record.layers import Race, Shape
from fastdiff.report.layers import proposal, table
from fastdiff.stages.filters import Filter
from fastdiff.stages.ladder import Stage
from fastdiff.stages.published import LADDER
from fastdiff.stages.recipe import Recipe
from fastdiff.stages.toml import configured
from fastdiff.trial.live import LiveStage

if TYPE_CHECKING:
    from pathlib import Path

    from fastdiff.models import Model

SCATTER = (1.0, 1.02, 0.99, 1.01, 0.98, 1.0, 1.03)


def raced(inputs: int, outputs: int, factor: float, scatter: tuple[float, ...] = SCATTER) -> Race:
    shape = Shape(inputs, outputs, 3, {77: 6, 4096: 12})
    plain = tuple(0.001 * inputs for _ in scatter)
    return Race(shape, plain, tuple(factor * seconds * one for seconds, one in zip(plain, scatter, strict=True)))


RACES = [raced(1280, 5120, 0.6), raced(640, 640, 1.3), raced(320, 640, 1.0), raced(768, 320, 0.97, (0.5, 2.0) * 4)]


@pytest.mark.parametrize(("race", "expected"), list(zip(RACES, (True, False, False, False), strict=True)))
def test_a_shape_gains_where_the_whole_interval_says_so(race: Race, expected: bool) -> None:
    found = ratio(race)
    assert found.low <= found.ratio <= found.high
    assert gains(found) is expected


def test_the_proposal_is_a_stage_that_a_project_can_take() -> None:
    lines = proposal(RACES, "int8-dynamic", "fused-qkv", "a CPU")
    stages: dict[str, Any] = tomllib.loads("\n".join(lines[2:]))["tool"]["fastdiff"]["stages"]
    stage = configured(LADDER, {"mine": stages["int8-dynamic-here"] | {"compile": True}})["mine"]
    assert without(RACES) == [(320, 640), (640, 640), (768, 320)]
    assert stage.recipe.filter == Filter(without_shapes=tuple(without(RACES)))
    assert (stage.follows, stage.recipe.quantize) == ("fused-qkv", "int8-dynamic")
    assert lines[0].startswith("1 of 4 shapes gain.")


def test_the_proposal_stands_by_itself_on_the_ladder() -> None:
    lines = proposal(RACES, "int8-dynamic", "fused-qkv", "a CPU")
    stages = tomllib.loads("\n".join(lines[2:]))["tool"]["fastdiff"]["stages"]
    assert configured(LADDER, stages).names[-1] == "int8-dynamic-here"


def test_a_filter_that_leaves_everything_out_is_no_stage() -> None:
    (line,) = proposal(RACES[1:], "int8-dynamic", "fused-qkv", "a CPU")
    assert line.startswith("No shape gains: ")


def test_the_table_has_a_line_for_each_shape() -> None:
    lines = table(RACES)[2:]
    assert [line.split("  ")[0] for line in lines] == ["1280 x 5120", "640 x 640", "320 x 640", "768 x 320"]
    assert [line.rsplit("  ", 1)[1].strip() for line in lines] == ["gains", "left out", "left out", "left out"]
    assert "18" in lines[0]
    assert "0.60 (0.5" in lines[0]


# -- on a pipeline ----------------------------------------------------------------------------------------------------


def test_shapes_are_those_of_the_products_of_one_call(tiny: Model) -> None:
    recipe = Recipe(dtype=DTYPE, attention="sdpa", fuse_qkv=True)
    live = LiveStage(tiny, Stage("mine", recipe, "an idea"), "cpu", tiny.request)
    try:
        found = layers.shapes(live.built, live.generate)
        wide = [
            module
            for part in live.built.parts
            for name, module in part.named_modules()
            if quantization.selected(Filter(), module, name)
        ]
        assert not any(module._forward_pre_hooks for module in wide)
    finally:
        live.close()
    there = Counter((module.in_features, module.out_features) for module in wide)
    assert found
    assert all(0 < one.layers <= there[one.inputs, one.outputs] for one in found)
    feedforward = next(one for one in found if one.outputs == 8 * 64)  # GEGLU: twice four times the width
    latent = (tiny.request.size // 2) ** 2 // 4  # the tiny autoencoder halves once, the UNet once
    assert set(feedforward.products) == {2 * latent}  # rows with guidance
    assert feedforward.products[2 * latent] == tiny.request.steps * feedforward.layers
    former = next(one for one in found if (one.inputs, one.outputs) == (128, 64))
    assert former.layers >= 1, "a 1x1 convolution that became linear"


@pytest.mark.compile
@pytest.mark.timeout(300)
def test_both_ways_take_turns() -> None:
    shape = Shape(64, 64, 2, {8: 3, 20: 1})
    found = layers.race(shape, "int8-dynamic", "float32", "cpu", turns=5)
    assert (len(found.plain_s), len(found.quantized_s)) == (5, 5)
    assert min(*found.plain_s, *found.quantized_s) > 0
    assert torch._dynamo.config.recompile_limit < layers.MOST_GRAPHS


def test_a_shape_is_quantized_on_one_side_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(layers, "_compiled", lambda layer: seen.append(layer) or layer)
    monkeypatch.setattr(layers, "TURN_S", 0.0)
    layers.race(Shape(64, 32, 1, {8: 1}), "int8-weight-only", "float32", "cpu", turns=5)
    assert [quantization.is_quantized(layer[0]) for layer in seen] == [False, True]


# -- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A processor without AVX512."""
    (tmp_path / "cpuinfo").write_text("model name: Old CPU\nflags: avx2 fma\n")
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("cpu")
def test_a_cpu_that_emulates_int8_is_refused() -> None:
    done = CliRunner().invoke(app, ["layers", "--device", "cpu"])
    assert done.exit_code == 2
    assert done.stderr == (
        "this CPU has no instructions for int8, so its times say nothing about one that has; "
        "add --emulate to measure all the same.\n"
    )


@pytest.mark.usefixtures("cpu")
@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--quantize", "int8"], "no quantization is called 'int8'"),
        (["--quantize", "none"], "no quantization is called 'none'"),
        (["--quantize", "float8-dynamic", "--emulate"], "float8-dynamic has kernels for CUDA devices only"),
        (["--model", "sdlx"], "did you mean 'sdxl'"),
        (["--turns", "2"], "Invalid value for '--turns'"),
    ],
)
def test_what_cannot_be_explored_is_one_sentence(options: list[str], sentence: str) -> None:
    done = CliRunner().invoke(app, ["layers", "--device", "cpu", *options])
    assert done.exit_code == 2
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.usefixtures("cpu")
def test_the_command_shows_the_table_and_the_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def explore(*of: Any) -> list[Race]:
        asked.append(of)
        return RACES

    monkeypatch.setattr(experiment, "explore", explore)
    done = CliRunner().invoke(app, ["layers", "--model", "sdxl", "--weights", "twin", "--turns", "7", "--emulate"])
    assert done.exit_code == 0, done.output
    (options, quantize, turns, *_) = asked[0]
    assert (options.model, options.weights, options.emulate, quantize, turns) == (
        "sdxl",
        "twin",
        True,
        "int8-dynamic",
        7,
    )
    assert "1280 x 5120" in done.stdout
    assert "[tool.fastdiff.stages.int8-dynamic-here]" in done.stdout
    assert "filter = { without-shapes = [[320, 640], [640, 640], [768, 320]] }" in done.stdout


def test_a_twin_is_explored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """All but the race itself, which compiles."""
    monkeypatch.setattr(layers, "race", lambda shape, *_: replace(RACES[0], shape=shape))
    done = CliRunner().invoke(
        app, ["layers", "--model", "pixart-alpha", "--weights", "twin", "--device", "cpu", "--emulate"]
    )
    assert done.exit_code == 0, done.output
    assert "72 x 288" in done.stdout
    assert "shapes gain" in done.stdout
