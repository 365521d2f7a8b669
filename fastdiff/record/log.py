"""`baselines/<device>/log.jsonl`: one line for each acceptance. Lines are added and never changed."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from fastdiff.record.spread import latency

if TYPE_CHECKING:
    from pathlib import Path

    from fastdiff.record.run import Baseline, Run

NAME = "log.jsonl"


def append(folder: Path, old: Run | None, new: Baseline) -> None:
    """One write at the end of the file, so that no line can be torn apart by another one."""
    ids = new.acceptance.only or [stage.id for stage in new.run.stages]
    entry = {
        "file": new.name,
        **asdict(new.acceptance),
        "stages": {id_: {"old": _times(old, id_), "new": _times(new.run, id_)} for id_ in ids},
    }
    path = folder / NAME
    # Half a line, left by a crash, keeps the line for itself.
    start = "" if not path.exists() or path.read_bytes()[-1:] in (b"", b"\n") else "\n"
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(log, f"{start}{json.dumps(entry)}\n".encode())
        os.fsync(log)
    finally:
        os.close(log)


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
