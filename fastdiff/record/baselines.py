"""Where the accepted runs of a device lie: `baselines/<device>/NNNN_name.json`, inside the project."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fastdiff.record.files import read_baseline

if TYPE_CHECKING:
    from pathlib import Path

    from fastdiff.record.run import Baseline

FOLDER = "baselines"
NUMBERED = re.compile(r"([0-9]{4,})_.+")


def folder_of(root: Path, slug: str) -> Path:
    """`slug` is the device's name as `measure.environment` writes it for a folder."""
    return root / FOLDER / slug


def devices(root: Path) -> list[Path]:
    """The folders of all devices."""
    return sorted(folder for folder in (root / FOLDER).glob("*") if folder.is_dir())


def accepted(folder: Path) -> list[Path]:
    """Oldest first: the digits in front of the name count the acceptances, and may be more than four."""
    found = [path for path in folder.glob("*.json") if NUMBERED.fullmatch(path.name) and path.is_file()]
    return sorted(found, key=lambda path: (_number(path), path.name))


def newest(folder: Path) -> Baseline | None:
    """What a run of this device is compared with. A broken file is an error; an older one would stand in silently."""
    paths = accepted(folder)
    return read_baseline(paths[-1]) if paths else None


def next_path(folder: Path, name: str) -> Path:
    """Pictures without a run, left by a crash, count too: they never become those of another baseline."""
    taken = [path for path in folder.glob("*") if path.suffix == ".json" or path.is_dir()]
    numbers = [_number(path) for path in taken if NUMBERED.fullmatch(path.name)]
    return folder / f"{max(numbers, default=0) + 1:04}_{name}.json"


def _number(path: Path) -> int:
    return int(path.name.partition("_")[0])
