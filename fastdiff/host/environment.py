"""On what a run was made: the device's identity, and apart from it what may change from one night to the next.

Found without torch; only what torch alone knows is left out where it is not imported.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import os
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, TypeVar

from fastdiff.host import allocator, processor, rocm

T = TypeVar("T")

LIBRARIES = ("torch", "triton", "diffusers", "transformers", "torchao", "accelerate", "numpy", "pytest-benchmark")

VARIABLES = re.compile(
    "(PY)?TORCH|CUDA|HIP_|HSA_|ROCR_|MIOPEN_|NVIDIA_TF32_OVERRIDE$|(OMP|MKL|OPENBLAS|KMP|GOMP|ONEDNN|DNNL|ATEN|MALLOC)_|GLIBC_TUNABLES$|"
    "LD_PRELOAD$|PYTHON(MALLOC|_JIT|_GIL)$"
)
"""Beginnings of the names of environment variables that change how fast something runs, or what it computes."""

BOOT = Path("/proc/sys/kernel/random/boot_id")
DEVICE = re.compile(r"auto|cpu|cuda(:[0-9]{1,4})?|mps")
"""Names of devices that a user can give."""
DEVICES = "auto, cpu, cuda, cuda:N or mps"
LIMITS = {
    "mps": "MPS is untested: memory is what the driver has handed out, which never falls during a call; clocks, heat "
    "and other processes are not seen.",
    "AMD": "GPUs of AMD are untested: clocks, heat and other processes are not seen, so no sample is void.",
}
GIT_PATIENCE_S = 10
"""A repository on a slow disk must not hold up a session for the sake of a note."""


def device_kind() -> str:
    """ "cuda" where the driver shows a GPU that this build of torch is for, else "cpu". Asks the driver, so that
    collection needs no torch."""
    build = ""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        build = importlib.metadata.version("torch").partition("+")[2]
    if build == "cpu":
        return "cpu"
    return "cuda" if (_amd_names() if build.startswith("rocm") else _nvidia_names()) else "cpu"


def device_name(device: str) -> str:
    """What the hardware calls itself, for instance "NVIDIA H200" or "AMD EPYC, 2 cores, AVX512".

    The instructions belong to it: virtual machines of one brand name, even of one processor, differ by them, and other
    kernels compute something else in other times and with other memory.
    """
    kind, _, index = device.partition(":")
    if kind == "cuda":
        names = _nvidia_names() or _amd_names()
        return names[int(index or 0)] if len(names) > int(index or 0) else "unknown GPU"
    if kind == "mps":
        return f"{processor.brand()}, MPS"
    instructions = processor.instructions()
    cores = f"{len(processor.usable_cores())} cores"
    return ", ".join([processor.brand(), cores, *([instructions] if instructions else [])])


def two_gpus() -> tuple[str, str] | None:
    """Two of one kind; None where there is one, where they are divided (MIG), or where there are several kinds, because
    the driver and CUDA may list those in another order."""
    names = _nvidia_names() or _amd_names()
    return ("cuda:0", "cuda:1") if len(names) > 1 and len(set(names)) == 1 and not _divided() else None


def limits(device: str) -> str:
    """What fastdiff does not see on this device, in a sentence; empty where it sees all that it can judge."""
    return LIMITS["AMD"] if device_name(device).startswith("AMD gfx") else LIMITS.get(device, "")


def device_slug(device: str) -> str:
    """The name of the device's folder in `baselines/`."""
    return re.sub(r"[^a-z0-9]+", "-", device_name(device).lower()).strip("-")


def versions() -> dict[str, str]:
    found = {}
    for library in LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[library] = importlib.metadata.version(library)
    return {"python": platform.python_version(), **found}


