"""The published figures of the ladder and of the techniques, as data, and a run compared with them.

Only factors are compared: seconds and bytes from another device, size or library version are not comparable.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastdiff.record.run import Run, Trial


@dataclass(frozen=True)
class Figure:
    """What was published about one stage."""

    stage: str
    seconds: float | None = None
    """Of one call."""
    gigabytes: float | None = None
    times: float | None = None
    """The speedup over the first stage, if only that was published."""


@dataclass(frozen=True)
class Published:
    """One table, its device, and where it stands."""

    name: str
    """Short, for a column heading."""
    model: str
    device: str
    request: str
    source: str
    figures: tuple[Figure, ...]
    compared_with: str = "fp32"
    """The stage that all factors are relative to."""


BLOG = "https://pytorch.org/blog/accelerating-generative-ai-3/"
A100 = Published(
    "A100",
    "sdxl",
    "NVIDIA A100, 80 GB, 400 W, highest clock rate",
    "1024 px, 30 steps, one picture",
    BLOG,
    (
        Figure("fp32", 7.36),
        Figure("bf16", 4.63),
        Figure("sdpa", 3.31),
        Figure("compile", 2.54),
        Figure("fused-qkv", 2.52),
        Figure("int8", 2.43),
    ),
)
XEON = Published(
    "Xeon",
    "sdxl",
    "4th generation Intel Xeon Scalable",
    "size and steps not published",
    "https://github.com/huggingface/diffusion-fast",
    (Figure("fp32", times=1.0), Figure("fused-qkv", times=4.0)),
)
"""One number: 4x with bfloat16, SDPA, torch.compile and fused projections."""
TECHNIQUES = Published(
    "A100",
    "sdxl",
    "NVIDIA A100, 40 GB",
    "1024 px, four pictures",
    "https://huggingface.co/blog/simple_sdxl_optimizations",
    (
        Figure("unoptimized", 72.2005, 28.09),
        Figure("half", 14.8009, 21.72),
        Figure("default", 11.4130, 21.72),
        Figure("default+compile", 10.2967, 21.73),
        Figure("default+model-offload", 16.0822, 20.21),
        Figure("default+sequential-offload", 67.0340, 19.91),
        Figure("default+vae-slicing", 11.2322, 15.40),
        Figure("default+vae-slicing+sequential-offload", 66.8692, 11.47),
        Figure("default+precomputed-text", 11.9090, 21.85),
        Figure("default+tiny-autoencoder", 10.4497, 15.48),
    ),
    compared_with="default",
)
PUBLISHED = (A100, XEON, TECHNIQUES)
CHARTS = {"ssd-1b": BLOG, "sd15": BLOG, "pixart-alpha": BLOG}
"""Models whose gains were published only as a bar chart, without numbers to compare with."""


@dataclass(frozen=True)
class Beside:
    """One stage of a run: its speedup over the reference stage of the tables, and the published speedups."""

    stage: str
    here: float | None
    memory_here: float | None
    """The memory divided by that of the reference stage, weights included."""
    published: tuple[float | None, ...]
    """In the order of the tables."""
    memory_published: tuple[float | None, ...]
    state: str


def tables_for(stages: Sequence[str]) -> tuple[Published, ...]:
    """The tables that have figures of one of these stages, other than the reference stage."""
    return tuple(
        table
        for table in PUBLISHED
        if any(one.stage in stages for one in table.figures if one.stage != table.compared_with)
    )


def beside(run: Run, model: str) -> tuple[tuple[Published, ...], list[Beside]]:
    """The tables that have these stages, and each stage of the model compared with them."""
    trials = {trial.stage: trial for trial in run.stages if trial.model == model}
    tables = tables_for(list(trials))
    if not tables:
        return (), []
    first = trials.get(tables[0].compared_with)
    known = {figure.stage for table in tables for figure in table.figures}
    return tables, [
        Beside(
            trial.stage,
            _ratio(_seconds(first), _seconds(trial)),
            _ratio(_bytes(trial), _bytes(first)),
            tuple(speedup(table, trial.stage) for table in tables),
            tuple(memory_share(table, trial.stage) for table in tables),
            trial.state,
        )
        for trial in trials.values()
        if trial.stage in known
    ]


def facts() -> dict[str, Any]:
    """Everything that was published, ready for JSON."""
    return {"tables": [asdict(table) for table in PUBLISHED], "charts": CHARTS}


def facts_beside(run: Run) -> list[dict[str, Any]]:
    """Of each model of the run that has published stages; the factors are in the order of the tables."""
    found = {model: beside(run, model) for model in dict.fromkeys(trial.model for trial in run.stages)}
    return [
        {"model": model, "tables": [asdict(table) for table in tables], "stages": [asdict(row) for row in rows]}
        for model, (tables, rows) in found.items()
        if rows
    ]


def speedup(table: Published, stage: str) -> float | None:
    figure, first = _figure(table, stage), _figure(table, table.compared_with)
    if figure is None or first is None:
        return None
    return figure.times or _ratio(first.seconds, figure.seconds)


def memory_share(table: Published, stage: str) -> float | None:
    figure, first = _figure(table, stage), _figure(table, table.compared_with)
    return _ratio(figure.gigabytes, first.gigabytes) if figure and first else None


def _figure(table: Published, stage: str) -> Figure | None:
    return next((figure for figure in table.figures if figure.stage == stage), None)


def _seconds(trial: Trial | None) -> float | None:
    """Seconds per picture, from the samples that the verdicts use."""
    if trial is None or not trial.samples:
        return None
    undisturbed = [one.wall_s for one in trial.samples if not one.void]
    return median(undisturbed or [one.wall_s for one in trial.samples]) / trial.batch


def _bytes(trial: Trial | None) -> float | None:
    return trial.memory.whole_bytes if trial and trial.memory else None


def _ratio(above: float | None, below: float | None) -> float | None:
    return above / below if above and below else None
