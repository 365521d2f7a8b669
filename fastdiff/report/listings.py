"""What `fastdiff baselines` and `fastdiff runs` show, as lines for a terminal."""

from __future__ import annotations

from collections import Counter
from textwrap import wrap
from typing import TYPE_CHECKING

from fastdiff.record.baselines import FOLDER, accepted, devices
from fastdiff.record.baselines import read as read_accepted
from fastdiff.record.errors import UserError
from fastdiff.record.files import RUNS, read, runs
from fastdiff.record.project import require_folder
from fastdiff.record.run import INCOMPLETE, SKIPPED
from fastdiff.report.clean import clean
from fastdiff.report.columns import aligned

if TYPE_CHECKING:
    from pathlib import Path

    from fastdiff.record.run import Baseline, Run

WIDTH = 100


def baselines_text(root: Path) -> list[str]:
    """A block for each device; what cannot be read is named with its sentence."""
    require_folder(root)
    lines = []
    for folder in devices(root):
        if paths := accepted(folder):
            lines += [clean(folder.name), *(line for path in paths for line in _baseline(path))]
    return lines or [f'{root / FOLDER} holds no accepted run; do: fastdiff accept RUN --reason "..."']


def runs_text(root: Path) -> list[str]:
    require_folder(root)
    rows, unreadable = [], []
    for path in runs(root):
        try:
            rows.append(_run(path, read(path)))
        except UserError as error:
            unreadable += wrap(clean(f"unreadable: {error}"), WIDTH, subsequent_indent="  ", break_on_hyphens=False)
    lines = aligned([("file", "outcome", "device", "stages"), *rows]) if rows else []
    return [*lines, *unreadable] or [f"{root / RUNS} holds no run; do: pytest perf_tests --benchmark-compare"]


def _baseline(path: Path) -> list[str]:
    try:
        return _described(read_accepted(path))
    except UserError as error:
        return _indented(f"unreadable: {error}")


def _described(baseline: Baseline) -> list[str]:
    how, noise = baseline.acceptance, baseline.noise
    skipped = [stage.id for stage in baseline.run.stages if stage.state == SKIPPED]
    measured = f"measured over {noise.trials} processes, latency ±{noise.latency_sd:.1%}" if noise else "declared"
    facts = [
        ("stages", " ".join(stage.id for stage in baseline.run.stages if stage.state != SKIPPED)),
        *([("skipped", " ".join(skipped))] if skipped else ()),
        ("accepted", f"{how.when} by {how.by}"),
        ("reason", how.reason),
        *([("only", " ".join(how.only))] if how.only else ()),
        *([("forced", "; ".join(how.forced))] if how.forced else ()),
        ("noise", measured),
    ]
    return [f"  {clean(baseline.name)}", *(line for name, text in facts for line in _indented(f"{name:<10}{text}", 10))]


def _indented(text: str, hanging: int = 2) -> list[str]:
    return wrap(
        clean(text), WIDTH, initial_indent=" " * 4, subsequent_indent=" " * (4 + hanging), break_on_hyphens=False
    )


def _run(path: Path, run: Run) -> tuple[str, str, str, str]:
    states = Counter(stage.state for stage in run.stages)
    stages = ", ".join(f"{count} {state}" for state, count in states.items()) or "none"
    # Only a process that ended at once leaves no outcome.
    ended_in = next((f"the process ended in {stage.id}" for stage in run.stages if stage.state == INCOMPLETE), "-")
    outcome = run.outcome or ended_in
    return path.name, outcome if run.complete else f"{outcome} (incomplete)", run.device.slug, stages
