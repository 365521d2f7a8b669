"""On what a run was made: the device's identity, found without torch, and the versions of the libraries."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import re
from pathlib import Path

LIBRARIES = ("torch", "triton", "diffusers", "transformers", "torchao", "accelerate", "numpy", "pytest-benchmark")


def device_kind() -> str:
    """ "cuda" where the driver shows a GPU, else "cpu". Asks the driver, so that collection needs no torch."""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        if "+cpu" in importlib.metadata.version("torch"):
            return "cpu"
    return "cuda" if _gpu_names() else "cpu"


def device_name(device: str) -> str:
    """What the hardware calls itself, for instance "NVIDIA H200" or "AMD EPYC, 2 cores"."""
    kind, _, index = device.partition(":")
    if kind == "cuda":
        names = _gpu_names()
        return names[int(index or 0)] if len(names) > int(index or 0) else "unknown GPU"
    return f"{_cpu_brand()}, {_cores()} cores"


def device_slug(device: str) -> str:
    """The name of the device's folder in `baselines/`."""
    return re.sub(r"[^a-z0-9]+", "-", device_name(device).lower()).strip("-")


def versions() -> dict[str, str]:
    found = {}
    for library in LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[library] = importlib.metadata.version(library)
    return {"python": platform.python_version(), **found}


def _gpu_names() -> list[str]:
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
        names = [pynvml.nvmlDeviceGetName(handle) for handle in handles]
        return _visible([name.decode() if isinstance(name, bytes) else name for name in names])
    finally:
        pynvml.nvmlShutdown()


def _visible(names: list[str]) -> list[str]:
    """The driver shows every GPU; CUDA shows those that CUDA_VISIBLE_DEVICES lists, in that order."""
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if listed is None:
        return names
    places = [int(place) if place.strip().isdigit() else -1 for place in listed.split(",")]
    return [names[place] for place in places if 0 <= place < len(names)]


def _cpu_brand() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        found = re.search(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(), re.MULTILINE)
        if found:
            return found[1].strip()
    return platform.processor() or platform.machine() or "unknown CPU"


def _cores() -> int:
    """The cores that this process may use, which a container or taskset can make fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
