"""What a machine can see: the scatter of pairs and of single processes, measured with the same environment twice.

It belongs to the machine, not to the project: it lies in the folder that git ignores, beside the compiled code.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from fastdiff.record.bounds import Count, Deviation, Fact, Finite, Share  # noqa: TC001  (msgspec reads them)
from fastdiff.record.errors import UserError
from fastdiff.record.pairs import Way  # noqa: TC001  (msgspec reads it)
from fastdiff.record.reading import convert, load, named
from fastdiff.record.writing import as_json, write_text

if TYPE_CHECKING:
    from pathlib import Path

FILE = ".fastdiff/calibration.json"
FEWEST_RECOVERED = 0.8
"""Where pairs in halves see less of a known amount of work, the sides take turns."""


@dataclass(frozen=True)
class Calibration:
    """Of one stage on one device. Standard deviations are of natural logarithms."""

    device: str
    """The device's slug."""
    stage: str
    work: str
    """The experiments' digest of what was built."""
    request: dict[str, Fact]
    when: str
    pairs: Count
    """Over how many it was measured."""
    calls: Count
    way: Way
    """In which they were measured."""
    paired_sd: Deviation
    process_sd: Deviation
    """Of single processes in seconds: what pairing removes is the difference."""
    most_pairs: Count
    """For so many pairs the number below holds."""
    stages: Count
    """Of the suite that shares the error."""
    confidence: Share
    """Of the whole suite."""
    smallest: Finite
    """The slowdown that is found with 95 % power at that confidence: 0.02 is 2 %."""
    recovered: Finite | None = None
    """The share of a known amount of work, put into one side, that such pairs saw: 1 is all of it."""
    recovered_in_halves: Finite | None = None
    """The same of pairs in halves, whether or not these are; None where the cores have no halves."""
    band: Finite = 0.01
    """Beyond which it is found."""


@dataclass(frozen=True)
class _File:
    calibrations: tuple[Calibration, ...]


def read(root: Path) -> list[Calibration]:
    path = root / FILE
    if not path.exists():
        return []
    with named(path):
        return list(convert(load(path), _File, "the file").calibrations)


def write(root: Path, found: Calibration) -> None:
    """In the place of an older one of the same work."""
    others = [one for one in _readable(root) if (one.work, one.request) != (found.work, found.request)]
    content = {"calibrations": [asdict(one) for one in [*others, found]]}
    write_text(root / FILE, as_json(content))


def of_device(root: Path, device: str, stage: str) -> Calibration | None:
    """The newest of that stage, or else the widest of the device: it promises least."""
    known = [one for one in _readable(root) if one.device == device]
    own = [one for one in known if one.stage == stage]
    return own[-1] if own else max(known, key=lambda one: one.paired_sd, default=None)


def hides_work(root: Path, device: str) -> bool:
    """Whether pairs in halves were found to hide work on this device, when it was last calibrated."""
    seen = [one.recovered_in_halves for one in _readable(root) if one.device == device]
    newest = next((share for share in reversed(seen) if share is not None), 1.0)
    return newest < FEWEST_RECOVERED


def _readable(root: Path) -> list[Calibration]:
    """A broken file is a missing calibration: it is measured again, not mended."""
    try:
        return read(root)
    except UserError:
        return []
