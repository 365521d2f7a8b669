"""What a session decides by itself, without any stage being built."""

from __future__ import annotations

from typing import Any

import pytest

from fastdiff.compare import verdicts
from fastdiff.compare.gate import Judgement
from fastdiff.compare.reasons import because
from fastdiff.plugin.judge import Judge, accepted_baseline
from fastdiff.plugin.pairs import Pairs
from fastdiff.plugin.selection import Selection
from fastdiff.plugin.state import SessionState
from fastdiff.record import baselines
from fastdiff.record.run import EMULATED_HERE, MEASURED, SKIPPED, Acceptance, Baseline, Device, Run, Sample, Trial
from fastdiff.report.progress import Progress


def judge_of(config: pytest.Config, *, comparing: bool = True, **state: Any) -> Judge:
    selection, known = Selection(config), SessionState(config, "cpu", **state)
    return Judge(
        selection,
        known,
        Pairs(selection, known, Progress(), accepted_baseline(selection) if comparing else None),
        comparing=comparing,
    )


@pytest.mark.parametrize(("accepted", "missing"), [(False, True), (True, False)])
def test_what_took_no_turns_is_named_unless_it_was_accepted_so(
    accepted: bool, missing: bool, pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the stored run a session of pairs asks nothing else."""
    skipped = Trial("m", "bf16", "fp32", state=SKIPPED, reason=EMULATED_HERE)
    measured = Trial("m", "fp32", None, state=MEASURED, samples=(Sample(1.0),))
    run = Run(Device("box", "cpu", "box"), "then", stages=(skipped, measured), expected=("m-bf16", "m-fp32"))
    stored = Baseline(run, Acceptance("a", "then", "why", "r.json"))
    monkeypatch.setattr(baselines, "newest", lambda _: stored if accepted else None)
    monkeypatch.setattr(pytestconfig.option, "fastdiff_against", "torch==2.12.1")
    monkeypatch.setattr(pytestconfig.option, "fastdiff_strict", "true")
    judge = judge_of(pytestconfig, expected=("m-bf16",), trials={"m-bf16": skipped})
    assert judge.finish({}, interrupted=False) == missing
    words = {id_: one.verdict.word for id_, one in judge.state.judgements.items()}
    assert words == ({("m-bf16", "stage"): verdicts.MISSING} if missing else {})
    assert all(one.verdict.next.emulate for one in judge.state.judgements.values())


def test_a_test_that_is_run_again_is_judged_again(pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """With --reruns a failed verdict would turn green otherwise; another test of the stage does not repeat it."""
    judge = judge_of(pytestconfig)
    judge.state.trials["m-s"] = Trial("m", "s", None)
    broken = Judgement("m-s", "fingerprint", verdicts.Verdict(verdicts.CHANGED, because("facts-equal", count=1)))
    monkeypatch.setattr(judge, "_found", lambda _: [broken])
    assert judge.exact("m-s", "test_applied") == [broken]
    assert judge.exact("m-s", "test_memory") == []
    assert judge.exact("m-s", "test_applied") == [broken]
