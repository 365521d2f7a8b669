"""The published experiments: the stages of each, measured one after the other, each in a fresh process."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastdiff.experiments.published import kind_of
from fastdiff.host.processor import emulated
from fastdiff.record.errors import UserError
from fastdiff.stages.published import LADDER
from fastdiff.stages.techniques import TECHNIQUES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from fastdiff.stages.ladder import Ladder

LATER = ("default+group-offload", "default+vae-tiling")
"""Techniques that the published table does not have."""
ENDED = 130
"""The exit code of a process that Ctrl-C has ended."""


@dataclass(frozen=True)
class Series:
    name: str
    shows: str
    """The beginning of the chart's title."""
    model: str
    stages: tuple[str, ...] = LADDER.names
    batch: int = 1
    device: str = "auto"
    memory: bool = False
    """Whether the experiment is about memory and not about time."""

    @property
    def ladder(self) -> Ladder:
        return TECHNIQUES if self.memory else LADDER


SERIES = {
    one.name: one
    for one in (
        Series("sdxl", "SDXL, the published ladder", "sdxl"),
        Series("ssd-1b", "SSD-1B, the published ladder", "ssd-1b"),
        Series("sd15", "Stable Diffusion 1.5, the published ladder", "sd15"),
        Series("pixart-alpha", "PixArt-Alpha, the published ladder", "pixart-alpha"),
        Series("cpu", "SDXL on a CPU, the published ladder", "sdxl", LADDER.names[:-1], device="cpu"),
        Series(
            "memory",
            "SDXL, the published memory techniques",
            "sdxl",
            tuple(name for name in TECHNIQUES.names if name not in LATER),
            batch=4,
            memory=True,
        ),
    )
}


@dataclass(frozen=True)
class Found:
    """The results of the stages."""

    measured: tuple[str, ...]
    refused: dict[str, str]
    """Stages that this device cannot run, each with the reason; these are no failures."""
    failed: tuple[str, ...]


def refusals(series: Series, device: str) -> dict[str, str]:
    """Stages that make no sense on this device, each with the reason."""
    kind = kind_of(device)
    lacking = emulated(kind)
    ladder, found = series.ladder.native(lacking), {}
    for name in series.stages:
        try:
            ladder[name].recipe.on(kind, emulated=lacking)
        except UserError as error:
            # There is no such option here: `fastdiff run --stage` measures as it is written.
            found[name] = str(error).replace("; leave the stage out, or add --fastdiff-emulate", "")
    return found


def measure(series: Series, device: str, out: Path, options: Sequence[str], say: Callable[[str], None]) -> Found:
    """Measures every stage with `fastdiff run --stage` and passes its output on, even after a stage has failed."""
    refused = refusals(series, device)
    measured: list[str] = []
    failed: list[str] = []
    for place, stage in enumerate(series.stages, start=1):
        say(f"{series.name}, {place} of {len(series.stages)}: {stage}")
        if stage in refused:
            say(f"left out: {refused[stage]}")
            continue
        words = ["--stage", stage, "--device", device, "--out", str(out), *options]
        done = subprocess.run(
            [sys.executable, "-m", "fastdiff.cli", "run", *words], stdout=subprocess.PIPE, text=True, check=False
        )
        for line in done.stdout.splitlines()[:1]:  # the latency; the rest is in the row
            say(line)
        if done.returncode == ENDED:
            raise KeyboardInterrupt
        (failed if done.returncode else measured).append(stage)
    return Found(tuple(measured), refused, tuple(failed))
