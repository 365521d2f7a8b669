"""The software of an accepted run, made again: toy repositories and tiny wheels, no index."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from tiny_wheels import wheel
from typer.testing import CliRunner

from fastdiff.cli import app
from fastdiff.experiments.accepted import variables_of
from fastdiff.host import software as host
from fastdiff.host.software import code, distributions
from fastdiff.record.errors import UserError
from fastdiff.record.parts import merged
from fastdiff.record.reading import convert
from fastdiff.record.run import Device, Run, Trial
from fastdiff.record.software import Distribution, Project, Software
from fastdiff.sides import accepted
from fastdiff.sides import home as homes
from fastdiff.sides.accepted import Rebuilt, rebuild, share_libraries
from fastdiff.sides.home import VARIABLE, interpreter, kept, site_packages
from fastdiff.sides.installed import packages

if TYPE_CHECKING:
    from pathlib import Path

THING = Distribution("tinything", "1.0")
FASTDIFF = Distribution("pytest-fastdiff", "0.1", editable=".")
FORMER = replace(FASTDIFF, name="fastdiff")
"""As it was called in runs that were accepted before."""
SPEAKING = "PROTOCOL = {}\n"
BASELINE = "baselines/cpu/0001_x.json"


@pytest.fixture
def kept_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Tiny wheels where uv looks, and a cache of its own."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    wheel(wheels, "tinything", "1.0")
    wheel(wheels, "tinything", "2.0")
    monkeypatch.setenv("UV_FIND_LINKS", str(wheels))
    monkeypatch.setattr("fastdiff.sides.uv._of_pip", lambda: {"no-index": "true"})
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache/environments"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A project that is a fastdiff of its own: one file for the protocol, and another one."""
    folder = tmp_path / "project"
    (folder / "fastdiff/trial").mkdir(parents=True)
    for name in ("fastdiff/__init__.py", "fastdiff/trial/__init__.py"):
        (folder / name).touch()
    (folder / "fastdiff/trial/process.py").write_text(SPEAKING.format(7))
    (folder / "README.md").write_text("first\n")
    (folder / ".gitignore").write_text("ignored/\n")
    git(folder, "init", "-q", "-b", "main")
    commit(folder, "first")
    return folder


def git(folder: Path, *words: str) -> str:
    names = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "protocol.file.allow=always"]
    return subprocess.check_output(["git", *names, *words], cwd=folder, text=True, stderr=subprocess.STDOUT).strip()


def commit(folder: Path, message: str) -> str:
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", message)
    return git(folder, "rev-parse", "HEAD")


def bring_the_baseline(folder: Path) -> str:
    (folder / BASELINE).parent.mkdir(parents=True)
    (folder / BASELINE).write_text("{}")
    return commit(folder, "accepted")


def ran(*found: Distribution, project: Project | None = None) -> Software:
    return Software(".".join(map(str, sys.version_info[:3])), found, project)


def again(software: Software | None, root: Path, kept_in: Path, **asked: Any) -> Rebuilt:
    return rebuild(software, root, kept_in, lambda _: None, protocol=7, **asked)


# -- what is recorded -------------------------------------------------------------------------------------------------


def test_of_every_distribution_its_version_and_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside, outside = tmp_path / "project/sub", tmp_path / "elsewhere"
    told = {
        "plain": None,
        "vcs": '{"url": "https://me:secret@host/r.git", "subdirectory": "lib", '
        '"vcs_info": {"vcs": "git", "commit_id": "abc"}}',
        "spaced": '{"url": "https://host/a b.whl", "archive_info": {}}',
        "url": '{"url": "https://me:secret@host/x.whl", "archive_info": {}}',
        "ssh": '{"url": "ssh://git:pass@host/r", "vcs_info": {"vcs": "git", "commit_id": "abc"}}',
        "signed": '{"url": "https://host/x.whl?Signature=secret", "archive_info": {}}',
        "unreadable": '{"url": "https://[bad/", "archive_info": {}}',
        "inside": f'{{"url": "{inside.as_uri()}", "dir_info": {{"editable": true}}}}',
        "outside": f'{{"url": "{outside.as_uri()}", "dir_info": {{"editable": true}}}}',
        "wheel": '{"url": "file:///wheels/wheel-1.0-py3-none-any.whl", "archive_info": {}}',
        "broken": "{",
    }

    class Fake:
        version = "1.0+cpu"

        def __init__(self, name: str) -> None:
            self.metadata = {"Name": name}

        def read_text(self, file: str) -> str | None:
            return told[self.metadata["Name"]] if file == "direct_url.json" else None

    monkeypatch.setattr(host.importlib.metadata, "distributions", lambda: [Fake(name) for name in told])
    found = {one.name: one for one in distributions(tmp_path / "project")}
    assert {one.version for name, one in found.items() if name != "spaced"} == {"1.0+cpu"}
    assert found["vcs"].source == "git+https://host/r.git@abc#subdirectory=lib"
    assert found["ssh"].source == "git+ssh://git@host/r@abc"
    assert (found["signed"].source, found["signed"].local) == ("https://host/x.whl", True)
    assert found["url"].source == "https://host/x.whl"
    assert found["inside"].editable == "sub"
    assert [name for name, one in found.items() if one.local] == ["broken", "outside", "signed", "spaced", "unreadable"]
    assert found["plain"] == found["wheel"].__class__("plain", "1.0+cpu")


