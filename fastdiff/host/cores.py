"""Two halves of the processor for two processes that are measured at once, and the way to move a process to one.

What disturbs one half (a neighbour of the virtual machine, a lower clock) often disturbs the other one at the same
time, so the ratio of the two sides scatters less than the times of each of them.
"""

from __future__ import annotations

import math
import os
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

ROOT = Path("/")
CPUS = "sys/devices/system/cpu"
HYBRID = ("sys/devices/cpu_core/cpus", "sys/devices/cpu_atom/cpus")
"""Where Linux lists the fast and the slow cores of a processor that has both."""
CGROUPS = "sys/fs/cgroup"
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""Read by the libraries when they load; with as many threads as a half has cores none waits for a core."""
LIBRARIES = ("OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_")
"""Beginnings of the names of variables of libraries that have threads."""
PLACING = {*THREADS, "OMP_THREAD_LIMIT", "OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY", "KMP_AFFINITY"}
"""Those that say how many threads there are, or on which cores."""


@dataclass(frozen=True)
class Halves:
    """As many whole cores for each of two sides; a core of two hyperthreads is two of these numbers."""

    first: tuple[int, ...]
    second: tuple[int, ...]
    threads: int
    """Physical cores of a half."""

    @property
    def variables(self) -> dict[str, str]:
        return dict.fromkeys(THREADS, str(self.threads))


def decided(inherited: Collection[str], own: Collection[str]) -> bool:
    """Whether the user decides about threads, by variables that both sides inherit or by those of a side's own: then
    halves, with threads of their own number, would answer another question."""
    return not PLACING.isdisjoint(inherited) or any(name.startswith(LIBRARIES) for name in own)


def halves(root: Path = ROOT, allowed: Collection[int] | None = None) -> Halves | None:
    """Whole physical cores of one kind in one NUMA node, of those that this process may use and has a quota for.

    None where there are no two such cores: one core, its two hyperthreads, a quota below two, a system that cannot
    bind a process or does not describe its processor. The description of a hypervisor is believed. Where it shows two
    hyperthreads of one host core as two cores, a call takes longer while the other side computes, and the slower side
    makes up for it alone: less of a difference comes back than there is. On the virtual machines with two cores that
    were measured an injected amount came back whole, so theirs were real.
    """
    if allowed is None:
        if not hasattr(os, "sched_setaffinity"):
            return None
        allowed = os.sched_getaffinity(0)
    alike: dict[tuple[str, ...], set[tuple[int, ...]]] = defaultdict(set)
    for cpu in allowed:
        core = _core(root, cpu)
        if core and set(core) <= set(allowed):
            alike[_kind(root, cpu, core)].add(core)
    cores = max((sorted(one) for one in alike.values()), key=len, default=[])
    count = int(min(len(cores), quota(root))) // 2
    if count == 0:
        return None
    first, second = (tuple(cpu for core in half for cpu in core) for half in (cores[:count], cores[count : 2 * count]))
    return Halves(first, second, count)


def _core(root: Path, cpu: int) -> tuple[int, ...]:
    """The hyperthreads of one core; empty where the system does not say."""
    topology = root / CPUS / f"cpu{cpu}" / "topology"
    for name in ("core_cpus_list", "thread_siblings_list"):  # the second one is the name of older kernels
        with suppress(OSError, ValueError):
            return tuple(sorted(_listed((topology / name).read_text())))
    return ()


def _kind(root: Path, cpu: int, core: tuple[int, ...]) -> tuple[str, ...]:
    """Its NUMA node, its capacity, and which kind of core of a hybrid processor it is."""
    folder = root / CPUS / f"cpu{cpu}"
    node = next((one.name for one in sorted(folder.glob("node[0-9]*"))), "")
    capacity, hybrid = "", ""
    with suppress(OSError):
        capacity = (folder / "cpu_capacity").read_text().strip()
    for name in HYBRID:
        with suppress(OSError, ValueError):
            hybrid = name if cpu in _listed((root / name).read_text()) else hybrid
    return node, capacity, hybrid, str(len(core))


def _listed(text: str) -> set[int]:
    """`0-2,8` as numbers."""
    ends = [part.partition("-") for part in text.strip().split(",")]
    return {cpu for low, _, high in ends for cpu in range(int(low), int(high or low) + 1)}


def quota(root: Path = ROOT) -> float:
    """How many cores' time the container and everything around it allow; infinite where nothing limits it."""
    found = [math.inf]
    with suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            for folder in _with_parents(root, controllers, path):
                found.append(_second_version(folder) if not controllers else _first_version(folder))
    return min(found)


def _with_parents(root: Path, controllers: str, path: str) -> Iterator[Path]:
    """In a container the path is often that of the host, and only the last of these folders exists."""
    if not controllers:
        names = [""]
    else:
        names = list(dict.fromkeys((controllers, "cpu"))) if "cpu" in controllers.split(",") else []
    inside = [part for part in path.split("/") if part not in ("", "..")]
    for name in names:
        for length in range(len(inside), -1, -1):
            yield Path(root, CGROUPS, name, *inside[:length])


def _second_version(folder: Path) -> float:
    with suppress(OSError, ValueError, ZeroDivisionError):
        limit, period = (folder / "cpu.max").read_text().split()
        return int(limit) / int(period)  # the word "max" is no number
    return math.inf


def _first_version(folder: Path) -> float:
    with suppress(OSError, ValueError, ZeroDivisionError):
        limit, period = (int((folder / f"cpu.cfs_{name}_us").read_text()) for name in ("quota", "period"))
        return limit / period if limit > 0 else math.inf
    return math.inf


def move(cores: Collection[int]) -> None:
    """Binds every thread of this process to these cores. A thread that begins later begins where its maker is, so it
    is over when no unknown thread is left."""
    moved: set[int] = set()
    while new := {int(name) for name in os.listdir("/proc/self/task")} - moved:  # noqa: PTH208  (names alone)
        for thread in new:
            with suppress(ProcessLookupError):  # it has ended
                os.sched_setaffinity(thread, cores)
        moved |= new
