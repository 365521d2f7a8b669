"""The gate as CI meets it: sessions of its own against an accepted run, clean and with faults put in on purpose."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import warm

if TYPE_CHECKING:
    from fastdiff.models import Model

pytestmark = [pytest.mark.alone, pytest.mark.compile]
"""What is judged by its time; what follows from the files and the options alone is in test_gate_faked.py."""

SUITE = Path(__file__).parent.parent / "perf_tests"

STAGES = ("fp32", "slow", "step", "first", "heavy", "lacking", "noisy", "holed", "blank", "leaky", "broken", "full")
"""One stage for each fault, all of them the same cheap work, so that one session shows every fault."""

CONFTEST = """
import os
from fastdiff.models import Model, Request
from fastdiff.stages.ladder import ladder, stage


def pytest_configure():
    # Whatever else runs on the machine of these tests is no neighbour here.
    from fastdiff.instruments import telemetry
    if not os.environ.get("NEIGHBOURS_COUNT"):
        telemetry.OTHERS_LIMIT = telemetry.STEAL_LIMIT = 2.0
    # Calls of a tenth of a second scatter more than those that the declared budget was measured on.
    from dataclasses import replace
    from fastdiff.compare import noise
    wide = replace(noise.DECLARED["cpu"], latency_sd=0.12, ladder_sd=0.15, first_call_sd=0.45)
    noise.DECLARED["cpu"] = wide

def pytest_fastdiff_models():
    request = Request("a small red ring", steps=2, size=64, guidance=3.0)
    return [Model("twin", "StableDiffusionXLPipeline", {folder!r}, request)]

def pytest_fastdiff_ladder(ladder, model):
    for name in {stages!r}[1:]:
        ladder = ladder.extend(name, "the same with another attention", follows="fp32", attention="sdpa")
    return ladder
