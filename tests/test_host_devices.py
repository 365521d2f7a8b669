"""Devices that were never tried: what can be known of them without one, and what is refused or left out."""

from __future__ import annotations

import importlib.metadata
import os
from typing import TYPE_CHECKING

import pytest
from faked import faked as faked

from fastdiff.compare import noise, policy
from fastdiff.host import environment, processor, rocm, system
from fastdiff.host.environment import device_kind, device_name, device_slug, limits
from fastdiff.instruments import memory, telemetry
from fastdiff.instruments.latency import synchronised_clock
from fastdiff.models import CATALOGUE
from fastdiff.models.libraries import torch
from fastdiff.optimize import build, resolved
from fastdiff.record.errors import UserError
from fastdiff.stages.recipe import Compile, Recipe

if TYPE_CHECKING:
    from pathlib import Path

    from faked import Faked

    from fastdiff.trial.live import LiveStage

MACHINE = ({"simd_count": 0, "gfx_target_version": 0}, {"simd_count": 304, "gfx_target_version": 90402})
"""A processor, which is a node as well, and a GPU."""


@pytest.fixture
def amd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Linux shows a machine with two GPUs of AMD."""
    gpus = (*MACHINE, {"simd_count": 416, "gfx_target_version": 90010})
    for number, node in enumerate(gpus):
        (tmp_path / str(number)).mkdir()
        lines = [f"{name} {value}\n" for name, value in node.items()]
        (tmp_path / str(number) / "properties").write_text("".join(lines))
    monkeypatch.setattr(rocm, "NODES", tmp_path)
    monkeypatch.setattr(environment, "_nvidia_names", list)
    monkeypatch.delenv("HIP_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.fixture
def mac(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What macOS says of its processor, and a torch that has MPS."""
    tool = tmp_path / "sysctl"
    tool.write_text("#!/bin/sh\n[ \"$*\" = '-n machdep.cpu.brand_string' ] && echo Apple M2 Max\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(system, "PLATFORM", "darwin")
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "nowhere")


# -- GPUs of AMD ------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("amd")
@pytest.mark.parametrize(
    ("build", "kind"), [("+rocm6.4", "cuda"), ("", "cpu"), ("+cu130", "cpu"), ("+cpu", "cpu")], ids=str
)
def test_a_gpu_of_amd_is_taken_where_torch_is_built_for_it(
    monkeypatch: pytest.MonkeyPatch, build: str, kind: str
) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda _: f"2.13.0{build}")
    assert device_kind() == kind


@pytest.mark.usefixtures("amd")
@pytest.mark.parametrize(
    ("variables", "names"),
    [
        ({}, ["AMD gfx942", "AMD gfx90a"]),
        ({"CUDA_VISIBLE_DEVICES": "1"}, ["AMD gfx90a", "unknown GPU"]),
        ({"CUDA_VISIBLE_DEVICES": "0", "HIP_VISIBLE_DEVICES": "1,0"}, ["AMD gfx90a", "AMD gfx942"]),
    ],
    ids=str,
)
def test_it_is_named_by_its_instruction_set(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], names: list[str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert [device_name(f"cuda:{index}") for index in range(2)] == names


@pytest.mark.usefixtures("amd")
def test_what_is_not_seen_of_it_is_a_sentence() -> None:
    assert "clocks, heat and other processes are not seen" in limits("cuda")
    assert limits("cpu") == ""
    watch = telemetry.Watch("cuda")
    watch.before()
    assert watch.after() == telemetry.Reading()


def test_it_has_no_cudnn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "hip", "6.4")
    cudnn = Recipe(dtype="bfloat16", attention="cudnn")
    with pytest.raises(UserError, match="a kernel of NVIDIA; use sdpa or flash"):
        resolved(CATALOGUE[0], cudnn, "cuda")
    flash = Recipe(dtype="bfloat16", attention="flash")
    assert flash.on("rocm") == flash


# -- MPS --------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("mac")
def test_a_mac_is_named_by_its_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "usable_cores", lambda: set(range(8)))
    assert device_name("cpu") == "Apple M2 Max, 8 cores"
    assert (device_name("mps"), device_slug("mps")) == ("Apple M2 Max, MPS", "apple-m2-max-mps")


