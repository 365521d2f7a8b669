"""`baselines/<device>/log.jsonl`: one line for each acceptance. Lines are added and never changed."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from fastdiff.record.spread import latency
from fastdiff.record.writing import append_line

if TYPE_CHECKING:
    from pathlib import Path

    from fastdiff.record.run import Baseline, Run

NAME = "log.jsonl"


def append(folder: Path, old: Run | None, new: Baseline) -> None:
    """One line at the end of the file."""
    ids = new.acceptance.only or [stage.id for stage in new.run.stages]
    entry = {
        "file": new.name,
        **asdict(new.acceptance),
        "stages": {id_: {"old": _times(old, id_), "new": _times(new.run, id_)} for id_ in ids},
    }
    append_line(folder / NAME, json.dumps(entry))


def entries(folder: Path) -> list[dict[str, Any]]:
    """Oldest first, without the half lines that a crash left."""
    path = folder / NAME
    found = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else ():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def _times(run: Run | None, id_: str) -> dict[str, Any] | None:
    """Latency in seconds with its quartiles; None where there was no such stage."""
    stage = run.stage(id_) if run else None
    if stage is None:
        return None
    spread = latency(stage)
    return {"s": asdict(spread) if spread else None}
