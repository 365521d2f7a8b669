"""Blocks of bare calls and of calls as a session makes them, in turn; `tools.overhead.blocks` runs this file."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

    from fastdiff.trial.live import LiveStage

BLOCKS = int(os.environ.get("OVERHEAD_BLOCKS", "0"))
CALLS = 2
"""The second call follows upon what a session does after a call. Blocks of eight scatter more, and take three times as
long: on a shared machine the disturbances last about a second, so only neighbours that are nearer are alike."""
PAUSE_S = 0.1
"""Threads that were left spinning by the block before are asleep by then: OpenBLAS's spin for 2**26 cycles, 30 ms."""


@pytest.mark.parametrize("block", range(BLOCKS))
def test_block(stage: LiveStage, benchmark: BenchmarkFixture, block: int) -> None:
    if block == 0:
        stage.settle()
    stage.rounds = CALLS
    time.sleep(PAUSE_S)
    if block % 2:
        benchmark.extra_info["bare_s"] = bare(stage)
        time.sleep(PAUSE_S)
    stage.sample()  # untimed, as the first of the bare block: after a pause the first call pays for waking up
    stage.time(benchmark)
    if not block % 2:
        time.sleep(PAUSE_S)
        benchmark.extra_info["bare_s"] = bare(stage)


def bare(stage: LiveStage) -> list[float]:
    """The pipeline's own call, and nothing between two of them; without the first, which pays for waking up."""
    import torch

    asked, pipeline, seconds = stage.request, stage.built.pipeline, []
    for _ in range(1 + CALLS):
        began = time.perf_counter()
        pipeline(
            prompt=asked.prompt,
            height=asked.size,
            width=asked.size,
            num_inference_steps=asked.steps,
            guidance_scale=asked.guidance,
            num_images_per_prompt=asked.batch,
            generator=[torch.Generator("cpu").manual_seed(asked.seed + i) for i in range(asked.batch)],
        )
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    return seconds[1:]
