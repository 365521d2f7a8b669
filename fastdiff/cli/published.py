"""`fastdiff published`: the published figures, and a run beside them."""

from __future__ import annotations

from pathlib import Path

import typer

from fastdiff.cli.common import aloud, as_json, one_sentence
from fastdiff.cli.options import JSON

RUN = typer.Argument(None, help="The run file, for instance runs/20261120T155223Z.json (default: none).")


def published(run: Path | None = RUN, json: bool = JSON) -> None:
    """Show the published figures with device and source; with a run file, compare its speedups with them.

    Example: fastdiff published runs/20261120T155223Z.json
    """
    with one_sentence():
        from fastdiff.compare import figures
        from fastdiff.record.files import read
        from fastdiff.report import beside

        found = read(run) if run else None
        if json:
            as_json(figures.facts_beside(found) if found else figures.facts())
            return
        for line in beside.text(found) if found else beside.published():
            aloud(line)
