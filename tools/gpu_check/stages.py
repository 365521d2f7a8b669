"""Stages that only this check measures: compiled without tuning, so that they fit into its minutes.

A pytest plugin; a session loads it with `-p tools.gpu_check.stages`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastdiff.stages.recipe import Compile

if TYPE_CHECKING:
    from fastdiff.models import Model
    from fastdiff.stages.ladder import Ladder

UNTUNED = "denoiser-untuned"
UNTUNED_GRAPHS = "denoiser-untuned-graphs"
UNTUNED_INT8 = "int8-untuned"
REHEARSED = "decoder-untuned"
REHEARSED_INT8 = "decoder-untuned-int8"
"""What a CPU compiles instead: the denoiser takes minutes there."""

DENOISER = Compile(mode="default", decoder=False, flags=())
GRAPHS = Compile(mode="reduce-overhead", decoder=False, flags=())
DECODER = Compile(mode="default", denoiser=False, flags=())


def pytest_fastdiff_ladder(ladder: Ladder, model: Model) -> Ladder | None:
    del model
    if "sdpa" not in ladder.names:
        return None
    ladder = ladder.extend(UNTUNED, "the denoiser compiled without tuning", follows="sdpa", compile=DENOISER)
    ladder = ladder.extend(UNTUNED_GRAPHS, "the same in CUDA graphs", follows=UNTUNED, compile=GRAPHS)
    ladder = ladder.extend(REHEARSED, "the decoder compiled without tuning", follows="sdpa", compile=DECODER)
    for name, follows in ((UNTUNED_INT8, UNTUNED), (REHEARSED_INT8, REHEARSED)):
        ladder = ladder.extend(name, "dynamic int8 in linear layers", follows=follows, quantize="int8-dynamic")
    return ladder
