"""Which linear layers gain from dynamic quantization, as far as that was published. Data only; imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastdiff.stages.filters import Filter

if TYPE_CHECKING:
    from fastdiff.models import Model

SDXL = Filter(
    without_shapes=(
        (1280, 640),
        (1920, 1280),
        (1920, 640),
        (2048, 1280),
        (2048, 2560),
        (2560, 1280),
        (256, 128),
        (2816, 1280),
        (320, 640),
        (512, 1536),
        (512, 256),
        (512, 512),
        (640, 1280),
        (640, 1920),
        (640, 320),
        (640, 5120),
        (640, 640),
        (960, 320),
        (960, 640),
    )
)
"""Of SDXL's layers those in which the conversion costs more than int8 saves on an A100, as published."""

PUBLISHED = {"StableDiffusionXLPipeline": SDXL}
"""By pipeline: SSD-1B is SDXL with fewer blocks, and the embedded model SDXL with narrower ones. For Stable Diffusion
1.5 and PixArt the published scripts took the same pairs, "didn't explore the best shape combination criteria", and so
left layers out by coincidence; for Flux no list was published."""


def published(model: Model) -> Filter:
    """Where nothing was explored: every layer that is not too narrow. `fastdiff layers` explores it."""
    return PUBLISHED.get(model.pipeline, Filter())
