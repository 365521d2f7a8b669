"""The published figures as data, a run set beside them, and the chart of a session."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from faked import faked as faked
from PIL import Image
from test_record import a_run, a_stage, benchmarks_of
from typer.testing import CliRunner

from fastdiff.cli import app
from fastdiff.compare.figures import A100, CHARTS, PUBLISHED, TECHNIQUES, XEON, beside, memory_share, speedup
from fastdiff.models import CATALOGUE
from fastdiff.record.files import write
from fastdiff.record.run import SKIPPED, Device, Memory, Run, Sample, Trial
from fastdiff.report import chart, ladder
from fastdiff.report.ladder import Rung
from fastdiff.stages.published import LADDER
from fastdiff.stages.techniques import TECHNIQUES as MEASURED_TECHNIQUES

if TYPE_CHECKING:
    from pathlib import Path

    from faked import Faked

LINES = {"fp32": 9.38, "bf16": 3.28, "sdpa": 3.09, "compile": 2.44, "fused-qkv": 2.57, "int8": 2.49}
"""A run of `make bench-full` on two cores of a Xeon with AMX (docs/explain/measurements.md)."""


def of_sdxl(name: str, seconds: float, **changed: Any) -> Trial:
    request = {"size": 256, "steps": 2, "batch": 1}
    return replace(a_stage(name, samples=(Sample(seconds),), request=request, weights="dummy", **changed), model="sdxl")


@pytest.fixture
def full() -> Run:
    stages = [of_sdxl(name, seconds) for name, seconds in LINES.items()]
    return replace(a_run(*stages), device=Device("xeon", "cpu", "Some Xeon, 2 cores"))


def shown(*words: object) -> str:
    done = CliRunner().invoke(app, ["published", *map(str, words)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


# -- the data ---------------------------------------------------------------------------------------------------------


def test_the_figures_are_the_published_ones() -> None:
    assert [figure.seconds for figure in A100.figures] == [7.36, 4.63, 3.31, 2.54, 2.52, 2.43]
    assert tuple(figure.stage for figure in A100.figures) == LADDER.names
    assert {figure.stage: (figure.seconds, figure.gigabytes) for figure in TECHNIQUES.figures} == {
        "unoptimized": (72.2005, 28.09),
        "half": (14.8009, 21.72),
        "default": (11.4130, 21.72),
        "default+compile": (10.2967, 21.73),
        "default+model-offload": (16.0822, 20.21),
        "default+sequential-offload": (67.0340, 19.91),
        "default+vae-slicing": (11.2322, 15.40),
        "default+vae-slicing+sequential-offload": (66.8692, 11.47),
        "default+precomputed-text": (11.9090, 21.85),
        "default+tiny-autoencoder": (10.4497, 15.48),
    }
    assert {figure.stage for figure in TECHNIQUES.figures} <= set(MEASURED_TECHNIQUES.names)


def test_every_table_names_its_device_and_its_source() -> None:
    models = {model.name for model in CATALOGUE}
    for table in PUBLISHED:
        assert table.device
        assert table.request
        assert table.source.startswith("https://")
        assert table.compared_with in [figure.stage for figure in table.figures]
        assert table.model in models
    assert set(CHARTS) <= models


def test_factors() -> None:
    assert speedup(A100, "int8") == pytest.approx(3.03, abs=0.005)
    assert (speedup(XEON, "fused-qkv"), speedup(XEON, "bf16")) == (4.0, None)
    assert memory_share(TECHNIQUES, "default+vae-slicing") == pytest.approx(0.709, abs=0.001)


# -- beside -----------------------------------------------------------------------------------------------------------


def test_a_run_stands_beside_both_tables_of_the_ladder(full: Run) -> None:
    tables, rows = beside(full, "sdxl")
    assert tables == (A100, XEON)
    assert [row.stage for row in rows] == list(LADDER.names)
    assert rows[4].here == pytest.approx(9.38 / 2.57)
    assert rows[4].published == (pytest.approx(7.36 / 2.52), 4.0)


def test_the_report_shows_factors_and_no_seconds(full: Run, tmp_path: Path) -> None:
    write(tmp_path / "run.json", benchmarks_of(full), full)
    text = shown(tmp_path / "run.json")
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert lines[0] == "sdxl (dummy weights) on Some Xeon, 2 cores: 256 px, 2 steps, 1 pictures a call"
    assert "fused-qkv 3.65x 2.92x 4.00x" in lines
    assert "int8 3.77x 3.03x -" in lines
    assert any(line.startswith("A100: sdxl on NVIDIA A100, 80 GB") and "https://" in line for line in lines)
    assert "7.36" not in text, "seconds of another device"
    assert "9.38" not in text


def test_without_the_first_stage_there_is_no_factor(full: Run) -> None:
    _, rows = beside(replace(full, stages=full.stages[1:]), "sdxl")
    assert [row.here for row in rows] == [None] * 5


def test_a_skipped_stage_says_so(full: Run, tmp_path: Path) -> None:
    skipped = replace(full.stages[1], state=SKIPPED, samples=(), memory=None)
    run = replace(full, stages=(full.stages[0], skipped, *full.stages[2:]))
    write(tmp_path / "run.json", benchmarks_of(run), run)
    assert "bf16 - 1.59x - skipped" in [" ".join(line.split()) for line in shown(tmp_path / "run.json").splitlines()]


def test_disturbed_samples_do_not_count_and_pictures_are_counted(full: Run) -> None:
    disturbed = (Sample(9.0, void="stolen time"), Sample(1.0))
    four = replace(full.stages[1], samples=disturbed, request={"batch": 4})
    _, rows = beside(replace(full, stages=(full.stages[0], four)), "sdxl")
    assert rows[1].here == pytest.approx(9.38 / (1.0 / 4))


def test_memory_is_a_share_of_the_default(tmp_path: Path) -> None:
    sliced = of_sdxl("default+vae-slicing", 2.0, memory=Memory(60, "denoising", weights_bytes=10))
    run = a_run(of_sdxl("default", 1.0, memory=Memory(90, "decode", weights_bytes=10)), sliced)
    tables, rows = beside(run, "sdxl")
    assert tables == (TECHNIQUES,)
    assert (rows[1].here, rows[1].memory_here) == (0.5, pytest.approx(0.7))
    write(tmp_path / "run.json", benchmarks_of(run), run)
    lines = [" ".join(line.split()) for line in shown(tmp_path / "run.json").splitlines()]
    assert "default+vae-slicing 0.50x 1.02x 0.70x 0.71x" in lines


def test_a_run_of_other_stages_is_one_sentence(tmp_path: Path) -> None:
    run = a_run(a_stage("mine"))
    write(tmp_path / "run.json", benchmarks_of(run), run)
    assert shown(tmp_path / "run.json").startswith("none of this run's stages was published; published were: fp32, ")


def test_without_a_run_the_figures_are_listed() -> None:
    lines = [" ".join(line.split()) for line in shown().splitlines()]
    assert "int8 2.43 3.03x" in lines
    assert "default+tiny-autoencoder 10.4497 1.09x 15.48 0.71x" in lines
    assert f"ssd-1b: {CHARTS['ssd-1b']}" in lines


# -- the chart --------------------------------------------------------------------------------------------------------


def test_bars_carry_the_factor_over_the_first() -> None:
    rungs = [
        Rung("sdxl", "fp32", None, (2.0, 2.0, 2.0)),
        Rung("sdxl", "bf16", "fp32", remark="emulated here"),
        Rung("sdxl", "sdpa", "bf16", (0.9, 1.0, 1.1)),
    ]
    first, second = ladder.bars(rungs)
    assert (first.label, first.factor, first.shown) == ("fp32", None, "2.00 s")
    assert (second.factor, second.low, second.high) == (2.0, pytest.approx(0.95), pytest.approx(1.05))
    assert [bar.label for bar in ladder.bars(rungs, name_model=True)] == ["sdxl fp32", "sdxl sdpa"]
    (axes,) = chart.draw([first, second], "title", "seconds").axes
    assert [text.get_text() for text in axes.texts] == ["2.00 s", "1.00 s   2.00x"]


@pytest.mark.parametrize("end", [".png", ".jpeg"])
def test_a_session_draws_its_own_chart(faked: Faked, end: str) -> None:
    faked.takes(fp32=0.2, other=0.1)
    faked.session(f"--fastdiff-chart=charts/ladder{end}")
    assert Image.open(faked.root / "charts" / f"ladder{end}").size[0] > 1000


def test_a_chart_that_cannot_be_written_or_named_is_one_sentence(faked: Faked) -> None:
    (faked.root / "file").write_text("no folder")
    result = faked.session("--fastdiff-chart=file/ladder.svg")
    result.stdout.fnmatch_lines(["--fastdiff-chart file/ladder.svg cannot be written*"])
    result = faked.session("--fastdiff-chart=ladder.xyz")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*ladder.xyz is no name for a chart; end it with .png*"])
