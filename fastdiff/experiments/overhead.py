"""What does the plugin add to a timed call? `python -m fastdiff.experiments.overhead`, one table.

A bare loop over the pipeline and pytest-benchmark's rounds with everything that fastdiff puts around them take turns
on one pipeline, in pytest; which of the two goes first changes with every round.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from scipy.stats import binom

if TYPE_CHECKING:
    from collections.abc import Sequence

SUITE = """
import time

def test_overhead(stage, benchmark):
    asked, pipeline = stage.request, stage.built.pipeline
    from fastdiff.models.libraries import torch

    def bare():
        began = time.perf_counter()
        pipeline(
            prompt=asked.prompt, height=asked.size, width=asked.size, num_inference_steps=asked.steps,
            guidance_scale=asked.guidance, num_images_per_prompt=asked.batch,
            generator=[torch.Generator("cpu").manual_seed(asked.seed + i) for i in range(asked.batch)],
        )
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        bares.append(time.perf_counter() - began)

    def before():
        if len(bares) % 2 == 0:
            bare()
        stage.before_round()

    def after():
        stage.after_round()
        if len(bares) < rounds_done[0] + 1:
            bare()
        rounds_done[0] += 1

    bares, rounds_done = [], [0]
    stage.settle()
    benchmark.pedantic(stage.generate, setup=before, teardown=after, rounds=stage.rounds)
    benchmark.extra_info["bare_s"] = bares
"""


FEWEST = 6
"""The extremes of five pairs enclose the median in 94 of 100 cases only."""


def measure(stage: str, rounds: int, steps: int | None = None) -> list[tuple[float, float]]:
    """Pairs of seconds: through the plugin, and bare."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "test_overhead.py").write_text(SUITE)
        (Path(folder) / "pytest.ini").write_text("[pytest]\n")
        command = [sys.executable, "-m", "pytest", "-q", "-k", "overhead", f"--fastdiff-stage={stage}"]
        command += [f"--fastdiff-rounds={rounds}", "--benchmark-json=result.json"]
        command += [f"--fastdiff-steps={steps}"] if steps else []
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"the measurement failed:\n{done.stdout[-3000:]}")
        result = Path(folder) / "result.json"
        if not result.exists():  # pytest-benchmark writes none where nothing was timed
            raise SystemExit(f"{stage} is not possible here, so nothing was timed; name another --stage.")
        (timed,) = json.loads(result.read_text())["benchmarks"]
        return list(zip(timed["stats"]["data"], timed["extra_info"]["bare_s"], strict=True))


def median_ratio(pairs: Sequence[tuple[float, float]], confidence: float = 0.95) -> tuple[float, float, float]:
    """The median of the pairs' ratios, and between which two of them it lies with that confidence.

    By rank, so that a neighbour who comes in the middle of a pair counts as one pair, however long it stays.
    """
    ratios = sorted(plugin / bare for plugin, bare in pairs)
    below = int(binom.ppf((1 - confidence) / 2, len(ratios), 0.5))
    low, high = max(below - 1, 0), min(len(ratios) - below, len(ratios) - 1)
    return median(ratios), ratios[low], ratios[high]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m fastdiff.experiments.overhead", description=__doc__)
    parser.add_argument("--stage", default="sdpa")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--steps", type=int, help="denoising steps of a call: fewer are more pairs in the same time")
    options = parser.parse_args()
    if options.rounds < FEWEST:
        parser.error(f"--rounds is {options.rounds}; of fewer than {FEWEST} pairs no median is known with confidence.")
    pairs = measure(options.stage, options.rounds, options.steps)
    middle, low, high = median_ratio(pairs)
    print(f"stage {options.stage}, {len(pairs)} pairs")
    print(f"bare loop           {median(bare for _, bare in pairs):.4f} s (median)")
    print(f"through the plugin  {median(plugin for plugin, _ in pairs):.4f} s (median)")
    print(f"ratio               {middle:.4f} ({low:.4f} to {high:.4f} with 95 % confidence; median of the pairs)")


if __name__ == "__main__":
    main()
