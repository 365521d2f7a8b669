"""Decides for each layer shape whether quantization gains, from alternating timings of the plain and quantized form."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastdiff.compare.effect import Errors, estimate, logarithm, of_pairs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastdiff.compare.effect import Estimate
    from fastdiff.record.layers import Race

ERROR = 0.01
"""Allowed error of each bound, per shape. A wrong decision costs a fraction of one per cent of the call."""


def ratio(race: Race) -> Estimate:
    """The time of the quantized layers divided by that of the plain ones."""
    pairs = zip(race.plain_s, race.quantized_s, strict=True)
    ratios = [logarithm(new, "a turn") - logarithm(old, "a turn") for old, new in pairs]
    return estimate(of_pairs(ratios), Errors(ERROR, ERROR))


def gains(found: Estimate) -> bool:
    """Whether the whole interval is below 1: a shape that may become slower is not quantized."""
    return found.high < 1


def without(races: Sequence[Race]) -> list[tuple[int, int]]:
    """The shapes that a filter leaves out."""
    return sorted((race.shape.inputs, race.shape.outputs) for race in races if not gains(ratio(race)))
