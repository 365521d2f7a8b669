"""The `fastdiff` command: one file for each subcommand, which calls the room that does the work."""

from __future__ import annotations

import io
import sys
import traceback

import typer

from fastdiff import __version__
from fastdiff.cli.ab import ab
from fastdiff.cli.accept import accept
from fastdiff.cli.baselines import baselines
from fastdiff.cli.bisect import bisect
from fastdiff.cli.calibrate import calibrate
from fastdiff.cli.collate import collate
from fastdiff.cli.common import EXIT_CODES, TROUBLE, one_sentence
from fastdiff.cli.environment import environment
from fastdiff.cli.experiment import experiment
from fastdiff.cli.init import init
from fastdiff.cli.ladder import ladder
from fastdiff.cli.layers import layers
from fastdiff.cli.models import models
from fastdiff.cli.old import Command
from fastdiff.cli.published import published
from fastdiff.cli.run import run
from fastdiff.cli.runs import runs
from fastdiff.cli.side import side
from fastdiff.host.system import require_supported

app = typer.Typer(
    help="Is the diffusion pipeline still fast, and does it still draw the same picture?",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fastdiff {__version__}")
        raise typer.Exit


@app.callback()
def main(
    _version: bool = typer.Option(False, "--version", callback=_print_version, is_eager=True, help="Show the version."),
) -> None:
    with one_sentence():
        require_supported()
    # Run files may hold text that no terminal can show, and a terminal may know few characters.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


MEASURING = (run, collate, experiment, published, layers, ab, calibrate, bisect)
COMMANDS = (init, models, ladder, environment, accept, baselines, runs, *MEASURING)
for command in COMMANDS:
    app.command(cls=Command)(command)
app.add_typer(side, name="side")


def program() -> None:
    """What the shell starts. A defect of fastdiff's own is no finding, so it does not end with Python's 1."""
    try:
        app()
    except Exception:
        traceback.print_exc()
        raise SystemExit(TROUBLE) from None
