"""`fastdiff collate`: merge the rows of a folder and draw a chart."""

from __future__ import annotations

from pathlib import Path

import typer

from fastdiff.cli.common import aloud, one_sentence

FOLDER = typer.Argument(help="Folder with the CSV files of `fastdiff run`, or of the published scripts.")
MERGED = typer.Option(Path("results.csv"), "--out", metavar="FILE", help="The CSV into which they are merged.")
CHARTS = typer.Option(
    [Path("results.png")],
    "--chart",
    metavar="FILE",
    help="The bar chart: .png, .svg, .jpeg or .pdf. May be repeated.",
)
TITLE = typer.Option("", help="Title of the chart (default: what all settings share).")


def collate(folder: Path = FOLDER, out: Path = MERGED, chart: list[Path] = CHARTS, title: str = TITLE) -> None:
    """Merge the rows of a folder into one CSV, and draw a bar for each setting."""
    with one_sentence():
        from fastdiff.report.published import collate

        for line in collate(folder, out, chart, title):
            aloud(line)
