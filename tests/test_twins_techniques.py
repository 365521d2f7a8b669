"""The memory techniques on a small twin of every kind of pipeline; a file of its own, so that both cores work."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from here import EMULATED
from test_twins import project as project
from test_twins import session

from fastdiff.stages.techniques import TECHNIQUES

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.nightly

SKIPPED = TECHNIQUES.native(EMULATED).refused(EMULATED)
IMPOSSIBLE = [name for name in TECHNIQUES.names if "model-offload" in name or "sequential" in name]
"""Of the techniques, on a CPU: they move weights to where they are."""


@pytest.mark.timeout(600)
@pytest.mark.parametrize("model", ["sdxl", "pixart-alpha", "flux-dev"])
def test_the_memory_techniques(project: Path, model: str) -> None:
    """Compiling is tested with the ladder; one model is enough for the technique of that name."""
    asked = [name for name in TECHNIQUES.names if name != "default+compile" or model == "pixart-alpha"]
    arguments = ("--fastdiff-ladder=techniques", "--fastdiff-batch=2", f"--fastdiff-stage={','.join(asked)}")
    run = session(project, model, *arguments, f"--fastdiff-markdown={project / 'table.md'}")
    stages = {stage["stage"]: stage for stage in run["stages"]}
    measured = [name for name, stage in stages.items() if stage["state"] == "measured"]
    assert measured == [name for name in asked if name not in (*IMPOSSIBLE, *SKIPPED)]
    for name in set(asked) - set(measured):
        assert stages[name]["state"] == "skipped"
        assert stages[name]["reason"] == ("emulated here" if name in SKIPPED else "not possible here")
    peaks = {name: stages[name]["memory"]["peaks"]["decode"] for name in measured}
    assert peaks["default+vae-slicing"] < peaks["default"]
    assert peaks["default+vae-tiling"] < peaks["default"]
    weights = {name: stages[name]["memory"]["weights_bytes"] for name in measured}
    assert weights["default+precomputed-text"] < weights["default"]
    assert (weights["default"] < weights["unoptimized"]) != bool(SKIPPED), "float32 is no less than float32"
    lines = (project / "table.md").read_text().splitlines()
    assert any(line.startswith("this CPU has no instructions for ") for line in lines) == bool(EMULATED)
    table = lines[next(row for row, line in enumerate(lines) if line.startswith("|")) :]
    assert table[0].startswith("| Technique | Memory (GB) | Inference latency (ms) |")
    assert sum(" here |" in line for line in lines) == len(asked) - len(measured)
    half = ("half precision", "fp32") if SKIPPED else ("bf16", "bf16")
    assert [line.split(" | ")[0] for line in table[2:5]] == [
        "| unoptimized pipeline",
        f"| {half[0]}",
        f"| {half[1]} + SDPA (default)",
    ]
