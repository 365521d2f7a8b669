"""The `fastdiff` command: thin; each subcommand calls the room that does the work."""

from __future__ import annotations

import io
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from fastdiff import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

app = typer.Typer(
    help="Is the diffusion pipeline still fast, and does it still draw the same picture?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fastdiff {__version__}")
        raise typer.Exit


@contextmanager
def _one_sentence() -> Iterator[None]:
    """What a person can do something about ends the command with a sentence, not with a traceback."""
    from fastdiff.record.checks import RecordError

    try:
        yield
    except RecordError as error:
        said = str(error)
    except OSError as error:
        said = f"{error.filename}: {error.strerror}"
    else:
        return
    typer.echo(said, err=True)
    raise typer.Exit(1)


@app.callback()
def main(
    _version: bool = typer.Option(False, "--version", callback=_print_version, is_eager=True, help="Show the version."),
) -> None:
    # Run files may hold text that no terminal can show, and a terminal may know few characters.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@app.command()
def models() -> None:
    """List the catalogue: every model with its default request and where its weights come from."""
    from fastdiff.models import CATALOGUE

    width = max(len(model.name) for model in CATALOGUE)
    for model in CATALOGUE:
        asked = model.request
        source = "embedded" if model.folder else model.source
        typer.echo(f"{model.name:<{width}}  {asked.size:>4} px  {asked.steps:>2} steps  {source}")


@app.command()
def ladder() -> None:
    """List the stages of the ladder: what each adds, and to which one."""
    from fastdiff.recipes import LADDER

    width = max(len(name) for name in LADDER.names)
    for stage in LADDER:
        follows = f" (follows {stage.follows})" if stage.follows else ""
        typer.echo(f"{stage.name:<{width}}  {stage.adds}{follows}")


@app.command()
def environment() -> None:
    """Show the device that would be measured, its folder in baselines/, and the versions of the libraries."""
    from fastdiff.measure.environment import device_kind, device_name, device_slug, versions

    device = device_kind()
    typer.echo(f"device     {device_name(device)} ({device})")
    typer.echo(f"baselines  baselines/{device_slug(device)}")
    for library, version in versions().items():
        typer.echo(f"{library:<17}{version}")


RUN = typer.Argument(help="The run file, for instance runs/20261120T155223Z.json.")
ONLY = typer.Option([], metavar="STAGE", help="Accept this stage alone. May be repeated.")
NOISE_OF = typer.Option(
    [],
    metavar="RUN",
    help="A run of another fresh process, or a pattern in quotes like 'runs/*.json', to measure the noise over. "
    "May be repeated.",
)
ROOT = typer.Option(Path(), help="Folder of the project, in which runs/ and baselines/ lie.")


@app.command()
def accept(
    run: Path = RUN,
    reason: str = typer.Option(help="Why this is the new normal; it is kept."),
    only: list[str] = ONLY,
    noise_of: list[str] = NOISE_OF,
    force: bool = typer.Option(False, "--force", help="Accept whatever speaks against it, and keep what that was."),
    name: str = typer.Option("", help="Name in the new baseline's file name; the models if not given."),
    root: Path = ROOT,
) -> None:
    """Make a run the baseline of its device, after showing what changes."""
    with _one_sentence():
        from glob import glob

        from fastdiff.record.accept import accept

        # What matches nothing stays as it is, so that reading it says what is wrong.
        trials = [Path(found) for pattern in noise_of for found in sorted(glob(pattern)) or [pattern]]  # noqa: PTH207
        accept(run, reason, root=root, only=only, noise_of=trials, force=force, name=name, say=typer.echo)


@app.command()
def baselines(root: Path = ROOT) -> None:
    """List the accepted runs of every device: who accepted what, when and why, and how the noise is known."""
    from fastdiff.record.listings import baselines_text

    for line in baselines_text(root):
        typer.echo(line)


@app.command()
def runs(root: Path = ROOT) -> None:
    """List the run files with their outcome and stages."""
    from fastdiff.record.listings import runs_text

    for line in runs_text(root):
        typer.echo(line)
