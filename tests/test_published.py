"""`fastdiff run` and `fastdiff collate`: what the published scripts did, without their mistakes."""

from __future__ import annotations

import csv
import errno
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import typer.main
from here import DTYPE
from PIL import Image
from typer.testing import CliRunner

from fastdiff.cli import app
from fastdiff.cli import row as row_module
from fastdiff.experiments import published
from fastdiff.record import pictures
from fastdiff.record.errors import UserError
from fastdiff.record.run import Memory, Sample, Trial
from fastdiff.report import published as results
from fastdiff.trial.live import LiveStage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from click.testing import Result

    from fastdiff.models import Model

TABLES = (Path(__file__).parents[1] / "docs" / "guides" / "published-scripts.md").read_text()
SDXL = "stabilityai/stable-diffusion-xl-base-1.0"

OLD_FLAGS = {
    *("--ckpt", "--prompt", "--no_bf16", "--no_sdpa", "--batch_size", "--num_inference_steps"),
    *("--enable_fused_projections", "--upcast_vae", "--compile_unet", "--compile_transformer", "--compile_vae"),
    *("--compile_mode", "--change_comp_config", "--do_quant", "--tag", "--device"),
}
OLD_COLLATING_FLAGS = {"--base_path", "--final_csv_filename", "--plot_title", "--push_to_hub"}


MEASURED = ("--batch", 2, "--fuse-qkv", "--prompt", "a blue square", "--tag", "my tag/1", "--trace")


def fastdiff(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)


def run(model: Model, out: Path, *arguments: object) -> Result:
    """The tiny model, as a checkpoint of one's own, on the CPU."""
    request = ("--steps", 2, "--size", 64, "--rounds", 3, "--dtype", DTYPE)
    return fastdiff("run", "--ckpt", model.source, *request, "--device", "cpu", "--out", out, *arguments)


def row_in(out: Path) -> dict[str, str]:
    (path,) = out.glob("*.csv")
    (row,) = csv.DictReader(path.read_text().splitlines())
    return row


# -- every old flag has its counterpart -------------------------------------------------------------------------------


def table(title: str) -> dict[str, list[str]]:
    """Old flag and the new options that stand beside it."""
    section = TABLES.partition(f"## {title}")[2].partition("\n## ")[0]
    cells = [line.split("|")[1:3] for line in section.splitlines() if line.startswith("| `--")]
    return {re.findall("`(.+?)`", old)[0]: re.findall("`(.+?)`", new) for old, new in cells}


def options(command: str) -> set[str]:
    known = typer.main.get_command(app).commands[command].params  # type: ignore[attr-defined]
    return {option for parameter in known for option in parameter.opts}


def test_every_old_flag_has_an_option_that_exists() -> None:
    found = table("Options of `run_benchmark.py`")
    assert set(found) == OLD_FLAGS
    for old, new in found.items():
        assert new, old
        assert {option.split()[0] for option in new} <= options("run"), old


def test_every_option_of_run_is_in_the_docs() -> None:
    for option in options("run"):
        assert f"`{option}" in TABLES, option


def test_collating_flags_have_their_counterparts() -> None:
    found = table("Options of `prepare_results.py`")
    assert set(found) == OLD_COLLATING_FLAGS
    assert {name for new in found.values() for name in new} <= {*options("collate"), "FOLDER"}


def test_every_column_that_the_docs_explain_is_in_a_row(measured: Path) -> None:
    section = TABLES.partition("## Columns")[2].partition("\n## ")[0]
    explained = {name for line in section.splitlines() if line.startswith("| `") for name in columns(line)}
    assert len(explained) > 10
    assert explained <= set(row_in(measured))


def columns(line: str) -> list[str]:
    return re.findall("`(.+?)`", line.split("|")[1])


# -- a measured setting -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def measured(tiny: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what one command leaves."""
    out = tmp_path_factory.mktemp("results")
    done = run(tiny, out, *MEASURED)
    assert done.exit_code == 0, done.output
    assert "round 3 of 3: " in done.stderr
    assert re.search(r"^latency +\d.* m?s \(quartiles .+, 3 rounds\)$", done.stdout, re.MULTILINE)
    return out


