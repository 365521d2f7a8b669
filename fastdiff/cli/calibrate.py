"""`fastdiff calibrate`: measure the noise of this machine."""

from __future__ import annotations

from pathlib import Path

import typer

from fastdiff.cli.common import one_sentence, session_in
from fastdiff.cli.options import A_BATCH, CALLS, DEVICE, EMULATE, FRESH, MODEL, ROOT, SIZE, STEPS, WEIGHTS
from fastdiff.compare.policy import FEWEST_PAIRS

SDPA_STAGE = typer.Option(["sdpa"], "--stage", metavar="NAMES", help="Stages, separated by commas.")


def calibrate(
    model: str = MODEL,
    weights: str = WEIGHTS,
    stage: list[str] = SDPA_STAGE,
    device: str = DEVICE,
    steps: int | None = STEPS,
    size: int | None = SIZE,
    batch: int | None = A_BATCH,
    calls: int | None = CALLS,
    pairs: int = typer.Option(12, min=FEWEST_PAIRS, metavar="N", help="Pairs of processes to measure."),
    planned_pairs: int = typer.Option(
        12, metavar="N", help="The --pairs of `fastdiff ab` for which the smallest slowdown is computed."
    ),
    emulate: bool = EMULATE,
    fresh: bool = FRESH,
    root: Path = ROOT,
) -> None:
    """Measure the noise of this machine and the smallest slowdown that pairs can detect on it.

    Example: fastdiff calibrate --stage sdpa --steps 2
    """
    with one_sentence(kept="every finished pair is kept; run the same command again to continue."):
        from fastdiff.compare.plan import looks
        from fastdiff.experiments.questions import AbOptions, named_stages
        from fastdiff.report.pairs import limit

        looks(planned_pairs)  # refuses too few before anything is measured
        stages = named_stages(stage)
        asked = AbOptions(model, weights, stages, "", device, steps, size, batch, calls, pairs, emulate=emulate)
        for found in session_in(root).calibrate(asked, most_pairs=planned_pairs, fresh=fresh):
            typer.echo(limit(found))
