"""Where the accepted runs of a device lie: `baselines/<device>/NNNN_name.json`, inside the project."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fastdiff.record.files import read_baseline
from fastdiff.record.reading import entries_of
from fastdiff.record.writing import require_inside

if TYPE_CHECKING:
    from pathlib import Path

    from fastdiff.record.run import Baseline

FOLDER = "baselines"
NUMBERED = re.compile(r"([0-9]{4,})_.+")


def folder_of(root: Path, slug: str) -> Path:
    """`slug` is the device's name as `host.environment` writes it for a folder."""
    return root / FOLDER / slug


def devices(root: Path) -> list[Path]:
    """The folders of all devices."""
    return [entry for entry in entries_of(root / FOLDER) if _is_folder(entry)]


def accepted(folder: Path) -> list[Path]:
    """Oldest first: the digits in front of the name count the acceptances, and may be more than four.

    A link that leads nowhere and a pipe are among them: their reader refuses them, and no older baseline stands in.
    """
    found = [path for path in entries_of(folder) if path.suffix == ".json" and NUMBERED.fullmatch(path.name)]
    return sorted((path for path in found if not _is_folder(path)), key=lambda path: (_number(path), path.name))


def newest(folder: Path) -> Baseline | None:
    """What a run of this device is compared with. A broken file is an error; an older one would stand in silently."""
    paths = accepted(folder)
    return read(paths[-1]) if paths else None


def above(root: Path) -> Path | None:
    """The nearest folder above the project that has accepted runs: pytest may have been started too far down."""
    return next((folder for folder in root.resolve().parents if any((folder / FOLDER).glob("*/[0-9]*_*.json"))), None)


def read(path: Path) -> Baseline:
    """One of those that `accepted` names. Baselines come with a pull request, and links in it stay in the project."""
    require_inside(path, path.parents[2])
    return read_baseline(path)


def next_path(folder: Path, name: str) -> Path:
    """Pictures without a run, left by a crash, count too: they never become those of another baseline."""
    taken = [path for path in entries_of(folder) if path.suffix == ".json" or _is_folder(path)]
    numbers = [_number(path) for path in taken if NUMBERED.fullmatch(path.name)]
    return folder / f"{max(numbers, default=0) + 1:04}_{name}.json"


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # its reader will say why
        return False


def _number(path: Path) -> int:
    return int(path.name.partition("_")[0])
