"""A second look, decided beforehand: what seems slow is timed again in fresh processes, and all of it counts."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from fastdiff.compare.facts import differences, listed
from fastdiff.record import files
from fastdiff.record.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastdiff.record.run import StageRecord

WORK = ("request", "recipe", "weights", "injected")
LAST_WORDS = 500
"""Characters of a failed process's output that are worth showing."""


def look(test: str, first: StageRecord, options: Sequence[str], root: Path, folder: Path) -> StageRecord:
    """Runs the one test `test` (its node id) in a fresh pytest, and reads from its file what it measured of the stage.

    It starts where this session was started, so that relative names mean the same.
    """
    stage = first.id
    apart = os.environ | {files.APART: "second-looks"}
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "run.json"
        command = [sys.executable, "-m", "pytest", str(root / test), f"--rootdir={root}", f"--benchmark-json={path}"]
        command += ["--fastdiff-trials=0", *options]
        done = subprocess.run(command, cwd=folder, env=apart, capture_output=True, text=True, check=False)
        wrote = path.exists() and path.stat().st_size > 0
        record = files.read(path).stage(stage) if wrote else None
        if record and record.rounds:
            here, there = ({what: getattr(one, what) for what in WORK} for one in (first, record))
            if changed := differences(here, there):
                raise UserError(
                    "process", f"a fresh process measured other work as {stage} ({listed(changed)}); it does not count."
                )
            return record
    words = (done.stdout + done.stderr).strip()[-LAST_WORDS:]
    raise UserError("process", f"a fresh process measured nothing of {stage}; it ended with: {words}")
