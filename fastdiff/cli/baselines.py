"""`fastdiff baselines`: list the accepted runs."""

from __future__ import annotations

from pathlib import Path

import typer

from fastdiff.cli.common import one_sentence
from fastdiff.cli.options import ROOT


def baselines(root: Path = ROOT) -> None:
    """List the baselines of every device: who accepted what, when and why, and the measured noise."""
    with one_sentence():
        from fastdiff.report.listings import baselines_text

        for line in baselines_text(root):
            typer.echo(line)
