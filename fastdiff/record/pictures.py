"""The pictures of a run, beside its file: `<run>/<stage>.png`, and `<stage>-1.png` and so on for a batch or a video."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np

from fastdiff.record.writing import write_bytes

if TYPE_CHECKING:
    from pathlib import Path


def each_frame(images: np.ndarray) -> np.ndarray:
    """Of videos all the frames, as so many pictures; pictures stay as they are."""
    return images.reshape(-1, *images.shape[-3:])


def save(folder: Path, stage: str, images: np.ndarray) -> None:
    """`images` are floats from 0 to 1; what is not a number is drawn black."""
    folder.mkdir(parents=True, exist_ok=True)
    for place, image in enumerate(each_frame(images)):
        _draw(image, folder / (f"{stage}-{place}.png" if place else f"{stage}.png"))


DIFFERENCE = 8
"""How often a difference is multiplied so that an eye sees it: one step of 8 bits becomes visible on grey."""


def side_by_side(path: Path, old: np.ndarray, new: np.ndarray) -> None:
    """A row for each picture: old, new, and, where their shapes are the same, the difference on grey."""
    rows = []
    for before, now in zip(each_frame(old), each_frame(new), strict=False):
        alike = before.shape == now.shape
        row = [before, now, 0.5 + DIFFERENCE * (now - before)] if alike else [before, now]
        height = min(picture.shape[0] for picture in row)
        rows.append(np.concatenate([picture[:height] for picture in row], axis=1))
    width = min(row.shape[1] for row in rows)
    _draw(np.concatenate([row[:, :width] for row in rows], axis=0), path)


def _draw(image: np.ndarray, path: Path) -> None:
    from PIL import Image

    content = BytesIO()
    Image.fromarray((np.nan_to_num(image).clip(0, 1) * 255).round().astype(np.uint8)).save(content, "png")
    write_bytes(path, content.getvalue())  # a full disk leaves no half picture
