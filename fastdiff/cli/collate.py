"""`fastdiff collate`: merge the rows of a folder and draw a chart."""

from __future__ import annotations

from pathlib import Path

import typer

from fastdiff.cli.common import aloud, one_sentence

FOLDER = typer.Argument(help="Folder with the CSV files of `fastdiff run`, or of the published scripts.")
CSV = typer.Option(Path("results.csv"), "--csv", metavar="FILE", help="The merged CSV file to write.")
CHARTS = typer.Option(
    [Path("results.png")],
    "--chart",
    metavar="FILE",
    help="The bar chart: .png, .svg, .jpeg or .pdf. May be repeated.",
)
TITLE = typer.Option("", metavar="TEXT", help="Title of the chart (default: what all settings share).")


def collate(folder: Path = FOLDER, csv: Path = CSV, chart: list[Path] = CHARTS, title: str = TITLE) -> None:
    """Merge the rows of a folder into one CSV, and draw a bar for each setting.

    Example: fastdiff collate results --title "SDXL on one GPU"
    """
    with one_sentence():
        from fastdiff.report.published import collate

        for line in collate(folder, csv, chart, title):
            aloud(line)