def test_a_row_says_what_was_asked_for(measured: Path, tiny: Model) -> None:
    row = row_in(measured)
    asked = {
        "pipeline_cls": "StableDiffusionXLPipeline",
        "ckpt_id": tiny.source,
        "bf16": str(DTYPE == "bfloat16"),
        "sdpa": "True",
        "fused_qkv_projections": "True",
        "upcast_vae": "False",
        "batch_size": "2",
        "num_inference_steps": "2",
        "compile_unet": "False",
        "compile_vae": "False",
        "compile_mode": "",
        "change_comp_config": "False",
        "do_quant": "",
        "tag": "my tag/1",
        "dtype": DTYPE,
        "size": "64",
        "prompt": "a blue square",
        "tf32": "False",
        "device": "cpu",
    }
    assert row["weights"].startswith("folder ")
    assert {name: row[name] for name in asked} == asked
    assert tuple(row)[: len(results.THEIRS)] == results.THEIRS


def test_a_row_keeps_every_digit_and_every_sample(measured: Path) -> None:
    row = row_in(measured)
    samples = [float(sample) for sample in row["samples (secs)"].split()]
    assert len(samples) == int(row["rounds"]) == 3
    assert float(row["time (secs)"]) == median(samples)
    low, _, high = quantiles(samples, n=4, method="inclusive")
    assert (float(row["lower quartile (secs)"]), float(row["upper quartile (secs)"])) == (low, high)
    assert len(row["time (secs)"].partition(".")[2]) > 3
    assert float(row["first call (secs)"]) not in samples
    assert float(row["load (secs)"]) > 0


def test_a_row_knows_memory_and_proof(measured: Path) -> None:
    row = row_in(measured)
    assert 1e-5 < float(row["memory (gbs)"]) < 0.1
    assert row["where memory peaks"] in ("text", "denoising", "decode", "rest")
    assert row["actual_gpu_memory (gbs)"] == ""
    fused = re.search(r"(\d+) of (\d+) attention modules fused", row["proof"])
    assert fused is not None
    assert fused[1] == fused[2] != "0"
    assert row["proof"].startswith("0 graphs; 0 breaks; 0 recompiles; ")
    assert row["proof"].endswith(f"; parameters in {DTYPE}")
    assert "FusedAttnProcessor2_0 x " in row["proof"]


def test_pictures_and_trace_lie_beside_the_row(measured: Path) -> None:
    (path,) = measured.glob("*.csv")
    files = {file.name for file in measured.iterdir()}
    assert files == {f"{path.stem}{end}" for end in (".csv", ".png", "-1.png", ".trace.json")}
    pictures = [np.asarray(Image.open(measured / f"{path.stem}{end}")) for end in (".png", "-1.png")]
    assert [picture.shape for picture in pictures] == [(64, 64, 3)] * 2
    assert (pictures[0] != pictures[1]).any(), "each picture of a batch has a seed of its own"
    events = json.loads((measured / f"{path.stem}.trace.json").read_text())["traceEvents"]
    names = [event.get("name") for event in events]
    assert names.count("aten::scaled_dot_product_attention") > 2
    assert any("Input Dims" in event.get("args", {}) for event in events)


def test_a_name_is_short_and_safe(measured: Path) -> None:
    (path,) = measured.glob("*.csv")
    assert re.fullmatch(r"tiny\d-[0-9a-f]{10}-my-tag-1", path.stem)