def test_changed_and_new_files_are_part_of_the_code(repository: Path) -> None:
    clean = code(repository)
    assert clean is not None
    assert not clean.dirty
    assert set(clean.entries) == {"fastdiff", "README.md", ".gitignore"}
    (repository / "new.py").write_text("1\n")
    (repository / "README.md").write_text("second\n")
    for name in ("ignored", "runs", "baselines"):
        (repository / name).mkdir()
        (repository / name / "x").write_text("what fastdiff writes, or git ignores\n")
    dirty = code(repository)
    assert dirty is not None
    assert dirty.dirty
    assert {name for name in dirty.entries if dirty.entries[name] != clean.entries.get(name)} == {"new.py", "README.md"}
    status = git(repository, "status", "--porcelain", "README.md", "new.py")
    assert status.splitlines() == ["M README.md", "?? new.py"] or status.splitlines() == [" M README.md", "?? new.py"]


def test_large_files_that_are_not_in_git_are_not_read(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "LARGE_BYTES", 10)
    (repository / "weights [1].bin").write_text("x" * 11)
    found = code(repository)
    assert found is not None
    assert found.dirty
    assert found.entries["weights [1].bin"].startswith("11 bytes of ")


def test_outside_of_a_repository_there_is_no_code(tmp_path: Path) -> None:
    assert code(tmp_path) is None


def test_a_run_file_keeps_it_and_it_is_read_back() -> None:
    from dataclasses import asdict

    software = ran(THING, FASTDIFF, project=Project("abc" + "0" * 37, dirty=True, entries={"a": "b"}))
    assert convert(asdict(software) | {"distributions": [asdict(THING), asdict(FASTDIFF)]}, Software, "x") == software


@pytest.mark.parametrize(
    "hostile",
    [
        {"version": "1.0\n--index-url=https://evil/simple"},
        {"version": "1.0; x"},
        {"source": "git+https://host/r.git@abc\n-r /etc/passwd"},
        {"source": "--index-url=https://evil"},
        {"source": "/etc"},
        {"editable": "../.."},
        {"editable": "/etc"},
        {"name": "-r"},
    ],
    ids=lambda one: next(iter(one)),
)
def test_a_hostile_baseline_reaches_neither_uv_nor_git(hostile: dict[str, str]) -> None:
    whole = {"name": "tinything", "version": "1.0"}
    with pytest.raises(UserError):
        convert({"python": "3.11.7", "distributions": [whole | hostile]}, Software, "x")
    assert convert({"python": "3.11.7", "distributions": [whole]}, Software, "x").distributions == (THING,)


@pytest.mark.parametrize("commit", ["--help", "HEAD", "abc\n", "\n"])
def test_a_commit_is_one(commit: str) -> None:
    with pytest.raises(UserError):
        convert({"python": "3.11.7", "project": {"commit": commit, "dirty": False}}, Software, "x")


# -- packages ---------------------------------------------------------------------------------------------------------


def test_the_same_versions_come_back_and_are_found_again(kept_in: Path, tmp_path: Path) -> None:
    found = again(ran(THING), tmp_path, kept_in)
    assert packages(found.environment.python, {})["tinything"] == "1.0"
    lines: list[str] = []
    same = rebuild(ran(THING), tmp_path, kept_in, lines.append, protocol=7)
    assert same == found
    assert "as made on" in lines[0]
    other = again(ran(replace(THING, version="2.0")), tmp_path, kept_in)
    assert packages(other.environment.python, {})["tinything"] == "2.0"
    assert other.environment.key != found.environment.key


