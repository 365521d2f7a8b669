"""What a stranger gets: the wheel in a clean environment, a suite of three lines in an empty folder."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.nightly

ROOT = Path(__file__).parent.parent

SUITE = """
def test_it_draws(stage):
    assert stage.images.std() > 0
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run([sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(ROOT)], folder)
    (built,) = folder.glob("*.whl")
    return built


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run(command, cwd=folder, env=clean, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_wheel_holds_the_model_and_nothing_of_the_workshop(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert "fastdiff/models/shapes/weights/model_index.json" in names
    assert any(name.endswith("unet/diffusion_pytorch_model.safetensors") for name in names)
    assert all(name.startswith(("fastdiff/", "fastdiff-")) for name in names), names
    assert wheel.stat().st_size < 20e6


def test_wheel_works_in_a_clean_environment(wheel: Path, tmp_path: Path) -> None:
    environment = tmp_path / "environment"
    run([sys.executable, "-m", "venv", str(environment)], tmp_path)
    python = str(environment / "bin" / "python")
    pins = str(ROOT / "constraints.txt")
    run([python, "-m", "pip", "install", "-q", "--no-compile", "-c", pins, str(wheel)], tmp_path)
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "test_mine.py").write_text(SUITE)
    suite = [python, "-m", "pytest", "-q", "--fastdiff-stage", "sdpa", "--fastdiff-steps", "1", "test_mine.py"]
    assert "1 passed" in run(suite, empty).stdout
    command = run([str(environment / "bin" / "fastdiff"), "ladder"], empty).stdout
    assert "fused-qkv" in command
