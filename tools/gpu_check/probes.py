"""Measurements of the device itself, without a pipeline: `python -m tools.gpu_check.probes NAME FILE [SIDE BYTES]`.

Each runs in a process of its own and writes one JSON file.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from fastdiff.host.environment import visible
from fastdiff.host.processor import emulated

if TYPE_CHECKING:
    from collections.abc import Callable

HERTZ = 50
IDLE_BEFORE_S, BUSY_S, IDLE_AFTER_S = 5.0, 8.0, 7.0
BUSY_SIDE = 8192
"""Of the bf16 products that keep the GPU busy: each takes about 1.5 ms on an H200."""
REPEATS = 20
"""Timed products and copies; the median counts."""


class Sampler(threading.Thread):
    """Reads NVML 50 times a second until it is stopped. What a driver does not answer is left out of the row."""

    def __init__(self, nvml: Any, index: int = 0) -> None:
        super().__init__(daemon=True)
        self.rows: list[dict[str, float]] = []
        self.began = time.perf_counter()
        self._nvml = nvml
        self._gpu = nvml.nvmlDeviceGetHandleByIndex(index)
        self._over = threading.Event()

    def run(self) -> None:
        next_at = time.perf_counter()
        while not self._over.is_set():
            self.rows.append(self._row())
            next_at += 1 / HERTZ
            time.sleep(max(0.0, next_at - time.perf_counter()))

    def stop(self) -> None:
        self._over.set()
        self.join()

    def _row(self) -> dict[str, float]:
        nvml, gpu = self._nvml, self._gpu
        queries: dict[str, Callable[[], float]] = {
            "sm_clock_mhz": lambda: nvml.nvmlDeviceGetClockInfo(gpu, nvml.NVML_CLOCK_SM),
            "memory_clock_mhz": lambda: nvml.nvmlDeviceGetClockInfo(gpu, nvml.NVML_CLOCK_MEM),
            "power_w": lambda: nvml.nvmlDeviceGetPowerUsage(gpu) / 1000,
            "temperature_c": lambda: nvml.nvmlDeviceGetTemperature(gpu, nvml.NVML_TEMPERATURE_GPU),
            "utilization_percent": lambda: nvml.nvmlDeviceGetUtilizationRates(gpu).gpu,
            "clock_event_reasons": lambda: nvml.nvmlDeviceGetCurrentClocksEventReasons(gpu),
            "power_violation_ns": lambda: nvml.nvmlDeviceGetViolationStatus(gpu, 0).violationTime,
            "thermal_violation_ns": lambda: nvml.nvmlDeviceGetViolationStatus(gpu, 1).violationTime,
        }
        row: dict[str, float] = {"t_s": round(time.perf_counter() - self.began, 4)}
        for name, query in queries.items():
            try:
                row[name] = query()
            except nvml.NVMLError:
                continue
        return row


def telemetry() -> dict[str, Any]:
    """NVML at 50 Hz while the GPU is idle, multiplies, and is idle again; the phases say when."""
    import pynvml
    import torch

    pynvml.nvmlInit()
    index = visible(list(range(pynvml.nvmlDeviceGetCount())))[0]
    sampler = Sampler(pynvml, index)
    phases: list[dict[str, float | str]] = []

    def phase(name: str, seconds: float, work: Callable[[], object]) -> None:
        began = time.perf_counter()
        while time.perf_counter() - began < seconds:
            work()
        phases.append({"name": name, "from_s": began - sampler.began, "to_s": time.perf_counter() - sampler.began})

    def products() -> None:
        for _ in range(20):
            torch.mm(left, left)
        torch.cuda.synchronize()

    sampler.start()
    # Before there is a CUDA context: with one, some GPUs stay near their full clock.
    phase("idle before", IDLE_BEFORE_S, lambda: time.sleep(0.05))
    left = torch.randn(BUSY_SIDE, BUSY_SIDE, device="cuda", dtype=torch.bfloat16)
    torch.cuda.synchronize()
    phase("busy", BUSY_S, products)
    phase("idle after", IDLE_AFTER_S, lambda: time.sleep(0.05))
    sampler.stop()
    name = pynvml.nvmlDeviceGetName(pynvml.nvmlDeviceGetHandleByIndex(index))
    driver = pynvml.nvmlSystemGetDriverVersion()
    return {"gpu": name, "driver": driver, "hertz": HERTZ, "phases": phases, "rows": sampler.rows}


def ceilings(device: str, side: int, copied_bytes: int) -> dict[str, Any]:
    """The rates that no pipeline exceeds: matrix products in bf16 and float32, and copies in the device's memory."""
    import torch

    torch.set_float32_matmul_precision("high")  # as the published ladder allows
    flop = 2 * side**3
    in_float32 = "TF32" if device.startswith("cuda") else "float32"
    found: dict[str, Any] = {"side": side, "copied_bytes": copied_bytes, "fp32_computed_in": in_float32}
    for name, dtype in (("bf16", torch.bfloat16), ("fp32", torch.float32)):
        if str(dtype).removeprefix("torch.") in emulated(device):
            continue  # a product of this size would take seconds
        left = torch.randn(side, side, device=device, dtype=dtype)
        right = torch.randn(side, side, device=device, dtype=dtype)
        seconds = _seconds(device, lambda left=left, right=right: torch.mm(left, right))  # type: ignore[misc]
        found[f"{name}_tflop_per_s"] = flop / seconds / 1e12
    source = torch.randn(copied_bytes // 4, device=device)
    target = torch.empty_like(source)
    # Each byte is read once and written once.
    found["copy_gb_per_s"] = 2 * copied_bytes / _seconds(device, lambda: target.copy_(source)) / 1e9
    return found


def _seconds(device: str, work: Callable[[], object]) -> float:
    import torch

    def finish() -> None:
        if device.startswith("cuda"):
            torch.cuda.synchronize()

    times = []
    for _ in range(3 + REPEATS):
        finish()
        began = time.perf_counter()
        work()
        finish()
        times.append(time.perf_counter() - began)
    return median(times[3:])


def main() -> None:
    name, file, *rest = sys.argv[1:]
    found = telemetry() if name == "telemetry" else ceilings(rest[0], int(rest[1]), int(rest[2]))
    Path(file).write_text(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
