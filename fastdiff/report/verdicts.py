"""Verdicts for a terminal or a page: one table, then a sentence for each that is not SAME, and what to type next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastdiff.compare.verdicts import METRICS, UNSURE
from fastdiff.report import sentences, steps, tables
from fastdiff.report.clean import clean, in_markdown
from fastdiff.report.columns import aligned

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastdiff.compare.gate import Judgement
    from fastdiff.compare.steps import Step
    from fastdiff.record.run import Baseline
    from fastdiff.report.steps import Shell

NOT_JUDGED = "-"
MANY = 3
"""Up to this many UNSURE verdicts get a sentence each; with more of them the table is easier to read."""


def text(judgements: Sequence[Judgement], shell: Shell, failed: Sequence[str] = ()) -> list[str]:
    """`failed` are stages that could not be measured or compared; the failed tests say why."""
    if not judgements:
        return [_nothing(failed)]
    lines = aligned(_rows(judgements), ruled=True)
    for found, command in _sentences(judgements, shell):
        lines += ["", *found, *([f"next: {command}"] if command else [])]
    return lines


def markdown(judgements: Sequence[Judgement], shell: Shell, failed: Sequence[str] = ()) -> list[str]:
    """The same for a page, for instance the summary of a CI's job."""
    if not judgements:
        return [in_markdown(_nothing(failed))]
    headings, *rows = [tuple(map(in_markdown, row)) for row in _rows(judgements)]
    lines = tables.markdown(headings, rows, numbers=False)
    for found, command in _sentences(judgements, shell):
        lines += ["", *(f"- {in_markdown(one)}" for one in found)]
        lines += ["", "```console", command, "```"] if command else []
    return lines


def against(baseline: Baseline | None, device: str, elsewhere: str = "") -> str:
    """What the run was compared with. `elsewhere`: another device's accepted run, whose software was measured here."""
    if baseline is None and elsewhere:
        return f"no accepted run of {device} yet: compared in pairs with the software of {elsewhere}"
    if baseline is None:
        return (
            f"no accepted run of {device} yet: times are NEW, and only the pictures and the proof of each stage decide"
        )
    noise = f"noise measured over {baseline.noise.trials} trials" if baseline.noise else "noise declared, not measured"
    accepted = baseline.acceptance
    return clean(f"against {baseline.name}, accepted {accepted.when[:10]} ({noise}): {accepted.reason}")


def announced(judgement: Judgement, shell: Shell) -> str:
    """A verdict in full: what, why, where it comes from, and what to type."""
    verdict = judgement.verdict
    command = [f"next: {steps.command(verdict.next, shell)}"] if verdict.next else []
    what = sentences.headline(judgement)
    details = [f"  {cause}" for cause in map(sentences.sentence, verdict.details) if cause not in what]
    return "\n".join(map(clean, [what, *details, *command]))


def _nothing(failed: Sequence[str]) -> str:
    if failed:
        return f"no verdict: {', '.join(failed)} could not be measured or compared; the failed tests say why"
    return "nothing was judged: no stage was measured in this session, as in the accepted run"


def _rows(judgements: Sequence[Judgement]) -> list[tuple[str, ...]]:
    """The first one is the headings."""
    words = {(judgement.stage, judgement.metric): _cell(judgement) for judgement in judgements}
    stages = list(dict.fromkeys(judgement.stage for judgement in judgements))
    metrics = [metric for metric in METRICS if any(judged == metric for _, judged in words)]
    rows = [("stage", *(metric.replace("_", " ") for metric in metrics))]
    return rows + [(stage, *(words.get((stage, metric), NOT_JUDGED) for metric in metrics)) for stage in stages]


def _cell(judgement: Judgement) -> str:
    estimate = judgement.verdict.estimate
    return judgement.verdict.word + (f" {sentences.interval(estimate)}" if estimate is not None else "")


def _sentences(judgements: Sequence[Judgement], shell: Shell) -> list[tuple[list[str], str]]:
    """Sentences grouped by the next command, which may be empty. Stages with the same sentence, as in a first run,
    share one line."""
    grouped: dict[tuple[str, str, Step | None], list[str]] = {}
    for judgement in judgements:
        verdict = judgement.verdict
        if verdict.word != "SAME":
            grouped.setdefault((verdict.word, sentences.reason_of(judgement), verdict.next), []).append(
                f"{judgement.stage} {judgement.metric.replace('_', ' ')}"
            )
    by_step: dict[Step | None, list[tuple[str, str, Step | None]]] = {}
    for (word, reason, step), places in grouped.items():
        where = places[0] if len(places) == 1 else f"{places[0]} and {len(places) - 1} more"
        by_step.setdefault(steps.alike(step), []).append((word, f"{word}  {where}: {reason}", step))
    groups = []
    for found in by_step.values():
        unsure = sum(word == UNSURE for word, _, _ in found)
        lines = [line for word, line, _ in found if word != UNSURE or unsure <= MANY]
        if unsure > MANY:
            lines.append(f"{UNSURE}  {unsure} times (see the table); the reasons are in {shell.run_file}")
        wanted = [step for _, _, step in found if step]
        command = steps.command(steps.together(wanted), shell) if wanted else ""
        groups.append(([clean(line) for line in lines], clean(command)))
    return groups
