"""`fastdiff runs`: list the run files."""

from __future__ import annotations

from pathlib import Path

import typer

from fastdiff.cli.common import one_sentence
from fastdiff.cli.options import ROOT


def runs(root: Path = ROOT) -> None:
    """List the run files: how each session ended, its device, and how many stages were measured."""
    with one_sentence():
        from fastdiff.report.listings import runs_text

        for line in runs_text(root):
            typer.echo(line)
