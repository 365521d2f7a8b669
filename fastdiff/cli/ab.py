"""`fastdiff ab`: compare two sides in pairs."""

from __future__ import annotations

from pathlib import Path

import typer

from fastdiff.cli.common import FINDING, band_of, one_sentence, session_in, shown
from fastdiff.cli.options import (
    A_BATCH,
    BAND,
    CALLS,
    DEVICE,
    EMULATE,
    FRESH,
    MODEL,
    PAIRS,
    ROOT,
    SIZE,
    STEPS,
    WEIGHTS,
)

OLD = typer.Option(
    ["."],
    metavar="SPEC",
    help="The old side: '.' (this environment), 'accepted' (the accepted run's software), a Python interpreter, a "
    "virtual environment, a requirement such as torch==2.12.1 or a wheel (this environment with only that changed), a "
    "requirements file, a variable, NAME=VALUE, or an option for the installer such as --index-url=URL. May be "
    "repeated.",
)
NEW = typer.Option(["."], metavar="SPEC", help="The new side, in the same form (default: this environment).")
STAGES = typer.Option([], "--stage", metavar="NAMES", help="Stages, separated by commas (default: all of the ladder).")
OLD_STAGE = typer.Option("", metavar="NAME", help="Another stage for the old side, to compare two stages.")
MOST_TIME = typer.Option(
    0.0,
    "--max-time",
    min=0,
    metavar="MINUTES",
    help="Start no new pair after this many minutes, all stages together (0: no limit).",
)
INJECT = typer.Option("", metavar="FAULTS", help="Inject faults into the new side, for instance slow:5%.")
STRICT = typer.Option(False, "--strict", help="Fail on every verdict except SAME.")
MARKDOWN = typer.Option(None, metavar="FILE", help="Also write the report as Markdown.")


def ab(
    old: list[str] = OLD,
    new: list[str] = NEW,
    model: str = MODEL,
    weights: str = WEIGHTS,
    stage: list[str] = STAGES,
    old_stage: str = OLD_STAGE,
    device: str = DEVICE,
    steps: int | None = STEPS,
    size: int | None = SIZE,
    batch: int | None = A_BATCH,
    calls: int | None = CALLS,
    pairs: int = PAIRS,
    max_time: float = MOST_TIME,
    band: str | None = BAND,
    inject: str = INJECT,
    emulate: bool = EMULATE,
    fresh: bool = FRESH,
    strict: bool = STRICT,
    markdown: Path | None = MARKDOWN,
    root: Path = ROOT,
) -> None:
    """Compare two environments: fresh processes of both measure the same stages, side by side or in turns.

    Example: fastdiff ab --old torch==2.12.1 --stage sdpa
    """
    with one_sentence(kept="every finished pair is kept; run the same command again to continue."):
        from fastdiff.experiments.questions import AbOptions, named_stages
        from fastdiff.experiments.sessions import failing
        from fastdiff.record.writing import write_text
        from fastdiff.report import pairs as report
        from fastdiff.report.colour import coloured
        from fastdiff.report.steps import Shell
        from fastdiff.trial.faults import parse

        stages = named_stages(stage)
        asked = AbOptions(
            model,
            weights,
            stages,
            old_stage,
            device,
            steps,
            size,
            batch,
            calls,
            pairs,
            parse(inject) if inject else (),
            band_of(band),
            emulate,
        )
        session = session_in(root)
        answers = session.compare(asked, old, new, minutes=max_time, fresh=fresh)
        shell = Shell(root="" if root == Path() else str(root))
        files = [shown(answer.path) for answer in answers]
        for line in report.text(answers, session.limit(answers), files, shell):
            typer.echo(coloured(line))  # without colours where this is no terminal
        if markdown:
            write_text(markdown, "\n".join(report.markdown(answers, session.limit(answers), files, shell)) + "\n")
        if failing(answers, strict=strict):
            raise typer.Exit(FINDING)
