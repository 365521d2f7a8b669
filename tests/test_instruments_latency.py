"""Warming up ends when calls stop getting faster, or at a cap; device time is for devices."""

from __future__ import annotations

import pytest

from fastdiff.instruments.boundaries import DECODE, DENOISING, REST, TEXT
from fastdiff.instruments.latency import CAP_CALLS, DeviceTimer, settle, synchronised_clock

pytestmark = pytest.mark.alone


class Clock:
    """Time that only moves when a call is made, by as much as the call is said to take."""

    def __init__(self, *durations_s: float) -> None:
        self.now, self.durations_s = 100.0, iter(durations_s)

    def __call__(self) -> float:
        return self.now

    def call(self) -> None:
        self.now += next(self.durations_s)


@pytest.mark.parametrize(
    ("durations_s", "calls"),
    [
        ([1.0, 1.0], 2),
        ([1.0, 1.2], 2),  # slower is no reason to go on
        ([1.0, 0.97], 2),  # and 3 % is chance
        ([3.0, 2.0, 1.0, 1.0], 4),
    ],
)
def test_settles_when_a_call_brings_nothing(durations_s: list[float], calls: int) -> None:
    clock = Clock(*durations_s)
    found = settle(clock.call, clock)
    assert (found.calls, found.settled) == (calls, True)
    assert found.seconds == pytest.approx(sum(durations_s))


def test_gives_up_after_a_number_of_calls() -> None:
    clock = Clock(*(0.5**n for n in range(20)))
    found = settle(clock.call, clock)
    assert (found.calls, found.settled) == (CAP_CALLS, False)


def test_gives_up_after_a_time() -> None:
    clock = Clock(16, 14, 12)
    found = settle(clock.call, clock, cap_s=20)
    assert (found.calls, found.seconds, found.settled) == (2, 30, False)


def test_tolerance_is_the_callers() -> None:
    clock = Clock(1.0, 0.9, 0.9)
    assert settle(clock.call, clock, tolerance=0.2).calls == 2
    clock = Clock(1.0, 0.9, 0.9)
    assert settle(clock.call, clock, tolerance=0.05).calls == 3


def test_earlier_calls_count() -> None:
    clock = Clock(1.0, 1.0)
    assert settle(clock.call, clock, fastest=1.0).calls == 1
    clock = Clock(1.0, 1.0)
    assert settle(clock.call, clock, fastest=2.0).calls == 2


def test_without_a_gpu_there_is_no_device_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_initialized", lambda: False)
    with DeviceTimer() as timer:
        timer.ended(REST)
        timer.ended(DECODE)
    assert timer.seconds is None


def test_device_time_lies_between_two_events(monkeypatch: pytest.MonkeyPatch) -> None:
    happened: list[str] = []

    class Event:
        def __init__(self, enable_timing: bool) -> None:
            assert enable_timing

        def record(self) -> None:
            happened.append("record")

        def synchronize(self) -> None:
            happened.append("wait")

        def elapsed_time(self, other: Event) -> float:
            assert other is not self
            return 250.0

    monkeypatch.setattr("torch.cuda.is_initialized", lambda: True)
    monkeypatch.setattr("torch.cuda.Event", Event)
    with DeviceTimer() as timer:
        for component in (REST, TEXT, REST, DENOISING, DENOISING, REST, DECODE, REST):
            happened.append(component)
            timer.ended(component)
    assert happened == [
        "rest",
        "record",
        "text",
        "rest",
        "denoising",
        "denoising",
        "rest",
        "decode",
        "record",
        "rest",
        "wait",
    ]
    assert timer.seconds == 0.25


def test_the_clock_waits_for_gpus_in_use_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """To wait for another one would make a context there, beside the other side of a pair."""
    waited: list[int] = []
    monkeypatch.setattr("torch.cuda.is_initialized", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    monkeypatch.setattr("torch.cuda.current_device", lambda: 1)
    monkeypatch.setattr("torch.cuda.memory_reserved", lambda index: {3: 2**20}.get(index, 0))
    monkeypatch.setattr("torch.cuda.synchronize", waited.append)
    synchronised_clock()
    assert waited == [1, 3]
