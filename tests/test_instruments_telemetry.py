"""A disturbed call is void and says why; a calm one is not, and neither is what could not be seen."""

from __future__ import annotations

import os
import threading
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pynvml
import pytest

from fastdiff.instruments import telemetry
from fastdiff.instruments.telemetry import Cpu, Gpu, Watch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


# -- the CPU ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., telemetry.Reading]:
    """A machine of four cores, of which cores 0 and 1 are ours; a round of some seconds is told in shares of them."""
    monkeypatch.setattr(telemetry, "usable_cores", lambda: {0, 1})
    monkeypatch.setattr(telemetry.os, "sysconf", lambda name: 100)
    clocks = SimpleNamespace(wall=50.0, own=7.0)
    fake = SimpleNamespace(perf_counter=lambda: clocks.wall, process_time=lambda: clocks.own)
    monkeypatch.setattr(telemetry, "time", fake)

    def stat(user: float, steal: float, idle: float, elsewhere: int) -> None:
        core = f"{1000 + user:.0f} 0 0 {9000 + idle:.0f} 5 0 0 {100 + steal:.0f} 0 0"
        far = f"{elsewhere} 0 0 0 0 0 0 0 0 0"
        lines = [f"cpu  {core}", f"cpu0 {core}", f"cpu1 {core}", f"cpu2 {far}", f"cpu3 {far}", "intr 1 2 3"]
        (tmp_path / "stat").write_text("\n".join(lines))

    def round_of(seconds: float, own: float, others: float, steal: float = 0.0) -> telemetry.Reading:
        watch = Cpu(tmp_path)
        stat(0, 0, 0, 0)
        (tmp_path / "loadavg").write_text("1.25 1.0 0.9 2/99 1234\n")
        watch.before()
        ticks = 100 * seconds
        stat((own + others) * ticks, steal * ticks, (1 - own - others - steal) * ticks, 9999)
        clocks.wall += seconds
        clocks.own += own * 2 * seconds
        return watch.after()

    return round_of


def test_a_calm_round_counts(machine: Callable[..., telemetry.Reading]) -> None:
    found = machine(1.0, own=0.9, others=0.05, steal=0.02)
    assert found.void == ""
    assert found.telemetry["others_share"] == pytest.approx(0.05)
    assert found.telemetry["steal_share"] == pytest.approx(0.02)
    assert found.telemetry["load_1min"] == 1.25


def test_neighbours_make_a_round_void(machine: Callable[..., telemetry.Reading]) -> None:
    assert machine(1.0, own=0.5, others=0.48).void == "other processes used 48% of the machine"
    assert machine(1.0, own=0.5, others=0.19).void == ""


def test_a_hypervisor_makes_a_round_void(machine: Callable[..., telemetry.Reading]) -> None:
    assert machine(1.0, own=0.8, others=0.0, steal=0.12).void == "the hypervisor took 12% of the machine"
    assert machine(1.0, own=0.8, others=0.0, steal=0.09).void == ""


def test_a_short_round_is_not_judged_by_coarse_ticks(machine: Callable[..., telemetry.Reading]) -> None:
    found = machine(0.1, own=0.1, others=0.9)
    assert found.void == ""
    assert found.telemetry["others_share"] == pytest.approx(0.9)


def test_a_round_without_a_tick_has_no_shares(machine: Callable[..., telemetry.Reading]) -> None:
    assert set(machine(0.0, own=0.0, others=0.0).telemetry) <= {"load_1min", "frequency_mhz"}


def test_other_systems_see_nothing(tmp_path: Path) -> None:
    watch = Cpu(tmp_path / "nowhere")
    watch.before()
    assert watch.after() == telemetry.Reading()


@pytest.mark.skipif(not os.path.exists("/proc/stat"), reason="only Linux tells")  # noqa: PTH110
def test_this_machine_can_be_watched() -> None:
    watch = Watch("cpu")
    watch.before()
    total = 0
    for number in range(3_000_000):
        total += number
    found = watch.after()
    assert 0 <= found.telemetry["others_share"] <= 1
    assert 0 <= found.telemetry["steal_share"] <= 1


# -- the GPU ----------------------------------------------------------------------------------------------------------


class Driver:
    """Stands for pynvml: two GPUs, the second one ours."""

    NVMLError = pynvml.NVMLError

    def __init__(self, **answers: Any) -> None:
        self.answers: dict[str, Any] = {
            "nvmlDeviceGetCount": 2,
            "nvmlDeviceGetClockInfo": 1980,
            "nvmlDeviceGetTemperature": 61,
            "nvmlDeviceGetPowerUsage": 695_500,
            "nvmlDeviceGetCurrentClocksEventReasons": 0,
            "nvmlDeviceGetComputeRunningProcesses": [SimpleNamespace(pid=os.getpid())],
        } | answers
        self.asked_of: set[Any] = set()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("NVML_") or ("EventReason" in name and not name.startswith("nvmlDevice")):
            return getattr(pynvml, name)

        def answer(*of: Any) -> Any:
            if name == "nvmlDeviceGetHandleByIndex":
                return f"GPU {of[0]}"
            self.asked_of.update(of[:1])
            found = self.answers.get(name)
            if isinstance(found, Exception):
                raise found
            return found.pop(0) if name.endswith("EventReasons") and isinstance(found, list) else found

        return answer


