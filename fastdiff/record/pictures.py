"""The pictures of a run, beside its file: `<run>/<stage>.png`, and `<stage>-1.png` and so on for a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path


def save(folder: Path, stage: str, images: np.ndarray) -> None:
    """`images` are floats from 0 to 1; what is not a number is drawn black."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    for place, image in enumerate(np.nan_to_num(images)):
        name = f"{stage}-{place}.png" if place else f"{stage}.png"
        Image.fromarray((image.clip(0, 1) * 255).round().astype(np.uint8)).save(folder / name)
