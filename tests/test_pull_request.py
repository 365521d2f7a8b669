"""A pull request beside its base: the script of the workflow that other repositories call, in a real repository, and
what a process of either side imports. uv and pip are fakes that install by a link to the folder, as `-e .` does."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from typing import TYPE_CHECKING

import pytest
from test_workflows import PULL_REQUEST, REPOSITORY, load

from fastdiff.experiments.pairs import Side
from fastdiff.models import CATALOGUE
from fastdiff.sides.environment import ready
from fastdiff.sides.home import site_packages
from fastdiff.sides.source import source_path
from fastdiff.sides.spec import parse
from fastdiff.stages.published import LADDER
from fastdiff.trial.work import Work

if TYPE_CHECKING:
    from pathlib import Path

UV = """
echo "uv $* in ${PWD##*/}" >> "$HOME/calls.txt"
while [ $# -gt 1 ]; do
  if [ "$1" = --python ]; then python=$2; fi
  shift
done
if [ -e "$python/pyvenv.cfg" ]; then
  grep -q broken pyproject.toml && exit 1
  echo "$PWD" > mine.pth
  mv mine.pth "$python"/lib/python*/site-packages
  mkdir runs
  printf '#!/bin/sh\\nexec "$(dirname "$0")/python" "$HOME/session.py" "$@"\\n' > "$python/bin/pytest"
  chmod +x "$python/bin/pytest"
  exit
fi
exec "$python" -m venv --without-pip "$1"
"""
SESSION = """
import subprocess, sys
print(*sys.argv[1:], sep="\\n", flush=True)
against = sys.argv[sys.argv.index("--fastdiff-against") + 1]
for python in (f"{against}/bin/python", sys.executable):
    subprocess.run([python, "-P", "-c", "import mine; print(mine.SIDE, flush=True)"])
open("runs/pull-request.md", "w").write("the page")
sys.exit(1)
"""
"""In pytest's place: notes how it was called and what either environment imports, and fails as a verdict does."""


def git(folder: Path, *words: str) -> None:
    names = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(folder), *names, *words], check=True, capture_output=True, timeout=60)


def commit(folder: Path, side: str, project: str = "[project]\n") -> None:
    (folder / "mine.py").write_text(f"SIDE = {side!r}\n")
    (folder / "pyproject.toml").write_text(project)
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", side)


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """As the checkouts leave it: the merge of a branch into a base that has gone on since the branch was made."""
    head = tmp_path / "head"
    head.mkdir()
    git(head, "init", "-qb", "main")
    commit(head, "from before")
    git(head, "checkout", "-qb", "change")
    commit(head, "the pull request")
    git(head, "checkout", "-q", "main")
    (head / "other.txt").write_text("the base goes on")
    commit(head, "the base")
    git(head, "merge", "-q", "--no-edit", "-X", "theirs", "change")
    (tmp_path / "fastdiff").mkdir()
    (tmp_path / "fastdiff" / ".github").symlink_to(REPOSITORY / ".github")
    (tmp_path / "session.py").write_text(SESSION)
    tools = tmp_path / "tools"
    tools.mkdir()
    for name, body in {"uv": UV, "python": f'[ "$2" = pip ] || exec {sys.executable} "$@"'}.items():
        (tools / name).write_text(f"#!/bin/bash\n{body}\n")
        (tools / name).chmod(0o755)
    return tmp_path


def measure(workspace: Path, **given: str) -> subprocess.CompletedProcess[str]:
    (job,) = load(PULL_REQUEST)["jobs"].values()
    (step,) = [one for one in job["steps"] if one.get("name") == "Measure"]
    inputs = load(PULL_REQUEST)["on"]["workflow_call"]["inputs"]
    asked = {name.upper(): inputs[name]["default"] for name in ("install", "tests", "options")}
    variables = {"PATH": f"{workspace / 'tools'}:{os.environ['PATH']}", "HOME": str(workspace), **asked, **given}
    assert set(step["env"]) - {"UV_INDEX", "UV_INDEX_STRATEGY"} == set(asked)
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
    return subprocess.run(
        command, cwd=workspace, env=variables, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.alone
def test_each_side_imports_its_own_code_and_the_suite_decides(workspace: Path) -> None:
    done = measure(workspace, OPTIONS="--fastdiff-stage sdpa,compile -x")
    assert done.returncode == 1, f"the suite's own exit code; {done.stderr}"
    assert done.stdout.splitlines() == [
        *("--pyargs", "fastdiff.suite", "--fastdiff-against", f"{workspace}/base/.venv"),
        *("--fastdiff-markdown", "runs/pull-request.md", "--fastdiff-stage", "sdpa,compile", "-x"),
        "the base",
        "the pull request",
    ]
    assert (workspace / "base" / "other.txt").exists(), "the base as it is now, not as it was when the branch was made"
    calls = (workspace / "calls.txt").read_text().splitlines()
    assert [line for line in calls if " pip " in line] == [
        f"uv pip install --quiet --python .venv -e . {workspace}/fastdiff in {side}" for side in ("base", "head")
    ]
    summary = next(one for one in load(PULL_REQUEST)["jobs"]["pairs"]["steps"] if "summary" in one.get("name", ""))
    assert "always()" in summary["if"]
    variables = {"PATH": os.environ["PATH"], "GITHUB_STEP_SUMMARY": str(workspace / "summary.md")}
    subprocess.run(["bash", "-eo", "pipefail", "-c", summary["run"]], cwd=workspace, env=variables, check=True)
    assert (workspace / "summary.md").read_text() == "the page"


@pytest.mark.alone
def test_a_side_that_does_not_install_is_named(workspace: Path) -> None:
    commit(workspace / "head", "broken", "broken")
    done = measure(workspace)
    assert done.returncode == 2
    assert done.stdout == "::error::The head of this pull request does not install: uv pip install -e .\n"


@pytest.mark.alone
def test_a_process_of_a_side_imports_from_its_own_environment(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real worker, started in the folder of the pull request, with its folder on the path besides."""
    base = tmp_path / "old"
    base.mkdir()
    (base / "mine.py").write_text("SIDE = 'the base'\n")
    venv.create(base / ".venv", with_pip=False)
    (site_packages(base / ".venv") / "mine.pth").write_text(f"{base}\n")
    head = workspace / "head"
    monkeypatch.chdir(head)
    monkeypatch.setenv("PYTHONPATH", str(head))
    side = Side(
        ready(parse([f"{base}/.venv"], head), tmp_path / "cache", lambda _: None),
        tmp_path / "compiled",
        Work(CATALOGUE[0], LADDER["fp32"], LADDER["fp32"], "cpu", CATALOGUE[0].request),
    )
    with side.runner("old", source_path(head / ".fastdiff")).side(side.work) as process:
        folders = process.folders
    assert base in folders
    assert head not in folders
    assert folders[0] == head / ".fastdiff" / "source", "both sides run the same fastdiff"
