"""`fastdiff published`: the published figures, and a run beside them."""

from __future__ import annotations

from pathlib import Path

import typer

from fastdiff.cli.common import aloud, one_sentence

RUN = typer.Argument(None, help="The run file, for instance runs/20261120T155223Z.json (default: none).")


def published(run: Path | None = RUN) -> None:
    """Show the published figures with device and source; with a run, set it beside them, factor by factor."""
    with one_sentence():
        from fastdiff.record.files import read
        from fastdiff.report import beside

        for line in beside.text(read(run)) if run else beside.published():
            aloud(line)
