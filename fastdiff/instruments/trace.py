"""A profiler over one call, as a trace to look at or as a table. A pass of its own, because it is slow, and the last
one of its process, because nothing says what a profiler leaves behind."""

from __future__ import annotations

import sys
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from fastdiff.instruments.memory import silence
from fastdiff.models.libraries import torch
from fastdiff.record.pairs import LONGEST_NAME, MOST_OPERATORS, Operator, Profile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

OUTSIDE = "outside of operators"
"""What a call does in Python, or in a library that torch does not know."""


def trace_call(call: Callable[[], object], device: str) -> Callable[[Path], None]:
    """A whole warm call; what is returned writes it to a file for chrome://tracing or ui.perfetto.dev."""
    with _profiler(device, record_shapes=True) as found:
        call()

    def write(path: Path) -> None:
        try:
            found.export_chrome_trace(str(path))
        except OSError:
            path.unlink(missing_ok=True)  # the caller notices that it is missing; the measurement stands without it

    return write


def profile_call(call: Callable[[], object], device: str, steps: int) -> Profile:
    """What a warm call of so many steps runs. Of a GPU its kernels: the operators of the host only start them."""
    on_gpu = device.startswith("cuda")
    with _profiler(device) as found, _announced(), torch.profiler.record_function(OUTSIDE):
        call()
    rows = [
        Operator(one.key[:LONGEST_NAME], one.count, max(0.0, _own_us(one, on_gpu=on_gpu)) / 1e6)
        for one in found.key_averages()
        if (one.device_type == torch.autograd.DeviceType.CUDA) == on_gpu and not (on_gpu and one.is_user_annotation)
    ]
    rows.sort(key=lambda one: -one.seconds)
    why_not = "" if rows else "the profiler saw nothing run on the device."
    return Profile(tuple(rows[:MOST_OPERATORS]), more=len(rows[MOST_OPERATORS:]), steps=steps, why_not=why_not)


@contextmanager
def _profiler(device: str, **options: Any) -> Iterator[Any]:
    activities = [torch.profiler.ProfilerActivity.CPU]
    if device.startswith("cuda"):
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    with silence(), torch.profiler.profile(activities=activities, **options) as found:
        yield found


def _own_us(one: Any, *, on_gpu: bool) -> float:
    return float(one.self_device_time_total if on_gpu else one.self_cpu_time_total)


@contextmanager
def _announced() -> Iterator[None]:
    """Inductor's kernels for the processor are plain functions, which a profiler does not see; it can have them say
    their names only in other compiled code than the one that was timed."""

    def announced(name: str, kernel: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any) -> Any:
            with torch.profiler.record_function(name):
                return kernel(*arguments)

        return called

    inductor = sys.modules.get("torch._inductor.codecache")  # which eager stages do not import
    with ExitStack() as after:
        for module in inductor.PyCodeCache.modules if inductor else ():
            for name, kernel in list(vars(module).items()):
                if name.startswith("cpp_") and callable(kernel):
                    setattr(module, name, announced(name, kernel))
                    after.callback(setattr, module, name, kernel)
        yield
