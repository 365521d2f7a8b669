"""The steps of the check, the important ones first: what each runs, for how long at most, and on what it depends."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tools.gpu_check import reading
from tools.gpu_check.stages import REHEARSED, REHEARSED_INT8, UNTUNED, UNTUNED_GRAPHS, UNTUNED_INT8

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PART_S = 420.0
"""A part with all its steps; a lent GPU is lent for minutes."""
PAIRS_MINUTES = 0.4
"""No new pair starts after this many minutes: each takes 15 to 30 s, most of it for two processes to start."""
INT8_BATCH = 16
"""Pictures of a call on a GPU: torch._int_mm takes no fewer than 17 rows there, and embeddings have two a picture."""


@dataclass(frozen=True)
class Scale:
    """How large the measurements are."""

    device: str
    weights: str
    size: int
    steps: int
    rounds: int
    side: int
    """Of the matrix products that show the ceiling."""
    copied_bytes: int
    calls: int
    """Of each side in a pair."""

    @property
    def on_gpu(self) -> bool:
        return self.device.startswith("cuda")


GPU = Scale("cuda", "dummy", size=1024, steps=30, rounds=3, side=8192, copied_bytes=4 * 2**30, calls=12)
REHEARSAL = Scale("cpu", "twin", size=128, steps=2, rounds=2, side=1024, copied_bytes=2**28, calls=4)
"""The same steps on a CPU, small enough for minutes."""


@dataclass(frozen=True)
class Step:
    name: str
    part: int
    limit_s: float
    title: str
    command: Callable[[Scale, Path], list[str]]
    """`Path` is where a probe writes its JSON; a session writes a run file instead."""
    read: Callable[[Scale, reading.Outcome], reading.Found]
    needs_gpu: str = ""
    """Why a CPU cannot do it; empty where it can."""
    needs: str = ""
    """A package that must load."""


def probe(name: str) -> Callable[[Scale, Path], list[str]]:
    def command(scale: Scale, file: Path) -> list[str]:
        sizes = [scale.device, str(scale.side), str(scale.copied_bytes)]
        return [sys.executable, "-m", "tools.gpu_check.probes", name, str(file), *sizes]

    return command


def session(
    *options: str, tests: tuple[str, ...] = ("applied", "latency", "memory", "parity"), full_size: bool = False
) -> Callable[[Scale, Path], list[str]]:
    """A pytest session; `full_size` measures SDXL at the scale's size instead of the embedded model.

    It works without an installation of fastdiff, and beside whatever other plugins a machine has.
    """

    def command(scale: Scale, _: Path) -> list[str]:
        names = ("pytest_benchmark.plugin", "fastdiff.plugin", "tools.gpu_check.stages", "no:cacheprovider")
        plugins = ["--disable-plugin-autoload", *(word for name in names for word in ("-p", name))]
        files = [f"perf_tests/test_{name}.py" for name in tests]
        words = [f"--fastdiff-device={scale.device}", f"--fastdiff-rounds={scale.rounds}"]
        if full_size:
            words += ["--fastdiff-model=sdxl", f"--fastdiff-weights={scale.weights}", f"--fastdiff-size={scale.size}"]
            words.append(f"--fastdiff-steps={scale.steps}")
        # Of an option that is given twice pytest takes the last.
        return [sys.executable, "-m", "pytest", *plugins, *files, *words, *options]

    return command


def compiled(
    gpu: str, rehearsed: str, *gpu_options: str, full_size: bool = False
) -> Callable[[Scale, Path], list[str]]:
    """A session of compiled stages; a CPU compiles the decoder of a small SDXL instead, in well under a minute."""

    def command(scale: Scale, file: Path) -> list[str]:
        options = [f"--fastdiff-stage={gpu}", *gpu_options] if scale.on_gpu else [f"--fastdiff-stage={rehearsed}"]
        return session(*options, tests=("applied", "latency"), full_size=full_size or not scale.on_gpu)(scale, file)

    return command


def pairs(scale: Scale, _: Path) -> list[str]:
    """An A/A: both sides are this environment, so the true difference is zero."""
    what = ["--stage", "sdpa", "--device", scale.device, "--steps", "2", "--calls", str(scale.calls)]
    most = ["--pairs", "5", "--max-time", str(PAIRS_MINUTES), "--fresh"]
    return [sys.executable, "-c", "from fastdiff.cli import app; app()", "ab", *what, *most]


STEPS = (
    Step(
        "telemetry",
        1,
        50,
        "NVML at 50 Hz: idle, bf16 products, idle",
        probe("telemetry"),
        reading.telemetry,
        needs_gpu="there is no NVIDIA driver to ask",
    ),
    Step("ceilings", 1, 40, "rates of matrix products and copies", probe("ceilings"), reading.ceilings),
    Step(
        "shapes-eager",
        1,
        90,
        "the embedded model's eager stages",
        session("--fastdiff-stage=fp32,bf16,sdpa"),
        reading.eager,
    ),
    Step(
        "sdxl-eager",
        1,
        150,
        "SDXL with random weights, eager stages",
        session("--fastdiff-stage=fp32,bf16,sdpa", full_size=True),
        reading.full_size,
    ),
    Step(
        "techniques",
        1,
        90,
        "peak memory of four techniques, batch 4",
        session(
            "--fastdiff-ladder=techniques",
            "--fastdiff-stage=unoptimized,default,default+vae-slicing,default+model-offload",
            "--fastdiff-batch=4",
            "--fastdiff-steps=2",
            tests=("memory",),
            full_size=True,
        ),
        reading.techniques,
    ),
    Step(
        "sync",
        2,
        40,
        "an injected wait for the GPU in every denoising step",
        session("--fastdiff-stage=sdpa", "--fastdiff-inject=sync@sdpa", tests=("latency",)),
        reading.sync,
        needs_gpu="there is no GPU to wait for",
    ),
    Step(
        "sdxl-compile",
        2,
        180,
        "SDXL's denoiser compiled without tuning, without and with CUDA graphs",
        compiled(f"{UNTUNED},{UNTUNED_GRAPHS}", REHEARSED, full_size=True),
        reading.compiled,
    ),
    Step("pairs", 2, 60, "pairs of this environment with itself", pairs, reading.pairs),
    Step(
        "int8",
        2,
        50,
        "the embedded model in dynamic int8, compiled without tuning",
        compiled(UNTUNED_INT8, REHEARSED_INT8, f"--fastdiff-batch={INT8_BATCH}"),
        reading.applied,
        needs="torchao",
    ),
    Step(
        "shapes-compile",
        2,
        90,
        "the embedded model compiled with the published flags",
        compiled("compile", "compile-decoder"),
        reading.applied,
    ),
)
"""In each part the steps that are surely quick come first: what they leave of their limits goes to the later ones."""


def missing(step: Step, scale: Scale) -> str:
    """Why the step cannot be measured here; empty where it can."""
    if step.needs_gpu and not scale.on_gpu:
        return f"{step.needs_gpu} on {scale.device}"
    if step.needs and importlib.util.find_spec(step.needs) is None:
        return f"{step.needs} is not installed"
    return ""
