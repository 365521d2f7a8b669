"""What disturbed a round: other processes, a hypervisor, a hot GPU. A disturbed round is void, not slow.

A watch reads the machine just before and just after a call. It sees what the system shows to this process: in a
container that can be less than there is, and then a call is not void for what could not be seen.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastdiff.host.environment import visible
from fastdiff.host.processor import usable_cores

if TYPE_CHECKING:
    from collections.abc import Callable

STEAL_LIMIT = 0.10
"""Latency scatters by 7 to 10 % between processes on calm shared cores; more stolen time than that is its own cause."""

OTHERS_LIMIT = 0.20
"""Of all usable cores: on two of them a passing daemon stays below, and one busy neighbour (50 %) is above."""

SHORTEST_JUDGED_S = 0.2
"""The system counts in ticks of 10 ms, so one tick for each core is 5 % of this: half of the smaller limit."""

GPU_DISTURBED = {
    "nvmlClocksEventReasonHwSlowdown": "its hardware slowed the GPU down",
    "nvmlClocksEventReasonHwThermalSlowdown": "heat slowed the GPU down (hardware)",
    "nvmlClocksEventReasonSwThermalSlowdown": "heat slowed the GPU down (driver)",
    "nvmlClocksEventReasonHwPowerBrakeSlowdown": "the power supply slowed the GPU down",
}
"""Why the driver lowers clocks. The software power cap is not here: a busy GPU lives at it, so it is only reported."""


@dataclass(frozen=True)
class Reading:
    void: str = ""
    """Why the round does not count; empty where it does."""
    telemetry: dict[str, float] = field(default_factory=dict)


class Watch:
    """Around one round on `device`: `before()`, the call, `after()`."""

    def __init__(self, device: str) -> None:
        kind, _, index = device.partition(":")
        self._machine: Gpu | Cpu = Gpu(int(index or 0)) if kind == "cuda" else Cpu()

    def before(self) -> None:
        self._machine.before()

    def after(self) -> Reading:
        return self._machine.after()


class Cpu:
    """Reads Linux's counters; on other systems it sees nothing and finds nothing void."""

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._proc = proc
        self._before: tuple[float, Counter[str], float] | None = None

    def before(self) -> None:
        self._before = self._read()

    def after(self) -> Reading:
        now = self._read()
        if self._before is None or now is None:
            return Reading()
        wall_s, own_s = now[0] - self._before[0], now[2] - self._before[2]
        ticks = {state: count - self._before[1][state] for state, count in now[1].items()}
        total = sum(ticks.values())
        # Shares of no time at all would be made up.
        shares = {}
        if total > 0:
            busy = total - ticks["idle"] - ticks["iowait"] - ticks["steal"]
            shares = {
                "steal_share": ticks["steal"] / total,
                "others_share": max(0.0, busy - own_s * os.sysconf("SC_CLK_TCK")) / total,
            }
        void = _cpu_void(**shares) if shares and wall_s >= SHORTEST_JUDGED_S else ""
        return Reading(void, {**shares, **self._more()})

    def _read(self) -> tuple[float, Counter[str], float] | None:
        """Time of day, ticks of the cores that this process may use, and seconds of computing by this process."""
        stat = self._proc / "stat"
        if not stat.exists():
            return None
        states = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
        mine = {f"cpu{core}" for core in usable_cores()}
        ticks: Counter[str] = Counter()
        for line in stat.read_text().splitlines():
            core, *counts = line.split()
            if core in mine:
                ticks.update(dict(zip(states, map(int, counts), strict=False)))
        return time.perf_counter(), ticks, time.process_time()

    def _more(self) -> dict[str, float]:
        found = {}
        load = self._proc / "loadavg"
        if load.exists():
            found["load_1min"] = float(load.read_text().split()[0])
        folder = Path("/sys/devices/system/cpu")
        files = [folder / f"cpu{core}/cpufreq/scaling_cur_freq" for core in usable_cores()]
        frequencies = [int(file.read_text()) / 1000 for file in files if file.exists()]
        if frequencies:
            found["frequency_mhz"] = sum(frequencies) / len(frequencies)
        return found