@pytest.mark.parametrize(
    ("software", "code", "sentence"),
    [
        (None, "side-not-recorded", "does not say which software it ran"),
        (ran(replace(THING, version="3.0")), "side-no-package", "tinything==3.0"),
        (ran(replace(THING, local=True)), "side-local-package", "tinything 1.0 was installed from a folder"),
        (replace(ran(THING), python="3.2.1"), "side-no-python", "there is no Python 3.2"),
        (ran(THING, FASTDIFF), "side-no-commit", "made outside of a git repository"),
    ],
)
def test_what_cannot_come_back_is_a_sentence_with_a_code(
    software: Software | None, code: str, sentence: str, kept_in: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError) as caught:
        again(software, tmp_path, kept_in)
    assert caught.value.code == code
    assert sentence in str(caught.value)
    assert not [one for one in kept() if one.finished]


def test_a_side_that_was_changed_by_hand_is_not_used(kept_in: Path, tmp_path: Path) -> None:
    python = again(ran(THING), tmp_path, kept_in).environment.python
    marker = python.parents[1] / homes.MARKER
    marker.write_text(marker.read_text().replace('"1.0"', '"1.1"'))
    with pytest.raises(UserError, match=r"has tinything 1\.1 instead of 1\.0; remove that folder") as caught:
        again(ran(THING), tmp_path, kept_in)
    assert caught.value.code == "side-no-package"


def test_a_full_disk_is_known_before(kept_in: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accepted, "FREE_BYTES", 10**18)
    with pytest.raises(UserError, match=r"has .* GB left; make room") as caught:
        again(ran(THING), tmp_path, kept_in)
    assert caught.value.code == "side-no-room"


