"""Clocks. A call on a GPU returns before its work is done, so the clock waits for the device first."""

from __future__ import annotations

import time


def synchronised_clock() -> float:
    """Seconds, read when the GPU has finished; for pytest-benchmark's timer protocol, which takes differences."""
    from fastdiff.models.libraries import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()