class ClockSampler:
    """The mean of a clock while something runs: read afterwards, when the host has its pictures, the GPU is idle."""

    INTERVAL_S = 0.05

    def __init__(self, read: Callable[[], float | None]) -> None:
        self._read = read
        self._seen: list[float] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def _sample(self) -> None:
        # Not at once: the first work is still on its way, and the clock of an idle GPU is no part of the call.
        while not self._over.wait(self.INTERVAL_S):
            if (clock := self._read()) is None:
                return
            self._seen.append(clock)

    def mean(self) -> float | None:
        """Of a call that is over before the first reading, the clock of now."""
        self._over.set()
        self._thread.join()
        return sum(self._seen) / len(self._seen) if self._seen else self._read()


WORKER = b"fastdiff.trial.worker"
"""A word of such a process's command; another one is the number of the process that started it."""


class Gpu:
    """Asks the driver, which needs no CUDA context and so disturbs nothing."""

    def __init__(self, index: int, nvml: Any = None) -> None:
        import pynvml

        self._nvml = nvml or pynvml
        self._gpu: Any = None
        self._reasons = 0
        self._sampler: ClockSampler | None = None
        with contextlib.suppress(self._nvml.NVMLError):
            self._nvml.nvmlInit()
            places = visible(list(range(self._nvml.nvmlDeviceGetCount())))
            if index < len(places):
                self._gpu = self._nvml.nvmlDeviceGetHandleByIndex(places[index])

    def before(self) -> None:
        self._reasons = self._ask("nvmlDeviceGetCurrentClocksEventReasons") or 0
        self._sampler = ClockSampler(self._clock)

    def _clock(self) -> float | None:
        return self._ask("nvmlDeviceGetClockInfo", self._nvml.NVML_CLOCK_SM)

    def after(self) -> Reading:
        clock = self._sampler.mean() if self._sampler else None
        self._sampler = None
        now = self._ask("nvmlDeviceGetCurrentClocksEventReasons")
        reasons = self._reasons | (now or 0)
        power = self._ask("nvmlDeviceGetPowerUsage")
        processes = self._ask("nvmlDeviceGetComputeRunningProcesses")
        found: dict[str, float | None] = {
            "sm_clock_mhz": clock,
            "temperature_c": self._ask("nvmlDeviceGetTemperature", self._nvml.NVML_TEMPERATURE_GPU),
            "power_w": None if power is None else power / 1000,
            "processes": None if processes is None else len(processes),
            "power_capped": None if now is None else bool(reasons & self._nvml.nvmlClocksEventReasonSwPowerCap),
        }
        causes = [words for name, words in GPU_DISTURBED.items() if reasons & getattr(self._nvml, name)]
        pids = [process.pid for process in processes or ()]
        # In a container the driver knows this process by another number; then strangers cannot be recognised.
        # The parent, which waits for its pairs, and the other side of a pair, which it has started, are no strangers.
        strangers = {pid for pid in set(pids) - {os.getpid(), os.getppid()} if not _is_other_side(pid)}
        if os.getpid() in pids and strangers:
            causes.append(f"{len(strangers)} other processes computed on the GPU")
        known = {name: float(value) for name, value in found.items() if value is not None}
        return Reading("; ".join(causes), known)

    def _ask(self, question: str, *details: Any) -> Any:
        """None for what this GPU or driver does not tell."""
        if self._gpu is None:
            return None
        try:
            return getattr(self._nvml, question)(self._gpu, *details)
        except self._nvml.NVMLError:
            return None


def _is_other_side(pid: int, processes: Path = Path("/proc")) -> bool:
    """Whether it is a worker of fastdiff that the same process has started."""
    with contextlib.suppress(OSError):
        words = (processes / str(pid) / "cmdline").read_bytes().split(b"\0")
        return WORKER in words and str(os.getppid()).encode() in words
    return False


def _cpu_void(steal_share: float, others_share: float) -> str:
    if steal_share > STEAL_LIMIT:
        return f"the hypervisor took {steal_share:.0%} of the machine"
    if others_share > OTHERS_LIMIT:
        return f"other processes used {others_share:.0%} of the machine"
    return ""
