"""A project on the fake runner: whole sessions of pytest in this process, without torch and without waiting."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

# What has extension modules stays loaded: each session drops what it imported, and these load once a process.
import fastdiff.compare.gate
import fastdiff.plugin.session
import fastdiff.record.pictures
import fastdiff.trial.fake  # noqa: F401
from fastdiff.cli import app
from fastdiff.plugin import state

if TYPE_CHECKING:
    from pathlib import Path

CONFTEST = """
import json
from pathlib import Path

from fastdiff.plugin.stages import RUNNER
from fastdiff.record.errors import UserError
from fastdiff.trial.fake import Fake

def pytest_configure(config):
    told = json.loads((config.rootpath / "fake.json").read_text())
    refused = {id_: UserError(told["code"], sentence) for id_, sentence in told["errors"].items()}
    config.stash[RUNNER] = Fake(told["seconds"], errors=refused)

def pytest_fastdiff_ladder(ladder, model):
    return ladder.extend("other", "another idea", follows="fp32", attention="sdpa")

def pytest_benchmark_generate_machine_info():
    return {"cpu": {}}  # pytest-benchmark would ask the processor for a second

def pytest_sessionfinish(session):
    (session.config.rootpath / "log.txt").write_text("\\n".join(session.config.stash[RUNNER].log))
"""

SUITE = """
def test_applied(stage):
    assert not stage.unapplied

def test_latency(stage, benchmark):
    stage.measure(benchmark)

def test_memory(stage):
    assert stage.memory.peak_bytes > 0

def test_parity(stage, reference):
    stage.likeness_to(reference)

def test_not_slower(regression):
    regression.assert_not_slower()
"""

SETTINGS = """
[tool.pytest.ini_options]
fastdiff_stage = 'fp32,other'
fastdiff_rounds = '3'
[tool.fastdiff.policy]
latency = '50%'
"""


class Faked:
    """A project whose stages take the seconds that a test gives them."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self.pytester, self.root = pytester, pytester.path
        pytester.makeconftest(CONFTEST)
        pytester.makepyprojecttoml(SETTINGS)
        pytester.mkdir("perf_tests")
        (self.root / "perf_tests" / "test_suite.py").write_text(SUITE)
        self.takes()

    def takes(self, *, errors: dict[str, str] | None = None, code: str = "weights", **seconds: float) -> None:
        whole = {f"shapes-{stage}": [each, each * 1.01, each * 0.99] for stage, each in seconds.items()}
        (self.root / "fake.json").write_text(json.dumps({"seconds": whole, "errors": errors or {}, "code": code}))

    def session(
        self, *options: str, suite: tuple[str, ...] = ("perf_tests",), interrupted: bool = False
    ) -> pytest.RunResult:
        """`interrupted`: Ctrl-C comes, which would end the surrounding pytest too."""
        arguments = (*suite, "-p", "no:cacheprovider", "-rA", *options)
        if not interrupted:
            return self.pytester.runpytest_inprocess(*arguments)
        return self.pytester.runpytest_subprocess(*arguments)

    @property
    def run(self) -> dict[str, Any]:
        """The newest one."""
        path = max((self.root / "runs").glob("*.json"), key=lambda one: one.stat().st_mtime_ns)
        return json.loads(path.read_text())["fastdiff"] | {"path": str(path)}

    @property
    def log(self) -> list[str]:
        return (self.root / "log.txt").read_text().split("\n")

    def accept(self, *options: str) -> None:
        done = CliRunner().invoke(app, ["accept", self.run["path"], "--reason", "as it is", *options])
        assert done.exit_code == 0, done.output

    @property
    def baseline(self) -> Path:
        (path,) = self.root.glob("baselines/*/0001_*.json")
        return path


@pytest.fixture
def faked(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Faked:
    monkeypatch.setenv("COLUMNS", "400")
    for name in ("GITHUB_ACTIONS", "CI", "BUILD_NUMBER"):  # with them pytest's short summary repeats whole messages
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(state, "software", lambda _: None)  # another test of this process may have imported torch
    return Faked(pytester)


@pytest.fixture
def accepted(faked: Faked) -> Faked:
    assert faked.session("--benchmark-compare").ret == 0
    faked.accept()
    return faked


def words(faked: Faked) -> dict[tuple[str, str], str]:
    return {(one["stage"], one["metric"]): one["word"] for one in faked.run["judgements"]}
