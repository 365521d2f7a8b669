"""`fastdiff layers`: which layers gain from quantization on this machine."""

from __future__ import annotations

import sys
from pathlib import Path

import typer

from fastdiff.cli.common import aloud, one_sentence
from fastdiff.cli.options import A_BATCH, DEVICE, EMULATE, MODEL, ROOT, SIZE, STEPS, WEIGHTS
from fastdiff.compare.policy import FEWEST_PAIRS

QUANTIZE = typer.Option(
    "int8-dynamic", metavar="KIND", help="int8-dynamic, int8-weight-only, int4-weight-only or float8-dynamic."
)
TURNS = typer.Option(9, min=FEWEST_PAIRS, metavar="N", help="How often each shape is timed, plain and quantized.")


def layers(
    model: str = MODEL,
    weights: str = WEIGHTS,
    quantize: str = QUANTIZE,
    device: str = DEVICE,
    steps: int | None = STEPS,
    size: int | None = SIZE,
    batch: int | None = A_BATCH,
    turns: int = TURNS,
    emulate: bool = EMULATE,
    root: Path = ROOT,
) -> None:
    """Time each shape of a model's linear layers, plain and quantized, and propose a filter.

    Example: fastdiff layers --model sdxl --weights dummy
    """
    with one_sentence():
        from fastdiff.experiments.layers import FOLLOWS, explore
        from fastdiff.experiments.questions import AbOptions
        from fastdiff.host.environment import device_kind, device_name
        from fastdiff.record.project import require_folder
        from fastdiff.report.layers import proposal, table
        from fastdiff.report.progress import Progress

        require_folder(root)
        asked = AbOptions(model, weights, device=device, steps=steps, size=size, batch=batch, emulate=emulate)
        progress = Progress(sys.stderr if sys.stderr.isatty() else None)
        races = explore(asked, quantize, turns, root, progress)
        name = device_name(device_kind() if device == "auto" else device)
        for line in [*table(races), "", *proposal(races, quantize, FOLLOWS, name)]:
            aloud(line)
