"""Where the accepted runs of a device lie: `baselines/<device>/NNNN_name.json`, inside the project."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fastdiff.record.errors import UserError
from fastdiff.record.files import read_baseline
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
    return [entry for entry in _entries(root / FOLDER) if entry.is_dir()]


def accepted(folder: Path) -> list[Path]:
    """Oldest first: the digits in front of the name count the acceptances, and may be more than four."""
    found = [path for path in _entries(folder) if path.suffix == ".json" and NUMBERED.fullmatch(path.name)]
    return sorted((path for path in found if path.is_file()), key=lambda path: (_number(path), path.name))


def newest(folder: Path) -> Baseline | None:
    """What a run of this device is compared with. A broken file is an error; an older one would stand in silently."""
    paths = accepted(folder)
    if not paths:
        return None
    require_inside(paths[-1], folder.parent.parent)
    return read_baseline(paths[-1])


def next_path(folder: Path, name: str) -> Path:
    """Pictures without a run, left by a crash, count too: they never become those of another baseline."""
    taken = [path for path in _entries(folder) if path.suffix == ".json" or path.is_dir()]
    numbers = [_number(path) for path in taken if NUMBERED.fullmatch(path.name)]
    return folder / f"{max(numbers, default=0) + 1:04}_{name}.json"


def _entries(folder: Path) -> list[Path]:
    """A folder that is not there is empty; one that cannot be listed is an error, and not an empty one."""
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise UserError("file", f"{folder} cannot be listed ({error.strerror}); give yourself the right to.") from None


def _number(path: Path) -> int:
    return int(path.name.partition("_")[0])
