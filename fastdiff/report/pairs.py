"""What `fastdiff ab` and `calibrate` found, as lines: a table of the stages, then what differs and what to type."""

from __future__ import annotations

import math
from statistics import median
from typing import TYPE_CHECKING

from fastdiff.compare.facts import package_differences
from fastdiff.compare.one_pair import log_seconds, order_effect
from fastdiff.compare.pairs import unlike
from fastdiff.compare.verdicts import SLOW
from fastdiff.record.pairs import TURNS
from fastdiff.report import sentences, steps, tables
from fastdiff.report.sentences import percent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fastdiff.compare.gate import Judgement
    from fastdiff.compare.pairs import Answer
    from fastdiff.record.calibration import Calibration
    from fastdiff.record.pairs import Experiment
    from fastdiff.report.steps import Shell

WAYS = {
    "halves": "side by side on halves of the cores",
    "turns": "in turns",
    "gpus": "side by side on two GPUs, exchanged in the middle",
    "apart": "one process after the other",
}
WITH_DIFFERENCES = ("latency", "latency_slow_calls", "latency_all_cores")
"""Metrics whose SLOW verdict lists what differs between the sides."""
FIRST_CALLS = 3
"""Are shown: the first is cold on both sides, and the others are alike."""
HEADINGS = ("stage", "latency", "old", "new", "change", "pairs", "memory", "fingerprint", "picture")


def text(answers: Sequence[Answer], calibration: Calibration | None, shown: Sequence[str], shell: Shell) -> list[str]:
    """`shown` are the files' names as a person would type them."""
    lines = [*tables.text(HEADINGS, [_row(answer) for answer in answers]), "", *_conditions(answers[0].experiment), ""]
    for answer in answers:
        lines += [line for judgement in answer.judgements for line in _sentence(judgement, shell)]
    lines += _environments([answer.experiment for answer in answers])
    for answer, name in zip(answers, shown, strict=True):
        lines += _facts(answer.experiment)
        lines.append(
            f"kept in {name}"
            + ("" if answer.experiment.complete else " (unfinished: run the same command again to continue)")
        )
    return [*lines, limit(calibration)]


def markdown(
    answers: Sequence[Answer], calibration: Calibration | None, shown: Sequence[str], shell: Shell
) -> list[str]:
    rows = [_row(answer) for answer in answers]
    rest = text(answers, calibration, shown, shell)[len(rows) + 3 :]
    return [*tables.markdown(HEADINGS, rows), "", "```text", *rest, "```"]


def _conditions(experiment: Experiment) -> list[str]:
    """What was compared, for a reader who does not see the command."""
    one = experiment
    return [
        f"old: {one.old.name}" + (f", stage {one.old_stage}" if one.old_stage != one.stage else ""),
        f"new: {one.new.name}" + (f", with the injected fault {one.injected}" if one.injected else ""),
        f"{one.device.name}: {_drawn(one.request)}, "
        f"{f'{one.calls_made} calls a side in a pair, ' if one.calls_made else ''}{WAYS[one.way]}; "
        f"started {one.started[:16].replace('T', ' ')} UTC",
    ]


def _drawn(request: Mapping[str, object]) -> str:
    """As far as the request has it; a pipeline of the user's own may use its defaults."""
    size, height, width, steps = (request.get(name) for name in ("size", "height", "width", "steps"))
    words = [f"{size} px"] if size else [f"{width} x {height} px"] if height and width else []
    return ", ".join([*words, *([f"{steps} steps"] if steps else [])]) or "its own request"


def limit(calibration: Calibration | None) -> str:
    """The smallest slowdown that pairs detect on this machine."""
    if calibration is None:
        return "smallest slowdown that this machine can detect: not measured; `fastdiff calibrate` measures it."
    one = calibration
    return (
        f"smallest slowdown that this machine can detect: {100 * one.smallest:+.1f} % for {one.stage} "
        f"({_drawn(one.request)}) with {one.most_pairs} "
        f"pairs of {one.calls} calls a side (95 % power, {percent(1 - one.confidence)} false alarms in a suite of "
        f"{one.stages} stages, a band of ±{100 * one.band:g} %). "
        f"Calibrated {one.when[:10]}: {one.pairs} pairs {WAYS[one.way]} scattered by {percent(one.paired_sd)}, single "
        f"processes by {percent(one.process_sd)}{_came_back(one)}."
    )