def environment(device: str, folder: Path | None = None) -> dict[str, Any]:
    """Everything volatile, without private paths, because runs are committed as baselines.

    `folder` is where the code under test lies: the present one where none is named.
    """
    torch = sys.modules.get("torch")
    found = {
        "versions": versions(),
        "torch_git": torch.version.git_version if torch else None,
        "cuda": torch.version.cuda if torch else None,
        "hip": torch.version.hip if torch else None,
        "driver": _driver() if device.startswith("cuda") else None,
        "os": platform.platform(),
        "machine": _machine(),
        "processor": processor.generation(),
        "instructions": processor.choosing() if device == "cpu" else None,
        "boot": _boot() if device == "cpu" else None,
        "threads": torch.get_num_threads() if torch else None,
        "capability": torch.backends.cpu.get_cpu_capability() if torch else None,
        "allocator": allocator.policy() if device == "cpu" else None,
        "variables": variables(),
        "commit": _commit(folder or Path.cwd()),
    }
    return {name: value for name, value in found.items() if value is not None}


def visible(gpus: list[T], variable: str = "CUDA_VISIBLE_DEVICES") -> list[T]:
    """The driver shows every GPU; CUDA shows those that the variable lists, in that order."""
    listed = os.environ.get(variable)
    if listed is None:
        return gpus
    places = [int(place) if place.strip().isdigit() else -1 for place in listed.split(",")]
    return [gpus[place] for place in places if 0 <= place < len(gpus)]


def _amd_names() -> list[str]:
    """ROCm has a variable of its own, and takes CUDA's where that is not set."""
    own = "HIP_VISIBLE_DEVICES"
    return visible(rocm.gpu_names(), own if own in os.environ else "CUDA_VISIBLE_DEVICES")


def _nvidia_names() -> list[str]:
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
        names = [pynvml.nvmlDeviceGetName(handle) for handle in handles]
        return visible([name.decode() if isinstance(name, bytes) else name for name in names])
    finally:
        pynvml.nvmlShutdown()


def _divided() -> bool:
    import pynvml

    with contextlib.suppress(pynvml.NVMLError):
        pynvml.nvmlInit()
        try:
            for place in range(pynvml.nvmlDeviceGetCount()):
                with contextlib.suppress(pynvml.NVMLError):  # of a GPU that cannot be divided
                    current, _ = pynvml.nvmlDeviceGetMigMode(pynvml.nvmlDeviceGetHandleByIndex(place))
                    if current:
                        return True
        finally:
            pynvml.nvmlShutdown()
    return False


def _driver() -> str | None:
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    try:
        version = pynvml.nvmlSystemGetDriverVersion()
        return version.decode() if isinstance(version, bytes) else version
    finally:
        pynvml.nvmlShutdown()


def _machine() -> str:
    """Tells two machines of one model apart, without a name that could be private."""
    number = Path("/etc/machine-id")
    own = number.read_text() if number.exists() else ""
    return hashlib.sha256(f"{own}{platform.node()}".encode()).hexdigest()[:12]


def _boot() -> str | None:
    """Of a virtual machine, which may wake up on another host. None where the hardware is its own."""
    if not BOOT.exists() or not processor.virtual():
        return None
    return hashlib.sha256(BOOT.read_bytes()).hexdigest()[:12]


def variables() -> dict[str, str]:
    """Of a value that names a folder only that there is one; of libraries loaded beforehand their names."""
    found = {name: value for name, value in sorted(os.environ.items()) if VARIABLES.match(name)}
    if "LD_PRELOAD" in found:
        found["LD_PRELOAD"] = " ".join(Path(one).name for one in re.split("[ :]+", found["LD_PRELOAD"]))
    return {name: "(a path)" if "/" in value or "\\" in value else value for name, value in found.items()}


def _commit(folder: Path) -> dict[str, Any]:
    """Where the code under test stands; empty outside of a git repository."""
    asked = ["git", "--no-optional-locks", "status", "--porcelain=v2", "--branch", "--untracked-files=no"]
    try:
        done = subprocess.run(asked, cwd=folder, capture_output=True, text=True, timeout=GIT_PATIENCE_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return {}
    lines = done.stdout.splitlines()
    header = dict(line.removeprefix("# branch.").split(maxsplit=1) for line in lines if line.startswith("# branch."))
    return {
        "id": header.get("oid", ""),
        "branch": header.get("head", ""),
        "dirty": any(not line.startswith("#") for line in lines),
    }
