"""How far pictures may differ, by the kind of optimization that changed them."""

from __future__ import annotations

from fastdiff.record.budget import Budget

LOSSLESS = Budget(
    ssim=0.97,
    worst_tile=0.85,
    measured="the embedded model stayed above 0.9978 and 0.9957 in 12 requests; full-size models were not measured",
)
QUANTIZED = Budget(
    ssim=0.95,
    worst_tile=0.75,
    measured="the embedded model stayed above 0.9978 and 0.9946 in 12 requests; full-size models were not measured",
    flicker=0.08,
    relative_l2=0.2,
)
"""Wide against what was measured on a CPU, because a larger picture has more detail to lose; far from the 0.01 of a
tile with a hole in it."""


CACHED = Budget(
    ssim=0.80,
    worst_tile=0.40,
    measured="a choice, not a measurement: a cache redraws details and must keep the picture",
    flicker=0.15,
    relative_l2=0.4,
)
RESCHEDULED = Budget(
    ssim=0.60,
    worst_tile=0.20,
    measured="a choice, not a measurement: another scheduler takes other steps to a picture of the same content",
    flicker=0.2,
    relative_l2=0.6,
)
TILED = Budget(
    ssim=0.80,
    worst_tile=0.50,
    measured="a choice: tiles normalise each for itself; the embedded model had SSIM 0.955 in one run, 0.87 in another",
    flicker=0.15,
    relative_l2=0.1,
)
TINY = Budget(
    ssim=0.70,
    worst_tile=0.30,
    measured="a choice, not a measurement: a distilled decoder loses fine detail",
    flicker=0.2,
    relative_l2=0.1,
)
