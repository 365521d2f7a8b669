"""What a session decides by itself, without any stage being built."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from fastdiff.judge import verdicts
from fastdiff.judge.estimates import estimate
from fastdiff.judge.gate import Judgement
from fastdiff.ledger import Ledger
from fastdiff.record.run import StageRecord

if TYPE_CHECKING:
    from collections.abc import Callable

SURE, DOUBTFUL = 0.01, 0.2
"""Noise between processes, against a band of 15 %."""


@pytest.fixture
def wanted(pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[bool, int]]:
    """Whether a stage that took `ratio` of its accepted time is looked at again, and in how many processes."""

    def ask(
        ratio: float, sd: float, *, trials: str | None = None, strict: bool = False, comparing: bool = True
    ) -> tuple[bool, int]:
        monkeypatch.setattr(pytestconfig.option, "fastdiff_trials", trials)
        monkeypatch.setattr(pytestconfig.option, "fastdiff_strict", "true" if strict else None)
        ledger = Ledger(pytestconfig, "cpu", comparing=comparing)
        ledger.records["m-s"] = StageRecord("m", "s", None)
        verdict = verdicts.decide(estimate(math.log(ratio), [0.0] * 5, sd), 0.15)
        monkeypatch.setattr(ledger, "_judged", lambda _: [Judgement("m-s", "latency", verdict)])
        return ledger.wants_a_second_look("m-s"), ledger.looks.processes

    return ask


def test_what_seems_slow_gets_a_second_look_by_itself(wanted: Callable[..., tuple[bool, int]]) -> None:
    assert wanted(1.5, SURE) == (True, verdicts.SECOND_LOOKS)
    assert wanted(1.3, DOUBTFUL) == (True, verdicts.SECOND_LOOKS)
    assert not wanted(1.0, SURE)[0]
    assert not wanted(0.5, SURE)[0], "what is fast fails nobody"
    assert not wanted(1.5, SURE, comparing=False)[0]


def test_a_doubt_inside_the_band_is_worth_it_to_whoever_asks(wanted: Callable[..., tuple[bool, int]]) -> None:
    assert not wanted(1.05, DOUBTFUL)[0]
    assert wanted(1.05, DOUBTFUL, strict=True) == (True, verdicts.SECOND_LOOKS)
    assert wanted(1.05, DOUBTFUL, trials="7") == (True, 7)


def test_zero_takes_none(wanted: Callable[..., tuple[bool, int]]) -> None:
    assert wanted(1.5, SURE, trials="0") == (False, 0)
    assert wanted(1.5, SURE, trials="0", strict=True) == (False, 0)


@pytest.mark.parametrize(("looked", "trials"), [(0, 4), (4, 8), (7, 14), (15, 20)])
def test_whoever_still_does_not_know_looks_into_more_processes(looked: int, trials: int) -> None:
    assert verdicts.look_again("m", "s", looked=looked).endswith(f"--fastdiff-stage s --fastdiff-trials {trials}")