@pytest.mark.compile
def test_a_compiled_setting_proves_it(tiny: Model, tmp_path: Path) -> None:
    """The script as it is installed, in a process of its own."""
    script = str(Path(sys.executable).with_name("fastdiff"))
    request = [
        "--prompt",
        "a red circle",  # that of its class is too long for it, which is no noise
        "--steps",
        "1",
        "--size",
        "64",
        "--rounds",
        "1",
        "--dtype",
        DTYPE,
        "--device",
        "cpu",
        "--out",
        str(tmp_path),
    ]
    compiled = ["--compile-decoder", "--compile-mode", "max-autotune", "--inductor-flags"]
    done = subprocess.run(
        [script, "run", "--ckpt", tiny.source, *request, *compiled], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    row = row_in(tmp_path)
    assert (row["compile_unet"], row["compile_vae"], row["change_comp_config"]) == ("False", "True", "True")
    assert row["compile_mode"] == "default", "what was done, not what was asked for: this is a CPU"
    assert "conv_1x1_as_mm=True" in row["inductor flags"]
    assert row["compile cache"] in ("cold", "warm", "mixed")
    assert row["proof"].startswith("1 graphs; 0 breaks; 0 recompiles; ")
    assert (row["lower quartile (secs)"], row["upper quartile (secs)"]) == ("", ""), "one round has no quartiles"
    said = [line.partition(" ")[0] for line in done.stderr.splitlines()]
    assert said == [re.sub(r".*/", "", tiny.source), f"{DTYPE},", "loaded", "first", "round"], "and no library's noise"


def test_emulation_is_announced_before_it_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = published.setting(published.model("shapes"), published.recipe(dtype="bfloat16"), device="cpu", rounds=1)
    sentence = "this CPU has no instructions for bfloat16: it is many times slower than float32 here"
    for missing, said in ((("bfloat16", "int8"), [sentence]), (("int8",), []), ((), [])):
        monkeypatch.setattr(row_module, "emulated", lambda _, missing=missing: missing)
        assert row_module.headline(asked)[2:] == said


# -- a failed setting is a failed command -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("--quantize int8-dynamic", "int8-dynamic without compile is slower"),
        ("--quantize int8dynamic", "did you mean 'int8-dynamic'"),
        ("--quantize int9 --compile-denoiser --compile-decoder", "'int9'"),
        ("--dtype bfloat61", "no dtype is called 'bfloat61'; did you mean 'bfloat16'"),
        ("--dtype float16 --device cpu", "float16 is emulated on a CPU"),
        ("--dtype float32 --upcast-vae", "everything is in float32 already"),
        ("--no-sdpa --fuse-qkv", "vanilla attention cannot stay"),
        ("--inductor-flags", "--inductor-flags is about compiled code"),
        ("--compile-mode max-autotune", "--compile-mode is about compiled code"),
        ("--compile-decoder --compile-mode fast", "no compile mode is called 'fast'"),
        ("--size 100", "give a multiple of 64"),
        ("--device gpu", "give auto, cpu, cuda, cuda:N or mps"),
        ("--model sdlx", "did you mean 'sdxl'"),
        ("--weights nowhere", "no folder in diffusers' layout"),
        ("--ckpt ./nowhere", "no folder in diffusers' layout"),
        ("--ckpt someone/model --weights dummy", "leave one out"),
    ],
)
def test_what_cannot_be_measured_is_one_sentence(arguments: str, sentence: str, tmp_path: Path) -> None:
    out = tmp_path / "results"
    done = fastdiff("run", *arguments.split(), "--out", out)
    assert done.exit_code == 2
    assert sentence in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not out.exists()


def failed(done: Result, out: Path) -> str:
    """The last line of a command that failed and left nothing."""
    assert done.exit_code == 2
    assert done.stdout == ""
    assert list(out.iterdir()) == []
    assert "--fastdiff" not in done.stderr
    return done.stderr.splitlines()[-1]


def test_a_folder_without_weights(tiny: Model, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "model_index.json").write_text((Path(tiny.source) / "model_index.json").read_text())
    out = tmp_path / "results"
    said = failed(fastdiff("run", "--ckpt", tmp_path / "empty", "--device", "cpu", "--out", out), out)
    assert re.search("the weights in .+ could not be loaded", said)


def test_a_device_that_is_not_there(tiny: Model, tmp_path: Path) -> None:
    said = failed(run(tiny, tmp_path, "--device", "cuda:99"), tmp_path)
    assert re.search("sees . CUDA devices, and cuda:99 was requested; .+ --device cpu", said)


