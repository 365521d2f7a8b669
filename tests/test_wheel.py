"""What a stranger gets: the wheel in a clean environment, a suite of three lines in an empty folder."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_string
from pathlib import Path, PurePosixPath

import pytest
from tiny_wheels import wheel

from fastdiff import __version__

pytestmark = pytest.mark.nightly

ROOT = Path(__file__).parent.parent
INFO = f"pytest_fastdiff-{__version__}.dist-info"
AROUND = {"README.md", "LICENSE", "CHANGELOG.md", "pyproject.toml", ".gitignore", "PKG-INFO"}
"""What an sdist has besides the package; the tests want the whole repository, and stay there."""

SUITE = """
def test_it_draws(stage):
    assert stage.images.std() > 0
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both; the wheel is made of the sdist."""
    folder = tmp_path_factory.mktemp("built")
    run([sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT)], folder)
    return folder


@pytest.fixture(scope="module")
def environment(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean one, with the wheel."""
    folder = tmp_path_factory.mktemp("environment")
    run([sys.executable, "-m", "venv", str(folder)], folder)
    pins = str(ROOT / "constraints.txt")
    run([python(folder), "-m", "pip", "install", "-q", "--no-compile", "-c", pins, str(wheel_in(built))], folder)
    return folder


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    """A project of one file."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "test_mine.py").write_text(SUITE)
    return tmp_path / "empty"


def run(command: list[str], folder: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run(command, cwd=folder, env=clean, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done


def wheel_in(folder: Path) -> Path:
    (found,) = folder.glob("*.whl")
    return found


def python(environment: Path) -> str:
    return str(environment / "bin" / "python")


def suite(environment: Path) -> list[str]:
    return [python(environment), "-m", "pytest", "-q", "--fastdiff-stage=sdpa", "--fastdiff-steps=1", "test_mine.py"]


def package() -> set[str]:
    """The files of fastdiff that are no accident of this folder."""
    words = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "fastdiff"]
    return set(subprocess.check_output(words, cwd=ROOT, text=True).splitlines())


def test_wheel_holds_the_package_and_nothing_else(built: Path) -> None:
    names = set(zipfile.ZipFile(wheel_in(built)).namelist())
    info = {f"{INFO}/{name}" for name in ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE")}
    assert names == package() | info
    assert {"fastdiff/py.typed", "fastdiff/models/shapes/weights/model_index.json"} <= names
    assert any(name.endswith("unet/diffusion_pytorch_model.safetensors") for name in names)
    assert wheel_in(built).stat().st_size < 20e6


def test_sdist_holds_what_makes_the_wheel(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as opened:
        names = {str(PurePosixPath(*PurePosixPath(one.name).parts[1:])) for one in opened if one.isfile()}
    assert names == package() | AROUND


def test_metadata_says_what_it_is(built: Path) -> None:
    told = message_from_string(zipfile.ZipFile(wheel_in(built)).read(f"{INFO}/METADATA").decode())
    assert (told["Name"], told["Version"]) == ("pytest-fastdiff", __version__)
    assert {"Framework :: Pytest", "Typing :: Typed"} <= set(told.get_all("Classifier"))
    labels = {url.partition(",")[0] for url in told.get_all("Project-URL")}
    assert labels == {"Source", "Documentation", "Changelog", "Issues"}


def test_wheel_works_in_a_clean_environment(environment: Path, empty: Path) -> None:
    assert "1 passed" in run(suite(environment), empty).stdout
    command = run([str(environment / "bin" / "fastdiff"), "ladder"], empty).stdout
    assert "fused-qkv" in command


@pytest.mark.alone  # a run whose samples other tests disturb is not accepted
def test_four_commands_lead_from_nothing_to_an_accepted_baseline(
    environment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first is the installation, and the others are typed as they are printed; only the work is made small."""
    monkeypatch.setenv("PATH", f"{environment / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTEST_ADDOPTS", "--fastdiff-stage=sdpa --fastdiff-steps=1 --fastdiff-rounds=1")
    monkeypatch.setenv("FASTDIFF_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "mine"
    folder.mkdir()
    run(["git", "init", "-q"], folder)
    said = run(["fastdiff", "init"], folder).stdout
    measure, accept, commit = (line.removeprefix("next: ") for line in said.splitlines() if line.startswith("next: "))
    assert "5 passed" in run(["bash", "-c", measure], folder).stdout
    run(["bash", "-c", accept], folder)
    (baseline,) = (folder / "baselines").glob("*/*.json")
    assert baseline.name == "0001_shapes.json"
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "me")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "me@example.org")
    run(["bash", "-c", commit], folder)
    assert run(["git", "status", "--porcelain"], folder).stdout == ""
    again = run(["bash", "-c", measure], folder).stdout
    assert "against 0001_shapes" in again
    assert "MACHINE" in again or "SAME" in again, "the code is the same, so nothing is measured in pairs"


def test_another_project_of_the_name_is_named_and_the_command_mends_it(
    environment: Path, empty: Path, built: Path, tmp_path: Path
) -> None:
    """Whichever was installed last. Its first file is as that of `fastdiff` 0.3.0 on the index."""
    ours = str(wheel_in(built))
    theirs = wheel(tmp_path, "fastdiff", "0.3.0", file="fastdiff/__init__.py", text="from .compare import compare\n")
    command = [str(environment / "bin" / "fastdiff"), "models"]
    for last, codes in ((str(theirs), (3, 1)), (ours, (4, 2))):
        run([python(environment), "-m", "pip", "install", "-q", "--force-reinstall", "--no-deps", last], empty)
        for refused, code in zip((suite(environment), command), codes, strict=True):
            assert "another project called fastdiff is installed" in run(refused, empty, code).stderr
    mending = run(command, empty, 2).stderr.strip().partition("; do: ")[2]
    for words in mending.replace("pytest-fastdiff", ours).split(" && "):
        run([python(environment), "-m", *shlex.split(words)], empty)
    assert "1 passed" in run(suite(environment), empty).stdout
