"""Peak memory is exact, is found where it occurs, and is measured in silence."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from fastdiff.instruments import memory
from fastdiff.models.libraries import torch

if TYPE_CHECKING:
    from fastdiff.trial.live import LiveStage

BALLAST_BYTES = 32 * 2**20
"""More than the tiny model needs anywhere."""


def test_peaks_by_component() -> None:
    events = [("", 5), ("rest", 0), ("", 10), ("", -8), ("text", 0), ("", 1), ("text", 0), ("", -7), ("decode", 0)]
    assert memory.peaks(events) == {"rest": 5, "text": 15, "decode": 8}


def test_two_measurements_agree_to_the_byte(live: LiveStage) -> None:
    first, second = (memory.measure(live.built, live.generate) for _ in range(2))
    assert first.peaks == second.peaks
    assert first.peak_bytes == max(first.peaks.values()) == first.peaks[first.where] > 0
    assert set(first.peaks) == {"text", "denoising", "decode", "rest"}
    assert first.measure == "live tensors"
    assert first.reserved_bytes is None


def test_more_steps_need_no_more_memory(live: LiveStage) -> None:
    """So a call of two steps is enough to measure; the first step has no old prediction to hold yet."""
    peaks = []
    for steps in (2, 5):
        live.request = live.request.changed(steps=steps)
        peaks.append(memory.measure(live.built, live.generate).peaks)
    assert peaks[0] == peaks[1]


@pytest.mark.parametrize(
    ("owner", "name", "where"),
    [("text_encoder", "forward", "text"), ("unet", "forward", "denoising"), ("vae", "decode", "decode")],
)
def test_where_the_peak_is(live: LiveStage, monkeypatch: pytest.MonkeyPatch, owner: str, name: str, where: str) -> None:
    part = getattr(live.built.pipeline, owner)
    original = getattr(part, name)

    def hungry(*args: Any, **kwargs: Any) -> Any:
        torch.empty(BALLAST_BYTES, dtype=torch.uint8)
        return original(*args, **kwargs)

    before = memory.measure(live.built, live.generate)
    monkeypatch.setattr(part, name, hungry)
    after = memory.measure(live.built, live.generate)
    assert after.where == where
    assert BALLAST_BYTES <= after.peak_bytes < BALLAST_BYTES + before.peak_bytes
    others = set(before.peaks) - {where}
    assert {name: after.peaks[name] for name in others} == {name: before.peaks[name] for name in others}


def test_the_profiler_says_nothing(live: LiveStage, capfd: pytest.CaptureFixture[str]) -> None:
    before = dict(os.environ)
    memory.measure(live.built, live.generate)
    told = capfd.readouterr()
    assert told.out + told.err == ""
    assert dict(os.environ) == before


@pytest.mark.skipif(memory.resident_bytes() is None, reason="resident memory is read from /proc")
def test_resident_memory_is_that_of_the_process(live: LiveStage) -> None:
    found = memory.measure(live.built, live.generate).resident_bytes
    assert found is not None
    assert 100 * 2**20 < found < 100 * 2**30


def test_a_gpu_is_asked_after_every_component(live: LiveStage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The allocator is played: every stretch has a peak of its own, the fourth one, a step, the highest."""
    peaks = iter([100, 110, 120, 900, 800, 130, 700, 140])
    resets: list[str] = []
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: next(peaks))
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda device: 2000 - len(resets))
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", resets.append)
    # What a recorded CUDA graph works in is allocated once and for all, and in no peak.
    segments = [{"total_size": 5, "segment_pool_id": (0, 0)}, {"total_size": 7, "segment_pool_id": (0, 1)}]
    monkeypatch.setattr(torch.cuda, "memory_snapshot", lambda: segments)
    built = SimpleNamespace(anatomy=live.built.anatomy, device="cuda:0")
    found = memory.measure(built, live.generate)  # type: ignore[arg-type]
    assert (found.peak_bytes, found.where, found.measure) == (907, "denoising", "cuda allocator")
    assert found.peaks == {"rest": 147, "text": 117, "denoising": 907, "decode": 707}
    assert found.reserved_bytes == 1999, "the highest of all, not the last"
    assert resets == ["cuda:0"] * 9


def test_the_first_calls_peak_is_kept_apart(live: LiveStage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Autotuning needs more than any call after it. A CPU keeps no peak; a GPU's counter is played here."""
    assert live.measure_memory().first_call_peak_bytes is None
    told: list[str] = []
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: told.append(f"reset {device}"))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 7_000)
    live.device = "cuda"
    call = live.call
    monkeypatch.setattr(live, "call", lambda *arguments: told.append("call") or call(*arguments))
    live.first_call()
    assert told == ["reset cuda", "call"]
    live.device = "cpu"
    assert live.measure_memory().first_call_peak_bytes == 7_000
