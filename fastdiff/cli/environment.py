"""`fastdiff environment`: show the device."""

from __future__ import annotations

from pathlib import Path

import typer

from fastdiff.cli.common import as_json
from fastdiff.cli.options import JSON, ROOT


def environment(json: bool = JSON, root: Path = ROOT) -> None:
    """Show the device, its folder in baselines/, and the library versions.

    Example: fastdiff environment --json
    """
    from fastdiff.host.environment import device_kind, device_name, device_slug, limits, versions
    from fastdiff.host.processor import emulated
    from fastdiff.record.baselines import folder_of

    device = device_kind()
    name, folder = device_name(device), str(folder_of(root, device_slug(device)))
    lacking, unseen = emulated(device), limits(device)
    if json:
        facts = {"device": device, "name": name, "baselines": folder, "emulated": lacking, "limits": unseen}
        as_json({**facts, "versions": versions()})
        return
    typer.echo(f"device     {name} ({device})")
    typer.echo(f"baselines  {folder}")
    if unseen:
        typer.echo(f"limits     {unseen}")
    if lacking:
        typer.echo(f"emulated   {', '.join(lacking)} (no instructions for it; see `fastdiff ladder`)")
    for library, version in versions().items():
        typer.echo(f"{library:<17}{version}")
