"""How alike pictures are. Mean SSIM is blind to damage in one place, so the worst tile is measured as well; and what
each frame of a video has may be fine where the video flickers, so the changes from frame to frame are, too."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from fastdiff.record.pictures import each_frame

if TYPE_CHECKING:
    from fastdiff.record.budget import Budget

TILE = 64
"""Side of a tile in pixels: a tile is a place that an eye looks at, not a texture."""


@dataclass(frozen=True)
class Likeness:
    """Of the least alike pair of pictures, or of frames."""

    ssim: float
    worst_tile: float
    psnr_db: float
    flicker: float | None = None
    """Of a video: the largest change of a tile's error from one frame to the next, as a root mean square."""

    def __str__(self) -> str:
        flicker = "" if self.flicker is None else f", flicker {self.flicker:.4f}"
        return f"SSIM {self.ssim:.4f}, worst tile {self.worst_tile:.4f}, PSNR {self.psnr_db:.1f} dB{flicker}"

    def shortfall(self, budget: Budget) -> str | None:
        """Says in one sentence what the budget asks for and the picture does not have; None if nothing is."""
        # Written as `not ... >=`, so that a likeness that is not a number falls short too.
        if not self.ssim >= budget.ssim:
            return f"{self}: the budget asks for an SSIM of at least {budget.ssim} ({budget.measured})."
        if not self.worst_tile >= budget.worst_tile:
            return f"{self}: the budget asks for at least {budget.worst_tile} in the worst tile ({budget.measured})."
        if self.flicker is not None and not self.flicker <= budget.flicker:
            return (
                f"{self}: frames change in another way than the reference's, and the budget allows a flicker of "
                f"{budget.flicker} at most."
            )
        return None


def likeness(images: np.ndarray, reference: np.ndarray) -> Likeness:
    """Both as floats from 0 to 1 in the shape (pictures, height, width, 3), or (videos, frames, height, width, 3)."""
    if images.shape != reference.shape:
        raise ValueError(
            f"pictures of shape {images.shape} cannot be compared with pictures of shape {reference.shape}"
        )
    if images.ndim == 5:
        frames = likeness(each_frame(images), each_frame(reference))
        return replace(frames, flicker=_flicker(images, reference))
    pairs = [_pair(image, other) for image, other in zip(images, reference, strict=True)]
    # NumPy's minimum, because Python's own forgets a NaN that comes second.
    ssim, worst_tile, psnr_db = np.min([(pair.ssim, pair.worst_tile, pair.psnr_db) for pair in pairs], axis=0)
    return Likeness(float(ssim), float(worst_tile), float(psnr_db))


def _pair(image: np.ndarray, reference: np.ndarray) -> Likeness:
    from skimage.metrics import structural_similarity

    # The convention of the original paper: Gaussian window of 1.5 pixels, population covariance.
    mean, surface = structural_similarity(
        image.astype(np.float64),
        reference.astype(np.float64),
        data_range=1.0,
        channel_axis=-1,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )
    error = float(np.mean((image.astype(np.float64) - reference) ** 2))
    psnr = float("inf") if error == 0 else -10 * float(np.log10(error))
    return Likeness(float(mean), _worst_tile(surface.mean(axis=-1)), psnr)


def _flicker(images: np.ndarray, reference: np.ndarray) -> float:
    """The change of the error is the difference of the changes: what both videos show moving is not in it."""
    worst = [0.0]
    for video, other in zip(images, reference, strict=True):
        error = video.astype(np.float64) - other
        changes = np.diff(error, axis=0) ** 2
        worst += [float(np.sqrt(_tiles(change.mean(axis=-1)).max())) for change in changes]
    return float(np.max(worst))


def _worst_tile(surface: np.ndarray) -> float:
    return float(_tiles(surface).min())


def _tiles(surface: np.ndarray) -> np.ndarray:
    """The means of tiles, which overlap by half, so that damage on a seam is inside one of them."""
    height, width = surface.shape
    tile = min(TILE, height, width)
    places = [(top, left) for top in _starts(height, tile) for left in _starts(width, tile)]
    return np.array([surface[top : top + tile, left : left + tile].mean() for top, left in places])


def _starts(length: int, tile: int) -> list[int]:
    return sorted({*range(0, length - tile + 1, max(tile // 2, 1)), length - tile})