"""

FAULTS = (
    "slow:600%@slow",
    "slow-step:600%@step",
    "slow-first:5900%@first",
    "memory:+20%@heavy",
    "unapplied@lacking",
    "noise-image@noisy",
    "black-tile@holed",
    "nan@blank",
    "leak-flag@leaky",
    "crash@broken",
    "oom@full",
)
"""Far above the noise of two crowded cores: what is tested is that each fault has its own sentence, not the limit."""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, tiny: Model) -> Path:
    folder = tmp_path_factory.mktemp("gate")
    shutil.copytree(SUITE, folder / "perf_tests", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "conftest.py").write_text(CONFTEST.format(folder=str(tiny.source), stages=STAGES))
    # A call of the twin is shorter than what the gate's noise was measured on.
    (folder / "pyproject.toml").write_text(
        "[tool.pytest.ini_options]\nfastdiff_model = 'twin'\nfastdiff_rounds = '3'\n"
        "fastdiff_confirm = 'none'\n"
        f"fastdiff_stage = '{','.join(STAGES)}'\n"
        "[tool.fastdiff.policy]\nlatency = '100%'\nladder = '100%'\nfirst_call = '300%'\n"
    )
    return folder


SESSION = ("perf_tests", "-p", "no:cacheprovider", "-rA")
ENVIRONMENT = {"COLUMNS": "400", "OMP_NUM_THREADS": "1"}
"""A second thread has nothing to do in so small a picture, and waits for other work on its core."""


def session(project: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return warm.pytest(*SESSION, *arguments, cwd=project, env=os.environ | ENVIRONMENT | environment)


def session_anew(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """As every user's: with nothing of what the accepted run's process had, not even the order of its hashes."""
    command, env = [sys.executable, "-m", "pytest", *SESSION, *arguments], os.environ | ENVIRONMENT
    return subprocess.run(command, cwd=project, env=env, capture_output=True, text=True, timeout=900, check=False)


def fastdiff(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from fastdiff.cli import app; app()", *arguments]
    return subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=120, check=False)


def run_files(project: Path) -> list[str]:
    """Oldest first."""
    return [str(path) for path in sorted((project / "runs").glob("*.json"), key=os.path.getmtime)]


def newest_run(project: Path) -> dict[str, Any]:
    return json.loads(Path(run_files(project)[-1]).read_text())["fastdiff"]


@pytest.fixture(scope="module")
def first(project: Path) -> subprocess.CompletedProcess[str]:
    """Nothing is accepted yet."""
    return session(project, "--benchmark-compare")


@pytest.fixture(scope="module")
def accepted(project: Path, first: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
    assert first.returncode == 0, first.stdout
    done = fastdiff(project, "accept", run_files(project)[-1], "--no-side", "--reason", "the first run of this machine")
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def faulty(project: Path, accepted: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
    return session(project, "--benchmark-compare", f"--fastdiff-inject={','.join(FAULTS)}", "--junitxml=junit.xml")


def outcomes(result: subprocess.CompletedProcess[str], word: str, stage: str) -> list[str]:
    return [line for line in result.stdout.splitlines() if line.startswith(f"{word} ") and f"[twin-{stage}]" in line]


def test_a_clean_run_fires_nothing(project: Path, accepted: subprocess.CompletedProcess[str]) -> None:
    """A few stages are enough: the faulty session has one without a fault, too."""
    clean = session_anew(project, "--benchmark-compare", "--fastdiff-stage=fp32,slow,heavy")
    assert clean.returncode == 0, clean.stdout
    assert "SAME" in clean.stdout
    # A first call of a tenth of a second that was disturbed when it was accepted seems FAST now, which fails nothing.
    judged = [
        one for one in newest_run(project)["judgements"] if (one["metric"], one["word"]) != ("first_call", "FAST")
    ]
    words = {judgement["word"] for judgement in judged}
    assert not words & {"SLOW", "FAST", "MORE", "LESS", "CHANGED", "MISSING", "NEW"}, clean.stdout


@pytest.mark.parametrize(
    ("stage", "test", "sentence"),
    [
        ("slow", "test_not_slower", "latency is SLOW"),
        ("step", "test_not_slower", "latency is SLOW"),
        ("first", "test_not_slower", "first call is SLOW"),
        ("heavy", "test_memory", "memory is MORE"),
        ("lacking", "test_applied", "attention: sdpa was not applied"),
        ("noisy", "test_parity", "the budget asks for"),
        ("holed", "test_parity", "the budget asks for"),
        ("blank", "test_parity", "values that are not numbers"),
    ],
)
def test_each_fault_fails_its_test_with_its_sentence(
    faulty: subprocess.CompletedProcess[str], stage: str, test: str, sentence: str
) -> None:
    failed = outcomes(faulty, "FAILED", stage)
    assert any(test in line and sentence in line for line in failed), "\n".join(failed) or faulty.stdout


@pytest.mark.parametrize(
    ("stage", "sentence"),
    [
        ("leaky", "left global switches changed"),
        ("broken", "this crash was asked for"),
        ("full", "does not fit into memory"),
    ],
)
def test_faults_of_building_and_ending_are_errors(
    faulty: subprocess.CompletedProcess[str], stage: str, sentence: str
) -> None:
    assert outcomes(faulty, "ERROR", stage), faulty.stdout
    assert sentence in faulty.stdout


def test_the_component_is_named(faulty: subprocess.CompletedProcess[str]) -> None:
    lines = faulty.stdout.splitlines()
    slow = [line for line in lines if line.lstrip().startswith("decode ")]
    steps = [line for line in lines if line.lstrip().startswith("denoising ")]
    assert slow, "the decoder was slowed down, and nothing says so"
    assert steps, "the steps were slowed down, and nothing says so"


def test_faults_leave_the_sound_stage_alone(faulty: subprocess.CompletedProcess[str]) -> None:
    assert not outcomes(faulty, "FAILED", "fp32"), faulty.stdout
    assert len(outcomes(faulty, "PASSED", "fp32")) == 5


def test_faults_end_with_exit_code_1_and_junit_failures(
    project: Path, faulty: subprocess.CompletedProcess[str]
) -> None:
    assert faulty.returncode == 1
    assert (project / "junit.xml").read_text().count("<failure") >= 8


def test_a_run_with_faults_is_never_accepted(project: Path, faulty: subprocess.CompletedProcess[str]) -> None:
    run = run_files(project)[-1]
    for force in ((), ("--force",)):
        done = fastdiff(project, "accept", run, "--no-side", "--reason", "it looks fine", *force)
        assert done.returncode == 2
        assert "injected" in done.stderr
        assert "Traceback" not in done.stderr


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


def test_a_busy_neighbour_makes_the_measurement_void_and_not_slow(
    project: Path, accepted: subprocess.CompletedProcess[str]
) -> None:
    """With more steps than a short call has, because the system counts its time in coarse ticks."""
    arguments = ("--fastdiff-stage=fp32", "--fastdiff-steps=12", "-k", "latency", "--fastdiff-inject=steal")
    result = session(project, "--benchmark-compare", *arguments, NEIGHBOURS_COUNT="1")
    judged = {judgement["metric"]: judgement for judgement in newest_run(project)["judgements"]}
    assert judged["latency"]["word"] == "VOID", result.stdout
    assert "other processes used" in judged["latency"]["reason"]["values"]["why"]
    assert result.returncode == 0, "a disturbed measurement is no regression"
