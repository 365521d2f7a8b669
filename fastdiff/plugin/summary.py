"""The summary after the last test: the ladder, the verdicts, and the paths of all files."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from fastdiff.compare.facts import listed
from fastdiff.host.environment import device_slug
from fastdiff.plugin.options import project_folder
from fastdiff.record.eligibility import VOID_SHARE
from fastdiff.record.writing import write_text
from fastdiff.report.clean import clean
from fastdiff.report.ladder import Rung

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from fastdiff.models import Model
    from fastdiff.plugin.session import Session
    from fastdiff.plugin.state import SessionState
    from fastdiff.record.run import Trial

HALVED = (
    "latency in pairs: both sides at once, each with half of the cores, so it is longer than in the ladder; "
    "latency all cores: in turns"
)


def show(terminal: pytest.TerminalReporter, session: Session) -> None:
    for model in session.selection.models:
        if rungs := rungs_of(session, model):
            show_ladder(terminal, session, model, rungs)
    if session.comparing:
        show_verdicts(terminal, session)
        show_annotations(terminal, session)
    for line in (cache_line(session), *session.state.closing_lines):
        if line:
            terminal.write_line(line)
    if named := session.selection.settings.markdown:
        write_markdown(terminal, session, named)
    if named := session.selection.settings.chart:
        write_chart(terminal, session, named)


def show_ladder(terminal: pytest.TerminalReporter, session: Session, model: Model, rungs: list[Rung]) -> None:
    selection = session.selection
    terminal.section(f"fastdiff: {selection.heading} of {model.name}", sep="=", bold=True)
    for line in (selection.title(model), selection.without_instructions):
        if line:
            terminal.write_line(line)
    terminal.write_line("")
    for line in selection.report.text(rungs):
        terminal.write_line(line)
    terminal.write_line("")
    for (name, why), stages in session.stages.skipped.items():
        if name == model.name:
            terminal.write_line(clean(f"{', '.join(dict.fromkeys(stages))}: {why}"))


def show_verdicts(terminal: pytest.TerminalReporter, session: Session) -> None:
    from fastdiff.record.calibration import of_device
    from fastdiff.report import verdicts
    from fastdiff.report.colour import coloured
    from fastdiff.report.pairs import limit

    state = session.state
    terminal.section("fastdiff: verdicts", sep="=", bold=True)
    terminal.write_line(session.judge.headline)
    if any(one.metric == "latency_all_cores" for found in session.pairs.found.values() for one in found):
        terminal.write_line(HALVED)
    terminal.write_line("")
    for line in verdicts.text(session.judge.shown, session.judge.shell, without_verdict(state)):
        terminal.write_line(coloured(line) if terminal.hasmarkup else line)
    if refused := session.judge.accepting_refused:
        terminal.write_line(f"This run cannot be accepted: {listed(refused)}.")
    terminal.write_line("")
    first = next(iter(state.trials), "")
    terminal.write_line(limit(of_device(project_folder(session.config), device_slug(session.selection.device), first)))


def show_annotations(terminal: pytest.TerminalReporter, session: Session) -> None:
    from fastdiff.report.github import IN_A_JOB, error

    if os.environ.get(IN_A_JOB) == "true":
        for judgement, test in session.judge.failing:
            terminal.write_line(error(judgement, session.judge.shell, session.places.get(test)))


def without_verdict(state: SessionState) -> list[str]:
    """Stages that could not be measured or compared."""
    from fastdiff.record.run import FAILED

    return [id_ for id_, trial in state.trials.items() if trial.state == FAILED or id_ in state.uncompared]


def write_markdown(terminal: pytest.TerminalReporter, session: Session, named: Path) -> None:
    selection = session.selection
    lines = []
    for model in selection.models:
        if rungs := rungs_of(session, model):
            above = [selection.without_instructions, ""] if selection.without_instructions else []
            lines += [f"### {selection.title(model)}", "", *above, *selection.report.markdown(rungs), ""]
    if session.comparing:
        lines += [*markdown_verdicts(session), ""]
    try:
        write_text(session.config.invocation_params.dir / named, "\n".join(lines) + "\n")
    except OSError as error:
        terminal.write_line(f"--fastdiff-markdown {named} cannot be written ({error.strerror}); name another file.")


def markdown_verdicts(session: Session) -> list[str]:
    from fastdiff.report import verdicts
    from fastdiff.report.clean import in_markdown

    state = session.state
    table = verdicts.markdown(session.judge.shown, session.judge.shell, without_verdict(state))
    return ["### verdicts", "", in_markdown(session.judge.headline), "", *table]


def write_chart(terminal: pytest.TerminalReporter, session: Session, named: Path) -> None:
    """A bar for each measured stage; without any, no file is written."""
    from fastdiff.report import chart, ladder

    models = session.selection.models
    bars = [bar for model in models for bar in ladder.bars(rungs_of(session, model), name_model=len(models) > 1)]
    if not bars:
        return
    title = ", ".join(session.selection.title(model) for model in models)
    path = session.config.invocation_params.dir / named
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        chart.save(chart.draw(bars, title, "seconds a call (median; whiskers: quartiles)"), path)
    except OSError as error:
        terminal.write_line(f"--fastdiff-chart {named} cannot be written ({error.strerror}); name another file.")


def rungs_of(session: Session, model: Model) -> list[Rung]:
    ids = [f"{model.name}-{stage.name}" for stage in session.selection.ladders[model.name]]
    trials = session.state.trials
    return [rung(trials[id_], session.state.remarks.get(id_, "")) for id_ in ids if id_ in trials]


def rung(trial: Trial, remark: str = "") -> Rung:
    undisturbed = [one for one in trial.samples if not one.void]
    return Rung(
        trial.model,
        trial.stage,
        trial.follows,
        # The same samples as the verdict's: disturbed ones are left out, unless there are no others.
        samples_s=tuple(one.wall_s for one in undisturbed or trial.samples),
        first_call_s=trial.first_call_s,
        cache=trial.cache,
        ssim=trial.quality.ssim if trial.quality else None,
        worst_tile=trial.quality.worst_tile if trial.quality else None,
        relative_l2=trial.quality.relative_l2 if trial.quality else None,
        largest_error=trial.quality.largest_error if trial.quality else None,
        dtype=trial.dtype,
        pictures=trial.batch,
        memory_bytes=trial.memory.whole_bytes if trial.memory else None,
        peak_in=trial.memory.where if trial.memory else "",
        remark=remark,
        disturbed=len(undisturbed) < (1 - VOID_SHARE) * len(trial.samples),
    )


def cache_line(session: Session) -> str:
    """Whether the first calls found their code in the compile cache; empty if nothing was compiled."""
    compiled = [trial for trial in session.state.trials.values() if trial.cache != "none" and trial.first_call_s]
    if not compiled:
        return ""
    states = {trial.cache for trial in compiled}
    state = states.pop() if len(states) == 1 else "partly warm"
    seconds = sum(trial.first_call_s or 0 for trial in compiled)
    stages = "1 compiled stage" if len(compiled) == 1 else f"{len(compiled)} compiled stages"
    here, folder = session.config.invocation_params.dir, session.stages.cache_folder
    shown = folder.relative_to(here) if folder.is_relative_to(here) else folder
    return f"compile cache: {state} ({stages}, first calls {seconds:.0f} s together), kept in {shown}"
