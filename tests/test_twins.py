"""The whole suite on a small twin of every full-size architecture: the ladder, parity, fingerprint and memory."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import warm

from fastdiff.models import ARCHITECTURES
from fastdiff.recipes import LADDER

SUITE = Path(__file__).parent.parent / "perf_tests"
EAGER = ("ssd-1b", "sd15", "flux-schnell")
"""Their denoisers are of another twin's class, and compiling takes minutes."""

NO_DECODER = """
# All of them have the tiny model's class of autoencoder, whose compiled decoder is tested with the suite.
[tool.fastdiff.stages.int8]
follows = "fused-qkv"
adds = "as in the ladder, but for the decoder"
quantize = "int8-dynamic"
compile = { decoder = false }
budget = { ssim = 0.95, worst-tile = 0.75 }
"""


def asked_of(model: str) -> list[str]:
    """Without the two that int8 contains: the embedded model climbs them in every `make bench`."""
    left_out = ("compile", "fused-qkv", "int8") if model in EAGER else ("compile", "fused-qkv")
    return [name for name in LADDER.names if name not in left_out]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    shutil.copytree(SUITE, tmp_path / "perf_tests", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def session(project: Path, model: str, *arguments: str) -> dict[str, Any]:
    """What the run file says of a session that passed."""
    asked = ["perf_tests", "-q", "-p", "no:cacheprovider", "--fastdiff-rounds=3"]
    asked += [f"--fastdiff-model={model}", "--fastdiff-weights=twin", *arguments]
    done = warm.pytest(*asked, cwd=project, env=os.environ | {"COLUMNS": "300"})
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stdout
    (file,) = (project / "runs").glob("*.json")
    run: dict[str, Any] = json.loads(file.read_text())["fastdiff"]
    assert run["complete"]
    return run


@pytest.mark.timeout(1300)
@pytest.mark.parametrize("model", ARCHITECTURES)
def test_the_ladder(project: Path, model: str) -> None:
    asked = asked_of(model)
    (project / "pyproject.toml").write_text(NO_DECODER)
    run = session(project, model, f"--fastdiff-stage={','.join(asked)}")
    stages = {stage["stage"]: stage for stage in run["stages"]}
    assert list(stages) == asked
    for name, stage in stages.items():
        assert stage["state"] == "measured", stage["reason"]
        assert stage["weights"] == "twin"
        assert len(stage["rounds"]) == 3
        assert stage["quality"]["passed"], f"{name}: {stage['quality']['reason']}"
        assert stage["memory"]["peak_bytes"] > 0
        assert stage["unapplied"] == []
        assert stage["fingerprint"]["flops"] > 0
        assert stage["fingerprint"]["recompiles"] == 0
    for stage in asked[asked.index("sdpa") + 1 :]:
        assert stages[stage]["fingerprint"]["graphs"] == 1
    weights = {name: stage["memory"]["weights_bytes"] for name, stage in stages.items()}
    assert weights["bf16"] < 0.7 * weights["fp32"]
    if "int8" in stages:
        fused = stages["int8"]["fingerprint"]
        assert fused["fused_modules"] == fused["attention_modules"] > 0
        assert fused["quantized_layers"] > 0
        assert weights["int8"] < weights["bf16"]
