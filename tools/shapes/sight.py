"""Reads a scene back from pixels, by measuring and not by a network: what `score` counts with.

What a scene is and how it is drawn stands in `pictures`; nothing here knows what a picture was asked to show.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import ndimage

from tools.shapes.pictures import COLOURS, SHAPES, SIZES, silhouette

SIZE_THRESHOLD = (SIZES["small"][1] + SIZES["large"][0]) / 2
"""The middle of the gap between the sizes, as a share of the picture's width."""

VISIBLE = 40.0
"""Two colours that are further apart (in steps of 0 to 255, along the straight line) are told apart.

The closest two of the palette, orange and yellow, are 94 apart; noise of 8 a channel reaches 40 in one pixel of 60,000.
"""

UNNAMEABLE = 80.0
"""A colour further than this from every name has none. Half the distance of the closest two names is 47, so what is
refused is a colour that the caption does not name (grey, pink), and not a poor but honest orange."""

SMALLEST, BIGGEST = 0.01, 0.62
"""Shares of the picture that a shape can cover: a small triangle covers 0.048 and a large square 0.44."""

SPECK = 0.1
"""Pieces below this share of the largest piece are noise; a bigger one counts as drawn, and spoils size and shape."""

EVEN = 2 / 3
"""Share of the border that has to have one colour: a shape that touches the border may hide the rest."""

LIKENESS = 0.7
"""Least overlap with a silhouette. A square and a circle, which are not alike, overlap by 0.79."""

_GRID = 64
"""Side of the square on which outlines are compared; the smallest shape at 128 pixels is 39 wide."""


@dataclass(frozen=True)
class Sighting:
    """What a picture shows, in the words of a scene; None is what cannot be told."""

    size: str | None = None
    colour: str | None = None
    shape: str | None = None
    background: str | None = None


def see(picture: np.ndarray) -> Sighting:
    """Looks at height x width x 3 bytes."""
    pixels = picture.astype(np.float32)
    back = _border_colour(pixels)
    if back is None:
        return Sighting()
    mask = _shape_mask(pixels, back)
    if mask is None:
        return Sighting(background=_colour_name(back))
    outline = _cropped(mask)
    return Sighting(
        size="large" if outline.shape[1] / mask.shape[1] > SIZE_THRESHOLD else "small",
        colour=_colour_name(_core_colour(pixels, mask)),
        shape=_most_alike(outline),
        background=_colour_name(back),
    )


def _border_colour(pixels: np.ndarray) -> np.ndarray | None:
    """The colour of a frame inside the margin that every shape keeps; None if the frame has more than one."""
    thick = max(1, min(pixels.shape[:2]) // 32)
    frame = np.ones(pixels.shape[:2], dtype=bool)
    frame[thick:-thick, thick:-thick] = False
    border = pixels[frame]
    colour = np.median(border, axis=0)
    return colour if np.mean(_distance(border, colour) < VISIBLE) >= EVEN else None


def _shape_mask(pixels: np.ndarray, back: np.ndarray) -> np.ndarray | None:
    """The pixels that are nearer to the shape's colour than to the background's, both as they were measured."""
    away = _distance(pixels, back)
    rough = _without_specks(away > VISIBLE)
    if not _plausible(rough):
        return None
    # Visible is a fixed distance, so the rough mask takes in half of every soft edge; halfway between is where it ends.
    mask = _without_specks(_distance(pixels, _core_colour(pixels, rough)) < away)
    return mask if _plausible(mask) else None


def _plausible(mask: np.ndarray) -> bool:
    return SMALLEST <= mask.mean() <= BIGGEST


def _without_specks(mask: np.ndarray) -> np.ndarray:
    pieces, count = ndimage.label(mask, structure=np.ones((3, 3)))
    if count == 0:
        return mask
    areas = np.bincount(pieces.ravel())
    areas[0] = 0  # what is not in the mask
    return (areas >= SPECK * areas.max())[pieces] & mask


def _core_colour(pixels: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The median inside the mask, away from its soft edges unless it is nothing but edges."""
    core = ndimage.binary_erosion(mask, iterations=max(1, mask.shape[0] // 64))
    return np.median(pixels[core if core.any() else mask], axis=0)


def _colour_name(colour: np.ndarray) -> str | None:
    distances = {name: float(_distance(colour, np.array(rgb))) for name, rgb in COLOURS.items()}
    nearest = min(distances, key=distances.__getitem__)
    return nearest if distances[nearest] <= UNNAMEABLE else None


def _most_alike(outline: np.ndarray) -> str | None:
    seen = _resized(outline)
    overlaps = {shape: _overlap(seen, known) for shape, known in _known_outlines().items()}
    best = max(overlaps, key=overlaps.__getitem__)
    return best if overlaps[best] >= LIKENESS else None


@cache
def _known_outlines() -> dict[str, np.ndarray]:
    """Cropped like the ones that are seen, because a shape need not fill the square that it is drawn in."""
    return {shape: _resized(_cropped(silhouette(shape, 4 * _GRID))) for shape in SHAPES}


def _overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union."""
    return float((one & other).sum() / (one | other).sum())


def _cropped(mask: np.ndarray) -> np.ndarray:
    rows, columns = ndimage.find_objects(mask.astype(np.uint8))[0]
    return mask[rows, columns]


def _resized(mask: np.ndarray) -> np.ndarray:
    rows, columns = (((np.arange(_GRID) + 0.5) * side / _GRID).astype(int) for side in mask.shape)
    return mask[np.ix_(rows, columns)]


def _distance(colours: np.ndarray, colour: np.ndarray) -> np.ndarray:
    return np.linalg.norm(colours - colour, axis=-1)
