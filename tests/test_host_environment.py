"""What may change between nights is recorded, without private paths."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from fastdiff.host import environment as module
from fastdiff.host import processor
from fastdiff.host.environment import device_name, device_slug, environment, visible
from fastdiff.host.processor import choosing, emulated

if TYPE_CHECKING:
    from pathlib import Path


def git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=n", "-c", "user.email=e"]
    return subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init", "--quiet", "--initial-branch=night")
    (tmp_path / "file").write_text("one")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "--quiet", "--message=first")
    return tmp_path


def test_commit_of_the_code_under_test(repository: Path) -> None:
    identity = git(repository, "rev-parse", "HEAD")
    assert environment("cpu", repository)["commit"] == {"id": identity, "branch": "night", "dirty": False}
    (repository / "another").write_text("untracked files change no measurement")
    assert not environment("cpu", repository)["commit"]["dirty"]
    (repository / "file").write_text("two")
    assert environment("cpu", repository)["commit"]["dirty"]


def test_outside_of_a_repository_and_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert environment("cpu", tmp_path)["commit"] == {}
    monkeypatch.setenv("PATH", str(tmp_path))
    assert environment("cpu", tmp_path)["commit"] == {}


def test_variables_that_matter_without_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = {
        "OMP_NUM_THREADS": "2",
        "PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True",
        "TORCHINDUCTOR_CACHE_DIR": str(tmp_path),
        "CUDA_HOME": "C:\\private\\cuda",
        "NVIDIA_TF32_OVERRIDE": "0",
        "MALLOC_ARENA_MAX": "2",
    }
    others = {"HF_TOKEN": "secret", "NVIDIA_VISIBLE_DEVICES": "all", "MY_OMP_TRICK": "1", "PATH": str(tmp_path)}
    for name, value in (wanted | others).items():
        monkeypatch.setenv(name, value)
    found = environment("cpu")["variables"]
    assert {name: found[name] for name in wanted} == wanted | {
        "TORCHINDUCTOR_CACHE_DIR": "(a path)",
        "CUDA_HOME": "(a path)",
    }
    assert not set(others) & set(found)
    told = json.dumps(environment("cpu"))
    assert str(tmp_path) not in told
    assert "private" not in told


def test_libraries_loaded_beforehand_have_names_without_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_PRELOAD", "/private/libjemalloc.so.2:/private/libgomp.so.1")
    assert module.variables()["LD_PRELOAD"] == "libjemalloc.so.2 libgomp.so.1"


def test_torch_is_described_but_not_imported() -> None:
    code = (
        "import json, sys; from fastdiff.host.environment import environment; first = environment('cpu');"
        "assert 'torch' not in sys.modules; import torch; print(json.dumps([first, environment('cpu')]))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    without, with_torch = json.loads(told)
    assert "torch_git" not in without
    assert len(with_torch.pop("torch_git")) == 40
    assert with_torch.pop("threads") > 0
    assert with_torch.pop("capability")
    with_torch.pop("cuda", None)
    assert without == with_torch
    assert {"python", "torch", "diffusers"} <= set(without["versions"])
    assert without["os"]


WIDE = "avx avx2 fma avx512f avx512bw avx512dq avx512vl"


@pytest.mark.parametrize(
    ("line", "instructions", "missing"),
    [
        ("flags\t\t: fpu sse", "", ("bfloat16", "int8")),
        ("flags\t\t: fpu avx avx2 fma", ", AVX2", ("bfloat16", "int8")),
        ("flags\t\t: fpu avx avx2 fma avx512f", ", AVX2", ("bfloat16", "int8")),
        (f"flags\t\t: fpu {WIDE}", ", AVX512 without VNNI", ("int8",)),
        (f"flags\t\t: fpu {WIDE} avx512_vnni", ", AVX512", ()),
        ("flags\t\t: fpu avx avx2 fma avx_vnni", ", AVX2", ("bfloat16", "int8")),
        ("flags\t\t: fpu avx2 fma avx_ne_convert avx_vnni_int8", ", AVX2", ("int8",)),
        ("Features\t: fp asimd", "", ("bfloat16",)),
        ("Features\t: fp asimd bf16", ", BF16", ()),
        ("isa\t\t: rv64imafdc", "", ()),
    ],
)
def test_instructions_belong_to_a_cpu(
    line: str, instructions: str, missing: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor\t: 0\nmodel name\t: Small CPU\n{line}\nbugs\t\t: avx512f\n")
    monkeypatch.setattr(processor, "CPUINFO", cpuinfo)
    monkeypatch.setattr(processor, "usable_cores", lambda: {0, 1})
    assert device_name("cpu") == f"Small CPU, 2 cores{instructions}"
    assert device_slug("cpu") == "small-cpu-2-cores" + instructions.lower().replace(", ", "-").replace(" ", "-")
    assert emulated("cpu") == missing
    assert emulated("cuda") == (), "of a GPU nothing is emulated"


def test_finer_instructions_are_a_fact_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hypervisor may hide any of them from one of two machines that have the same name."""
    cpuinfo = tmp_path / "cpuinfo"
    monkeypatch.setattr(processor, "CPUINFO", cpuinfo)
    found = {}
    for flags in (f"{WIDE} avx512_vnni", f"{WIDE} avx512_vnni avx512_bf16", "sse"):
        cpuinfo.write_text(f"model name\t: Small CPU\nflags\t\t: {flags}\n")
        found[device_slug("cpu"), choosing()] = environment("cpu").get("instructions")
        assert "instructions" not in environment("cuda")
    (narrow, one), (wide, other), (_, none) = found
    assert narrow == wide
    assert (one, other, none) == tuple(found.values())
    assert (one, other, none) == ("avx2 avx512_vnni avx512f", "avx2 avx512_bf16 avx512_vnni avx512f", None)


