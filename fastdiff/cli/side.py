"""`fastdiff side`: the environments that fastdiff has made."""

from __future__ import annotations

from pathlib import Path

import typer

from fastdiff.cli.common import as_json, aside, one_sentence
from fastdiff.cli.options import DEVICE, JSON, ROOT

DAYS = typer.Option(30, "--days", min=0, metavar="N", help="Remove environments that were not used for N days.")

side = typer.Typer(
    help="The recreated software of accepted runs and of other sides: list it, build it, remove what is not used.",
    no_args_is_help=True,
)


@side.command("list")
def list_sides(json: bool = JSON) -> None:
    """List the environments, with their sizes and when each was last used.

    Example: fastdiff side list --json
    """
    with one_sentence():
        from fastdiff.report.sides import sides_facts, sides_text
        from fastdiff.sides.home import home, kept

        if json:
            as_json(sides_facts(kept()))
            return
        for line in sides_text(home(), kept()):
            typer.echo(line)


@side.command()
def build(device: str = DEVICE, root: Path = ROOT) -> None:
    """Recreate the software of the newest accepted run, or explain why that is not possible.

    Example: fastdiff side build --device cpu
    """
    with one_sentence():
        from fastdiff.experiments.accepted import accepted_side
        from fastdiff.record.project import require_folder

        require_folder(root)
        found = accepted_side(root.resolve(), device, aside)
        for remark in found.remarks:
            typer.echo(remark)
        typer.echo(found.environment.python)


@side.command()
def prune(days: int = DAYS) -> None:
    """Remove environments that were not used for a while or never finished; those in use are kept.

    Example: fastdiff side prune --days 7
    """
    with one_sentence():
        from fastdiff.report.sides import size
        from fastdiff.sides.home import kept, remove

        freed = 0
        for one in kept():
            if not one.finished or one.unused_days >= days:
                bytes_ = remove(one)
                freed += bytes_ or 0
                if bytes_ is None:
                    typer.echo(f"{one.folder.name} is in use and was kept")
        typer.echo(f"{size(freed)} freed")
