"""Where one call spends its time. A pass of its own: its clocks wait for the device, which a timed call must not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastdiff.instruments.boundaries import DECODE, DENOISING, REST, TEXT, boundaries
from fastdiff.instruments.latency import synchronised_clock
from fastdiff.record.run import Components

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastdiff.optimize import Built


SHORT_S, CALLS = 1.0, 3
"""One disturbance can double a call that is shorter: then so many are made."""


def measure(built: Built, call: Callable[[], object]) -> Components:
    """The parts of one `call`, which add up to it because each one begins where the one before ended. Of short calls it
    is the one that is neither the fastest nor the slowest."""
    found = [_of_one(built, call)]
    while len(found) < CALLS and _total(found[0]) < SHORT_S:
        found.append(_of_one(built, call))
    return sorted(found, key=_total)[len(found) // 2]


def _total(one: Components) -> float:
    return one.text_s + sum(one.steps_s) + one.decode_s + one.rest_s


def _of_one(built: Built, call: Callable[[], object]) -> Components:
    seconds: dict[str, list[float]] = {TEXT: [], DENOISING: [], DECODE: [], REST: []}
    last = synchronised_clock()

    def ended(component: str) -> None:
        nonlocal last
        now = synchronised_clock()
        seconds[component].append(now - last)
        last = now

    with boundaries(built.anatomy, ended):
        call()
    return Components(
        text_s=sum(seconds[TEXT]),
        steps_s=tuple(seconds[DENOISING]),
        decode_s=sum(seconds[DECODE]),
        rest_s=sum(seconds[REST]),
    )
