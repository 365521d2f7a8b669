"""Verdicts for a terminal or a page: one table, then a sentence for each that is not SAME, and what to type next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastdiff.compare.steps import Accept
from fastdiff.compare.verdicts import METRICS, UNSURE, fails
from fastdiff.report import sentences, steps, tables
from fastdiff.report.clean import clean, in_markdown
from fastdiff.report.columns import aligned

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fastdiff.compare.gate import Judgement
    from fastdiff.compare.steps import Step
    from fastdiff.record.run import Baseline
    from fastdiff.report.steps import Shell

NOT_JUDGED = "-"
NEXT, INTENDED = "next", "next, if this is intended"
MANY = 3
"""Up to this many UNSURE verdicts get a sentence each; with more of them the table is easier to read."""


def text(judgements: Sequence[Judgement], shell: Shell, failed: Sequence[str] = ()) -> list[str]:
    """`failed` are stages that could not be measured or compared; the failed tests say why."""
    if not judgements:
        return [_nothing(failed)]
    lines = aligned(_rows(judgements), ruled=True)
    for found, command, before in _sentences(judgements, shell):
        lines += ["", *found, *([f"{before}: {command}"] if command else [])]
    return lines


def markdown(judgements: Sequence[Judgement], shell: Shell, failed: Sequence[str] = ()) -> list[str]:
    """The same for a page, for instance the summary of a CI's job."""
    if not judgements:
        return [in_markdown(_nothing(failed))]
    headings, *rows = [tuple(map(in_markdown, row)) for row in _rows(judgements)]
    lines = tables.markdown(headings, rows, numbers=False)
    for found, command, before in _sentences(judgements, shell):
        lines += ["", *(f"- {in_markdown(one)}" for one in found)]
        lines += ["", *([f"{before}:", ""] if before != NEXT else []), "```console", command, "```"] if command else []
    return lines


def against(baseline: Baseline | None, device: str, elsewhere: str = "", above: Path | None = None) -> str:
    """What the run was compared with. `elsewhere`: another device's accepted run, whose software was measured here.
    `above`: a folder above the project that has accepted runs."""
    if baseline is None and elsewhere:
        return f"no accepted run of {device} yet: compared in pairs with the software of {elsewhere}"
    if baseline is None:
        there = f"; {above} has accepted runs, so perhaps start pytest there" if above else ""
        return (
            f"no accepted run of {device} yet: times are NEW, and only the pictures and the proof of each stage decide"
            f"{there}"
        )
    noise = f"noise measured over {baseline.noise.trials} trials" if baseline.noise else "noise declared, not measured"
    accepted = baseline.acceptance
    return clean(f"against {baseline.name}, accepted {accepted.when[:10]} ({noise}): {accepted.reason}")


def announced(judgement: Judgement, shell: Shell) -> str:
    """A verdict in full: what, why, where it comes from, and what to type."""
    verdict = judgement.verdict
    before = _before(verdict.next, failing=_fails(judgement))
    command = [f"{before}: {steps.command(verdict.next, shell)}"] if verdict.next else []
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


def _fails(judgement: Judgement) -> bool:
    """In every mode."""
    return fails(judgement.verdict, strict=False)


def _before(step: Step | None, *, failing: bool) -> str:
    """What stands before the command: to accept a regression is no advice."""
    return INTENDED if failing and isinstance(step, Accept) else NEXT


def _sentences(judgements: Sequence[Judgement], shell: Shell) -> list[tuple[list[str], str, str]]:
    """Sentences grouped by the next command, which may be empty, and what stands before it. Stages with the same
    sentence, as in a first run, share one line. What is accepted only if it is intended comes last."""
    grouped: dict[tuple[str, str, Step | None, bool], list[str]] = {}
    for judgement in judgements:
        verdict = judgement.verdict
        if verdict.word != "SAME":
            kind = (verdict.word, sentences.reason_of(judgement), verdict.next, _fails(judgement))
            grouped.setdefault(kind, []).append(f"{judgement.stage} {judgement.metric.replace('_', ' ')}")
    by_step: dict[Step | None, list[tuple[str, str, Step | None, bool]]] = {}
    for (word, reason, step, failing), places in grouped.items():
        where = places[0] if len(places) == 1 else f"{places[0]} and {len(places) - 1} more"
        by_step.setdefault(steps.alike(step), []).append((word, f"{word}  {where}: {reason}", step, failing))
    groups = []
    for found in by_step.values():
        unsure = [line for word, line, *_ in found if word == UNSURE]
        unshown = unsure[1:] if len(unsure) > MANY else []
        lines = [line for _, line, *_ in found if line not in unshown]
        if unshown:
            lines.append(f"{UNSURE}  {len(unshown)} more (see the table); the reasons are in {shell.run_file}")
        wanted = [step for _, _, step, _ in found if step]
        command = steps.command(steps.together(wanted), shell) if wanted else ""
        step = next(iter(wanted), None)
        # To accept the whole run is to accept its regressions.
        failing = any(failing for *_, failing in found) or (step == Accept() and any(map(_fails, judgements)))
        before = _before(step, failing=failing)
        groups.append(([clean(line) for line in lines], clean(command), before))
    return sorted(groups, key=lambda group: group[2] == INTENDED)
