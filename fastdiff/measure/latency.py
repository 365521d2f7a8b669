"""Clocks. A call on a GPU returns before its work is done, so the clock waits for the device first."""

from __future__ import annotations

import time


def synchronised_clock() -> float:
    """Seconds, read when every GPU in use has finished; for pytest-benchmark, which takes differences."""
    from fastdiff.models.libraries import torch

    # A process that has not touched CUDA must not make a context for the sake of the clock.
    if torch.cuda.is_initialized():
        for index in range(torch.cuda.device_count()):
            torch.cuda.synchronize(index)
    return time.perf_counter()