def test_where_the_processor_is_unknown_nothing_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "nowhere")
    assert emulated("cpu") == ()


@pytest.mark.skipif(platform.machine() != "x86_64" or sys.platform != "linux", reason="torch is asked about x86")
def test_torch_itself_says_the_same_of_this_machine() -> None:
    code = (
        "import torch; from fastdiff.host.processor import emulated;"
        "native = {'bfloat16': torch.ops.mkldnn._is_mkldnn_bf16_supported(), 'int8': torch.cpu._is_vnni_supported()};"
        "print([name for name, there in native.items() if not there] == list(emulated('cpu')))"
    )
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("ONEDNN_", "DNNL_", "ATEN_"))}
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=plain).stdout
    assert told.strip() == "True"


@pytest.mark.parametrize(("flags", "known"), [("fpu hypervisor sse", True), ("fpu sse", False)])
def test_a_virtual_machine_says_when_it_was_started(
    flags: str, known: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cpuinfo, number = tmp_path / "cpuinfo", tmp_path / "boot_id"
    cpuinfo.write_text(f"processor\t: 0\nflags\t\t: {flags}\nbugs\t\t: hypervisor_mess\n")
    number.write_text("7bd2\n")
    monkeypatch.setattr(processor, "CPUINFO", cpuinfo)
    monkeypatch.setattr(module, "BOOT", number)
    assert ("boot" in environment("cpu")) is known
    assert "boot" not in environment("cuda"), "a GPU is the same one wherever its machine wakes up"
    assert "7bd2" not in json.dumps(environment("cpu"))


def test_the_driver_is_named_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_driver", lambda: "570.1")
    assert environment("cuda:0")["driver"] == "570.1"
    assert "driver" not in environment("cpu")


def test_gpus_that_cuda_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert visible(["a", "b", "c"]) == ["a", "b", "c"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,0")
    assert visible([0, 1, 2]) == [2, 0]
