"""Which layers a quantized stage leaves out: in a few words, and as the table and the proposal of `fastdiff layers`."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any

from fastdiff.compare.facts import listed
from fastdiff.compare.layers import gains, ratio, without
from fastdiff.report import tables

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fastdiff.record.layers import Race

LEFT_OUT = "left_out."
"""How the facts begin that count them by inputs and outputs."""


def left_out(facts: Mapping[str, Any]) -> str:
    """The layers that the filter selects but whose shape the kernel does not support; empty if there are none."""
    shapes = {name.removeprefix(LEFT_OUT): count for name, count in facts.items() if name.startswith(LEFT_OUT)}
    if not shapes:
        return ""
    return f"{sum(shapes.values())} layers not quantized, because no kernel supports {listed(list(shapes))}"


HEADINGS = ("inputs x outputs", "layers", "products of a call", "plain", "quantized", "to plain", "")


def table(races: Sequence[Race]) -> list[str]:
    """A line for each shape, the one with the most arithmetic first."""
    return tables.text(HEADINGS, [_row(race) for race in races])


def _row(race: Race) -> tuple[str, ...]:
    shape, found = race.shape, ratio(race)
    return (
        f"{shape.inputs} x {shape.outputs}",
        str(shape.layers),
        str(sum(shape.products.values())),
        f"{1000 * median(race.plain_s):.3g} ms",
        f"{1000 * median(race.quantized_s):.3g} ms",
        f"{found.ratio:.2f} ({found.low:.2f} .. {found.high:.2f})",
        "gains" if gains(found) else "left out",
    )


def proposal(races: Sequence[Race], kind: str, follows: str, device: str) -> list[str]:
    """A stage for pyproject.toml, and what it is worth."""
    left = without(races)
    plain = sum(median(race.plain_s) for race in races)
    mixed = sum(median(race.quantized_s if gains(ratio(race)) else race.plain_s) for race in races)
    every = sum(median(race.quantized_s) for race in races)
    if len(left) == len(races):
        return [f"No shape gains: {1000 * plain:.3g} ms plain, {1000 * every:.3g} ms quantized. Leave {kind} out here."]
    shapes = ", ".join(f"[{inputs}, {outputs}]" for inputs, outputs in left)
    return [
        f"{len(races) - len(left)} of {len(races)} shapes gain. All products together: {1000 * plain:.3g} ms plain, "
        f"{1000 * every:.3g} ms with every shape quantized, {1000 * mixed:.3g} ms with this filter:",
        "",
        f"[tool.fastdiff.stages.{kind}-here]",
        f'follows = "{follows}"',
        f'adds = "{kind} in the shapes that gain on {device}"',
        f'quantize = "{kind}"',
        f"filter = {{ without-shapes = [{shapes}] }}",
    ]
