"""How alike two pictures are. Mean SSIM is blind to damage in one place, so the worst tile is measured as well."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

TILE = 64
"""Side of a tile in pixels: a tile is a place that an eye looks at, not a texture."""


@dataclass(frozen=True)
class Likeness:
    """Of the least alike pair of pictures."""

    ssim: float
    worst_tile: float
    psnr_db: float

    def __str__(self) -> str:
        return f"SSIM {self.ssim:.4f}, worst tile {self.worst_tile:.4f}, PSNR {self.psnr_db:.1f} dB"


def likeness(images: np.ndarray, reference: np.ndarray) -> Likeness:
    """Both as floats from 0 to 1 in the shape (pictures, height, width, 3)."""
    if images.shape != reference.shape:
        raise ValueError(
            f"pictures of shape {images.shape} cannot be compared with pictures of shape {reference.shape}"
        )
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


def _worst_tile(surface: np.ndarray) -> float:
    """Tiles overlap by half, so that damage on a seam is inside one of them."""
    height, width = surface.shape
    tile = min(TILE, height, width)
    return min(
        float(surface[top : top + tile, left : left + tile].mean())
        for top in _starts(height, tile)
        for left in _starts(width, tile)
    )


def _starts(length: int, tile: int) -> list[int]:
    return sorted({*range(0, length - tile + 1, max(tile // 2, 1)), length - tile})
