"""What `fastdiff baselines` and `fastdiff runs` show: the facts, and lines for a terminal."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from itertools import groupby
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from fastdiff.record.baselines import FOLDER, accepted, devices
from fastdiff.record.baselines import read as read_accepted
from fastdiff.record.errors import UserError
from fastdiff.record.files import RUNS, read, runs
from fastdiff.record.project import require_folder
from fastdiff.record.run import INCOMPLETE, SKIPPED
from fastdiff.report.clean import clean
from fastdiff.report.columns import aligned

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

WIDTH = 100


def baselines_facts(root: Path) -> list[dict[str, Any]]:
    """Of every accepted run, ready for JSON; what cannot be read has its sentence."""
    require_folder(root)
    return [
        {"device": folder.name, "file": path.name, **_facts_of_baseline(path)}
        for folder in devices(root)
        for path in accepted(folder)
    ]


def _facts_of_baseline(path: Path) -> dict[str, Any]:
    try:
        baseline = read_accepted(path)
    except UserError as error:
        return {"unreadable": str(error)}
    stages, noise = baseline.run.stages, baseline.noise
    return {
        "stages": [stage.id for stage in stages if stage.state != SKIPPED],
        "skipped": [stage.id for stage in stages if stage.state == SKIPPED],
        "acceptance": asdict(baseline.acceptance),
        "noise": {"processes": noise.trials, "latency": noise.latency_sd} if noise else None,
    }


def baselines_text(root: Path) -> list[str]:
    """A block for each device; what cannot be read is named with its sentence."""
    lines = []
    for device, found in groupby(baselines_facts(root), lambda one: one["device"]):
        lines += [clean(device), *(line for one in found for line in _baseline(one))]
    return lines or [f'{root / FOLDER} holds no accepted run; run: fastdiff accept RUN --reason "..."']


def runs_facts(root: Path) -> list[dict[str, Any]]:
    """Of every run, ready for JSON; what cannot be read has its sentence."""
    require_folder(root)
    return [{"file": path.name, **_facts_of_run(path)} for path in runs(root)]


def _facts_of_run(path: Path) -> dict[str, Any]:
    try:
        run = read(path)
    except UserError as error:
        return {"unreadable": str(error)}
    # Only a process that ended at once leaves no outcome.
    ended_in = next((f"the process ended in {stage.id}" for stage in run.stages if stage.state == INCOMPLETE), "-")
    return {
        "outcome": run.outcome or ended_in,
        "complete": run.complete,
        "device": run.device.slug,
        "stages": Counter(stage.state for stage in run.stages),
    }


def runs_text(root: Path) -> list[str]:
    rows, unreadable = [], []
    for one in runs_facts(root):
        if "unreadable" in one:
            sentence = clean(f"unreadable: {one['unreadable']}")
            unreadable += wrap(sentence, WIDTH, subsequent_indent="  ", break_on_hyphens=False)
        else:
            rows.append(_run(one))
    lines = aligned([("file", "outcome", "device", "stages"), *rows]) if rows else []
    return [*lines, *unreadable] or [f"{root / RUNS} holds no run file; run: pytest perf_tests --benchmark-compare"]


def _run(one: Mapping[str, Any]) -> tuple[str, str, str, str]:
    stages = ", ".join(f"{count} {state}" for state, count in one["stages"].items()) or "none"
    return one["file"], one["outcome"] + ("" if one["complete"] else " (incomplete)"), one["device"], stages


def _baseline(one: Mapping[str, Any]) -> list[str]:
    if "unreadable" in one:
        return _indented(f"unreadable: {one['unreadable']}")
    how, noise = one["acceptance"], one["noise"]
    measured = f"measured over {noise['processes']} processes, latency ±{noise['latency']:.1%}" if noise else "declared"
    facts = [
        ("stages", " ".join(one["stages"])),
        *([("skipped", " ".join(one["skipped"]))] if one["skipped"] else ()),
        ("accepted", f"{how['when']} by {how['by']}"),
        ("reason", how["reason"]),
        *([("only", " ".join(how["only"]))] if how["only"] else ()),
        *([("forced", "; ".join(how["forced"]))] if how["forced"] else ()),
        ("noise", measured),
    ]
    return [f"  {clean(one['file'])}", *(line for name, text in facts for line in _indented(f"{name:<10}{text}", 10))]


def _indented(text: str, hanging: int = 2) -> list[str]:
    return wrap(
        clean(text), WIDTH, initial_indent=" " * 4, subsequent_indent=" " * (4 + hanging), break_on_hyphens=False
    )