def _came_back(one: Calibration) -> str:
    if one.recovered is None:
        return ""
    hidden = one.recovered_in_halves
    why = f" (side by side only {percent(hidden)})" if one.way == TURNS and hidden is not None else ""
    return f"; of a known amount of added work, pairs measured {percent(one.recovered)}{why}"


def _row(answer: Answer) -> tuple[str, ...]:
    words = {one.metric: one.verdict for one in answer.judgements}
    experiment = answer.experiment
    latency = words["latency"]
    old, new = (
        _seconds(math.exp(median([log_seconds(getattr(pair, side)) for pair in experiment.pairs] or [math.nan])))
        for side in ("old", "new")
    )
    return (
        experiment.stage,
        latency.word,
        old,
        new,
        sentences.interval(latency.estimate) if latency.estimate else "-",
        str(latency.estimate.trials if latency.estimate else len(experiment.pairs)),
        *(words[metric].word if metric in words else "-" for metric in ("memory", "fingerprint", "picture")),
    )


def _seconds(value: float) -> str:
    if math.isnan(value):
        return "-"
    return f"{value:.3g} s" if value >= 1 else f"{1000 * value:.3g} ms"


def _sentence(judgement: Judgement, shell: Shell) -> list[str]:
    verdict = judgement.verdict
    if verdict.word == "SAME" and judgement.metric not in ("latency", "latency_all_cores", "picture"):
        return []
    what = sentences.headline(judgement)
    command = [f"next: {steps.command(verdict.next, shell)}"] if verdict.next else []
    causes = map(sentences.sentence, verdict.details)
    details = [f"  {cause}" for cause in causes if cause not in what]
    return [what, *details, *command, ""]


def _environments(experiments: Sequence[Experiment]) -> list[str]:
    """The whole list, because any single package may be the cause."""
    experiment = next((one for one in experiments if one.new.packages), None)
    if experiment is None:
        return ["environments: their packages are not known, because no pair was measured", ""]
    changed = package_differences(experiment.old.packages, experiment.new.packages)
    if not changed:
        return [f"environments: the same packages on both sides ({len(experiment.new.packages)})", ""]
    count = "1 package differs" if len(changed) == 1 else f"{len(changed)} packages differ"
    return [f"environments: {count}", *(f"  {line}" for line in changed), ""]


def _facts(experiment: Experiment) -> list[str]:
    """Further facts, in addition to the verdicts."""
    lines = []
    if not any(one["word"] == SLOW for one in experiment.judgements if one["metric"] in WITH_DIFFERENCES):
        lines += [f"{experiment.stage}: {sentences.sentence(one)}" for one in unlike(experiment)]
    lines += [f"{experiment.stage}: not proven: {sentence}" for sentence in experiment.unproven]
    lines += [f"{experiment.stage}: {line}" for line in first_calls(experiment)]
    effect = order_effect(experiment.pairs)
    if effect is not None:
        change = f"{100 * math.expm1(effect):+.1f} %"
        lines.append(
            f"{experiment.stage}: calls that follow a call of the other side differ by {change} from calls that follow "
            "one of their own side; both sides have equally many of each kind"
        )
    if experiment.failures:
        count = "1 pair" if len(experiment.failures) == 1 else f"{len(experiment.failures)} pairs"
        lines.append(f"{experiment.stage}: {count} ended early, the last: {experiment.failures[-1]}")
    return lines


def first_calls(experiment: Experiment) -> list[str]:
    """The first calls of the first pairs. Few of them are cold, so compilation that became three times as long may get
    no verdict."""
    calls = [
        f"{pair.old.first_call_s:.3g} s -> {pair.new.first_call_s:.3g} s"
        + (f" ({' and '.join(dict.fromkeys((pair.old.cache, pair.new.cache)))})" if pair.new.cache != "none" else "")
        for pair in experiment.pairs[:FIRST_CALLS]
        if pair.old.first_call_s and pair.new.first_call_s
    ]
    return [f"first calls of the first pairs: {', '.join(calls)}"] if calls else []
