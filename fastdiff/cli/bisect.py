"""`fastdiff bisect`: find what made a stage slower."""

from __future__ import annotations

from pathlib import Path

import typer

from fastdiff.cli.common import FINDING, TROUBLE, aloud, band_of, one_sentence, session_in
from fastdiff.cli.options import A_BATCH, BAND, CALLS, DEVICE, EMULATE, MODEL, PAIRS, ROOT, SIZE, STEPS, WEIGHTS

OLD = typer.Argument(
    metavar="OLD",
    help="The faster side, in the form that `fastdiff ab` takes; quote several words as one argument. A nightly can be "
    "given by its date: torch==2026-11-01.",
)
NEW = typer.Argument(metavar="NEW", help="The slower side, in the same form.")
ALSO = typer.Option(
    [],
    metavar="SPEC",
    help="SPEC added to both sides: a variable, or an option for the installer, such as --also=--index-url=URL. May be "
    "repeated.",
)


def bisect(
    old: str = OLD,
    new: str = NEW,
    model: str = MODEL,
    weights: str = WEIGHTS,
    stage: str = typer.Option("sdpa", metavar="NAME", help="The stage that became slower."),
    device: str = DEVICE,
    steps: int | None = STEPS,
    size: int | None = SIZE,
    batch: int | None = A_BATCH,
    calls: int | None = CALLS,
    pairs: int = PAIRS,
    band: str | None = BAND,
    emulate: bool = EMULATE,
    also: list[str] = ALSO,
    root: Path = ROOT,
) -> None:
    """Find what makes a stage slower: the package or variable that differs, its first slow release, or the commit.

    The exit code is 1 if a cause was found, and 0 if the new side is not slower.

    Example: fastdiff bisect torch==2.12.1 torch==2.14.1 --stage sdpa
    """
    with one_sentence(kept="every finished step is kept; run the same command again to continue."):
        from fastdiff.experiments.questions import AbOptions
        from fastdiff.report import bisection
        from fastdiff.report.steps import Shell
        from fastdiff.sides.spec import words_of

        asked = AbOptions(
            model, weights, (stage,), "", device, steps, size, batch, calls, pairs, (), band_of(band), emulate
        )
        installer = [word for word in also if word.startswith("-")]
        rest = [word for word in also if not word.startswith("-")]
        found = session_in(root).bisect(asked, words_of(old), words_of(new), pip=installer, also=rest)
        shell = Shell(root="" if root == Path() else str(root))
        for line in bisection.text(found, asked.options(stage), pairs, shell):
            aloud(line)
        if found.is_something:
            raise typer.Exit(FINDING)
        if found.remark:  # the new side is slower, but the search could not separate the causes
            raise typer.Exit(TROUBLE)
