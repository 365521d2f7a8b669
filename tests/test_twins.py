"""The whole suite on a small twin of every full-size architecture: the ladder, parity, fingerprint and memory."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import warm
from here import NATIVE

from fastdiff.models.architectures import ARCHITECTURES
from fastdiff.stages.published import LADDER

pytestmark = pytest.mark.nightly

SUITE = Path(__file__).parent.parent / "perf_tests"
EAGER = ("ssd-1b", "sd15", "flux-schnell")
"""Their denoisers are of another twin's class, and compiling takes minutes."""
TRACED = "sdxl"
"""Its classes are those of the tiny model, whose highest stage is compiled with the tests of building: here the graphs
are made, and no C++ of them."""
NO_COMPILER = """
def pytest_configure():
    import functools, torch
    torch.compile = functools.partial(torch.compile, backend="eager")
"""
TOP = NATIVE[-1]
"""The highest stage contains the other compiled ones, which the embedded model climbs in every `make bench`."""

NO_DECODER = f"""
# All of them have the tiny model's class of autoencoder, whose compiled decoder is tested with the suite.
[tool.fastdiff.stages.{TOP}]
follows = "{LADDER[TOP].follows}"
adds = "as in the ladder, but for the decoder"
{'quantize = "int8-dynamic"' if TOP == "int8" else "fuse-qkv = true"}
compile = {{ decoder = false }}
budget = {{ ssim = 0.95, worst-tile = 0.75 }}
"""


def asked_of(model: str) -> list[str]:
    eager = [name for name in NATIVE if LADDER[name].recipe.compile is None]
    return eager if model in EAGER else [*eager, TOP]


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
    (project / "conftest.py").write_text(NO_COMPILER if model == TRACED else "")
    run = session(project, model, f"--fastdiff-stage={','.join(asked)}")
    stages = {stage["stage"]: stage for stage in run["stages"]}
    assert list(stages) == asked
    for name, stage in stages.items():
        assert stage["state"] == "measured", stage["reason"]
        assert stage["weights"] == "twin"
        assert len(stage["samples"]) == 3
        assert stage["quality"]["passed"], f"{name}: {stage['quality']['reason']}"
        assert stage["memory"]["peak_bytes"] > 0
        assert stage["unapplied"] == []
        assert stage["fingerprint"]["flops"] > 0
        assert stage["fingerprint"]["recompiles"] == 0
    for stage in asked[asked.index("sdpa") + 1 :]:
        assert stages[stage]["fingerprint"]["graphs"] == 1
    weights = {name: stage["memory"]["weights_bytes"] for name, stage in stages.items()}
    if "bf16" in stages:
        assert weights["bf16"] < 0.7 * weights["fp32"]
    if TOP in stages:
        top = stages[TOP]["fingerprint"]
        assert top["fused_modules"] == top["attention_modules"] > 0
    if "int8" in stages:
        assert top["quantized_layers"] > 0
        assert weights["int8"] < weights["bf16"]
