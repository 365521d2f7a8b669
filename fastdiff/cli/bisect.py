"""`fastdiff bisect`: find the first slow release."""

from __future__ import annotations

import shlex
from pathlib import Path

import typer

from fastdiff.cli.common import aloud, one_sentence, session_in, share
from fastdiff.cli.options import A_BATCH, BAND, CALLS, DEVICE, EMULATE, MODEL, MOST_PAIRS, ROOT, SIZE, STEPS, WEIGHTS

PIP = typer.Option([], metavar="OPTION", help="Option for pip, such as --index-url=URL or --pre. May be repeated.")
ALSO = typer.Option([], metavar="SPEC", help="SPEC added to both sides, such as a variable. May be repeated.")


def bisect(
    package: str = typer.Option(help="The package to search."),
    good: str = typer.Option(help="A release (or, for nightlies, a date) known to be good."),
    bad: str = typer.Option(help="A later one known to be bad."),
    model: str = MODEL,
    weights: str = WEIGHTS,
    stage: str = typer.Option("sdpa", help="The stage that became slower."),
    device: str = DEVICE,
    steps: int | None = STEPS,
    size: int | None = SIZE,
    batch: int | None = A_BATCH,
    calls: int = CALLS,
    max_pairs: int = MOST_PAIRS,
    band: float | None = BAND,
    emulate: bool = EMULATE,
    pip: list[str] = PIP,
    also: list[str] = ALSO,
    root: Path = ROOT,
) -> None:
    """Find the first release of a package that makes a stage slower; each candidate is compared with the good one."""
    with one_sentence(kept="every finished step is kept, and the same command goes on."):
        from fastdiff.experiments.questions import AbOptions
        from fastdiff.report import bisection
        from fastdiff.sides.spec import masked

        asked = AbOptions(
            model, weights, (stage,), "", device, steps, size, batch, calls, max_pairs, (), share(band), emulate
        )
        end, found = session_in(root).bisect(asked, package, good, bad, pip=pip, also=also)
        options = [f"--{side} {shlex.quote(masked(word))}" for word in (*pip, *also) for side in ("old", "new")]
        for line in bisection.text(found, end, " ".join([*options, asked.options(stage), f"--max-pairs {max_pairs}"])):
            aloud(line)
        if found.culprit is None:
            raise typer.Exit(1)
