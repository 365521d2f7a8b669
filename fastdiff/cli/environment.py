"""`fastdiff environment`: show the device."""

from __future__ import annotations

import typer


def environment() -> None:
    """Show the device, its folder in baselines/, and the library versions."""
    from fastdiff.host.environment import device_kind, device_name, device_slug, versions
    from fastdiff.host.processor import emulated

    device = device_kind()
    typer.echo(f"device     {device_name(device)} ({device})")
    typer.echo(f"baselines  baselines/{device_slug(device)}")
    if lacking := emulated(device):
        typer.echo(f"emulated   {', '.join(lacking)} (no instructions for it; see `fastdiff ladder`)")
    for library, version in versions().items():
        typer.echo(f"{library:<17}{version}")
