"""Finds the shapes of linear layers that gain from quantization on this machine; those published are of one GPU."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fastdiff.experiments.questions import kind_of, lacking_of, model_of, request_of
from fastdiff.host.environment import device_kind
from fastdiff.record.errors import UserError, unknown
from fastdiff.stages.ladder import Stage
from fastdiff.stages.recipe import QUANTIZATIONS, Compile, Recipe

if TYPE_CHECKING:
    from pathlib import Path

    from fastdiff.experiments.questions import AbOptions
    from fastdiff.record.layers import Race
    from fastdiff.trial.runner import Progress

STEPS = 2
"""Every step multiplies the same matrices, and some schedulers need two."""
FOLLOWS = "fused-qkv"
"""The stage whose layers are timed, not compiled; fused projections change the shapes."""


def explore(asked: AbOptions, quantize: str, turns: int, project: Path, progress: Progress) -> list[Race]:
    """Draws once to record the matrix products of a call, then times them shape by shape."""
    if quantize not in QUANTIZATIONS[1:]:
        raise UserError("recipe", unknown("quantization", quantize, QUANTIZATIONS[1:]))
    model, kind, lacking = model_of(asked, project), kind_of(asked), lacking_of(asked)
    if "int8" in lacking and quantize == "int8-dynamic":
        raise UserError(
            "emulated",
            "this CPU has no instructions for int8, so its times say nothing about one that has; "
            "add --emulate to measure all the same.",
        )
    plain = Recipe(dtype="float32" if "bfloat16" in lacking else "bfloat16", attention="sdpa", fuse_qkv=True)
    replace(plain, quantize=quantize, compile=Compile()).on(kind, emulated=lacking)  # refuses what is impossible here

    from fastdiff.instruments.layers import race, shapes
    from fastdiff.trial.live import LiveStage

    device = device_kind() if asked.device == "auto" else asked.device
    request = request_of(model, replace(asked, steps=asked.steps or STEPS))
    with progress.doing(f"{model.name}: loading, building and drawing once"):
        live = LiveStage(model, Stage(FOLLOWS, plain, "as on the ladder, not compiled"), device, request)
        try:
            found = shapes(live.built, live.generate)
        finally:
            live.close()
    races = []
    for number, shape in enumerate(found, 1):
        with progress.doing(f"{shape.inputs} x {shape.outputs}, shape {number} of {len(found)}"):
            races.append(race(shape, quantize, plain.dtype, device, turns))
    return races
