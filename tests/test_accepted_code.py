"""The accepted run's code beyond plain files: extensions that a command builds, and submodules. Toy repositories."""

from __future__ import annotations

import signal
import subprocess
import sys
import sysconfig
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from test_accepted_side import THING, again, commit, git, kept_in, ran, repository  # noqa: F401  (fixtures among them)

from fastdiff.compare.software import changes
from fastdiff.host.software import code
from fastdiff.record.errors import UserError
from fastdiff.record.project import tables
from fastdiff.record.run import Device, Run
from fastdiff.record.software import Distribution, Project
from fastdiff.sides import bounded
from fastdiff.sides.home import CHECKOUTS

if TYPE_CHECKING:
    from fastdiff.record.software import Software

MINE = Distribution("mine", "1", editable=".")
EXTENSION = f"mine/_fast{sysconfig.get_config_var('EXT_SUFFIX')}"
BUILDS = f"""
echo once >> "$COUNTED"
python -c 'import sys; print(sys.prefix)' > {EXTENSION}
"""


@pytest.fixture
def project(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Path:  # noqa: F811
    """A package with an extension that git ignores, and the script that builds it."""
    (repository / "mine").mkdir()
    (repository / "mine/__init__.py").touch()
    (repository / "build.sh").write_text(BUILDS)
    (repository / ".gitignore").write_text("*.so\n/env/\n")
    monkeypatch.setenv("COUNTED", str(repository.with_name("counted")))
    return repository


def prepared_by(project: Path, command: str) -> Software:
    """The accepted run of code that names this command, and that had its extension."""
    (project / "pyproject.toml").write_text(f"[tool.fastdiff]\nprepare = {command!r}\n")
    (project / EXTENSION).write_text("built")
    commit(project, "prepared")
    return ran(THING, MINE, project=code(project))


def counted(project: Path) -> int:
    return project.with_name("counted").read_text().count("once")


# -- extensions -------------------------------------------------------------------------------------------------------


def test_the_command_builds_in_the_checkout_with_the_side_s_interpreter(project: Path, kept_in: Path) -> None:  # noqa: F811
    software = prepared_by(project, "sh build.sh")
    (project / "pyproject.toml").write_text("[tool.fastdiff]\nprepare = 'exit 1'\n")
    commit(project, "today's command is another one")
    found = again(software, project, kept_in).environment
    built = found.paths[0] / EXTENSION
    assert built.read_text().strip() == str(found.python.parents[1])
    assert (project / EXTENSION).read_text() == "built", "today's stays as it is"
    again(software, project, kept_in)
    assert counted(project) == 1, "once for each checkout"
    other = again(replace(software, distributions=(replace(THING, version="2.0"), MINE)), project, kept_in).environment
    assert (other.paths[0] / EXTENSION).read_text().strip() == str(other.python.parents[1]), "it depends on that"
    assert counted(project) == 2


def test_the_command_runs_in_the_project_s_folder(repository: Path, kept_in: Path) -> None:  # noqa: F811
    project = repository / "bench"
    (project / "mine").mkdir(parents=True)
    (project / "mine/__init__.py").touch()
    (project / "pyproject.toml").write_text("[tool.fastdiff]\nprepare = 'echo here > mine/made'\n")
    commit(repository, "a project below")
    found = again(ran(THING, MINE, project=code(project)), project, kept_in).environment
    assert (found.paths[0] / "mine/made").read_text() == "here\n"


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("echo no compiler >&2; exit 3", "failed; it ended with: no compiler"),
        ("exit 3", "failed; it ended with: exit status 3"),
        ("true", f"ended well and did not make {EXTENSION}"),
        ("sleep 60", "did not end within 0 minutes"),
    ],
)
def test_a_command_that_fails_leaves_nothing(
    command: str,
    sentence: str,
    project: Path,
    kept_in: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    software = prepared_by(project, command)
    again(ran(THING), project, kept_in)  # the packages, without a limit
    monkeypatch.setattr(bounded, "LIMIT_S", 0.5)
    with pytest.raises(UserError) as caught:
        again(software, project, kept_in)
    assert caught.value.code == "side-not-prepared"
    assert f"`{command}`" in str(caught.value)
    assert sentence in str(caught.value)
    assert not [one for one in (kept_in.parent / CHECKOUTS).iterdir() if one.is_dir()]


@pytest.mark.alone
def test_a_process_that_is_killed_while_it_builds_leaves_nothing_that_is_used(project: Path, kept_in: Path) -> None:  # noqa: F811
    software = prepared_by(project, f'test -e "$COUNTED" || {{ touch "$COUNTED"; sleep 5; }}; echo new > {EXTENSION}')
    again(ran(THING), project, kept_in)
    script = (
        "import sys; from pathlib import Path\nsys.path.insert(0, sys.argv[1])\n"
        "from test_accepted_code import MINE, THING, again, code, ran\nproject = Path(sys.argv[2])\n"
        "again(ran(THING, MINE, project=code(project)), project, Path(sys.argv[3]))\n"
    )
    where = [str(path) for path in (Path(__file__).parent, project, kept_in)]
    with subprocess.Popen([sys.executable, "-c", script, *where]) as process:
        until = time.monotonic() + 60
        while not project.with_name("counted").exists() and time.monotonic() < until:
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert (project.with_name("counted")).exists()
    found = again(software, project, kept_in).environment
    assert (found.paths[0] / EXTENSION).read_text() == "new\n"


def test_without_a_command_what_is_built_is_missed(project: Path, kept_in: Path) -> None:  # noqa: F811
    (project / EXTENSION).write_text("built")
    commit(project, "without a command")
    with pytest.raises(UserError) as caught:
        again(ran(THING, MINE, project=code(project)), project, kept_in)
    assert caught.value.code == "side-needs-prepare"
    assert EXTENSION in str(caught.value)
    assert "[tool.fastdiff] prepare =" in str(caught.value)
    assert not kept_in.exists(), "nothing was made first"
    elsewhere = Distribution("other", "1", editable="fastdiff")
    assert again(ran(THING, elsewhere, project=code(project)), project, kept_in).environment.paths


def test_only_what_this_python_loads_beside_sources_is_built(project: Path) -> None:
    commit(project, "first")
    for name in (EXTENSION, "mine/libfast.so", "mine/_old.cpython-37m-x86_64-linux-gnu.so", "env/lib/torch.so"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text("built")
    found = code(project)
    assert found is not None
    assert set(found.built) == {EXTENSION, "mine/libfast.so"}
    assert not found.dirty
    (project / EXTENSION).write_text("built with another compiler")
    later = code(project)
    assert later is not None
    assert different(found, later) == [f"code: {EXTENSION}"]


def different(then: Project, now: Project) -> list[str] | None:
    runs = [Run(Device("box", "cpu", "box"), "then", software=ran(THING, MINE, project=one)) for one in (then, now)]
    return changes(*runs)


@pytest.mark.parametrize("written", ["1", "''", "['make']", "' '"])
def test_a_command_is_a_text(written: str, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(f"[tool.fastdiff]\nprepare = {written}\n")
    with pytest.raises(UserError, match=r"\[tool\.fastdiff\] prepare must be a shell command, such as"):
        tables(tmp_path)
    (tmp_path / "pyproject.toml").write_text("[tool.fastdiff]\nprepare = 'make'\n")
    assert "prepare" not in tables(tmp_path)


# -- submodules -------------------------------------------------------------------------------------------------------


@pytest.fixture
def with_submodule(project: Path, tmp_path: Path) -> Path:
    kernels = tmp_path / "kernels"
    kernels.mkdir()
    git(kernels, "init", "-q", "-b", "main")
    (kernels / "fast.py").write_text("first\n")
    commit(kernels, "first")
    git(project, "submodule", "--quiet", "add", str(kernels), "mine/kernels")
    commit(project, "with a submodule")
    return project


def test_a_submodule_comes_as_it_was(with_submodule: Path, kept_in: Path) -> None:  # noqa: F811
    measured = code(with_submodule)
    assert measured is not None
    assert not measured.dirty
    inside = with_submodule / "mine/kernels"
    (inside / "fast.py").write_text("second\n")
    changed = code(with_submodule)
    assert changed is not None
    assert different(measured, changed) == ["code: mine/kernels/"], "not committed, and seen"
    commit(inside, "second")
    moved = code(with_submodule)
    assert moved is not None
    assert different(measured, moved) == ["code: mine"]
    commit(with_submodule, "another commit of the submodule")
    found = again(ran(THING, MINE, project=measured), with_submodule, kept_in).environment
    assert (found.paths[0] / "mine/kernels/fast.py").read_text() == "first\n"


def test_a_submodule_that_is_not_here_is_fetched_by_hand(with_submodule: Path, kept_in: Path) -> None:  # noqa: F811
    measured = code(with_submodule)
    git(with_submodule, "submodule", "deinit", "-q", "--all")
    with pytest.raises(UserError) as caught:
        again(ran(THING, MINE, project=measured), with_submodule, kept_in)
    assert caught.value.code == "side-submodules"
    assert "git submodule update --init mine/kernels" in str(caught.value)
    assert not kept_in.exists()
    git(with_submodule, "submodule", "--quiet", "update", "--init", "mine/kernels")
    assert again(ran(THING, MINE, project=measured), with_submodule, kept_in).environment.paths
