"""`fastdiff experiment`: a whole published experiment."""

from __future__ import annotations

from pathlib import Path

import typer

from fastdiff.cli.common import TROUBLE, aloud, aside, one_sentence
from fastdiff.cli.options import ROOT, SIZE, STEPS, WEIGHTS

NAME = typer.Argument(help="sdxl, ssd-1b, sd15, pixart-alpha, cpu, or memory.")
MODEL = typer.Option(
    "", "--model", metavar="NAME", help="Model to use instead of the published one, such as the embedded one: shapes."
)
DEVICE = typer.Option(
    "", metavar="DEVICE", help="Device to measure on: auto, cpu, cuda, cuda:N or mps (default: the experiment's own)."
)
BATCH = typer.Option(None, min=1, metavar="N", help="Pictures per call (default: the published number).")
ROUNDS = typer.Option(5, min=1, metavar="N", help="Timed calls of each stage.")
OUT = typer.Option(Path("results"), metavar="FOLDER", help="Folder in which the experiment creates its own folder.")


def experiment(
    name: str = NAME,
    model: str = MODEL,
    weights: str = WEIGHTS,
    steps: int | None = STEPS,
    size: int | None = SIZE,
    batch: int | None = BATCH,
    rounds: int = ROUNDS,
    device: str = DEVICE,
    out: Path = OUT,
    root: Path = ROOT,
) -> None:
    """Measure a published experiment, stage by stage in fresh processes: rows, pictures, and the bar chart.

    Example: fastdiff experiment cpu --steps 2
    """
    with one_sentence(kept="the measured stages are kept, but the same command measures all stages again."):
        from fastdiff.experiments.series import SERIES, measure
        from fastdiff.record.errors import UserError, unknown
        from fastdiff.record.project import require_folder
        from fastdiff.report.published import collate

        require_folder(root)
        if name not in SERIES:
            raise UserError("recipe", unknown("experiment", name, SERIES))
        series = SERIES[name]
        folder = out / name
        given = {
            "steps": steps,
            "size": size,
            "batch": batch or series.batch,
            "rounds": rounds,
            "weights": weights,
        }
        options = ["--model", model or series.model]
        options += [f"--{option}={value}" for option, value in given.items() if value is not None]
        options += [f"--root={root}"] if root != Path() else []
        found = measure(series, device or series.device, folder, options, aside)
        if found.measured:
            title = series.shows if model in ("", series.model) else f"{series.shows}, with {model}"
            charts = [folder / f"{name}{end}" for end in (".png", ".svg", ".jpeg")]
            lines = collate(folder, folder / f"{name}.csv", charts, title, order=series.stages, memory=series.memory)
            for line in lines:
                aloud(line)
        for stage, why in found.refused.items():
            aloud(f"left out  {stage}: {why}")
        if found.failed:
            aloud(f"failed    {', '.join(found.failed)}")
        if found.failed or not found.measured:
            raise typer.Exit(TROUBLE)
