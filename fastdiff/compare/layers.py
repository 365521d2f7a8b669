"""Which shapes of layers gain from quantization: a decision for each, from turns that both ways took."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastdiff.compare.effect import Errors, estimate, logarithm, of_pairs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastdiff.compare.effect import Estimate
    from fastdiff.record.layers import Race

ERROR = 0.01
"""How often a bound of one shape may be wrong. A shape on the wrong side costs a part of a per cent of the call."""


def ratio(race: Race) -> Estimate:
    """Of the quantized layers' time to the plain ones'."""
    pairs = zip(race.plain_s, race.quantized_s, strict=True)
    ratios = [logarithm(new, "a turn") - logarithm(old, "a turn") for old, new in pairs]
    return estimate(of_pairs(ratios), Errors(ERROR, ERROR))


def gains(found: Estimate) -> bool:
    """Whether the whole interval says so: what might get slower stays as it is."""
    return found.high < 1


def without(races: Sequence[Race]) -> list[tuple[int, int]]:
    """The shapes that a filter leaves out."""
    return sorted((race.shape.inputs, race.shape.outputs) for race in races if not gains(ratio(race)))
