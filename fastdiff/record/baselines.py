"""Where the accepted runs of a device lie: `baselines/<device>/NNNN_name.json`, inside the project."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastdiff.measure.environment import device_slug

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = "baselines"


def folder_of(root: Path, device: str) -> Path:
    return root / FOLDER / device_slug(device)


def accepted(folder: Path) -> list[Path]:
    """Oldest first: the four digits in front of the name count the acceptances."""
    return sorted(folder.glob("[0-9][0-9][0-9][0-9]_*.json"))
