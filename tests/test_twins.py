"""The whole suite on a small twin of every full-size architecture: the ladder, parity, fingerprint and memory."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fastdiff.models import ARCHITECTURES
from fastdiff.recipes import LADDER, TECHNIQUES

SUITE = Path(__file__).parent.parent / "perf_tests"
POSSIBLE = [name for name in TECHNIQUES.names if "model-offload" not in name and "sequential" not in name]
"""Of the techniques, on a CPU: the others move weights to where they are."""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    shutil.copytree(SUITE, tmp_path / "perf_tests", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def session(project: Path, model: str, *arguments: str) -> dict[str, Any]:
    """What the run file says of a session that passed."""
    command = [sys.executable, "-m", "pytest", "perf_tests", "-q", "-p", "no:cacheprovider", "--fastdiff-rounds=3"]
    command += [f"--fastdiff-model={model}", "--fastdiff-weights=twin", *arguments]
    wide = os.environ | {"COLUMNS": "300"}
    done = subprocess.run(command, cwd=project, env=wide, capture_output=True, text=True, timeout=1200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stdout
    (file,) = (project / "runs").glob("*.json")
    run: dict[str, Any] = json.loads(file.read_text())["fastdiff"]
    assert run["complete"]
    return run


@pytest.mark.timeout(1300)
@pytest.mark.parametrize("model", ARCHITECTURES)
def test_the_ladder(project: Path, model: str) -> None:
    run = session(project, model)
    stages = {stage["stage"]: stage for stage in run["stages"]}
    assert tuple(stages) == LADDER.names
    for name, stage in stages.items():
        assert stage["state"] == "measured", stage["reason"]
        assert stage["weights"] == "twin"
        assert len(stage["rounds"]) == 3
        assert stage["quality"]["passed"], f"{name}: {stage['quality']['reason']}"
        assert stage["memory"]["peak_bytes"] > 0
        assert stage["unapplied"] == []
        assert stage["fingerprint"]["flops"] > 0
        assert stage["fingerprint"]["recompiles"] == 0
    facts = {name: stage["fingerprint"] for name, stage in stages.items()}
    assert facts["compile"]["graphs"] == 2
    assert facts["fused-qkv"]["fused_modules"] == facts["fused-qkv"]["attention_modules"] > 0
    assert facts["int8"]["quantized_layers"] > 0
    assert stages["int8"]["memory"]["weights_bytes"] < stages["fused-qkv"]["memory"]["weights_bytes"]
    assert stages["bf16"]["memory"]["weights_bytes"] < 0.7 * stages["fp32"]["memory"]["weights_bytes"]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("model", ARCHITECTURES)
def test_the_memory_techniques(project: Path, model: str) -> None:
    """Compiling is tested with the ladder; one model is enough for the technique of that name."""
    asked = [name for name in TECHNIQUES.names if name != "default+compile" or model == "pixart-alpha"]
    table = f"--fastdiff-markdown={project / 'table.md'}"
    arguments = ("--fastdiff-ladder=techniques", "--fastdiff-batch=2", f"--fastdiff-stage={','.join(asked)}", table)
    run = session(project, model, *arguments)
    stages = {stage["stage"]: stage for stage in run["stages"]}
    measured = [name for name, stage in stages.items() if stage["state"] == "measured"]
    assert measured == [name for name in POSSIBLE if name in asked]
    for name in set(asked) - set(measured):
        assert stages[name]["state"] == "skipped"
        assert stages[name]["reason"] == "not possible here"
    peaks = {name: stages[name]["memory"]["peaks"]["decode"] for name in measured}
    assert peaks["default+vae-slicing"] < peaks["default"]
    assert peaks["default+vae-tiling"] < peaks["default"]
    weights = {name: stages[name]["memory"]["weights_bytes"] for name in measured}
    assert weights["default+precomputed-text"] < weights["default"] < weights["unoptimized"]
    lines = (project / "table.md").read_text().splitlines()
    assert lines[2].startswith("| Technique | Memory (GB) | Inference latency (ms) |")
    assert sum("not possible here" in line for line in lines) == len(asked) - len(measured)
    assert [line.split(" | ")[0] for line in lines[4:7]] == [
        "| unoptimized pipeline",
        "| bf16",
        "| bf16 + SDPA (default)",
    ]
