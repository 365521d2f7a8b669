"""The published figures, unchanged, and a run compared with them by factors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastdiff.compare.figures import CHARTS, PUBLISHED, beside, memory_share, speedup
from fastdiff.record.run import MEASURED
from fastdiff.report import tables

if TYPE_CHECKING:
    from fastdiff.compare.figures import Beside, Figure, Published
    from fastdiff.record.run import Run


def published() -> list[str]:
    """Every table, with its device and its source."""
    lines: list[str] = []
    for table in PUBLISHED:
        lines += [_heading(table), *tables.text(_columns(table), [_row(table, figure) for figure in table.figures]), ""]
    charts = [f"{model}: {source}" for model, source in CHARTS.items()]
    return [*lines, "published only as a chart, without numbers:", *charts]


def text(run: Run) -> list[str]:
    """A table for each model of the run that has published stages."""
    lines: list[str] = []
    for model in dict.fromkeys(trial.model for trial in run.stages):
        published_tables, rows = beside(run, model)
        if rows:
            lines += [*_model(run, model, published_tables, rows), ""]
    if not lines:
        stages = dict.fromkeys(figure.stage for table in PUBLISHED for figure in table.figures)
        return ["none of this run's stages was published; published were: " + ", ".join(stages)]
    return [*lines, "Compare only the factors: devices, sizes and libraries differ, so seconds are not comparable."]


def _model(run: Run, model: str, sources: tuple[Published, ...], rows: list[Beside]) -> list[str]:
    over = sources[0].compared_with
    trial = next(trial for trial in run.stages if trial.model == model)
    asked = ", ".join(f"{trial.request[name]} {unit}" for name, unit in UNITS if name in trial.request)
    weights = f" ({trial.weights} weights)" if trial.weights else ""
    memory = any(share for row in rows for share in row.memory_published)
    names = [source.name for source in sources]
    headings = ["stage", *(f"{name}: speedup over {over}" for name in ("here", *names))]
    if memory:
        headings += [f"{name}: memory to {over}" for name in ("here", *names)]
    cells = [
        (
            row.stage,
            *map(_times, (row.here, *row.published)),
            *(map(_times, (row.memory_here, *row.memory_published)) if memory else ()),
            "" if row.state == MEASURED else row.state,
        )
        for row in rows
    ]
    return [
        f"{model}{weights} on {run.device.name}: {asked}",
        *tables.text((*headings, "remark"), cells),
        *(_heading(source) for source in sources),
    ]


UNITS = (("size", "px"), ("steps", "steps"), ("batch", "pictures a call"))


def _heading(table: Published) -> str:
    return f"{table.name}: {table.model} on {table.device}; {table.request}; {table.source}"


def _columns(table: Published) -> tuple[str, ...]:
    has_memory = any(figure.gigabytes for figure in table.figures)
    memory = ("GB", f"memory to {table.compared_with}") if has_memory else ()
    return ("stage", "seconds", f"speedup over {table.compared_with}", *memory, "")


def _row(table: Published, figure: Figure) -> tuple[str, ...]:
    seconds = f"{figure.seconds:g}" if figure.seconds else "-"
    memory = (f"{figure.gigabytes:.2f}", _times(memory_share(table, figure.stage))) if figure.gigabytes else ()
    return (figure.stage, seconds, _times(speedup(table, figure.stage)), *memory, "")


def _times(factor: float | None) -> str:
    return f"{factor:.2f}x" if factor else "-"
