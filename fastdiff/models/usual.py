"""What a pipeline that was named by its place is called with: its own defaults, and what it cannot do without."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from fastdiff.models import ASTRONAUT
from fastdiff.models.factories import HEIGHT, STEPS, WIDTH, must_be_given
from fastdiff.record.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping

PLAIN = {
    "prompt": ASTRONAUT,
    # Else some draw in another size than the request's, and clean words with packages that a machine may not have.
    "use_resolution_binning": False,
    "clean_caption": False,
}
SMALL_STEPS, SMALL_SIDE, SMALL_FRAMES = 4, 128, 9
SMALL = {
    **{STEPS: SMALL_STEPS, HEIGHT: SMALL_SIDE, WIDTH: SMALL_SIDE, "num_frames": SMALL_FRAMES},
    "max_area": SMALL_SIDE**2,  # to which some pipelines scale the size of the request
}
"""Random weights draw no better with more steps; with fewer some schedulers fail, and a call with a `strength`, which
takes a part of them, may take none. 9 frames: 8 behind the first, which autoencoders of videos halve three times."""
NUMBERS = {"class_labels": [1]}
"""What pipelines without words want."""

OF_A_PICTURE = re.compile(
    r"Img2Img|Image2Image|Inpaint|ImageToVideo|Image2Video|Upscale|SuperRes|Pix2Pix|Edit|Fill|Variation|Depth|Redux"
)
"""Names of classes whose call takes a picture though its signature has a default for it."""
OF_A_MASK = re.compile(r"Inpaint|Fill")
OF_A_VIDEO = re.compile(r"VideoToVideo|Video2Video")
LARGEST_SIDE, USUAL_SIDE = 1024, 512


def call(pipeline: Any, *, small: bool) -> dict[str, Any]:
    """The arguments; `small`: of a copy that is to run in seconds. What cannot be made up is refused."""
    takes = inspect.signature(pipeline.__call__).parameters
    side = SMALL_SIDE if small else _side(pipeline)
    made = PLAIN | NUMBERS | _pictures(type(pipeline).__name__, takes, side) | (least(takes) if small else {})
    found = {name: value for name, value in made.items() if name in takes}
    lacking = [one.name for one in takes.values() if must_be_given(one) and one.name not in found]
    if lacking:
        raise UserError(
            "recipe",
            f"the call of {type(pipeline).__name__} needs {' and '.join(lacking)}, which fastdiff cannot make up; give "
            "it in a function of your own: fastdiff init",
        )
    return found


def least(takes: Mapping[str, inspect.Parameter]) -> dict[str, Any]:
    """Of a call that takes this: what makes it short."""
    found = {name: value for name, value in SMALL.items() if name in takes}
    usual = takes[STEPS].default if STEPS in takes else None
    return found | ({STEPS: usual} if isinstance(usual, int) and usual < SMALL_STEPS else {})


def _pictures(cls: str, takes: Mapping[str, inspect.Parameter], side: int) -> dict[str, Any]:
    """Of those that the call cannot do without."""
    made: dict[str, Any] = {}
    for name, of_it, make in (
        ("image", OF_A_PICTURE, picture),
        ("mask_image", OF_A_MASK, mask),
        ("video", OF_A_VIDEO, lambda side: [picture(side)] * SMALL_FRAMES),
    ):
        if name in takes and (of_it.search(cls) or must_be_given(takes[name])):
            made[name] = make(side)
    return made


def picture(side: int) -> Image.Image:
    """Colours that flow, and a disc."""
    down, across = np.mgrid[0:side, 0:side] / side
    disc = (down - 0.5) ** 2 + (across - 0.5) ** 2 < 0.09
    pixels = np.stack([np.where(disc, 0.9, down), across, np.where(disc, 0.2, 1 - down)], axis=-1)
    return Image.fromarray((255 * pixels).astype(np.uint8))


def mask(side: int) -> Image.Image:
    """The middle is to be drawn."""
    pixels = np.zeros((side, side), np.uint8)
    pixels[side // 4 : -side // 4, side // 4 : -side // 4] = 255
    return Image.fromarray(pixels)


def _side(pipeline: Any) -> int:
    """Of the picture that the pipeline draws of its own accord."""
    denoiser = next(
        (one for name in ("unet", "transformer") if (one := getattr(pipeline, name, None)) is not None), None
    )
    latents = getattr(getattr(denoiser, "config", None), "sample_size", None)
    factor = getattr(pipeline, "vae_scale_factor", None)
    if not (isinstance(latents, int) and isinstance(factor, int)):
        return USUAL_SIDE
    return min(LARGEST_SIDE, latents * factor)
