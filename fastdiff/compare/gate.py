"""A run compared with its baseline: a verdict for every stage and metric, and for expected stages without one."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from fastdiff.compare.comparison import Comparison, comparable
from fastdiff.compare.facts import former, waits
from fastdiff.compare.metrics import JUDGES
from fastdiff.compare.reasons import because
from fastdiff.compare.steps import Accept, Against, Measure, Select, Step, as_dict
from fastdiff.compare.verdicts import (
    CHANGED,
    FAST,
    LESS,
    MISSING,
    NEW,
    SAME,
    SLOW,
    UNSURE,
    Verdict,
)
from fastdiff.record.run import EMULATED_HERE, MEASURED, SKIPPED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fastdiff.compare.policy import Policy
    from fastdiff.compare.reasons import Code
    from fastdiff.record.run import Baseline, Device, Run, Trial

INTERVAL_METRICS = ("latency", "first_call", "ladder")
"""Metrics with noise. Each metric of each stage is one comparison of the suite."""


@dataclass(frozen=True)
class Judgement:
    stage: str
    """The stage's id."""
    metric: str
    """One of `METRICS`; or stage, if the stage was not measured."""
    verdict: Verdict

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self.verdict)))
        return {"stage": self.stage, "metric": self.metric, **plain, "next": as_dict(self.verdict.next)}


def comparisons_of(stages: int) -> int:
    """The number of intervals of a suite with `stages` stages."""
    return max(1, stages * len(INTERVAL_METRICS))


def judge_run(
    run: Run,
    baseline: Baseline | None,
    policy_of: Callable[[str, str], Policy],
) -> list[Judgement]:
    """Judges everything that was measured; MISSING for expected stages that were not. `policy_of(model, stage)`."""
    comparisons = comparisons_of(len(run.expected))
    judgements = []
    for trial in run.stages:
        previous = run.stage(f"{trial.model}-{trial.follows}")
        policy = policy_of(trial.model, trial.stage)
        judgements += judge_stage(
            trial,
            previous,
            baseline,
            policy,
            comparisons,
            run.device,
            run.environment,
        )
    acceptable = any(trial.samples for trial in run.stages)
    for id_ in run.expected:
        if verdict := _missing(id_, run.stage(id_), baseline, acceptable=acceptable):
            judgements.append(Judgement(id_, "stage", verdict))
    return judgements


def judge_stage(
    trial: Trial,
    previous: Trial | None,
    baseline: Baseline | None,
    policy: Policy,
    comparisons: int,
    run_device: Device,
    run_environment: Mapping[str, Any],
) -> list[Judgement]:
    """Judges every metric for which `trial` has numbers; call it again when there are more numbers.

    `previous` is the trial of the stage that this one follows, in the same run.
    """
    base, new = comparable(trial, baseline, run_device)
    comparison = Comparison(
        trial=trial,
        previous=previous,
        base=base,
        new=new,
        baseline=baseline,
        policy=policy,
        among=comparisons,
        kind=run_device.kind,
        environment=run_environment,
    )
    judged = {metric: judge(comparison) for metric, judge in JUDGES.items()}
    return [_judgement(comparison, metric, verdict) for metric, verdict in judged.items() if verdict]


def judge_alone(trial: Trial) -> list[Judgement]:
    """Defects that no test of the suite reports, for a session without a comparison."""
    if not (found := waits(trial)):
        return []
    reason, again = because("stage-broken", id=trial.id, how=found), Measure(trial.model, (trial.stage,))
    return [Judgement(trial.id, "fingerprint", Verdict(CHANGED, reason, next=again, details=tuple(found)))]


def _missing(id_: str, trial: Trial | None, baseline: Baseline | None, *, acceptable: bool) -> Verdict | None:
    """None if the stage was measured, or skipped for the same reason as in the accepted run.

    `acceptable`: whether the run has measured any stage, so that it could be accepted.
    """
    if trial is None:
        return Verdict(MISSING, because("not-measured", id=id_), next=Select(id_))
    if trial.state == MEASURED and trial.samples:
        return None
    code: Code = "stage-is" if trial.state != MEASURED else "not-timed"
    why = because(code, id=id_, state=trial.state, why=trial.reason)
    accepted = baseline.run.stage(id_) if baseline else None
    if trial.state == SKIPPED and (accepted is None or accepted.state == SKIPPED):
        alike = accepted is not None and accepted.reason == trial.reason
        if alike:
            return None
        # With a baseline, this stage can be accepted alone; without one, the whole run, if it measured any stage.
        if baseline or acceptable:
            return Verdict(MISSING, why, next=Accept(id_) if baseline else Accept())
        return Verdict(MISSING, why, next=_measured_here(trial) if trial.reason == EMULATED_HERE else None)
    return Verdict(MISSING, why, next=_measured_here(trial))


def _measured_here(trial: Trial) -> Measure:
    """The step that measures this stage."""
    return Measure(trial.model, (trial.stage,), emulate=trial.reason == EMULATED_HERE)


def _judgement(comparison: Comparison, metric: str, verdict: Verdict) -> Judgement:
    """With the next step, if the verdict has none of its own and is not SAME."""
    trial = comparison.trial
    step: Step
    if verdict.word in (NEW, FAST, LESS):
        step = Accept()
    elif metric == "ladder" and comparison.previous:
        step = Measure(trial.model, (comparison.previous.stage, trial.stage))
    elif metric == "latency":
        step = _after_latency(comparison, verdict)
    elif metric == "first_call":
        step = Measure(trial.model)  # all stages: alone in its process it would also pay the one-time costs
    else:
        step = Measure(trial.model, (trial.stage,))
    if verdict.word != SAME and verdict.next is None:
        verdict = replace(verdict, next=step)
    return Judgement(trial.id, metric, verdict)


def _after_latency(comparison: Comparison, verdict: Verdict) -> Step:
    """Pairs distinguish a slower stage from a slower hour of the machine. They use the accepted run's software and
    code, or, if the run does not list both, the library versions that it does list."""
    trial, baseline = comparison.trial, comparison.baseline
    if baseline and baseline.run.software and baseline.run.software.project:
        return Measure(trial.model, (trial.stage,), pairs=True)
    # A stage that was accepted alone may have other libraries than the rest of the baseline, and does not list them.
    in_part = comparison.base is not None and comparison.base.origin
    requirements = former(comparison.base_environment, comparison.environment)
    if verdict.word in (SLOW, UNSURE) and requirements and not in_part:
        return Against(trial.model, (trial.stage,), tuple(requirements))
    return Measure(trial.model, (trial.stage,))
