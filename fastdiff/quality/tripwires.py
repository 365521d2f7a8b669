"""Pictures that are wrong whatever they are compared with. Two black images have an SSIM of 1, so this comes first."""

from __future__ import annotations

import numpy as np

from fastdiff.record.pictures import each_frame

DARKEST = 2 / 255
"""A picture with no pixel brighter than this is black: what a pipeline shows after NaN or an overflow."""

FLATTEST = 1 / 255
"""Smallest standard deviation that a drawn picture can have; even a plain sky has more."""


def tripped(images: np.ndarray) -> str | None:
    """Says in one sentence what is wrong with the first bad picture, or frame; None if nothing is."""
    images = each_frame(images)
    if not len(images):
        return "there is no picture at all."
    for place, image in enumerate(images):
        which = f"picture {place + 1} of {len(images)}"
        if not np.isfinite(image).all():
            return f"{which} has {int((~np.isfinite(image)).sum())} values that are not numbers."
        if image.max() <= DARKEST:
            return f"{which} is black."
        # Along each channel: a plain red picture has three flat channels, and they differ.
        if image.std(axis=(0, 1)).max() < FLATTEST:
            return f"{which} is one flat colour."
    return None