def gpu_round(driver: Driver, index: int = 1) -> telemetry.Reading:
    watch = Gpu(index, driver)
    watch.before()
    return watch.after()


def test_the_state_of_a_gpu_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    driver = Driver()
    found = gpu_round(driver)
    assert found.void == ""
    assert found.telemetry == {
        "sm_clock_mhz": 1980,
        "temperature_c": 61,
        "power_w": 695.5,
        "processes": 1,
        "power_capped": 0,
    }
    assert driver.asked_of == {"GPU 1"}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,0")
    second = Driver()
    gpu_round(second, index=0)
    assert second.asked_of == {"GPU 1"}


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        (pynvml.nvmlClocksEventReasonHwThermalSlowdown, "heat slowed the GPU down (hardware)"),
        (pynvml.nvmlClocksEventReasonSwThermalSlowdown, "heat slowed the GPU down (driver)"),
        (pynvml.nvmlClocksEventReasonHwPowerBrakeSlowdown, "the power supply slowed the GPU down"),
        (pynvml.nvmlClocksEventReasonHwSlowdown, "its hardware slowed the GPU down"),
    ],
)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_slowed_gpu_makes_a_round_void(reason: int, words: str, when: str) -> None:
    reasons = [reason, 0] if when == "before" else [0, reason]
    assert gpu_round(Driver(nvmlDeviceGetCurrentClocksEventReasons=reasons)).void == words


def test_the_software_power_cap_is_reported() -> None:
    capped = pynvml.nvmlClocksEventReasonSwPowerCap
    found = gpu_round(Driver(nvmlDeviceGetCurrentClocksEventReasons=capped))
    assert found.void == ""
    assert found.telemetry["power_capped"] == 1


def test_strangers_on_the_gpu_make_a_round_void() -> None:
    mine, parent, other = (SimpleNamespace(pid=pid) for pid in (os.getpid(), os.getppid(), 2**30))
    found = gpu_round(Driver(nvmlDeviceGetComputeRunningProcesses=[mine, parent, other]))
    assert found.void == "1 other processes computed on the GPU"


def test_the_session_that_waits_for_its_pairs_is_no_stranger() -> None:
    processes = [SimpleNamespace(pid=pid) for pid in (os.getpid(), os.getppid())]
    assert gpu_round(Driver(nvmlDeviceGetComputeRunningProcesses=processes)).void == ""


def test_the_clock_is_that_of_the_call_and_not_of_the_idle_gpu_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry.ClockSampler, "INTERVAL_S", 0.001)
    driver = Driver(nvmlDeviceGetClockInfo=1400)
    watch = Gpu(1, driver)
    watch.before()
    sampler = watch._sampler
    assert sampler is not None
    while len(sampler._seen) < 3:
        time.sleep(0.001)
    threads = threading.active_count()
    sampler._over.set()
    sampler._thread.join()
    driver.answers["nvmlDeviceGetClockInfo"] = 345
    assert watch.after().telemetry["sm_clock_mhz"] == 1400
    assert threading.active_count() == threads - 1, "nothing samples on"


def test_in_a_container_strangers_are_not_recognised() -> None:
    numbered_outside = [SimpleNamespace(pid=1), SimpleNamespace(pid=2)]
    found = gpu_round(Driver(nvmlDeviceGetComputeRunningProcesses=numbered_outside))
    assert found.void == ""
    assert found.telemetry["processes"] == 2


def test_what_a_gpu_does_not_report_is_left_out() -> None:
    refused = pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
    found = gpu_round(Driver(nvmlDeviceGetPowerUsage=refused, nvmlDeviceGetCurrentClocksEventReasons=refused))
    assert found.void == ""
    assert set(found.telemetry) == {"sm_clock_mhz", "temperature_c", "processes"}


def test_without_a_driver_nothing_is_seen() -> None:
    assert gpu_round(Driver(nvmlInit=pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND))) == telemetry.Reading()
    assert gpu_round(Driver(), index=7) == telemetry.Reading()


def test_the_other_side_of_a_pair_is_no_stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are on one GPU where they take turns."""
    worker = [b"python", b"-P", b"-m", b"fastdiff.trial.worker"]
    commands = {
        4_000_001: [*worker, str(os.getppid()).encode(), b""],
        4_000_002: [*worker, b"17", b""],
        4_000_003: [b"python", b"train.py", b""],
    }
    for pid, command in commands.items():
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "cmdline").write_bytes(b"\0".join(command))
    known = telemetry._is_other_side
    assert [known(pid, tmp_path) for pid in (*commands, 4_000_004)] == [True, False, False, False]
    monkeypatch.setattr(telemetry, "_is_other_side", lambda pid: known(pid, tmp_path))
    found = {}
    for pid in commands:
        running = [SimpleNamespace(pid=one) for one in (os.getpid(), os.getppid(), pid)]
        found[pid] = gpu_round(Driver(nvmlDeviceGetComputeRunningProcesses=running)).void
    assert found == {
        4_000_001: "",
        4_000_002: "1 other processes computed on the GPU",
        4_000_003: "1 other processes computed on the GPU",
    }
