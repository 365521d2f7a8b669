"""`fastdiff experiment`: a published experiment as one command, each stage in a fresh process."""

from __future__ import annotations

import csv
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import typer.main
from PIL import Image
from test_published import fastdiff

from fastdiff.cli import app
from fastdiff.experiments import published, series
from fastdiff.models import CATALOGUE
from fastdiff.report import published as results
from fastdiff.stages.published import LADDER
from fastdiff.stages.techniques import TECHNIQUES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

SMALL = ("--model", "shapes", "--steps", 1, "--size", 64, "--rounds", 3, "--device", "cpu")


def row_of(stage: str, seconds: float, memory: float = 0.5) -> dict[str, str]:
    return dict.fromkeys(results.THEIRS, "False") | {
        "ckpt_id": "shapes",
        "batch_size": "1",
        "num_inference_steps": "1",
        "time (secs)": str(seconds),
        "memory (gbs)": str(memory),
        "tag": "",
        "stage": stage,
        "pytest-fastdiff": "0.1",
        "weights (gbs)": "0.5",
    }


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[str]]:
    """What was asked of other processes; each of them leaves a row, faster than the one before."""
    asked: list[list[str]] = []

    real = subprocess.run

    def run(words: Sequence[str], **options: Any) -> subprocess.CompletedProcess[str]:
        words = list(words)
        if "--stage" not in words:  # matplotlib asks for fonts where it has no list of them yet
            return real(words, **options)  # type: ignore[no-any-return]
        asked.append(words)
        stage, out = words[words.index("--stage") + 1], words[words.index("--out") + 1]
        results.Path(out).mkdir(parents=True, exist_ok=True)
        rows = [row_of(stage, 1 / len(asked), 1 / len(asked))]
        results.write(results.Path(out) / f"{len(asked)}.csv", rows)
        return subprocess.CompletedProcess(words, 0, "latency  1 s\nrow  x.csv\n")

    monkeypatch.setattr(series.subprocess, "run", run)
    monkeypatch.setattr(series, "emulated", lambda _: ())
    monkeypatch.chdir(tmp_path)
    return asked


def test_every_published_experiment_is_there() -> None:
    models = {model.name for model in CATALOGUE}
    assert set(series.SERIES) == {"sdxl", "ssd-1b", "sd15", "pixart-alpha", "cpu", "memory"}
    for one in series.SERIES.values():
        assert one.model in models
        assert set(one.stages) <= set(one.ladder.names)
    assert series.SERIES["sdxl"].stages == LADDER.names
    assert series.SERIES["cpu"].stages == ("fp32", "bf16", "sdpa", "compile", "fused-qkv")
    assert {*series.SERIES["memory"].stages, *series.LATER} == set(TECHNIQUES.names)
    assert series.SERIES["memory"].batch == 4, "as published"


def test_each_stage_has_a_process_of_its_own(commands: list[list[str]]) -> None:
    done = fastdiff("experiment", "sdxl", "--weights", "twin", "--steps", 2)
    assert done.exit_code == 0, done.output
    assert [words[words.index("--stage") + 1] for words in commands] == list(LADDER.names)
    command = typer.main.get_command(app).commands["run"]  # type: ignore[attr-defined]
    for words in commands:
        assert words[1:4] == ["-m", "fastdiff.cli", "run"]
        with command.make_context("run", words[4:]) as context:
            assert (context.params["model"], context.params["weights"], context.params["steps"]) == ("sdxl", "twin", 2)
    assert [line for line in done.stderr.splitlines() if line.startswith("sdxl, ")] == [
        f"sdxl, {place} of 6: {stage}" for place, stage in enumerate(LADDER.names, start=1)
    ]


def test_the_chart_shows_each_rung_with_its_factor(commands: list[list[str]], tmp_path: Path) -> None:
    fastdiff("experiment", "sdxl")
    folder = tmp_path / "results" / "sdxl"
    assert Image.open(folder / "sdxl.png").format == "PNG"
    assert Image.open(folder / "sdxl.jpeg").format == "JPEG"
    assert "<svg" in (folder / "sdxl.svg").read_text()
    rows = list(csv.DictReader((folder / "sdxl.csv").read_text().splitlines()))
    assert [row["stage"] for row in rows] == list(LADDER.names), "in the ladder's order"
    (axes,) = results.draw(rows).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == list(LADDER.names)
    assert [text.get_text() for text in axes.texts][:2] == ["1.00 s", "500 ms   2.00x"]


