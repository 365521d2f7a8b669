"""What does the plugin add to a timed call? `python -m fastdiff.experiments.overhead`, one table.

A bare loop over the pipeline and pytest-benchmark's rounds with everything that fastdiff puts around them take turns
on one pipeline, in pytest; which of the two goes first changes with every round.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import fmean, median, stdev

from scipy.stats import t

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


def measure(stage: str, rounds: int) -> list[tuple[float, float]]:
    """Pairs of seconds: through the plugin, and bare."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "test_overhead.py").write_text(SUITE)
        (Path(folder) / "pytest.ini").write_text("[pytest]\n")
        command = [sys.executable, "-m", "pytest", "-q", "-k", "overhead", f"--fastdiff-stage={stage}"]
        command += [f"--fastdiff-rounds={rounds}", "--benchmark-json=result.json"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"the measurement failed:\n{done.stdout[-3000:]}")
        timed = json.loads((Path(folder) / "result.json").read_text() or "{}").get("benchmarks")
        if not timed:
            raise SystemExit(f"{stage} is not possible here, so nothing was timed; name another --stage.")
        found = timed[0]
    return list(zip(found["stats"]["data"], found["extra_info"]["bare_s"], strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m fastdiff.experiments.overhead", description=__doc__)
    parser.add_argument("--stage", default="sdpa")
    parser.add_argument("--rounds", type=int, default=40)
    options = parser.parse_args()
    pairs = measure(options.stage, options.rounds)
    ratios = [math.log(plugin / bare) for plugin, bare in pairs]
    half = float(t.ppf(0.975, len(ratios) - 1)) * stdev(ratios) / math.sqrt(len(ratios))
    middle = fmean(ratios)
    print(f"stage {options.stage}, {len(pairs)} pairs")
    print(f"bare loop           {median(bare for _, bare in pairs):.4f} s (median)")
    print(f"through the plugin  {median(plugin for plugin, _ in pairs):.4f} s (median)")
    print(
        f"ratio               {math.exp(middle):.4f} "
        f"({math.exp(middle - half):.4f} to {math.exp(middle + half):.4f} with 95 % confidence)"
    )


if __name__ == "__main__":
    main()
