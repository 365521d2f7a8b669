"""The published scripts' flags, typed as they stand in the documents, are answered with today's command."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import pytest
import typer.main
from test_published import OLD_COLLATING_FLAGS, OLD_FLAGS
from typer.testing import CliRunner

from fastdiff.cli import app, old

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

TUNED = "--compile_unet --compile_mode=max-autotune --compile_vae"
TUNED_TODAY = "--compile-denoiser --compile-mode max-autotune --compile-decoder"


def typed(*words: str) -> Result:
    return CliRunner().invoke(app, list(words), catch_exceptions=False)


SPELLED = [
    # experiment-scripts/run_sd.sh, run_sd_cpu.sh and run_pixart.sh, line by line
    ("run --no_sdpa --no_bf16", "run --model sdxl --no-sdpa --dtype float32"),
    (f"run {TUNED} --change_comp_config", f"run --model sdxl {TUNED_TODAY} --inductor-flags"),
    (
        f"run {TUNED} --change_comp_config --enable_fused_projections",
        f"run --model sdxl {TUNED_TODAY} --inductor-flags --fuse-qkv",
    ),
    (
        f'run {TUNED} --enable_fused_projections --do_quant "int8dynamic" --change_comp_config',
        f"run --model sdxl {TUNED_TODAY} --fuse-qkv --quantize int8-dynamic --inductor-flags",
    ),
    (
        "run --compile_unet --compile_vae --device=cpu",
        "run --model sdxl --compile-denoiser --compile-decoder --device=cpu",
    ),
    (
        'run --ckpt "PixArt-alpha/PixArt-XL-2-1024-MS" --compile_transformer --compile_vae',
        "run --ckpt PixArt-alpha/PixArt-XL-2-1024-MS --compile-denoiser --compile-decoder",
    ),
    ("run --compile_transformer", "run --model pixart-alpha --compile-denoiser"),
    (
        "run --ckpt runwayml/stable-diffusion-v1-5 --batch_size 4 --num_inference_steps 30 --upcast_vae --tag x",
        "run --ckpt runwayml/stable-diffusion-v1-5 --batch 4 --steps 30 --upcast-vae --tag x",
    ),
    ("run --no_sdpa --prompt 'a red cat'", "run --model sdxl --no-sdpa --prompt 'a red cat'"),
    ("run --do_quant int8weightonly --compile_vae", "run --model sdxl --quantize int8-weight-only --compile-decoder"),
    ("run --no_sdpa --compile_mode max-autotune", "run --model sdxl --no-sdpa"),
    ("run --compile_unet --change_comp_config", "run --model sdxl --compile-denoiser"),
    ("run --model shapes --no_sdpa", "run --model shapes --no-sdpa"),
    (
        'collate --plot_title "SDXL, Batch Size: 1" --final_csv_filename "collated_results.csv"',
        "collate results --title 'SDXL, Batch Size: 1' --csv collated_results.csv",
    ),
    ("collate --base_path here --push_to_hub", "collate here"),
]


@pytest.mark.parametrize(("before", "today"), SPELLED)
def test_the_whole_command_in_todays_spelling(before: str, today: str) -> None:
    done = typed(*shlex.split(before))
    sentence, command = done.stderr.splitlines()
    assert (done.exit_code, done.stdout) == (2, "")
    assert shlex.split(command) == ["fastdiff", *shlex.split(today)]
    assert "run_benchmark.py. Use" in sentence or "prepare_results.py. Use" in sentence


@pytest.mark.parametrize("today", [today for _, today in SPELLED])
def test_todays_command_is_understood(today: str) -> None:
    """By the parser alone; nothing is measured."""
    name, *words = shlex.split(today)
    command = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]
    with command.make_context(name, words):
        pass


def test_what_did_nothing_is_named() -> None:
    assert (
        "(--compile_mode had no effect there without --compile_unet or --compile_vae)"
        in typed("run", "--no_bf16", "--compile_mode", "max-autotune").stderr
    )
    assert "hf upload" in typed("collate", "--push_to_hub").stderr


def test_every_old_flag_is_in_the_table() -> None:
    """Except for those that are spelled as before."""
    kept = {"--ckpt", "--prompt", "--tag", "--device"}
    assert {*old.RUN.switches, *old.RUN.values} == OLD_FLAGS - kept
    assert {*old.COLLATE.switches, *old.COLLATE.values} == OLD_COLLATING_FLAGS


def test_todays_flags_are_left_alone(tmp_path: Path) -> None:
    assert "py. Use" not in typed("run", "--no-sdpa", "--fuse-qkv", "--out", str(tmp_path)).stderr
    assert "py. Use" not in typed("models").output


def test_a_terminal_is_sent_no_command_of_its_own() -> None:
    assert "\x1b" not in typed("run", "--no_sdpa", "--tag", "\x1b[31mred").stderr
