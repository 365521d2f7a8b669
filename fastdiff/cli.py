"""The `fastdiff` command: thin; each subcommand calls the room that does the work."""

from __future__ import annotations

import typer

from fastdiff import __version__

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


@app.callback()
def main(
    version: bool = typer.Option(False, "--version", callback=_print_version, is_eager=True, help="Show the version."),
) -> None:
    pass


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
