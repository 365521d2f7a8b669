"""Where the accepted runs of a device lie: `baselines/<device>/NNNN_name.json`, inside the project."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = "baselines"


def folder_of(root: Path, slug: str) -> Path:
    """`slug` is the device's name as `measure.environment` writes it for a folder."""
    return root / FOLDER / slug


def accepted(folder: Path) -> list[Path]:
    """Oldest first: the four digits in front of the name count the acceptances."""
    return sorted(folder.glob("[0-9][0-9][0-9][0-9]_*.json"))