def test_equal_libraries_become_one_file(kept_in: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = tmp_path / "site-packages", site_packages(tmp_path / "side")
    for folder, text in ((here, "same"), (there, "same")):
        (folder / "lib").mkdir(parents=True)
        (folder / "lib/equal.so.1").write_text(text)
    (here / "lib/other.so").write_text("abcd")
    (there / "lib/other.so").write_text("wxyz")
    monkeypatch.setattr(accepted, "base_folders", lambda: [here])
    share_libraries(interpreter(tmp_path / "side"))
    assert (here / "lib/equal.so.1").samefile(there / "lib/equal.so.1")
    assert (there / "lib/other.so").read_text() == "wxyz"


# -- code -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fastdiff", [FASTDIFF, FORMER], ids=lambda one: one.name)
def test_the_code_comes_from_the_commit_that_was_measured(
    repository: Path, kept_in: Path, fastdiff: Distribution
) -> None:
    measured = ran(THING, fastdiff, project=code(repository))
    (repository / "fastdiff/trial/process.py").write_text(SPEAKING.format(8))
    commit(repository, "today")
    found = again(measured, repository, kept_in)
    assert found.environment.source is not None
    assert (found.environment.source / "fastdiff/trial/process.py").read_text() == SPEAKING.format(7)
    assert found.environment.paths == ()
    assert found.remarks == ()


@pytest.mark.parametrize("name", ["pytest-fastdiff", "fastdiff"])
def test_a_fastdiff_from_an_index_is_not_installed_again(tmp_path: Path, kept_in: Path, name: str) -> None:
    """The workers of both sides run today's."""
    found = again(ran(THING, Distribution(name, "0.1")), tmp_path, kept_in)
    assert packages(found.environment.python, {}) == {"tinything": "1.0"}


def test_the_project_s_own_packages_come_from_there_too(repository: Path, kept_in: Path) -> None:
    (repository / "lib/src/mine").mkdir(parents=True)
    (repository / "lib/src/mine/__init__.py").touch()
    commit(repository, "a package of its own")
    mine = Distribution("mine", "1", editable="lib")
    found = again(ran(THING, mine, project=code(repository)), repository, kept_in).environment
    assert [path.name for path in found.paths] == ["src", "lib"]
    assert (found.paths[0] / "mine/__init__.py").exists()
    assert found.source is None


def test_a_fastdiff_of_another_protocol_is_not_used_and_that_is_said(repository: Path, kept_in: Path) -> None:
    found = rebuild(ran(THING, FASTDIFF, project=code(repository)), repository, kept_in, print, protocol=8)
    assert found.environment.source is None
    assert "a change of fastdiff itself is not measured" in found.remarks[0]


def test_after_a_squash_merge_the_commit_that_brought_the_baseline_has_it(repository: Path, kept_in: Path) -> None:
    git(repository, "checkout", "-q", "-b", "branch")
    (repository / "fastdiff/new.py").write_text("1\n")
    commit(repository, "on a branch")
    measured = ran(THING, FASTDIFF, project=code(repository))
    bring_the_baseline(repository)
    git(repository, "checkout", "-q", "main")
    git(repository, "merge", "-q", "--squash", "branch")
    commit(repository, "squashed")
    git(repository, "branch", "-q", "-D", "branch")
    git(repository, "reflog", "expire", "--expire=now", "--all")
    git(repository, "gc", "-q", "--prune=now")
    source = again(measured, repository, kept_in, baseline=repository / BASELINE).environment.source
    assert source is not None
    assert (source / "fastdiff/new.py").exists()


def test_what_was_measured_with_changes_comes_back_once_it_was_committed_with_the_baseline(
    repository: Path, kept_in: Path
) -> None:
    (repository / "untracked.py").write_text("1\n")
    measured = ran(THING, FASTDIFF, project=code(repository))
    with pytest.raises(UserError, match="it still lies here, so commit it with its accepted run: git add") as caught:
        again(measured, repository, kept_in, baseline=repository / BASELINE)
    assert caught.value.code == "side-changed-files"
    (repository / "untracked.py").write_text("2\n")
    with pytest.raises(UserError, match=r"untracked\.py were changed and never committed like that") as caught:
        again(measured, repository, kept_in, baseline=repository / BASELINE)
    assert caught.value.code == "side-changed-files"
    (repository / "untracked.py").write_text("1\n")
    bring_the_baseline(repository)
    assert again(measured, repository, kept_in, baseline=repository / BASELINE).environment.source is not None


def test_what_was_committed_after_its_baseline_comes_back_while_it_lies_there(repository: Path, kept_in: Path) -> None:
    (repository / "untracked.py").write_text("1\n")
    measured = ran(THING, FASTDIFF, project=code(repository))
    (repository / BASELINE).parent.mkdir(parents=True, exist_ok=True)
    (repository / BASELINE).write_text("{}")
    git(repository, "add", BASELINE)
    git(repository, "commit", "-q", "-m", "the baseline alone")
    commit(repository, "and its code")
    assert again(measured, repository, kept_in, baseline=repository / BASELINE).environment.source is not None


def test_a_large_file_outside_of_git_is_not_mended_by_a_commit(
    repository: Path, kept_in: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fastdiff.host.software.LARGE_BYTES", 10)
    (repository / "weights.bin").write_bytes(bytes(20))
    measured = ran(THING, FASTDIFF, project=code(repository))
    with pytest.raises(UserError, match=r"weights\.bin were changed and never committed like that"):
        again(measured, repository, kept_in, baseline=repository / BASELINE)


def test_what_was_measured_before_the_first_commit_comes_back(repository: Path, kept_in: Path) -> None:
    shutil.rmtree(repository / ".git")
    git(repository, "init", "-q", "-b", "main")
    project = code(repository)
    assert project is not None
    assert (project.commit, project.dirty) == ("", True)
    measured = ran(THING, FASTDIFF, project=project)
    (repository / "later.py").write_text("1\n")
    with pytest.raises(UserError, match="made in a repository without a commit, and no commit has its code") as caught:
        again(measured, repository, kept_in)
    assert caught.value.code == "side-no-commit"
    (repository / "later.py").unlink()
    bring_the_baseline(repository)
    assert again(measured, repository, kept_in, baseline=repository / BASELINE).environment.source is not None


def test_what_python_compiles_is_no_code(repository: Path) -> None:
    """In a project whose .gitignore does not name it."""
    (repository / "fastdiff" / "__pycache__").mkdir()
    (repository / "fastdiff" / "__pycache__" / "a.cpython-311.pyc").write_bytes(b"1")
    commit(repository, "with it")
    before = code(repository)
    (repository / "fastdiff" / "__pycache__" / "a.cpython-311.pyc").write_bytes(b"2")
    assert code(repository) == before
    assert before is not None
    assert not before.dirty


def test_a_shallow_clone_says_what_fetches_the_rest(repository: Path, kept_in: Path, tmp_path: Path) -> None:
    measured = ran(THING, FASTDIFF, project=code(repository))
    (repository / "README.md").write_text("later\n")
    commit(repository, "later")
    git(tmp_path, "clone", "-q", "--depth=1", repository.as_uri(), "shallow")
    with pytest.raises(UserError, match="git fetch --unshallow") as caught:
        again(measured, tmp_path / "shallow", kept_in)
    assert caught.value.code == "side-no-commit"
    git(tmp_path / "shallow", "fetch", "-q", "--unshallow")
    assert again(measured, tmp_path / "shallow", kept_in).environment.source is not None


def test_a_project_in_a_folder_of_a_repository(repository: Path, kept_in: Path) -> None:
    project = repository / "bench"
    (project / "src/mine").mkdir(parents=True)
    (project / "src/mine/__init__.py").touch()
    commit(repository, "a project below")
    measured = ran(THING, Distribution("mine", "1", editable="."), project=code(project))
    assert measured.project is not None
    assert (measured.project.folder, measured.project.dirty) == ("bench/", False)
    bring_the_baseline(project)
    assert code(project) == replace(measured.project, commit=git(repository, "rev-parse", "HEAD")), "no code of ours"
    found = again(measured, project, kept_in).environment
    assert (found.paths[0] / "mine/__init__.py").exists()


# -- variables --------------------------------------------------------------------------------------------------------


def test_variables_are_those_of_then(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("OMP_", "ONEDNN_", "TORCH", "MALLOC_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("ONEDNN_DEFAULT_FPMATH_MODE", "BF16")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setenv("TORCH_LOGS_OUT", "/here")
    hostile = {"PATH": "evil", "PYTHONPATH": "evil", "MKL_NUM_THREADS": 4}
    assert variables_of({"variables": []}) == {"ONEDNN_DEFAULT_FPMATH_MODE": None, "OMP_NUM_THREADS": None}
    paths = {"TORCH_HOME": "(a path)", "TORCHINDUCTOR_CACHE_DIR": "x"}
    then = {**hostile, **paths, "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
    assert variables_of({"variables": then}) == {
        "OMP_NUM_THREADS": "1",
        "MALLOC_ARENA_MAX": "1",
        "ONEDNN_DEFAULT_FPMATH_MODE": None,
    }


def test_a_baseline_of_parts_says_what_it_ran_only_where_all_ran_the_same() -> None:
    device, software = Device("box", "cpu", "box"), ran(THING)
    old = Run(device, "then", stages=(Trial("m", "a", None), Trial("m", "b", "a")), software=software)
    assert merged(old, replace(old, started="now"), ["m-b"], "r.json").software == software
    assert merged(old, replace(old, software=ran()), ["m-b"], "r.json").software is None


# -- what is kept -----------------------------------------------------------------------------------------------------


def test_what_is_not_used_is_removed(kept_in: Path, tmp_path: Path) -> None:
    python = again(ran(THING), tmp_path, kept_in).environment.python
    (kept_in / "half-made").mkdir()
    (kept_in / "half-made/file").write_text("x" * 1000)
    homes.let_go()
    listed = CliRunner().invoke(app, ["side", "list"])
    assert "accepted-environment-" in listed.stdout
    assert "never finished" in listed.stdout
    freed = CliRunner().invoke(app, ["side", "prune"])
    assert (freed.exit_code, freed.stdout) == (0, "0 MB freed\n")
    assert [one.folder.name for one in kept()] == [python.parents[1].name]
    os.utime(python.parents[1] / homes.MARKER, (1, 1))
    assert CliRunner().invoke(app, ["side", "prune"]).exit_code == 0
    assert kept() == []
    assert "holds no environment" in CliRunner().invoke(app, ["side", "list"]).stdout


def test_what_another_process_makes_is_not_removed(kept_in: Path) -> None:
    from fastdiff.record.writing import locked

    (kept_in / "being-made").mkdir(parents=True)
    with locked(kept_in / "being-made.lock") as held:
        assert held
        assert homes.remove(kept()[0]) is None
    assert (kept_in / "being-made").is_dir()


def test_a_pipeline_of_a_file_brings_the_code_of_a_project_that_is_not_installed(
    repository: Path, kept_in: Path
) -> None:
    """Workers import the file by its path, whether or not the project can be imported."""
    (repository / "pipelines.py").write_text("first\n")
    commit(repository, "with a pipeline")
    software = ran(THING, project=code(repository))
    (repository / "pipelines.py").write_text("second\n")
    assert again(software, repository, kept_in).environment.project is None, "nothing of it is imported"
    there = again(software, repository, kept_in, files=True).environment
    assert there.project is not None
    assert (there.project / "pipelines.py").read_text() == "first\n"
    assert (there.source, there.paths) == (None, ())
    with pytest.raises(UserError, match="made outside of a git repository"):
        again(ran(THING), repository, kept_in, files=True)
