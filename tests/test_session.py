"""What a session decides by itself, without any stage being built."""

from __future__ import annotations

import math
import re
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from fastdiff.compare import verdicts
from fastdiff.compare.confirmation import PROCESSES
from fastdiff.compare.effect import Errors, estimate, of_trials
from fastdiff.compare.gate import Judgement
from fastdiff.compare.policy import CPU
from fastdiff.compare.reasons import because
from fastdiff.experiments.confirm import confirm
from fastdiff.models import Model, Request
from fastdiff.plugin.judge import Judge, compared_with
from fastdiff.plugin.pairs import Pairs
from fastdiff.plugin.selection import Selection
from fastdiff.plugin.state import SessionState
from fastdiff.record import baselines
from fastdiff.record.errors import UserError
from fastdiff.record.run import EMULATED_HERE, MEASURED, SKIPPED, Acceptance, Baseline, Device, Run, Sample, Trial
from fastdiff.report.progress import Progress
from fastdiff.stages.ladder import Stage
from fastdiff.stages.recipe import Recipe
from fastdiff.trial.fake import Fake
from fastdiff.trial.runner import SILENT
from fastdiff.trial.work import Work

if TYPE_CHECKING:
    from collections.abc import Callable

SURE, DOUBTFUL = 0.01, 0.2
"""Noise between processes, against a band of 15 %."""


def judge_of(config: pytest.Config, *, comparing: bool = True, **state: Any) -> Judge:
    selection, known = Selection(config), SessionState(config, "cpu", **state)
    return Judge(
        selection,
        known,
        Pairs(selection, known, Progress(), compared_with(selection) if comparing else None),
        comparing=comparing,
    )


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
        judge = judge_of(pytestconfig, comparing=comparing)
        further = ((Sample(1.0),),) if looked else ()
        judge.state.trials["m-s"] = Trial("m", "s", None, confirmations=further)
        effect = of_trials([math.log(ratio)], [0.0] * 5, sd, math.inf)
        verdict = verdicts.decide(estimate(effect, Errors(0.05, 0.05)), 0.15)
        monkeypatch.setattr(judge.selection, "policy_of", lambda *_: replace(CPU, latency=0.15))
        monkeypatch.setattr(judge, "_found", lambda _: [Judgement("m-s", "latency", verdict)])
        monkeypatch.setattr(judge.pairs, "changes", lambda _: None)  # this clone has an accepted run of its own
        return judge.wants_confirmation("m-s"), judge.confirmation.processes

    return ask


def test_what_seems_slow_is_confirmed(wanted: Callable[..., tuple[bool, int]]) -> None:
    assert wanted(1.5, SURE) == (True, PROCESSES)
    assert wanted(1.3, DOUBTFUL) == (True, PROCESSES)
    assert not wanted(1.0, SURE)[0]
    assert not wanted(0.5, SURE)[0], "what is fast fails nothing"
    assert not wanted(1.5, SURE, comparing=False)[0]


def test_a_doubt_inside_the_band_is_confirmed_on_request(wanted: Callable[..., tuple[bool, int]]) -> None:
    assert not wanted(1.05, DOUBTFUL)[0]
    assert wanted(1.05, DOUBTFUL, strict=True) == (True, PROCESSES)
    assert wanted(1.05, DOUBTFUL, trials="7") == (True, 7)


def test_nothing_is_confirmed_twice(wanted: Callable[..., tuple[bool, int]]) -> None:
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


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, ""),
        ({"request": {"steps": 2}}, r"other work as m-s (request.steps: 8 -> 2); it does not count."),
        ({"injected": ""}, "other work as m-s (injected: slow:30% -> ); it does not count."),
    ],
    ids=["the same", "fewer steps", "no fault"],
)
def test_a_fresh_process_is_to_do_the_same_work(changes: dict[str, Any], sentence: str) -> None:
    first = Trial("m", "s", None, request={"steps": 8}, injected="slow:30%", samples=(Sample(9.0),) * 3, weights="w")
    request, stage = Request("a circle", steps=8, size=64, guidance=2.0), Stage("s", Recipe(), "nothing")
    work = Work(Model("m", "P", "nowhere", request), stage, stage, "cpu", request)
    runner = Fake({"m-s": [1.0, 2.0]}, {"m-s": replace(first, **changes)})
    with pytest.raises(UserError, match=re.escape(sentence)) if sentence else nullcontext():
        found = [[one.wall_s for one in samples] for samples in confirm(runner, work, first, 2, SILENT)]
        assert found == [[1.0, 2.0, 1.0]] * 2, "as many samples as the session took, in processes of their own"
        assert runner.log[:5] == ["build m-s", "settle m-s", *["sample m-s"] * 3]
