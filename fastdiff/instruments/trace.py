"""A profiler's trace of one call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastdiff.instruments.memory import silence

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def trace_call(call: Callable[[], object], device: str, path: Path) -> None:
    """A whole warm call for chrome://tracing or ui.perfetto.dev; a pass of its own, because tracing is slow."""
    from torch.profiler import ProfilerActivity, profile

    activities = [ProfilerActivity.CPU]
    if device.startswith("cuda"):
        activities.append(ProfilerActivity.CUDA)
    with silence(), profile(activities=activities, record_shapes=True) as profiled:
        call()
    try:
        profiled.export_chrome_trace(str(path))
    except OSError:
        path.unlink(missing_ok=True)  # the caller notices that it is missing; the measurement stands without it
