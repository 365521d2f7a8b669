"""A decoder with 3-D convolutions got slower and hungrier in a release of torch: found by time, memory and place."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import owned
import pytest
from test_accepted_side import commit, git
from typer.testing import CliRunner

from fastdiff.cli import app
from fastdiff.record import files

if TYPE_CHECKING:
    from subprocess import CompletedProcess

pytestmark = [pytest.mark.nightly, pytest.mark.alone]

SUITE = Path(__file__).parent.parent / "perf_tests"
VIDEO = """

SLOWER = False


@fastdiff.pipeline(
    "video",
    output="frames",
    stages=["fp32"],
    call=dict(prompt="a cat", num_frames=9, height=96, width=96, num_inference_steps=2, max_sequence_length=16),
)
def video(dtype):
    pipe = wan(dtype)
    for part in pipe.vae.decoder.modules() if SLOWER else ():
        if isinstance(part, torch.nn.Conv3d):
            part.forward = again_and_again(part.forward)
    return pipe


def again_and_again(forward):
    def call(*args):
        copies = [forward(*args) for _ in range(3)]
        return copies[-1]

    return call
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with the suite and a file of pipelines."""
    folder = tmp_path / "project"
    shutil.copytree(SUITE, folder / "perf_tests", ignore=shutil.ignore_patterns("__pycache__"))
    text = (owned.FOLDER / "pipelines.py").read_text()
    (folder / "perf_tests" / "pipelines.py").write_text(text + VIDEO)
    (folder / "pytest.ini").write_text("[pytest]\nfastdiff_rounds = 3\n")
    (folder / ".gitignore").write_text("runs/\n.fastdiff/\n__pycache__/\n")
    git(folder, "init", "-q", "-b", "main")
    commit(folder, "a video")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("FASTDIFF_CACHE", str(tmp_path / "cache"))
    return folder


def session(project: Path, *options: str) -> CompletedProcess[str]:
    import subprocess

    model = "--fastdiff-model=perf_tests/pipelines.py::video"
    words = [sys.executable, "-m", "pytest", "perf_tests", model, "-p", "no:cacheprovider", *options]
    return subprocess.run(words, cwd=project, capture_output=True, text=True, check=False)


def test_a_slower_decoder_of_a_video_is_found_beside_the_accepted_code(project: Path) -> None:
    done = session(project)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = (project / "runs").glob("*.json")
    (trial,) = files.read(path).stages
    assert trial.memory is not None
    assert trial.memory.where == "decode"
    done_accept = CliRunner().invoke(app, ["accept", str(path), "--reason", "first", "--no-side"])
    assert done_accept.exit_code == 0, done_accept.output

    file = project / "perf_tests" / "pipelines.py"
    file.write_text(file.read_text().replace("SLOWER = False", "SLOWER = True"))
    done = session(project, "--benchmark-compare", f"--fastdiff-accepted-python={sys.executable}", "--fastdiff-calls=8")
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(r"MORE +video-fp32 memory", done.stdout), done.stdout
    assert re.search(r"SLOW +video-fp32 latency: \+\d", done.stdout), done.stdout
    assert re.search(r"SLOW +video-fp32 latency: .*; decode [\d.]+ s -> [\d.]+ s: ", done.stdout), done.stdout
