"""What a stage drew, as files: pictures for an eye, and the numbers of tensors."""

from __future__ import annotations

from io import BytesIO
from typing import IO, TYPE_CHECKING
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile

import numpy as np

from fastdiff.record import pictures
from fastdiff.record.errors import UserError
from fastdiff.record.writing import write_bytes

if TYPE_CHECKING:
    from pathlib import Path

Output = np.ndarray | dict[str, np.ndarray]
"""Pictures (floats from 0 to 1, of the shape (pictures, height, width, 3), or of videos with an axis more), or tensors
by name."""

LARGEST_KEPT = 2**18
"""Numbers of all tensors of a stage that lie beside a run: 1 MB in float32. Baselines are committed."""
SHAPE, EVERY = "shape of ", "every of "
"""Beginnings of the names, in the file, of what belongs to a tensor: its shape, and by how much it is thinned."""


def keep(folder: Path, stage: str, output: Output) -> None:
    """Beside a run's file: `<run>/<stage>.png`, or `<run>/<stage>.npz`. Tensors that are too large for a repository are
    thinned to each n-th number, and n lies in the file."""
    if isinstance(output, dict):
        folder.mkdir(parents=True, exist_ok=True)
        content = BytesIO()
        _write(content, _thinned(output), ZIP_DEFLATED)
        write_bytes(folder / f"{stage}.npz", content.getvalue())
    else:
        pictures.save(folder, stage, output)


def _thinned(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    every = max(1, -(-sum(one.size for one in tensors.values()) // LARGEST_KEPT))
    return {name: one.reshape(-1)[::every] for name, one in tensors.items()} | {
        f"{what}{name}": np.array(value)
        for name, one in tensors.items()
        for what, value in ((SHAPE, one.shape), (EVERY, every))
    }


def write_whole(path: Path, output: Output) -> None:
    """From one process to another."""
    with path.open("wb") as file:  # or NumPy would give the file another name
        if isinstance(output, dict):
            _write(file, output, ZIP_STORED)
        else:
            np.save(file, output)


def _write(file: IO[bytes], tensors: dict[str, np.ndarray], compression: int) -> None:
    """As `np.savez` does. With that no tensor can be called `file`; and in the oldest NumPy that pyproject.toml allows,
    it pickles objects, and keeps its option `allow_pickle` as one more tensor."""
    with ZipFile(file, "w", compression) as archive:
        for name, one in tensors.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, one, allow_pickle=False)


def read_whole(path: Path) -> Output:
    try:
        found = np.load(path)
        if isinstance(found, np.ndarray):
            return found
        with found:
            return dict(found)
    except (OSError, ValueError, BadZipFile) as error:
        raise UserError("process", f"{path} cannot be read: {error}") from None
