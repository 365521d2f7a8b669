"""`fastdiff baselines`: list the accepted runs."""

from __future__ import annotations

from pathlib import Path

import typer

from fastdiff.cli.common import as_json, one_sentence
from fastdiff.cli.options import JSON, ROOT


def baselines(json: bool = JSON, root: Path = ROOT) -> None:
    """List the baselines of every device: who accepted what, when and why, and the measured noise.

    Example: fastdiff baselines --json
    """
    with one_sentence():
        from fastdiff.report.listings import baselines_facts, baselines_text

        if json:
            as_json(baselines_facts(root))
            return
        for line in baselines_text(root):
            typer.echo(line)