def test_the_memory_table_draws_its_peaks(commands: list[list[str]], tmp_path: Path) -> None:
    done = fastdiff("experiment", "memory", "--device", "cpu")
    assert done.exit_code == 0, done.output
    offloading = [stage for stage in series.SERIES["memory"].stages if "-offload" in stage]
    assert [line.split()[2].rstrip(":") for line in done.stdout.splitlines() if line.startswith("left out")] == (
        offloading
    ), "what a CPU cannot do is named"
    assert all("--batch=4" in words for words in commands)
    rows = list(csv.DictReader((tmp_path / "results" / "memory" / "memory.csv").read_text().splitlines()))
    (axes,) = results.draw(rows, memory=True).axes
    assert [text.get_text() for text in axes.texts][:2] == ["1.5 GiB", "1 GiB   1.50x"]


def test_what_a_cpu_only_emulates_is_left_out(commands: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(series, "emulated", lambda _: ("bfloat16", "int8"))
    done = fastdiff("experiment", "cpu")
    assert [words[words.index("--stage") + 1] for words in commands] == ["fp32", "sdpa", "compile", "fused-qkv"]
    assert "left out  bf16: this CPU has no instructions for bfloat16" in done.stdout
    assert "--emulate" not in done.output, "which is no option here"


def ending(code: int, stage: str) -> Callable[..., subprocess.CompletedProcess[str]]:
    real = series.subprocess.run

    def run(words: Sequence[str], **options: Any) -> subprocess.CompletedProcess[str]:
        done = real(words, **options)
        return replace_code(done, code) if stage in words else done

    return run


def replace_code(done: subprocess.CompletedProcess[str], code: int) -> subprocess.CompletedProcess[str]:
    return subprocess.CompletedProcess(done.args, code, "")


def test_a_stage_that_fails_ends_itself_alone(commands: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(series.subprocess, "run", ending(2, "sdpa"))
    done = fastdiff("experiment", "sdxl")
    assert (done.exit_code, len(commands)) == (2, 6)
    assert "failed    sdpa" in done.stdout
    assert "chart  results/sdxl/sdxl.svg" in done.stdout


def test_ctrl_c_ends_the_series(commands: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(series.subprocess, "run", ending(130, "bf16"))
    done = fastdiff("experiment", "sdxl")
    assert (done.exit_code, len(commands)) == (130, 2)
    assert "the measured stages are kept" in done.stderr


def test_an_unknown_experiment_is_one_sentence() -> None:
    done = fastdiff("experiment", "sdlx")
    assert done.exit_code == 2
    assert "no experiment is called 'sdlx'; did you mean 'sdxl'?" in done.stderr


def test_a_stage_is_a_whole_setting(tmp_path: Path) -> None:
    done = fastdiff("run", "--stage", "compile", "--no-sdpa", "--out", tmp_path / "results")
    assert (done.exit_code, done.stderr.splitlines()) == (
        2,
        ["--stage compile is a whole setting; leave out the options that change it."],
    )
    assert "no stage is called 'sdqa'; did you mean 'sdpa'?" in fastdiff("run", "--stage", "sdqa").stderr


@pytest.mark.parametrize("stage", ["default+vae-slicing", "sdpa-math", "batch-4", "int8"])
def test_a_stage_of_any_ladder_can_be_named(stage: str, tmp_path: Path) -> None:
    recipe = published.staged(stage, "cpu", tmp_path)
    asked = published.setting(published.model(), recipe, device="cpu", rounds=1, stage=stage)
    assert asked.request.batch == (4 if stage == "batch-4" else 1)
    assert stage in asked.name
    assert recipe.vae_slicing == (stage == "default+vae-slicing")


@pytest.mark.compile
def test_two_stages_of_the_embedded_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Really measured, in processes of their own."""
    monkeypatch.chdir(tmp_path)
    short = replace(series.SERIES["sdxl"], stages=("fp32", "sdpa"))
    monkeypatch.setitem(series.SERIES, "sdxl", short)
    done = fastdiff("experiment", "sdxl", *SMALL)
    assert done.exit_code == 0, done.output
    folder = tmp_path / "results" / "sdxl"
    rows = list(csv.DictReader((folder / "sdxl.csv").read_text().splitlines()))
    assert [(row["stage"], row["sdpa"], row["rounds"]) for row in rows] == [
        ("fp32", "False", "3"),
        ("sdpa", "True", "3"),
    ]
    assert len(list(folder.glob("shapes-*.png"))) == 2
    assert {path.name for path in folder.iterdir() if not path.name.startswith("shapes-")} == {
        f"sdxl{end}" for end in (".csv", ".png", ".svg", ".jpeg")
    }
