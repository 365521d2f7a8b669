"""One process: a session's calls against bare calls of the same pipeline, in blocks that take turns."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from fastdiff.record.files import APART

SIZE = 64
"""Pixels: short calls show more of what is added to each of them, and more blocks fit into the same minutes."""
SUITE = Path(__file__).with_name("test_blocks.py")
ROOT = SUITE.parents[2]


def ratios(stage: str, blocks: int, steps: int, *, disturb: bool = False) -> list[float]:
    """Of each two neighbouring blocks: the session's median over the bare one's."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        command = [sys.executable, "-m", "pytest", str(SUITE), "-q", f"--fastdiff-stage={stage}"]
        command += [f"--fastdiff-size={SIZE}", f"--fastdiff-steps={steps}", f"--benchmark-json={result}"]
        command += ["-p", "tools.overhead.disturbance"] if disturb else []
        variables = {**os.environ, "OVERHEAD_BLOCKS": str(blocks), APART: "overhead"}
        done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False)
        if done.returncode or not result.exists():  # pytest-benchmark writes none where nothing was timed
            raise SystemExit(f"{stage} was not measured:\n{(done.stdout + done.stderr)[-2000:]}")
        timed = json.loads(result.read_text())["benchmarks"]
    return [median(one["stats"]["data"]) / median(one["extra_info"]["bare_s"]) for one in timed]
