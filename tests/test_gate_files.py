"""What the gate does that follows from files and options alone, whatever else runs on the machine meanwhile."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest
from test_gate import accepted as accepted
from test_gate import newest_run, outcomes, session
from test_gate import project as project

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path


@pytest.fixture(scope="module")
def first(project: Path) -> subprocess.CompletedProcess[str]:
    """One stage is enough here."""
    return session(project, "--benchmark-compare", "--fastdiff-stage=fp32")


def test_a_first_run_is_new_and_passes(first: subprocess.CompletedProcess[str]) -> None:
    assert first.returncode == 0, first.stdout
    assert "NEW" in first.stdout
    assert "fastdiff accept runs/" in first.stdout, "the next command is named"
    assert "FAILED" not in first.stdout


def test_strict_is_not_green_when_nothing_was_timed(project: Path, accepted: subprocess.CompletedProcess[str]) -> None:
    arguments = ("--benchmark-compare", "--benchmark-skip", "-k", "latency", "--fastdiff-stage=fp32")
    assert session(project, *arguments).returncode == 0
    strict = session(project, *arguments, "--fastdiff-strict")
    assert strict.returncode == 1, strict.stdout
    assert "MISSING" in strict.stdout


def test_an_unknown_number_of_a_baseline_is_an_error(project: Path, accepted: subprocess.CompletedProcess[str]) -> None:
    result = session(project, "--benchmark-compare=0815", "--fastdiff-stage=fp32")
    assert result.returncode == 4
    assert "names no accepted run; there are: 0001_twin.json" in result.stderr


def test_a_project_that_cannot_be_written_still_measures(project: Path, tmp_path: Path) -> None:
    copy = tmp_path / "full"
    shutil.copytree(project, copy, ignore=shutil.ignore_patterns("runs", "baselines"))
    (copy / "runs").write_text("no folder")
    result = session(copy, "--fastdiff-stage=fp32")
    assert result.returncode == 0, result.stdout
    assert "cannot be written" in result.stdout
    assert "run file: " not in result.stdout
    strict = session(copy, "--fastdiff-stage=fp32", "--fastdiff-strict", "-k", "applied")
    assert strict.returncode == 1, "whoever is strict wants the run, too"


def test_strict_fails_on_what_is_new(project: Path, tmp_path: Path) -> None:
    copy = tmp_path / "fresh"
    shutil.copytree(project, copy, ignore=shutil.ignore_patterns("baselines", "runs"))
    result = session(copy, "--benchmark-compare", "--fastdiff-strict", "--fastdiff-stage=fp32")
    assert result.returncode == 1
    assert "latency is NEW" in result.stdout
    assert "No benchmark files" not in result.stdout, "pytest-benchmark's own storage is nobody's"


def test_strict_notices_a_test_that_was_taken_away(project: Path, accepted: subprocess.CompletedProcess[str]) -> None:
    """A stage whose pictures nobody looks at would pass for ever."""
    arguments = ("--benchmark-compare", "--fastdiff-stage=fp32", "-k", "not parity")
    session(project, *arguments)
    assert "tests-deselected" not in [one["reason"]["code"] for one in newest_run(project)["judgements"]]
    strict = session(project, *arguments, "--fastdiff-strict")
    assert strict.returncode == 1
    assert "twin-fp32 stage: test_parity of twin-fp32: deselected" in strict.stdout
    assert "missing" in newest_run(project)["outcome"]


def test_another_device_is_an_error_before_anything_is_built(
    project: Path, accepted: subprocess.CompletedProcess[str], tmp_path: Path
) -> None:
    copy = tmp_path / "moved"
    shutil.copytree(project, copy, ignore=shutil.ignore_patterns("runs"))
    baseline = next((copy / "baselines").glob("*/0001_*.json"))
    whole = json.loads(baseline.read_text())
    whole["fastdiff"]["device"]["slug"] = "another-machine"
    baseline.write_text(json.dumps(whole))
    result = session(copy, "--benchmark-compare")
    assert result.returncode == 4
    assert "times of two devices do not compare" in result.stderr
    assert "built in" not in result.stdout


@pytest.mark.compile
def test_a_broken_graph_and_a_second_compilation_fail(project: Path, tmp_path: Path) -> None:
    """What dynamo counts needs no compiler behind it."""
    copy = tmp_path / "compiled"
    shutil.copytree(project, copy, ignore=shutil.ignore_patterns("baselines", "runs"))
    (copy / "conftest.py").write_text(
        (copy / "conftest.py")
        .read_text()
        .replace(
            "def pytest_configure():\n",
            "def pytest_configure():\n"
            "    import functools, torch\n"
            "    torch.compile = functools.partial(torch.compile, backend='eager')\n",
        )
        .replace(
            "    return ladder",
            "    for name in ('breaking', 'again'):\n"
            "        from fastdiff.stages.recipe import Compile\n"
            "        ladder = ladder.extend(name, 'compiled', follows='sdpa', channels_last=True,\n"
            "            compile=Compile(decoder=False))\n"
            "    return ladder",
        )
    )
    faults = "graph-break@breaking,recompile@again"
    result = session(
        copy,
        "--benchmark-compare",
        "-k",
        "applied or latency",
        "--fastdiff-stage=breaking,again",
        f"--fastdiff-inject={faults}",
    )
    assert result.returncode == 1
    assert any("the graph broke" in line for line in outcomes(result, "ERROR", "breaking")), result.stdout
    failed = outcomes(result, "FAILED", "again")
    assert any("compiled after the first call" in line or "recompile" in line for line in failed), result.stdout
