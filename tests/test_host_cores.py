"""Halves of a processor, on made-up machines; and moving this very process."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from fastdiff.host.cores import Halves, decided, halves, quota

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class Machine:
    """A root folder with the files in which Linux describes a processor."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")

    def has(self, *cores: str, node: int = 0, capacity: int | None = None, name: str = "core_cpus_list") -> None:
        """Each core by its list of hyperthreads."""
        for core in cores:
            low, _, high = core.replace("-", ",").partition(",")
            for cpu in (low, *([high] if high else [])):
                folder = f"sys/devices/system/cpu/cpu{cpu}"
                self.write(f"{folder}/topology/{name}", core)
                self.write(f"{folder}/node{node}/cpulist", "")
                if capacity:
                    self.write(f"{folder}/cpu_capacity", str(capacity))


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_two_cores_are_a_core_each(machine: Machine) -> None:
    machine.has("0", "1")
    assert halves(machine.root, {0, 1}) == Halves((0,), (1,), 1)
    assert halves(machine.root, {0, 1}).variables["OMP_NUM_THREADS"] == "1"  # type: ignore[union-attr]


def test_a_half_has_all_hyperthreads_of_its_cores(machine: Machine) -> None:
    machine.has("0,4", "1,5", "2,6", "3,7")
    assert halves(machine.root, range(8)) == Halves((0, 4, 1, 5), (2, 6, 3, 7), 2)


def test_older_kernels_have_another_name_for_it(machine: Machine) -> None:
    machine.has("0-1", "2-3", name="thread_siblings_list")
    assert halves(machine.root, range(4)) == Halves((0, 1), (2, 3), 1)


def test_two_hyperthreads_of_one_core_are_no_halves(machine: Machine) -> None:
    machine.has("0-1")
    assert halves(machine.root, {0, 1}) is None


def test_one_core_has_no_halves_and_of_three_one_is_left(machine: Machine) -> None:
    machine.has("0", "1", "2")
    assert halves(machine.root, {2}) is None
    assert halves(machine.root, {0, 1, 2}) == Halves((0,), (1,), 1)


def test_a_core_that_is_shared_with_others_is_not_whole(machine: Machine) -> None:
    machine.has("0,4", "1,5", "2,6", "3,7")
    assert halves(machine.root, {0, 1, 2, 3}) is None
    assert halves(machine.root, {0, 4, 1, 5, 2}) == Halves((0, 4), (1, 5), 1)


def test_halves_are_of_one_numa_node(machine: Machine) -> None:
    machine.has("0", "1", "2", node=0)
    machine.has("3", "4", "5", "6", node=1)
    assert halves(machine.root, range(7)) == Halves((3, 4), (5, 6), 2)
    assert halves(machine.root, {0, 3}) is None


def test_halves_are_of_one_kind(machine: Machine) -> None:
    machine.has("0", "1", capacity=1024)
    machine.has("2", "3", "4", "5", capacity=446)
    assert halves(machine.root, range(6)) == Halves((2, 3), (4, 5), 2)
    assert halves(machine.root, {0, 2}) is None


def test_a_hybrid_processor_has_two_kinds(machine: Machine) -> None:
    machine.has("0", "1", "2")
    machine.write("sys/devices/cpu_core/cpus", "0")
    machine.write("sys/devices/cpu_atom/cpus", "1-2")
    assert halves(machine.root, range(3)) == Halves((1,), (2,), 1)
    assert halves(machine.root, {0, 1}) is None


def test_a_system_that_does_not_describe_its_processor_has_none(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert halves(machine.root, {0, 1}) is None
    machine.has("0", "1")
    machine.write("sys/devices/system/cpu/cpu1/topology/core_cpus_list", "")
    assert halves(machine.root, {0, 1}) is None
    monkeypatch.delattr(os, "sched_setaffinity", raising=False)
    assert halves() is None


QUOTAS: Mapping[str, tuple[str, dict[str, str], float]] = {
    "none": ("0::/", {"cpu.max": "max 100000"}, float("inf")),
    "version 2": ("0::/", {"cpu.max": "250000 100000"}, 2.5),
    "of a group around it": ("0::/a/b", {"a/b/cpu.max": "max 100000", "a/cpu.max": "150000 100000"}, 1.5),
    "outside of the container": ("0::/../host", {"cpu.max": "300000 100000"}, 3.0),
    "version 1": (
        "3:cpuset:/\n4:cpu,cpuacct:/docker/1",
        {"cpu,cpuacct/cpu.cfs_quota_us": "150000", "cpu,cpuacct/cpu.cfs_period_us": "100000"},
        1.5,
    ),
    "version 1, by its short name": (
        "1:cpu:/x",
        {"cpu/x/cpu.cfs_quota_us": "400000", "cpu/x/cpu.cfs_period_us": "100000"},
        4.0,
    ),
    "version 1 without one": (
        "1:cpu:/",
        {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"},
        float("inf"),
    ),
    "of another hierarchy": (
        "1:cpuset:/x\n2:cpu:/",
        {"cpu/x/cpu.cfs_quota_us": "100000", "cpu/x/cpu.cfs_period_us": "100000"},
        float("inf"),
    ),
    "nonsense": ("0::/", {"cpu.max": "much"}, float("inf")),
}


@pytest.mark.parametrize("name", QUOTAS)
def test_a_quota_is_found(name: str, machine: Machine) -> None:
    groups, files, cores = QUOTAS[name]
    machine.write("proc/self/cgroup", groups)
    for file, text in files.items():
        machine.write(f"sys/fs/cgroup/{file}", text)
    assert quota(machine.root) == cores


@pytest.mark.parametrize(("limit", "threads"), [(100, 0), (190, 0), (200, 1), (390, 1), (400, 2), (800, 2)])
def test_halves_stay_within_the_quota(limit: int, threads: int, machine: Machine) -> None:
    machine.has("0", "1", "2", "3")
    machine.write("proc/self/cgroup", "0::/")
    machine.write("sys/fs/cgroup/cpu.max", f"{limit} 100")
    found = halves(machine.root, range(4))
    assert (found.threads if found else 0) == threads


@pytest.mark.parametrize(
    ("inherited", "own", "found"),
    [
        (("HOME", "OMP_NUM_THREADS"), (), True),
        (("GOMP_CPU_AFFINITY",), (), True),
        (("KMP_DUPLICATE_LIB_OK", "OMP_STACKSIZE"), (), False),
        ((), ("OMP_WAIT_POLICY",), True),
        ((), ("ONEDNN_MAX_CPU_ISA", "MALLOC_TOP_PAD_"), False),
    ],
)
def test_decisions_about_threads_are_respected(inherited: tuple[str, ...], own: tuple[str, ...], found: bool) -> None:
    """What a user sets on one side only is what is compared."""
    assert decided(inherited, own) == found


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system binds no threads")
def test_every_thread_is_moved() -> None:
    script = """
import os, threading
from fastdiff.host.cores import move
from fastdiff.host.processor import usable_cores
over = threading.Event()
for _ in range(3):
    threading.Thread(target=over.wait, daemon=True).start()
target = {max(os.sched_getaffinity(0))}
move(target)
assert [os.sched_getaffinity(int(one)) for one in os.listdir("/proc/self/task")] == [target] * 4
assert usable_cores() == target  # by which telemetry knows neighbours: the other side is on other cores
over.set()
"""
    subprocess.run([sys.executable, "-c", script], check=True)
