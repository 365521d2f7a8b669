"""`python -m tools.roofline RUN`: the share of this machine's matrix rate that each stage of a run reaches.

Run it on the machine of the run, right after it: the rate is measured now.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from fastdiff.record import files
from fastdiff.report import tables
from tools.gpu_check.probes import ceilings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastdiff.record.run import Run

SIDE = {"cpu": 2048, "cuda": 8192}
"""Of the matrices: large enough that the processor computes and does not wait for memory."""
COPIED_BYTES = 2**28
RATES = {"float32": "fp32_tflop_per_s", "bfloat16": "bf16_tflop_per_s"}
HEADINGS = ("stage", "latency", "speedup", "TFLOP/s", "share", "of")


def rows(run: Run, rates: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Only stages whose FLOPs were counted; the first of them is what the others are compared with."""
    found: list[tuple[str, ...]] = []
    first: float | None = None
    for stage in run.stages:
        flops = stage.flops
        if not (stage.samples and flops):
            continue
        undisturbed = [one.wall_s for one in stage.samples if not one.void]
        latency = median(undisturbed or [one.wall_s for one in stage.samples])
        first = first or latency
        dtype = stage.recipe.get("quantize") or stage.recipe.get("dtype", "float32")
        rate, done = rates.get(RATES.get(dtype, "")), flops / latency / 1e12
        share = f"{done / rate:.0%}" if rate else "-"
        found.append((stage.stage, f"{latency:.2f} s", f"{first / latency:.2f}x", f"{done:.3f}", share, dtype))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.roofline", description=__doc__)
    parser.add_argument("run", type=Path, help="run file, for instance runs/20261129T143326Z.json")
    options = parser.parse_args()
    run = files.read(options.run)
    rates = ceilings(run.device.kind, SIDE[run.device.kind], COPIED_BYTES)
    print(f"{run.device.name}, products of {rates['side']} x {rates['side']}: ", end="")
    print(", ".join(f"{rates[key]:.3f} TFLOP/s in {dtype}" for dtype, key in RATES.items() if key in rates))
    print("\n".join(["", *tables.markdown(HEADINGS, rows(run, rates))]))


if __name__ == "__main__":
    main()
