"""What several commands do alike: errors in one sentence, and sessions of paired experiments."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastdiff.experiments.sessions import PairSession

FINDING = 1
"""The exit code of a command that found something: a verdict that fails, a culprit. 0: it found nothing."""
TROUBLE = 2
"""The exit code of a command that could not do its work."""
INTERRUPTED = 130
"""The exit code after Ctrl-C, as the shell counts signals."""
EXIT_CODES = "Exit codes: 0 no finding, 1 a finding, 2 the command could not do its work, 130 interrupted."


@contextmanager
def one_sentence(kept: str = "nothing was kept.") -> Iterator[None]:
    """An error that the user can fix ends the command with one sentence, not with a traceback."""
    from fastdiff.record.errors import UserError

    try:
        yield
    except UserError as error:
        # The same sentences appear in pytest, whose options have a prefix. Text from a file is not changed.
        text = str(error) if error.code in ("file", "schema") else str(error).replace("--fastdiff-", "--")
    except KeyboardInterrupt as stop:
        typer.echo(f"\n{stop if stop.args else f'stopped; {kept}'}", err=True)
        raise typer.Exit(INTERRUPTED) from None
    except RuntimeError as error:
        if "Symlink loop" not in str(error):  # how Python 3.11 and 3.12 call it
            raise
        text = f"{error}; give another path."
    except OSError as error:
        text = f"{error.filename}: {error.strerror}" if error.filename else f"a file cannot be written ({error})."
    else:
        return
    typer.echo(plain(text), err=True)
    raise typer.Exit(TROUBLE)


def plain(text: str) -> str:
    """Each line without control sequences: file names and file contents may hold some."""
    from fastdiff.report.clean import clean

    return "\n".join(map(clean, text.split("\n")))


def session_in(root: Path) -> PairSession:
    from fastdiff.experiments.sessions import PairSession
    from fastdiff.record.project import require_folder
    from fastdiff.report.progress import Progress

    require_folder(root)  # experiments would make it, and keep everything there
    return PairSession(root, say=aside, progress=Progress(sys.stderr if sys.stderr.isatty() else None))


def band_of(text: str | None) -> float | None:
    """None where it was not given."""
    from fastdiff.record.errors import UserError
    from fastdiff.record.percent import share

    if text is None:
        return None
    try:
        band = share(text)
    except ValueError:
        band = 0.0
    if not 0.0001 <= band <= 1:
        raise UserError("recipe", f"--band: {text!r} is no percentage from 0.01% to 100%, for instance 2%.")
    return band


def shown(path: Path) -> str:
    """As a person would type it."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def as_json(facts: Any) -> None:
    """For programs; what is not ASCII is escaped, so nothing in it is a command to a terminal."""
    typer.echo(json.dumps(facts, indent=2))


def aloud(line: str) -> None:
    typer.echo(plain(line))


def aside(line: str) -> None:
    """Progress goes to standard error, the answer alone to standard output."""
    typer.echo(plain(line), err=True)