@pytest.mark.parametrize(
    ("recipe", "sentence"),
    [
        (Recipe(offload="model"), "model offload moves weights to the CPU's memory, which is MPS's, too"),
        (Recipe(offload="sequential"), "sequential offload moves weights"),
        (Recipe(dtype="bfloat16", attention="flash"), "flash attention is a kernel for CUDA devices; use sdpa or math"),
        (Recipe(attention="memory-efficient"), "memory-efficient attention is a kernel for CUDA devices"),
        (Recipe(dtype="bfloat16", quantize="int8-weight-only"), "torchao has no kernels of int8-weight-only for MPS"),
    ],
    ids=str,
)
def test_what_mps_cannot_do_is_refused(recipe: Recipe, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        recipe.on("mps")


def test_mps_has_no_cuda_graphs() -> None:
    recipe = Recipe(dtype="half", compile=Compile(mode="max-autotune")).on("mps")
    assert recipe.compile is not None
    assert (recipe.dtype, recipe.compile.mode) == ("float16", "default")


def test_mps_has_bands_and_a_noise_of_its_own() -> None:
    assert policy.default("mps").memory > policy.default("cpu").memory
    assert noise.declared("mps")


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="this machine has MPS")
def test_a_machine_without_mps_says_so() -> None:
    with pytest.raises(UserError, match=r"sees no MPS device, .*; measure with --fastdiff-device cpu"):
        build(CATALOGUE[0], Recipe(), "mps")


def test_the_clock_waits_for_mps(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[str] = []
    monkeypatch.setattr(torch.mps, "synchronize", lambda: waited.append("mps"))
    synchronised_clock()
    assert waited == []
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    synchronised_clock()
    assert waited == ["mps"]


def test_memory_of_mps_is_what_the_driver_has_handed_out(live: LiveStage, monkeypatch: pytest.MonkeyPatch) -> None:
    """It grows until the component with the peak, and stays."""
    handed_out = iter([10, 30, 30, 40, 40, 40, 40])
    monkeypatch.setattr(torch.mps, "empty_cache", lambda: None)
    monkeypatch.setattr(torch.mps, "driver_allocated_memory", lambda: next(handed_out, 40))
    monkeypatch.setattr(live.built, "device", "mps")
    found = memory.measure(live.built, live.generate)
    assert (found.peak_bytes, found.where, found.measure) == (40, "denoising", "mps driver")
    assert found.peaks == {"rest": 10, "text": 30, "denoising": 40}


def test_a_session_on_mps_says_what_it_does_not_see(faked: Faked) -> None:
    result = faked.session("--fastdiff-device=mps")
    result.assert_outcomes(passed=8, deselected=2)
    result.stdout.fnmatch_lines(["fastdiff: MPS is untested: memory is what the driver has handed out*"])
    assert faked.run["device"]["kind"] == "mps"


@pytest.mark.parametrize(
    ("names", "divided", "found"),
    [
        (["NVIDIA T4"] * 3, False, ("cuda:0", "cuda:1")),
        (["NVIDIA T4", "NVIDIA H200", "NVIDIA T4"], False, None),
        (["NVIDIA T4"], False, None),
        (["NVIDIA T4", "NVIDIA T4"], True, None),
        ([], False, None),
    ],
)
def test_a_second_gpu_is_of_the_same_kind(
    monkeypatch: pytest.MonkeyPatch, names: list[str], divided: bool, found: tuple[str, str] | None
) -> None:
    monkeypatch.setattr(environment, "_nvidia_names", lambda: names)
    monkeypatch.setattr(environment, "_amd_names", list)
    monkeypatch.setattr(environment, "_divided", lambda: divided)
    assert environment.two_gpus() == found


def test_a_gpu_in_parts_is_known_by_its_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    import pynvml

    modes: dict[int, tuple[int, int] | None] = {0: None, 1: (1, 1)}

    def mode(handle: int) -> tuple[int, int]:
        if (known := modes[handle]) is None:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return known

    for name in ("nvmlInit", "nvmlShutdown"):
        monkeypatch.setattr(pynvml, name, lambda: None)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetCount", lambda: len(modes))
    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByIndex", lambda place: place)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetMigMode", mode)
    assert environment._divided()
    modes[1] = (0, 0)
    assert not environment._divided()