def test_a_path_that_was_not_compiled(tiny: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fastdiff.optimize import compilation

    monkeypatch.setattr(compilation, "compile_parts", lambda *_: None)
    done = run(tiny, tmp_path, "--compile-denoiser", "--compile-decoder")
    assert failed(done, tmp_path).startswith("compile: 0 of 2 parts were compiled")
    assert "round 1" not in done.stderr, "no clock has started"


def test_a_black_picture(tiny: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LiveStage, "images", property(lambda live: np.zeros((1, 64, 64, 3))))
    done = run(tiny, tmp_path)
    assert "nothing was timed, because picture 1 of 1 is black." in failed(done, tmp_path)
    assert "round 1" not in done.stderr


def test_what_was_there_survives_a_failure(tiny: Model, measured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path: path.read_bytes() for path in measured.iterdir()}
    monkeypatch.setattr(LiveStage, "sample", broken)
    done = run(tiny, measured, *MEASURED)
    assert (done.exit_code, done.stderr.splitlines()[-1]) == (2, "the machine went away.")
    assert {path: path.read_bytes() for path in measured.iterdir()} == before


def broken(_: LiveStage) -> Sample:
    raise UserError("run", "the machine went away.")


# -- Ctrl-C -----------------------------------------------------------------------------------------------------------


def rounds_until_ctrl_c(count: int) -> Callable[[LiveStage], Sample]:
    """Timed calls, of which the one after `count` others is interrupted."""
    left = iter((0.5, 0.25, 0.75)[:count])

    def timed(live: LiveStage) -> Sample:
        seconds = next(left, None)
        if seconds is None:
            raise KeyboardInterrupt
        live.samples.append(Sample(seconds))
        return live.samples[-1]

    return timed


def test_ctrl_c_keeps_the_rounds(tiny: Model, measured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "results"
    shutil.copytree(measured, out)
    before = {path: path.read_bytes() for path in out.iterdir()}
    (whole,) = out.glob("*.csv")
    monkeypatch.setattr(LiveStage, "sample", rounds_until_ctrl_c(3))
    done = run(tiny, out, *MEASURED, "--rounds", 5)
    assert done.exit_code == 130
    assert "stopped after 3 of 5 rounds; the rest was not measured" in done.stdout
    assert f"row         {out}/{whole.stem}-stopped.csv" in done.stdout
    assert "memory" not in done.stdout
    assert "trace" not in done.stdout

    assert before.items() <= {path: path.read_bytes() for path in out.iterdir()}.items(), "what was whole stays"
    assert {path.name for path in out.iterdir()} - {path.name for path in before} == {
        f"{whole.stem}-stopped{end}" for end in (".csv", ".png", "-1.png")
    }
    (row,) = csv.DictReader((out / f"{whole.stem}-stopped.csv").read_text().splitlines())
    assert (row["stopped"], row["rounds"], row["samples (secs)"]) == ("after 3 of 5 rounds", "3", "0.5 0.25 0.75")
    assert (row["time (secs)"], row["memory (gbs)"]) == ("0.5", "")
    assert "attention modules fused" in row["proof"]
    assert row_in(measured)["stopped"] == ""
    (label,), _ = bars(results.read(out, out / "none"))
    assert label.endswith(", 2 runs"), "it is a measurement of the same setting"


def test_ctrl_c_after_the_last_round_keeps_them_all(
    tiny: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: LiveStage) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(LiveStage, "sample", rounds_until_ctrl_c(3))
    monkeypatch.setattr(LiveStage, "measure_memory", interrupted)
    run(tiny, tmp_path)
    assert row_in(tmp_path)["stopped"] == "after 3 of 3 rounds"


@pytest.mark.parametrize("count", [0, 2])
def test_ctrl_c_before_there_are_enough_rounds(
    tiny: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr(LiveStage, "sample", rounds_until_ctrl_c(count))
    done = run(tiny, tmp_path)
    assert (done.exit_code, done.stdout, list(tmp_path.iterdir())) == (130, "", [])
    assert f"stopped after {count} of 3 rounds: a row needs at least 3, so nothing of this was kept" in done.stderr


def test_rounds_of_something_else_are_not_kept(tiny: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recompilation in the rounds is no less wrong when Ctrl-C follows it."""
    rounds = rounds_until_ctrl_c(3)

    def recompiling(live: LiveStage) -> Sample:
        monkeypatch.setattr(LiveStage, "unapplied", ["compile: it was compiled again."])
        return rounds(live)

    monkeypatch.setattr(LiveStage, "sample", recompiling)
    assert failed(run(tiny, tmp_path, "--rounds", 5), tmp_path) == "compile: it was compiled again."


# -- a full disk ------------------------------------------------------------------------------------------------------


@pytest.fixture
def outcome(setting: published.Setting) -> published.Outcome:
    """As if it had been measured."""
    facts = {"graphs": 0, "breaks": 0, "recompiles": 0, "fused_modules": 0, "attention_modules": 4}
    record = Trial(
        "shapes",
        "run",
        None,
        first_call_s=0.9,
        load_s=0.1,
        samples=(Sample(0.5), Sample(0.25), Sample(0.75)),
        memory=Memory(2**29, "decode", {"decode": 2**29}),
        fingerprint=facts | {"quantized_layers": 0, "dtypes.bfloat16": 7},
    )
    return published.Outcome(setting, record, np.full((1, 64, 64, 3), 0.5), "2026-11-20T15:52:23+00:00", None)


def full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    ("end", "module", "writer"), [(".png", pictures, "save"), (".csv", results, "write")], ids=["picture", "row"]
)
def test_a_full_disk_takes_no_figures_away(
    outcome: published.Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str, module: Any, writer: str
) -> None:
    monkeypatch.setattr(published, "measure", lambda *_, **__: outcome)
    monkeypatch.setattr(module, writer, full)
    out = tmp_path / "results"
    done = fastdiff("run", "--device", "cpu", "--out", out)
    assert failed(done, out) == (
        f"{out / outcome.name}{end} cannot be written (No space left on device), so no file was kept; save the two "
        f"lines above as {outcome.name}.csv, or make room and measure again: fastdiff run --out FOLDER"
    )
    assert re.search(r"^latency +500 ms \(quartiles 375 ms to 625 ms, 3 rounds\)$", done.stderr, re.MULTILINE)
    assert re.search(r"^memory +0.500 GiB ", done.stderr, re.MULTILINE)

    heading, row = done.stderr.splitlines()[-4:-2]
    saved = tmp_path / "saved" / f"{outcome.name}.csv"
    saved.parent.mkdir()
    saved.write_text(f"{heading}\n{row}\n")
    assert results.read(saved.parent, tmp_path / "none") == [row_module.row(outcome)], "nothing is lost"


@pytest.mark.parametrize("writer", [full, lambda *_: None], ids=["raises", "says nothing, as torch 2.13"])
def test_a_full_disk_without_room_for_the_trace(
    tiny: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writer: Callable[..., None]
) -> None:
    from torch.profiler import profile

    monkeypatch.setattr(profile, "export_chrome_trace", writer)
    done = run(tiny, tmp_path, "--trace")
    assert re.search(r"\.trace\.json cannot be written \(torch left no file; .+ --out FOLDER$", failed(done, tmp_path))
    assert re.search(r"^latency +\d", done.stderr, re.MULTILINE)


# -- names ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def setting() -> published.Setting:
    return published.setting(published.model("shapes"), published.recipe(), device="cpu", rounds=5)


def test_settings_that_differ_have_different_names(setting: published.Setting) -> None:
    others = [
        replace(setting, request=replace(setting.request, prompt="a cat")),
        replace(setting, request=replace(setting.request, batch=2)),
        replace(setting, recipe=published.recipe(sdpa=False)),
        replace(setting, recipe=published.recipe(dtype="float32")),
        replace(setting, model=replace(setting.model, source="someone/shapes")),
        replace(setting, tag="tag"),
    ]
    assert len({setting.name, *(other.name for other in others)}) == 1 + len(others)
    assert replace(setting, rounds=9).name == setting.name, "more rounds measure the same setting"


def test_another_version_or_device_has_another_name(
    setting: published.Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {setting.name}
    monkeypatch.setattr(published, "versions", lambda: {"torch": "9.9"})
    names.add(setting.name)
    monkeypatch.setattr(published, "device_name", lambda _: "another CPU")
    assert len({*names, setting.name}) == 3


def test_an_upcast_autoencoder_is_the_models_own() -> None:
    sdxl = published.model("sdxl")
    assert published.setting(sdxl, published.recipe(), device="cpu", rounds=1).model.vae is not None
    upcast = published.setting(sdxl, published.recipe(upcast_vae=True), device="cpu", rounds=1)
    assert upcast.model.vae is None


# -- collate ----------------------------------------------------------------------------------------------------------


def original(path: Path, **changes: str) -> Path:
    """A file as the published script writes it."""
    row = dict.fromkeys(results.THEIRS, "False") | {
        "pipeline_cls": "StableDiffusionXLPipeline",
        "ckpt_id": SDXL,
        "batch_size": "1",
        "num_inference_steps": "30",
        "compile_mode": "",
        "do_quant": "",
        "time (secs)": "7.360",
        "memory (gbs)": "16.123",
        "actual_gpu_memory (gbs)": "79.151",
        "tag": "",
    }
    row |= changes
    if "compile_transformer" in changes:
        row = {("compile_transformer" if name == "compile_unet" else name): row[name] for name in results.THEIRS}
        row |= changes
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, row)
        writer.writeheader()
        writer.writerow(row)
    return path


COMPILED = {"compile_unet": "True", "compile_vae": "True", "compile_mode": "max-autotune", "change_comp_config": "True"}


@pytest.fixture
def ladder(tmp_path: Path) -> Iterator[Path]:
    """Four settings of the original, under names that sort the other way round."""
    folder = tmp_path / "ladder"
    folder.mkdir()
    half = {"bf16": "True", "sdpa": "True"}
    original(folder / "d.csv")
    original(folder / "c.csv", **half, **{"time (secs)": "3.310"})
    original(folder / "b.csv", **half, **COMPILED, **{"time (secs)": "2.540"})
    original(folder / "a.csv", **half, **COMPILED, do_quant="int8dynamic", **{"time (secs)": "2.430"})
    return folder


def collated(folder: Path, *arguments: object) -> list[dict[str, str]]:
    done = fastdiff("collate", folder, "--csv", folder / "all.csv", "--chart", folder / "all.png", *arguments)
    assert done.exit_code == 0, done.output
    return list(csv.DictReader((folder / "all.csv").read_text().splitlines()))


def test_rows_of_both_kinds_are_merged_by_name(measured: Path, ladder: Path) -> None:
    (ours,) = measured.glob("*.csv")
    (ladder / "z.csv").write_bytes(ours.read_bytes())
    original(ladder / "pixart.csv", ckpt_id="PixArt", compile_transformer="True", upcast_vae="NA")
    found = collated(ladder)
    assert len(found) == 6
    assert tuple(name for name in found[0] if name != "compile_transformer")[: len(results.THEIRS)] == results.THEIRS
    mine = next(row for row in found if row["fastdiff"])
    assert {name: mine[name] for name in row_in(measured)} == row_in(measured)
    assert mine["compile_transformer"] == ""
    pixart = next(row for row in found if row["ckpt_id"] == "PixArt")
    assert (pixart["compile_transformer"], pixart["compile_unet"], pixart["torch"]) == ("True", "", "")
    assert Image.open(ladder / "all.png").size[0] > 1000


def test_the_order_is_the_ladders_and_does_not_depend_on_names(ladder: Path) -> None:
    times = [row["time (secs)"] for row in collated(ladder)]
    assert times == ["7.360", "3.310", "2.540", "2.430"]
    (ladder / "a.csv").rename(ladder / "x.csv")
    assert [row["time (secs)"] for row in collated(ladder)] == times, "and the file from before is not an input"


def bars(rows: list[dict[str, str]]) -> tuple[list[str], list[float]]:
    (axes,) = results.draw(rows).axes
    labels = [label.get_text().replace("\n", " ") for label in axes.get_yticklabels()]
    return labels, [bar.get_width() for bar in axes.patches]


def test_a_bar_is_called_by_what_differs(ladder: Path) -> None:
    labels, widths = bars(results.read(ladder, ladder / "none"))
    assert labels == [
        "float32, no SDPA",
        "bfloat16, SDPA",
        "bfloat16, SDPA, compiled denoiser and decoder",
        "bfloat16, SDPA, compiled denoiser and decoder, int8dynamic",
    ]
    assert widths == [7.36, 3.31, 2.54, 2.43]
    (axes,) = results.draw(results.read(ladder, ladder / "none")).axes
    assert axes.get_title().replace("\n", " ") == f"{SDXL}, batch 1, 30 steps, mode max-autotune, inductor flags"


def test_quartiles_become_whiskers_and_runs_share_a_bar(measured: Path, ladder: Path) -> None:
    known = {"time (secs)": "1.2", "lower quartile (secs)": "1.1", "upper quartile (secs)": "1.3"}
    mine = row_in(measured) | known
    another = mine | {"time (secs)": "1.5", "lower quartile (secs)": "1.0", "upper quartile (secs)": "2.0"}
    third = mine | {"time (secs)": "2.5", "lower quartile (secs)": "", "upper quartile (secs)": ""}
    theirs = results.read(ladder, ladder / "none")[:1]
    (axes,) = results.draw([mine, another, third, *theirs]).axes
    labels = [label.get_text().replace("\n", " ") for label in axes.get_yticklabels()]
    assert len(axes.patches) == 2
    assert labels[0].endswith(", 3 runs")
    assert labels[1].endswith(", original script")
    assert axes.patches[0].get_width() == 1.5
    (line,) = axes.containers[1][2]
    assert line.get_segments()[0][:, 0].tolist() == pytest.approx([1.0, 2.0])
    assert "batch" not in axes.get_title(), "they do not share it"
    assert "AMD" not in axes.get_title()
    assert mine["device name"] not in axes.get_title(), "who knows on what the original ran"


def test_one_setting_alone_is_described_in_full(ladder: Path) -> None:
    assert bars(results.read(ladder, ladder / "none")[:1])[0] == ["float32, no SDPA"]


def test_tags_and_titles_are_no_formulas(ladder: Path) -> None:
    original(ladder / "e.csv", tag=r"$\alpha$ costs 5$")
    collated(ladder, "--title", r"all $\of$ it")


def test_every_half_written_file_is_refused(ladder: Path) -> None:
    path = ladder / "d.csv"
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match=r"d\.csv"):
            results.read(ladder, ladder / "none")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("a,b\r\n1,2\r\n", "no column 'pipeline_cls'"),
        (b"\xff\xfe\x00", "no whole CSV"),
        (",".join(results.THEIRS) + "\r\n1,2\r\n", "ends in the middle"),
    ],
)
def test_a_strange_file_is_refused_by_its_name(ladder: Path, content: Any, sentence: str) -> None:
    (ladder / "strange.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    done = fastdiff("collate", ladder, "--csv", ladder / "all.csv", "--chart", ladder / "all.png")
    assert done.exit_code == 2
    assert "strange.csv" in done.stderr
    assert sentence in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (ladder / "all.csv").exists()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"time (secs)": "0.0"}, "expected a number above zero"),
        ({"time (secs)": "nan"}, "expected a number above zero"),
        ({"time (secs)": ""}, "expected a number above zero"),
        ({"batch_size": "1.5"}, "expected a whole number"),
    ],
)
def test_numbers_are_looked_at(ladder: Path, changes: dict[str, str], sentence: str) -> None:
    original(ladder / "strange.csv", **changes)
    with pytest.raises(UserError, match=rf"strange\.csv: row 2 .+{sentence}"):
        results.read(ladder, ladder / "none")


def test_a_row_twice_is_refused(ladder: Path) -> None:
    (ladder / "copy.csv").write_bytes((ladder / "a.csv").read_bytes())
    with pytest.raises(UserError, match=r"a\.csv and .*copy\.csv hold the same row"):
        results.read(ladder, ladder / "none")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nowhere"], "there is no folder nowhere"),
        (["."], "holds no CSV to collate"),
        ([".", "--chart", "chart.xyz"], "end it with .png"),
    ],
)
def test_nothing_to_collate(
    arguments: list[str], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = fastdiff("collate", *arguments)
    assert done.exit_code == 2
    assert sentence in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_neither_torch_nor_matplotlib_is_imported_before_it_is_needed() -> None:
    code = "import sys, fastdiff.report.published; print({'torch', 'matplotlib', 'diffusers'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert done.stdout == "set()\n"


def test_measuring_does_not_know_who_shows_it() -> None:
    code = "import sys, fastdiff.experiments.published; print([name for name in sys.modules if 'report' in name])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
