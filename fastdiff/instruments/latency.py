"""Clocks. A call on a GPU returns before its work is done, so the clock waits for the device first."""

from __future__ import annotations

import math
import sys
import time
from typing import TYPE_CHECKING, Any

from fastdiff.instruments.boundaries import DECODE
from fastdiff.record.run import WarmUp

if TYPE_CHECKING:
    from collections.abc import Callable

CAP_CALLS = 6
"""A stage that still gets faster after as many calls has a trouble that more calls do not mend."""

CAP_S = 20.0
"""A full-size model takes minutes for a call on a CPU, and every stage of a ladder warms up."""

TOLERANCE = 0.05
"""Calls of one process scatter by a few percent on shared cores; what caches and clocks still gain is more."""

STEADY_CALLS = 1
"""The stage was called and has drawn before, so one call that is no faster is enough; more would cost every stage."""


def synchronised_clock() -> float:
    """Seconds, read when every GPU in use has finished; for pytest-benchmark, which takes differences."""
    torch = sys.modules.get("torch")
    # A process that has not touched CUDA must not make a context for the sake of the clock.
    if torch is not None and torch.cuda.is_initialized():
        for index in range(torch.cuda.device_count()):
            # Waiting for a GPU that is not in use would make a context on it.
            if index == torch.cuda.current_device() or torch.cuda.memory_reserved(index):
                torch.cuda.synchronize(index)
    if torch is not None and torch.backends.mps.is_available():
        torch.mps.synchronize()
    return time.perf_counter()


def wait_until(at: float) -> None:
    """Sleeps until a reading of `time.monotonic`, which is one clock for all processes of a machine."""
    time.sleep(max(0.0, at - time.monotonic()))


def settle(
    call: Callable[[], object],
    clock: Callable[[], float] = synchronised_clock,
    cap_calls: int = CAP_CALLS,
    cap_s: float = CAP_S,
    tolerance: float = TOLERANCE,
    fastest: float = math.inf,
) -> WarmUp:
    """Repeats `call` until it is no longer getting faster: the last does not beat the fastest one before it.

    `fastest` is that of calls that were made already, in seconds. A slow call unsettles nothing: on shared cores it is
    a neighbour, and waiting for a calm minute would be a choice of samples.
    """
    began = clock()
    steady, calls, now = 0, 0, began
    while steady < STEADY_CALLS and calls < cap_calls and now - began < cap_s:
        last = now
        call()
        now = clock()
        calls += 1
        steady = steady + 1 if now - last > fastest * (1 - tolerance) else 0
        fastest = min(fastest, now - last)
    return WarmUp(calls=calls, seconds=now - began, settled=steady >= STEADY_CALLS)


class DeviceTimer:
    """`with DeviceTimer() as timer, boundaries(anatomy, timer.ended): call()`, then `timer.seconds`: from the GPU's
    first work, the prompt's, to its last, the decoder's.

    None where no GPU is in use. Gaps in which the GPU waited for the host in between are in it: wall time minus this
    is what the host does alone, such as splitting the prompt into tokens and turning the result into pictures. Events
    before and after the call would not tell the two apart: an idle GPU reaches an event as soon as the host does.
    """

    def __init__(self) -> None:
        self.seconds: float | None = None
        self._began: Any = None
        self._ended: Any = None

    def ended(self, component: str) -> None:
        """The callback of `instruments.boundaries.boundaries`."""
        if self._began is None:
            self._began = self._event()
        elif component == DECODE:
            self._ended = self._event()

    def __enter__(self) -> DeviceTimer:
        return self

    def __exit__(self, *_: object) -> None:
        if self._began is not None and self._ended is not None:
            self._ended.synchronize()
            self.seconds = self._began.elapsed_time(self._ended) / 1000

    def _event(self) -> Any:
        from fastdiff.models.libraries import torch

        if not torch.cuda.is_initialized():
            return None
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event
