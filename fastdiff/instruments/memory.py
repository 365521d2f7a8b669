"""How much memory one call needs, and in which component it needs most.

On a GPU the numbers are the allocator's own, weights included; what a recorded CUDA graph keeps in a pool of its own is
not in the peak of allocated bytes, only in the reserved ones. On a CPU they are sums over the allocator's events:
bytes of tensors that are alive together. These start at zero when the call starts, so weights are not in them; in
return they do not depend on the machine's load, and two processes give the same number.
"""

from __future__ import annotations

import gc
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastdiff.instruments.boundaries import boundaries
from fastdiff.models.libraries import torch
from fastdiff.record.run import Memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from fastdiff.models.anatomy import Anatomy
    from fastdiff.optimize import Built

MARK = "fastdiff ended: "
"""Prefix of the profiler's events that tell which component ended."""

SILENT = "6"
"""The profiler announces itself on the terminal at its level 5; it asks for the level once, when it first starts."""


def measure(built: Built, call: Callable[[], object]) -> Memory:
    """Peaks of one warm `call`; on a CPU it runs under the profiler, so a call of few steps is kinder."""
    # Garbage in reference cycles would be freed at some moment of the call, as a negative number.
    gc.collect()
    ways = {"cuda": _allocator, "mps": _driver}
    return ways.get(torch.device(built.device).type, _live_tensors)(built, call)


def resident_bytes() -> int | None:
    """What the operating system has given to this process, weights and libraries included; None where it won't say."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if statm.exists() else None


def forget_peak(device: str) -> None:
    """So that `peak_bytes` tells of what comes now; a CPU keeps no peak."""
    if torch.device(device).type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_bytes(device: str) -> int | None:
    return int(torch.cuda.max_memory_allocated(device)) if torch.device(device).type == "cuda" else None


def weights_bytes(where: Anatomy) -> int:
    """Of every parameter and buffer that the pipeline holds, each counted once."""
    tensors = {id(one): one for part in where.components.values() for one in (*part.parameters(), *part.buffers())}
    return sum(_bytes(tensor) for tensor in tensors.values())


def _bytes(tensor: Any) -> int:
    """A quantized tensor is made of others: the integers and their scales."""
    if hasattr(tensor, "__tensor_flatten__"):
        return sum(_bytes(getattr(tensor, name)) for name in tensor.__tensor_flatten__()[0])
    return int(tensor.numel() * tensor.element_size())


def peaks(events: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Peak of each component from events in the order of time: ("", bytes that came or went) or (component, 0)."""
    found: dict[str, int] = {}
    live = highest = 0
    for component, change in events:
        live += change
        highest = max(highest, live)
        if component:
            found[component] = max(found.get(component, 0), highest)
            highest = live
    return found


def _live_tensors(built: Built, call: Callable[[], object]) -> Memory:
    from torch.profiler import ProfilerActivity, profile, record_function

    def ended(component: str) -> None:
        with record_function(MARK + component):
            pass

    with (
        silence(),
        profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled,
        boundaries(built.anatomy, ended),
    ):
        call()
    found = peaks(
        (event.name().removeprefix(MARK), 0) if event.name().startswith(MARK) else ("", event.nbytes())
        for event in sorted(profiled.profiler.kineto_results.events(), key=lambda event: event.start_ns())
        if event.name() == "[memory]" or event.name().startswith(MARK)
    )
    where = max(found, key=lambda component: found[component])
    return Memory(
        peak_bytes=found[where],
        where=where,
        peaks=found,
        weights_bytes=weights_bytes(built.anatomy),
        resident_bytes=resident_bytes(),
    )


@contextmanager
def silence() -> Iterator[None]:
    """Unless the user has set a level."""
    name = "KINETO_LOG_LEVEL"
    if name in os.environ:
        yield
        return
    os.environ[name] = SILENT
    try:
        yield
    finally:
        del os.environ[name]


def _of_graphs() -> int:
    """Bytes of the pools that recorded CUDA graphs keep for themselves: a replay works there, and allocates nothing."""
    shared = (0, 0)
    segments = torch.cuda.memory_snapshot()
    return sum(one["total_size"] for one in segments if tuple(one.get("segment_pool_id", shared)) != shared)


def _allocator(built: Built, call: Callable[[], object]) -> Memory:
    found: dict[str, int] = {}
    reserved = 0

    def ended(component: str) -> None:
        nonlocal reserved
        found[component] = max(found.get(component, 0), torch.cuda.max_memory_allocated(built.device))
        reserved = max(reserved, torch.cuda.max_memory_reserved(built.device))
        torch.cuda.reset_peak_memory_stats(built.device)

    forget_peak(built.device)
    with boundaries(built.anatomy, ended):
        call()
    pools = _of_graphs()
    found = {component: peak + pools for component, peak in found.items()}
    where = max(found, key=lambda component: found[component])
    return Memory(
        peak_bytes=found[where],
        where=where,
        peaks=found,
        measure="cuda allocator",
        reserved_bytes=reserved,
        resident_bytes=resident_bytes(),
    )


def _driver(built: Built, call: Callable[[], object]) -> Memory:
    """MPS keeps no peak, but its allocator keeps what is freed: what the driver has handed out since the cache was
    empty only grows. Components in which it did not grow have no peak of their own."""
    found: dict[str, int] = {}

    def ended(component: str) -> None:
        now = int(torch.mps.driver_allocated_memory())
        if now > max(found.values(), default=-1):
            found[component] = now

    torch.mps.empty_cache()
    with boundaries(built.anatomy, ended):
        call()
    where = max(found, key=lambda component: found[component])
    return Memory(
        peak_bytes=found[where], where=where, peaks=found, measure="mps driver", resident_bytes=resident_bytes()
    )


def memory_of_gpu(device: str) -> int | None:
    """All bytes of the GPU; None on a CPU."""
    if not device.startswith("cuda"):
        return None
    return int(torch.cuda.get_device_properties(device).total_memory)
