"""What a machine can see: the scatter of pairs and of single processes, measured with the same environment twice.

It belongs to the machine, not to the project: it lies in the folder that git ignores, beside the compiled code.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from fastdiff.record.checks import object_, shaped
from fastdiff.record.errors import UserError
from fastdiff.record.files import load, named, write_text

if TYPE_CHECKING:
    from pathlib import Path

FILE = ".fastdiff/calibration.json"


@dataclass(frozen=True)
class Calibration:
    """Of one stage on one device. Standard deviations are of natural logarithms."""

    device: str
    """The device's slug."""
    stage: str
    work: str
    """The experiments' digest of what was built."""
    request: dict[str, Any]
    when: str
    pairs: int
    """Over how many it was measured."""
    calls: int
    paired_sd: float
    process_sd: float
    """Of single processes in seconds: what pairing removes is the difference."""
    most_pairs: int
    """For so many pairs the number below holds."""
    stages: int
    """Of the suite that shares the error."""
    confidence: float
    """Of the whole suite."""
    smallest: float
    """The slowdown that is found with 95 % power at that confidence: 0.02 is 2 %."""
    band: float = 0.01
    """Beyond which it is found."""


def read(root: Path) -> list[Calibration]:
    path = root / FILE
    if not path.exists():
        return []
    with named(path):
        whole = object_(load(path), "the file")
        return list(shaped(tuple[Calibration, ...], whole.get("calibrations"), "calibrations"))


def write(root: Path, found: Calibration) -> None:
    """In the place of an older one of the same work."""
    others = [one for one in _readable(root) if (one.work, one.request) != (found.work, found.request)]
    content = {"calibrations": [asdict(one) for one in [*others, found]]}
    write_text(root / FILE, json.dumps(content, indent=1, allow_nan=False) + "\n")


def of_device(root: Path, device: str, stage: str) -> Calibration | None:
    """The newest of that stage, or else the widest of the device: it promises least."""
    known = [one for one in _readable(root) if one.device == device]
    own = [one for one in known if one.stage == stage]
    return own[-1] if own else max(known, key=lambda one: one.paired_sd, default=None)


def _readable(root: Path) -> list[Calibration]:
    """A broken file is a missing calibration: it is measured again, not mended."""
    try:
        return read(root)
    except UserError:
        return []
