"""What a session decides by itself, without any stage being built."""

from __future__ import annotations

import math
import re
import subprocess
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fastdiff.compare import verdicts
from fastdiff.compare.estimates import estimate
from fastdiff.compare.gate import Judgement
from fastdiff.compare.looks import TRIALS
from fastdiff.compare.policy import CPU
from fastdiff.compare.reasons import because
from fastdiff.experiments.second_look import look
from fastdiff.plugin.ledger import Ledger
from fastdiff.record import baselines, files
from fastdiff.record.errors import UserError
from fastdiff.record.run import EMULATED_HERE, MEASURED, SKIPPED, Acceptance, Baseline, Device, Round, Run, StageRecord
from fastdiff.stages.recipe import Compile, Recipe

if TYPE_CHECKING:
    from collections.abc import Callable

SURE, DOUBTFUL = 0.01, 0.2
"""Noise between processes, against a band of 15 %."""


@pytest.fixture
def wanted(pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[bool, int]]:
    """Whether a stage that took `ratio` of its accepted time is looked at again, and in how many processes."""

    def ask(
        ratio: float,
        sd: float,
        *,
        trials: str | None = None,
        strict: bool = False,
        comparing: bool = True,
        looked: bool = False,
    ) -> tuple[bool, int]:
        monkeypatch.setattr(pytestconfig.option, "fastdiff_trials", trials)
        monkeypatch.setattr(pytestconfig.option, "fastdiff_strict", "true" if strict else None)
        ledger = Ledger(pytestconfig, "cpu", comparing=comparing)
        further = ((Round(1.0),),) if looked else ()
        ledger.records["m-s"] = StageRecord("m", "s", None, further_rounds=further)
        verdict = verdicts.decide(estimate(math.log(ratio), [0.0] * 5, sd), 0.15)
        monkeypatch.setattr(ledger, "policy_of", lambda *_: replace(CPU, latency=0.15))
        monkeypatch.setattr(ledger, "_judged", lambda _: [Judgement("m-s", "latency", verdict)])
        return ledger.wants_a_second_look("m-s"), ledger.looks.trials

    return ask


def test_what_seems_slow_gets_a_second_look_by_itself(wanted: Callable[..., tuple[bool, int]]) -> None:
    assert wanted(1.5, SURE) == (True, TRIALS)
    assert wanted(1.3, DOUBTFUL) == (True, TRIALS)
    assert not wanted(1.0, SURE)[0]
    assert not wanted(0.5, SURE)[0], "what is fast fails nobody"
    assert not wanted(1.5, SURE, comparing=False)[0]


def test_a_doubt_inside_the_band_is_worth_it_to_whoever_asks(wanted: Callable[..., tuple[bool, int]]) -> None:
    assert not wanted(1.05, DOUBTFUL)[0]
    assert wanted(1.05, DOUBTFUL, strict=True) == (True, TRIALS)
    assert wanted(1.05, DOUBTFUL, trials="7") == (True, 7)


def test_nobody_is_looked_at_a_third_time(wanted: Callable[..., tuple[bool, int]]) -> None:
    """Whatever repeats a test: nothing is repeated until it is green."""
    assert not wanted(1.5, SURE, looked=True, trials="4", strict=True)[0]


def test_zero_takes_none(wanted: Callable[..., tuple[bool, int]]) -> None:
    assert wanted(1.5, SURE, trials="0") == (False, 0)
    assert wanted(1.5, SURE, trials="0", strict=True) == (False, 0)


@pytest.mark.parametrize(("accepted", "missing"), [(False, True), (True, False)])
def test_what_took_no_turns_is_named_unless_it_was_accepted_so(
    accepted: bool, missing: bool, pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the stored run a session of pairs asks nothing else."""
    skipped = StageRecord("m", "bf16", "fp32", state=SKIPPED, reason=EMULATED_HERE)
    measured = StageRecord("m", "fp32", None, state=MEASURED, rounds=(Round(1.0),))
    run = Run(Device("box", "cpu", "box"), "then", stages=(skipped, measured), expected=("m-bf16", "m-fp32"))
    stored = Baseline(run, Acceptance("a", "then", "why", "r.json"))
    monkeypatch.setattr(baselines, "newest", lambda _: stored if accepted else None)
    monkeypatch.setattr(pytestconfig.option, "fastdiff_against", "torch==2.12.1")
    monkeypatch.setattr(pytestconfig.option, "fastdiff_strict", "true")
    ledger = Ledger(pytestconfig, "cpu", comparing=True, expected=("m-bf16",), records={"m-bf16": skipped})
    assert ledger.finish(interrupted=False) == missing
    words = {id_: one.verdict.word for id_, one in ledger.judgements.items()}
    assert words == ({("m-bf16", "stage"): verdicts.MISSING} if missing else {})
    assert all(one.verdict.next.emulate for one in ledger.judgements.values())


def test_a_test_that_is_run_again_is_judged_again(pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """With --reruns a failed verdict would turn green otherwise; another test of the stage does not repeat it."""
    ledger = Ledger(pytestconfig, "cpu", comparing=True)
    ledger.records["m-s"] = StageRecord("m", "s", None)
    broken = Judgement("m-s", "fingerprint", verdicts.Verdict(verdicts.CHANGED, because("facts-equal", count=1)))
    monkeypatch.setattr(ledger, "_judged", lambda _: [broken])
    assert ledger.judge("m-s", timing=False, test="test_applied") == [broken]
    assert ledger.judge("m-s", timing=False, test="test_memory") == []
    assert ledger.judge("m-s", timing=False, test="test_applied") == [broken]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, ""),
        ({"request": {"steps": 2}}, r"other work as m-s (request.steps: 8 -> 2); it does not count."),
        ({"injected": ""}, "other work as m-s (injected: slow:30% -> ); it does not count."),
        ({"rounds": ()}, "measured nothing of m-s"),
    ],
    ids=["the same", "fewer steps", "no fault", "not timed"],
)
def test_a_fresh_process_is_to_do_the_same_work(
    changes: dict[str, Any], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file of JSON has lists where a record has tuples; that is no difference."""
    recipe = asdict(Recipe(dtype="bfloat16", channels_last=True, compile=Compile()))
    first = StageRecord(
        "m", "s", None, recipe=recipe, request={"steps": 8}, injected="slow:30%", rounds=(Round(1.0),), weights="w"
    )
    device = Device("box", "cpu", "a box")

    def done(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        (path,) = [word.partition("=")[2] for word in command if word.startswith("--benchmark-json=")]
        files.write(Path(path), {"benchmarks": []}, Run(device, "now", stages=(replace(first, **changes),)))
        return subprocess.CompletedProcess([], 0, "", "")

    monkeypatch.setattr(subprocess, "run", done)
    with pytest.raises(UserError, match=re.escape(sentence)) if sentence else nullcontext():
        assert look("test_latency.py::test", first, [], tmp_path, tmp_path).rounds == first.rounds
