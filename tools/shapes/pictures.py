"""What the embedded model knows: scenes, the captions that describe them, and the pixels that show them."""

from __future__ import annotations

import itertools
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

if TYPE_CHECKING:
    from collections.abc import Iterator

SIZES = {"small": (0.31, 0.37), "large": (0.60, 0.66)}
"""Width of the shape as a share of the picture's; the gap between the two is what makes size measurable."""

COLOURS = {
    "red": (215, 35, 40),
    "orange": (250, 140, 20),
    "yellow": (250, 225, 60),
    "green": (35, 155, 70),
    "blue": (35, 75, 205),
    "purple": (140, 50, 165),
    "white": (245, 245, 245),
    "black": (25, 25, 25),
}

SHAPES = ("circle", "square", "triangle", "ring")

HELD_OUT_SHARE = 10
"""One scene in this many is kept out of training and scored apart."""

_SUPERSAMPLE = 4
_WANDER = 0.07
"""How far a shape's centre may be from the picture's, as a share of it. A caption says nothing about the place."""


@dataclass(frozen=True)
class Scene:
    """Everything that a caption can say about a picture."""

    size: str
    colour: str
    shape: str
    background: str

    @property
    def caption(self) -> str:
        article = "an" if self.background[0] in "aeiou" else "a"
        return f"a {self.size} {self.colour} {self.shape} on {article} {self.background} background"

    @property
    def held_out(self) -> bool:
        """Decided by a checksum of the caption, so that it is the same on every machine and in every Python."""
        return zlib.crc32(self.caption.encode()) % HELD_OUT_SHARE == 0


def every_scene() -> Iterator[Scene]:
    for size, colour, shape, background in itertools.product(SIZES, COLOURS, SHAPES, COLOURS):
        if colour != background:
            yield Scene(size, colour, shape, background)


@dataclass(frozen=True)
class Placement:
    """Where a shape stands: centre and width as shares of the picture."""

    x: float
    y: float
    width: float


def place(scene: Scene, random: np.random.Generator) -> Placement:
    width = random.uniform(*SIZES[scene.size])
    x, y = random.uniform(0.5 - _WANDER, 0.5 + _WANDER, size=2)
    return Placement(float(x), float(y), float(width))


def draw(scene: Scene, placement: Placement, pixels: int) -> np.ndarray:
    """The picture as `pixels` x `pixels` x 3 bytes with smooth edges."""
    canvas = pixels * _SUPERSAMPLE
    mask = Image.new("L", (canvas, canvas), 0)
    _outline(ImageDraw.Draw(mask), scene.shape, placement, canvas)
    coverage = np.asarray(mask.reduce(_SUPERSAMPLE), dtype=np.float32)[..., None] / 255
    front, back = (np.array(COLOURS[name], dtype=np.float32) for name in (scene.colour, scene.background))
    return np.round(back + coverage * (front - back)).astype(np.uint8)


def silhouette(shape: str, pixels: int) -> np.ndarray:
    """The shape alone, filling a square of `pixels`: what a drawn shape is compared with."""
    mask = Image.new("L", (pixels, pixels), 0)
    _outline(ImageDraw.Draw(mask), shape, Placement(0.5, 0.5, 1.0), pixels)
    return np.asarray(mask) > 127


def _outline(pen: ImageDraw.ImageDraw, shape: str, placement: Placement, canvas: int) -> None:
    x, y, radius = (v * canvas for v in (placement.x, placement.y, placement.width / 2))
    box = (x - radius, y - radius, x + radius, y + radius)
    if shape == "circle":
        pen.ellipse(box, fill=255)
    elif shape == "square":
        pen.rectangle(box, fill=255)
    elif shape == "triangle":
        pen.polygon([(x, y - radius), (x + radius, y + radius), (x - radius, y + radius)], fill=255)
    elif shape == "ring":
        hole = radius * 0.55
        pen.ellipse(box, fill=255)
        pen.ellipse((x - hole, y - hole, x + hole, y + hole), fill=0)
    else:
        raise ValueError(f"no shape is called {shape!r}; there are {', '.join(SHAPES)}")
