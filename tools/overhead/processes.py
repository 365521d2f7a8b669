"""Fresh processes in turn: a pytest session as users start it, and a script that never imports fastdiff.

Both do the same work in the same environment, with the allocator setting that fastdiff makes by itself: it is the one
deliberate difference, so the script runs once more without it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from fastdiff.host.processor import emulated
from fastdiff.models.shapes import FOLDER
from fastdiff.record.files import APART
from fastdiff.stages.published import LADDER

if TYPE_CHECKING:
    from collections.abc import Callable

BARE = Path(__file__).with_name("bare.py")
ROOT = BARE.parents[2]
CALLS = 40
"""Some 20 seconds: on a shared machine calls are disturbed for a second or so, and in twelve calls of five seconds that
does not average out."""
WARM = 3
"""Calls discarded as warm-up; a session makes as many."""
ALLOCATOR = {"MALLOC_TRIM_THRESHOLD_": str(2**62), "MALLOC_MMAP_MAX_": "0"}
"""What `fastdiff.host.allocator` sets, as variables of the environment; fastdiff leaves the allocator alone then."""


@dataclass(frozen=True)
class Turn:
    """Seconds of every call in three fresh processes that followed each other."""

    session: list[float]
    script: list[float]
    plain: list[float]
    """The script, with the allocator as the system has it."""

    @property
    def cost(self) -> float:
        return median(self.session) / median(self.script)

    @property
    def worth_of_the_allocator(self) -> float:
        return median(self.plain) / median(self.script)


def turn(stage: str, steps: int, place: int, *, disturb: bool = False) -> Turn:
    """The order of the three changes with every turn, so that a drift favours none of them."""
    system, ours = dict(os.environ), {**os.environ, **ALLOCATOR, APART: "overhead"}
    measure: dict[str, Callable[[], list[float]]] = {
        "session": lambda: _session(stage, steps, ours, disturb=disturb),
        "script": lambda: _script(stage, steps, ours),
        "plain": lambda: _script(stage, steps, system),
    }
    names = [*measure] if place % 2 else [*measure][::-1]
    names = names[place % 3 :] + names[: place % 3]
    seconds = {name: measure[name]() for name in names}
    return Turn(**seconds)


def _session(stage: str, steps: int, variables: dict[str, str], *, disturb: bool) -> list[float]:
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        command = [sys.executable, "-m", "pytest", "perf_tests/test_latency.py", "-q", f"--fastdiff-stage={stage}"]
        command += [f"--fastdiff-steps={steps}", f"--fastdiff-rounds={CALLS}", f"--benchmark-json={result}"]
        command += ["-p", "tools.overhead.disturbance"] if disturb else []
        done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False)
        if done.returncode or not result.exists():
            raise SystemExit(f"{stage} was not measured:\n{(done.stdout + done.stderr)[-2000:]}")
        (timed,) = json.loads(result.read_text())["benchmarks"]
    samples: list[float] = timed["stats"]["data"]
    return samples


def _script(stage: str, steps: int, variables: dict[str, str]) -> list[float]:
    dtype = LADDER.native(emulated("cpu"))[stage].recipe.dtype
    command = [sys.executable, str(BARE), str(FOLDER), stage, dtype, str(steps), str(CALLS)]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the script failed:\n{done.stderr[-2000:]}")
    return [float(line) for line in done.stdout.split()][WARM:]
