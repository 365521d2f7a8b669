"""`fastdiff runs`: list the run files."""

from __future__ import annotations

from pathlib import Path

import typer

from fastdiff.cli.common import as_json, one_sentence
from fastdiff.cli.options import JSON, ROOT


def runs(json: bool = JSON, root: Path = ROOT) -> None:
    """List the run files: how each session ended, its device, and how many stages were measured.

    Example: fastdiff runs --json
    """
    with one_sentence():
        from fastdiff.report.listings import runs_facts, runs_text

        if json:
            as_json(runs_facts(root))
            return
        for line in runs_text(root):
            typer.echo(line)
