"""SPECs and the environments that they name. Packages are tiny wheels made here: no index is asked."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import importlib.metadata
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement
from tiny_wheels import wheel

import fastdiff
from fastdiff.compare.facts import package_differences
from fastdiff.record.errors import UserError
from fastdiff.sides import environment as environments
from fastdiff.sides import home as homes
from fastdiff.sides import installed, uv
from fastdiff.sides.environment import Environment, ready
from fastdiff.sides.home import MARKER, digest, site_packages
from fastdiff.sides.installed import packages, releases
from fastdiff.sides.source import source_path
from fastdiff.sides.spec import Spec, parse

if TYPE_CHECKING:
    from collections.abc import Sequence

HERE = Path(sys.executable)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheels")
    for version in ("1.0", "2.0", "10.0", "11.0rc1"):
        wheel(folder, "tinything", version)
    wheel(folder, "tinyuser", "1.0", needs=["tinything<2"])
    wheel(folder, "pluggy", "99.0")  # beyond what the pytest of this environment allows
    return folder


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache") / "environments"


@pytest.fixture
def said() -> list[str]:
    return []


def spec(wheels: Path, *words: str) -> Spec:
    return parse([*words, f"--find-links={wheels}", "--no-index"], wheels)


def answer(environment: Environment, script: str) -> str:
    done = subprocess.run([environment.python, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def no_uv(*_: object, **__: object) -> str:
    raise AssertionError("nothing is to be made here")


# -- what was written -------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A person's folder, with one of each thing that a SPEC may name."""
    (tmp_path / "old/bin").mkdir(parents=True)
    (tmp_path / "old/pyvenv.cfg").touch()
    (tmp_path / "old/bin/python").symlink_to(HERE)
    (tmp_path / "requirements.txt").write_text("torch==2.12.1\n")
    (tmp_path / "diffusers").mkdir()
    (tmp_path / "diffusers/pyproject.toml").touch()
    (tmp_path / "notes.md").touch()
    (tmp_path / "uv.lock").touch()
    (tmp_path / "broken.whl").touch()
    (tmp_path / "conda/bin").mkdir(parents=True)
    (tmp_path / "conda/bin/python").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("words", "python", "requirements", "files", "options", "variables"),
    [
        (["."], HERE, (), (), (), {}),
        (["OMP_NUM_THREADS=1"], HERE, (), (), (), {"OMP_NUM_THREADS": "1"}),
        ([".", "A=", "B_2=x=y"], HERE, (), (), (), {"A": "", "B_2": "x=y"}),
        (["old"], "old/bin/python", (), (), (), {}),
        (["old/bin/python", "A=1"], "old/bin/python", (), (), (), {"A": "1"}),
        ([str(HERE)], HERE, (), (), (), {}),
        (["torch==2.12.1"], None, ("torch==2.12.1",), (), (), {}),
        (["TORCH==2.12.1"], None, ("TORCH==2.12.1",), (), (), {}),
        (["torch>=2.12,<2.13", "A=1"], None, ("torch>=2.12,<2.13",), (), (), {"A": "1"}),
        (["a @ git+https://b/c", "d==1"], None, ("a @ git+https://b/c", "d==1"), (), (), {}),
        (["requirements.txt"], None, (), ("requirements.txt",), (), {}),
        (
            ["torch>=2.16.dev0", "--pre", "--index-url=https://nightly", "--find-links=old"],
            None,
            ("torch>=2.16.dev0",),
            (),
            ("--pre", "--index-url=https://nightly", "--find-links={folder}/old"),
            {},
        ),
    ],
)
def test_what_a_spec_means(words, python, requirements, files, options, variables, folder: Path) -> None:
    read = parse(words, folder)
    assert read == Spec(
        words=tuple(words),
        python=folder / python if python else None,  # an absolute one stays as it is
        requirements=requirements,
        files=tuple(folder / name for name in files),
        options=tuple(option.format(folder=folder) for option in options),
        variables=variables,
    )
    assert read.name == " ".join(words)


def test_a_wheel_is_a_requirement(folder: Path) -> None:
    path = wheel(folder, "tinything", "1.0")
    assert parse([path.name], folder).requirements == (str(path),)


def test_a_name_shows_no_password() -> None:
    read = parse(["torch==2.12.1", "--index-url=https://me:secret@index/simple"], Path())
    assert read.name == "torch==2.12.1 --index-url=https://****@index/simple"
    assert read.options == ("--index-url=https://me:secret@index/simple",)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ([], "no word says which environment is meant. A SPEC is '.'"),
        ([""], "'' is no SPEC. A SPEC is"),
        (["torch=2.12.1"], "'torch=2.12.1' is no SPEC; did you mean torch==2.12.1? A SPEC is '.'"),
        (["torch@2.12.1"], "did you mean torch==2.12.1?"),
        (["torch 2.12.1"], "did you mean torch==2.12.1?"),
        (["omp_num_threads=1"], "did you mean OMP_NUM_THREADS=1?"),
        (["pytest"], "'pytest' names no version, and does not exist as a path; did you mean "),
        (["plugy"], f"did you mean pluggy=={importlib.metadata.version('pluggy')}?"),
        (["requirement.txt"], "'requirement.txt' does not exist; did you mean requirements.txt?"),
        (["./odl"], "'./odl' does not exist; did you mean old?"),
        (["nowhere/bin/python"], "'nowhere/bin/python' does not exist. A SPEC is"),
        (
            ["conda"],
            "is a folder, and no virtual environment (which has pyvenv.cfg and bin/python); did you mean conda/b",
        ),
        (["diffusers"], "did you mean diffusers @ file:///"),
        (["git+https://host/torch"], "did you mean NAME @ git+https://host/torch?"),
        (["notes.md"], "'notes.md' is a file, but no interpreter, no wheel, and does not end in .txt, .lock, .in."),
        (["broken.whl"], "'broken.whl' has not the name of a wheel"),
        (["uv.lock"], "uv.lock is no requirements file; make one (`uv export -o requirements.txt`)"),
        (["torch==2.12.1 A=1"], "did you mean torch==2.12.1 and A=1, each as a word of its own?"),
        (["x" * 300 + "!"], "is no SPEC"),
        (["torch==2; python_version < '3'"], "is not for this interpreter"),
        (["torch==2", "--index=https://x"], "did you mean --index-url=https://x?"),
        (["torch==2", "--pree"], "'--pree' is no option of the installer; did you mean --pre?"),
        (["torch==2", "--index-url"], "did you mean --index-url=URL?"),
        (["--pre"], "'--pre' is for the installer, which has nothing to install here"),
        ([".", "old"], "'.' and 'old' are two environments"),
        ([".", "torch==2"], "'.' is an environment that exists, and 'torch==2' makes one: drop '.'"),
        (["requirements.txt", "torch==2"], "write torch==2 into requirements.txt, or drop one"),
        (["torch==2", "Torch<3"], "'torch==2' and 'Torch<3' both say what torch is"),
        (["A=1", "A=2"], "'A=1' and 'A=2' both say what A is"),
        (["PYTHONPATH=x"], "PYTHONPATH is how fastdiff's workers find their code"),
    ],
)
def test_what_cannot_be_read_is_answered_with_the_nearest_name(words, complaint: str, folder: Path) -> None:
    with pytest.raises(UserError) as caught:
        parse(words, folder)
    assert complaint in str(caught.value)


# -- what exists already ----------------------------------------------------------------------------------------------


def test_this_environment_has_a_key_that_its_variables_change(home: Path, said: list[str]) -> None:
    plain, same, threads = (ready(parse(words, Path()), home, said.append) for words in (["."], [str(HERE)], ["A=1"]))
    assert (plain.name, plain.python, plain.variables) == (".", HERE, {})
    assert plain.key == same.key != threads.key
    assert (plain.is_this_one, threads.is_this_one) == (True, False)
    assert threads.variables == {"A": "1"}
    assert said == []


def test_packages_are_asked_of_the_interpreter() -> None:
    seen = packages(HERE, {})
    assert seen["pytest-benchmark"] == importlib.metadata.version("pytest_benchmark")


def test_torch_is_never_imported(tmp_path: Path) -> None:
    script = "import fastdiff.sides.environment, sys; print('torch' in sys.modules)"
    assert subprocess.check_output([HERE, "-c", script], cwd=tmp_path, text=True) == "False\n"


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        ("#!/bin/sh\necho I am no Python >&2; exit 3\n", "name one that starts. It ended with: I am no Python"),
        ("#!/nowhere/python\n", "cannot be started (No such file or directory); name an interpreter that can."),
        ("#!/bin/sh\nsleep 60\n", "did not answer within 0 s"),
    ],
)
def test_an_interpreter_that_is_none_is_a_sentence(
    script: str, complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    if "sleep" in script:
        monkeypatch.setattr(installed, "PATIENCE_S", 0.2)
    path = executable(tmp_path / "python", script)
    with pytest.raises(UserError) as caught:
        ready(parse(["./python"], tmp_path), tmp_path, said.append)
    assert str(path) in str(caught.value)
    assert complaint in str(caught.value)


@pytest.mark.parametrize(("version", "refused"), [("3.9.1", True), ("3.11.0", False), ("3.20.0", False)])
def test_an_old_python_is_refused_and_an_empty_one_is_named(
    version: str, refused: bool, tmp_path: Path, said: list[str]
) -> None:
    text = json.dumps({"python": version, "build": [], "packages": {"torch": "2.12.1"}, "folders": []})
    executable(tmp_path / "python", f"#!/bin/sh\necho noise of a sitecustomize\necho '{text}'\n")
    asked = parse(["./python"], tmp_path)
    if refused:
        with pytest.raises(UserError, match=r"is Python 3\.9\.1; fastdiff runs on 3.11 or newer"):
            ready(asked, tmp_path, said.append)
    else:
        ready(asked, tmp_path, said.append)
        assert "lacks what fastdiff needs" in said[0]
        assert "'diffusers>=" in said[0]
        assert "'torch>=" not in said[0]


def executable(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o755)
    return path


def test_a_fastdiff_that_is_not_installed_knows_no_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    def missing(name: str) -> list[str]:
        raise importlib.metadata.PackageNotFoundError(name)

    (tmp_path / "requirements.txt").touch()
    monkeypatch.setattr(importlib.metadata, "requires", missing)
    assert ready(parse(["."], tmp_path), tmp_path, said.append).is_this_one
    with pytest.raises(UserError, match=r"fastdiff is not installed here, .*; do: pip install -e"):
        ready(parse(["requirements.txt"], tmp_path), tmp_path, said.append)


def test_differences_leave_out_fastdiff() -> None:
    old = {"torch": "2.12.1", "fastdiff": "0.1", "numpy": "2.4"}
    new = {"torch": "2.13.0", "triton": "3.5", "numpy": "2.4", "pytest-fastdiff": "0.2"}
    assert package_differences(old, new) == [
        "torch: 2.12.1 -> 2.13.0",
        "triton: nothing -> 3.5",
    ]


# -- what is made -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(wheels: Path, home: Path) -> tuple[Environment, list[str]]:
    """A package that the base lacks, and one that the base has in another version."""
    said: list[str] = []
    return ready(spec(wheels, "tinything==1.0", "pluggy==99"), home, said.append), said


def test_a_copy_is_this_environment_with_only_that_changed(made: tuple[Environment, list[str]]) -> None:
    environment, said = made
    base = packages(HERE, {})
    changed = package_differences(base, packages(environment.python, {}))
    assert changed == [f"pluggy: {base['pluggy']} -> 99.0", "tinything: nothing -> 1.0"]
    assert answer(environment, "import pluggy, tinything; print(pluggy.__version__)") == "99.0"
    own = answer(environment, "import _pytest; print(_pytest.__file__)")
    assert Path(own).is_relative_to(environment.python.parents[1])
    assert Path(own).samefile(sys.modules["_pytest"].__file__ or ""), "one file, so that neither copy is the faster"
    assert "tinything" not in base
    assert any("`pytest` requires `pluggy" in line for line in said), "a range that is not kept is named"
    assert said[0].endswith(f"creating {environment.python.parents[1]}")
    assert f"{environment.name}: {', '.join(changed)}" in said
    assert said[-1].startswith(f"{environment.name}: ready after ")


def test_a_base_may_be_an_editable_install(made: tuple[Environment, list[str]], tmp_path: Path) -> None:
    where = "import fastdiff; print(fastdiff.__file__)"
    assert answer(made[0], where) == subprocess.check_output([HERE, "-P", "-c", where], cwd=tmp_path, text=True).strip()


def test_what_is_finished_is_not_made_again(
    made: tuple[Environment, list[str]], wheels: Path, home: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uv, "_run", no_uv)
    again = ready(spec(wheels, "tinything==1.0", "pluggy==99"), home, said.append)
    assert again == made[0]
    folder = again.python.parents[1]
    assert f"remove {folder} to have it made anew" in said[0]
    assert folder.name.startswith("tinything-1.0-pluggy-99-")
    marker = json.loads((folder / MARKER).read_text())
    assert marker["packages"]["tinything"] == "1.0"
    assert (home / ".gitignore").read_text() == "*\n"


def test_variables_share_the_folder_and_not_the_key(
    made: tuple[Environment, list[str]], wheels: Path, home: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uv, "_run", no_uv)
    other = ready(spec(wheels, "tinything==1.0", "pluggy==99", "OMP_NUM_THREADS=1"), home, said.append)
    assert other.python == made[0].python
    assert other.key != made[0].key
    assert other.variables == {"OMP_NUM_THREADS": "1"}


def test_another_base_makes_another_environment(
    wheels: Path, home: Path, made: tuple[Environment, list[str]], monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    base = packages(HERE, {})
    monkeypatch.setattr(environments, "packages", lambda *_: base | {"numpy": "0.1"})
    monkeypatch.setattr(uv, "_run", no_uv)
    with pytest.raises(AssertionError, match="nothing is to be made here"):
        ready(spec(wheels, "tinything==1.0", "pluggy==99"), home, said.append)
    monkeypatch.setattr(environments, "packages", lambda *_: base | {"pytest-fastdiff": "99"})
    assert ready(spec(wheels, "tinything==1.0", "pluggy==99"), home, said.append).python == made[0].python


@pytest.mark.nightly
def test_what_was_not_finished_is_made_again(
    wheels: Path, tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(command: Sequence[str], *_: object) -> str:
        """As a process ends that is killed: what it has written stays."""
        folder = Path(command[-1])
        folder.mkdir()
        (folder / "left behind").touch()
        (folder / MARKER).write_text('{"words": "cut')
        monkeypatch.setattr(homes.shutil, "rmtree", lambda *_, **__: None)
        raise SystemExit

    monkeypatch.setattr(uv, "_run", killed)
    with pytest.raises(SystemExit):
        ready(spec(wheels, "tinything==2.0"), tmp_path, said.append)
    monkeypatch.undo()
    (folder,) = [path for path in tmp_path.iterdir() if path.is_dir()]
    said.clear()
    environment = ready(spec(wheels, "tinything==2.0"), tmp_path, said.append)
    assert environment.python == folder / "bin/python"
    assert said[0].endswith(f"{folder} was not finished; it is made anew")
    assert not (folder / "left behind").exists()
    assert answer(environment, "import tinything; print(tinything.__version__)") == "2.0"


@pytest.mark.nightly
def test_a_wheel_of_an_equal_version_counts_as_another_one(wheels: Path, tmp_path: Path, said: list[str]) -> None:
    """pip would say that it is there already: the build of a person's own torch has the version of the released one."""
    version = importlib.metadata.version("pluggy")
    path = wheel(tmp_path, "pluggy", version, needs=["tinyuser"], says="my own")
    asked = spec(wheels, str(path))
    own = ready(asked, tmp_path / "home", said.append)
    assert answer(own, "import pluggy; print(pluggy.__version__)") == "my own"
    assert packages(own.python, {})["tinything"] == "1.0", "what it needs comes as well"
    os.utime(path, (1, 1))  # built again
    assert environments._ingredients(asked, {}) != environments._ingredients(spec(wheels, "tinything==1.0"), {})
    folder_before = own.python.parents[1].name
    assert digest(*environments._ingredients(asked, packages(HERE, {}))) not in folder_before


def test_a_failing_installation_is_a_sentence_and_leaves_nothing(wheels: Path, tmp_path: Path, said: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        ready(spec(wheels, "tinything==3.0"), tmp_path, said.append)
    message = str(caught.value)
    assert message.startswith("tinything==3.0 ")
    assert "cannot be installed" in message
    assert "there is no version of tinything==3.0" in message
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


@pytest.mark.nightly
def test_what_was_only_pretended_is_seen(
    wheels: Path, tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "uv.toml").write_text(f'pip.target = "{tmp_path}/elsewhere"\n')
    monkeypatch.setenv("UV_CONFIG_FILE", str(tmp_path / "uv.toml"))
    with pytest.raises(UserError, match=r"has no tinything where tinything==2\.0 was asked for"):
        ready(spec(wheels, "tinything==2.0"), tmp_path / "home", said.append)


def test_a_full_disk_is_a_sentence_and_leaves_nothing(
    wheels: Path, tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(command: Sequence[str], *_: object) -> str:
        Path(command[-1]).mkdir()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(uv, "_run", full)
    with pytest.raises(UserError, match=r"cannot be written \(No space left on device\); make room"):
        ready(spec(wheels, "tinything==2.0"), tmp_path, said.append)
    assert "creating" in said[0]
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


def test_a_home_that_cannot_be_is_a_sentence(wheels: Path, tmp_path: Path, said: list[str]) -> None:
    (tmp_path / "home").touch()
    with pytest.raises(UserError, match="home cannot be written"):
        ready(spec(wheels, "tinything==2.0"), tmp_path / "home", said.append)


@pytest.mark.alone
def test_ctrl_c_leaves_nothing_unfinished(wheels: Path, tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path\n"
        "from fastdiff.sides.environment import ready\nfrom fastdiff.sides.spec import parse\n"
        "ready(parse(sys.argv[2:], Path()), Path(sys.argv[1]), lambda line: print(line, flush=True))"
    )
    words = ["tinything==2.0", f"--find-links={wheels}", "--no-index"]
    command = [sys.executable, "-c", script, str(tmp_path), *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.endswith(": installing\n"):
                time.sleep(0.1)  # until uv has begun; it takes a third of a second
                process.send_signal(signal.SIGINT)
                break
        assert process.wait(timeout=30) != 0
    left = [path for path in tmp_path.iterdir() if path.is_dir()]
    assert all(homes.finished(path) for path in left), "a fast machine may have finished it before"


@pytest.mark.nightly
def test_of_two_at_once_one_makes_it(wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[Sequence[str]] = []
    run = uv._run

    def counted(command: Sequence[str], *rest: object) -> str:
        runs.append(command)
        return run(command, *rest)

    monkeypatch.setattr(uv, "_run", counted)
    monkeypatch.setattr(homes, "SAID_AFTER_S", 0.0)
    said: tuple[list[str], list[str]] = ([], [])
    found: list[Environment] = []

    def one(lines: list[str]) -> None:
        found.append(ready(spec(wheels, "tinything==2.0"), tmp_path, lines.append))

    threads = [threading.Thread(target=one, args=[lines]) for lines in said]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[0] == found[1]
    assert len(runs) == 2, "one environment, one installation"
    waiting = [line for lines in said for line in lines if "waiting for process" in line]
    assert len(waiting) == 1


def test_the_lock_of_a_dead_process_is_free(
    made: tuple[Environment, list[str]], wheels: Path, home: Path, said: list[str]
) -> None:
    folder = made[0].python.parents[1]
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # free, or this fails
    assert ready(spec(wheels, "tinything==1.0", "pluggy==99"), home, said.append) == made[0]


@pytest.mark.nightly
def test_a_file_makes_an_environment_of_its_own(
    wheels: Path, tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With hashes, which allow nothing beside them that has none; and older than fastdiff's own range."""
    needs = [Requirement("tinything>=2"), Requirement("tinyuser")]
    monkeypatch.setattr(environments, "needs", lambda: needs)
    digest = hashlib.sha256((wheels / "tinything-1.0-py3-none-any.whl").read_bytes()).hexdigest()
    (tmp_path / "more.txt").write_text(f"tinything==1.0 --hash=sha256:{digest}\n")
    (tmp_path / "requirements.txt").write_text("-r more.txt\n")
    asked = parse(["requirements.txt", f"--find-links={wheels}", "--no-index"], tmp_path)
    environment = ready(asked, tmp_path / "home", said.append)
    seen = packages(environment.python, {})
    assert (seen["tinything"], seen["tinyuser"], "pytest" in seen) == ("1.0", "1.0", False)
    assert any("tinything stays at 1.0, as its file says" in line for line in said)
    before = environments._ingredients(asked, {})
    (tmp_path / "more.txt").write_text("tinything==2.0\n")
    assert environments._ingredients(asked, {}) != before, "an included file is content too"


def test_what_fastdiff_needs_is_what_its_metadata_says() -> None:
    needs = {need.name: need for need in installed.needs()}
    assert {"torch", "diffusers", "pytest-benchmark", "nvidia-ml-py"} <= needs.keys()
    assert "mypy" not in needs, "an extra"
    assert not any(need.marker for need in needs.values())


# -- releases ---------------------------------------------------------------------------------------------------------


def test_releases_come_oldest_first(wheels: Path) -> None:
    """Those before a release as well: nightlies are nothing else, and a search leaves out what it does not want."""
    places = [f"--find-links={wheels}", "--no-index"]
    assert releases("tinything", HERE, places) == ["1.0", "2.0", "10.0", "11.0rc1"]


def test_no_such_package_is_a_sentence(wheels: Path) -> None:
    with pytest.raises(UserError, match=r"pip's index has no release of 'tinythink' for .*; look at the name"):
        releases("tinythink", HERE, [f"--find-links={wheels}", "--no-index"])


@pytest.mark.parametrize(
    ("complaint", "sentence"),
    [
        ("WARNING: Retrying (Retry(total=4)) after connection broken", "pip reached no index; look at the network"),
        ("/usr/bin/python: No module named pip", "/python -m ensurepip --upgrade). It ended with: /usr/bin/"),
    ],
)
def test_no_index_and_no_pip_are_sentences(complaint: str, sentence: str, tmp_path: Path) -> None:
    python = executable(tmp_path / "python", f"#!/bin/sh\necho '{complaint}' >&2\nexit 1\n")
    with pytest.raises(UserError) as caught:
        releases("torch", python)
    assert sentence in str(caught.value)


# -- the code of the workers ------------------------------------------------------------------------------------------


def test_the_workers_path_holds_nothing_but_fastdiff(tmp_path: Path) -> None:
    path = source_path(tmp_path / "home")
    package = Path(fastdiff.__file__).parent.resolve()
    assert [one.name for one in path.iterdir()] == ["fastdiff"]
    assert (path / "fastdiff").resolve() == package
    (path / "fastdiff").unlink()
    (path / "fastdiff").symlink_to(tmp_path)  # a clone that was moved
    assert source_path(tmp_path / "home") == path
    assert (path / "fastdiff").resolve() == package
    script = "import fastdiff, sys; print(fastdiff.__file__)"
    found = subprocess.check_output([HERE, "-P", "-c", script], env={"PYTHONPATH": str(path)}, cwd=tmp_path, text=True)
    assert Path(found.strip()) == path / "fastdiff/__init__.py"


def test_where_links_are_not_possible_the_code_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(1, "Operation not permitted")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "symlink_to", refused)
        copied = source_path(tmp_path) / "fastdiff"
        assert not copied.is_symlink()
        (copied / "__init__.py").write_text("old")
        source_path(tmp_path)
        assert (copied / "__init__.py").read_text() != "old", "a copy is of today"
    assert (source_path(tmp_path) / "fastdiff").is_symlink()
    assert sorted(one.name for one in tmp_path.iterdir()) == [".gitignore", "source"]


def test_a_source_path_that_cannot_be_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "source").touch()
    with pytest.raises(UserError, match=r"source.* cannot be written \(.*\); make room"):
        source_path(tmp_path)
    (tmp_path / "source").unlink()

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "symlink_to", full)
    with pytest.raises(UserError, match=r"source.* cannot be written \(No space left on device\); make room"):
        source_path(tmp_path)
    assert not (tmp_path / "source" / "fastdiff").exists(), "a copy would fill what is full"


def test_what_a_killed_process_left_is_in_no_way(tmp_path: Path) -> None:
    (tmp_path / f".source.{os.getpid()}").symlink_to(tmp_path)
    assert (source_path(tmp_path) / "fastdiff").is_symlink()


# -- this environment, copied -----------------------------------------------------------------------------------------


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A site-packages folder with what no installer knows of, and one that stands behind it."""
    here, behind = tmp_path / "env/site-packages", tmp_path / "usr/dist-packages"
    (here / "thing").mkdir(parents=True)
    behind.mkdir(parents=True)
    (here / "thing/library.so").write_text("compiled")
    (here / "sitecustomize.py").write_text("import thing\n")
    (here / "editable.pth").write_text("/somewhere/src\n")
    (here / "thing/link.so").symlink_to("library.so")
    monkeypatch.setattr(environments, "base_folders", lambda: [here, behind])
    return here


def test_a_copy_has_everything_and_shares_the_files(base: Path, tmp_path: Path) -> None:
    environments.copy_this_one(tmp_path / "copy")
    copy = site_packages(tmp_path / "copy")
    for name in ("thing/library.so", "sitecustomize.py", "editable.pth"):
        assert (copy / name).samefile(base / name), name
    assert (copy / "thing/link.so").is_symlink()
    assert repr(str(base.parents[1] / "usr/dist-packages")) in (copy / environments.BASE_LINK).read_text()


def test_a_file_that_is_replaced_in_the_copy_stays_in_this_environment(base: Path, tmp_path: Path) -> None:
    environments.copy_this_one(tmp_path / "copy")
    library = site_packages(tmp_path / "copy") / "thing/library.so"
    library.unlink()  # as installers do
    library.write_text("another")
    assert (base / "thing/library.so").read_text() == "compiled"


def test_where_files_cannot_be_shared_they_are_copied(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refused)
    environments.copy_this_one(tmp_path / "copy")
    library = site_packages(tmp_path / "copy") / "thing/library.so"
    assert library.read_text() == "compiled"
    assert not library.samefile(base / "thing/library.so")


# -- uv ---------------------------------------------------------------------------------------------------------------


def test_uv_looks_where_pip_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("PIP_", "UV_", "SSL_"))]:
        monkeypatch.delenv(name)
    (tmp_path / "pip.conf").write_text(
        "[global]\nindex-url = https://me:secret@one/simple\nfind-links =\n  /wheels\n  /more\ncert = /global.pem\n"
        "trusted-host = one\n[install]\ncert = /install.pem\npre = yes\n"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "https://two/simple https://three/simple")
    monkeypatch.setenv("UV_INSECURE_HOST", "uv's own")
    uv._of_pip.cache_clear()
    found = uv.variables()
    uv._of_pip.cache_clear()
    expected = {
        "UV_DEFAULT_INDEX": "https://me:secret@one/simple",
        "UV_INDEX": "https://two/simple https://three/simple",
        "UV_FIND_LINKS": "/wheels,/more",
        "SSL_CERT_FILE": "/install.pem",
        "UV_PRERELEASE": "allow",
        "UV_INSECURE_HOST": "uv's own",
    }
    assert {name: found.get(name) for name in expected} == expected


@pytest.mark.parametrize(("said", "options", "count"), [("yes", [], 1), ("no", [], 0), ("yes", ["--no-index"], 1)])
def test_no_index_of_pip_holds_for_uv(
    said: str, options: list[str], count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[list[str]] = []
    monkeypatch.setattr(uv, "_of_pip", lambda: {"no-index": said})
    monkeypatch.setattr(uv, "_run", lambda words, *_: ran.append(words))
    uv.install(tmp_path, ["tinything"], "x", print, options=options)
    assert ran[0].count("--no-index") == count


def test_without_uv_it_is_said_what_installs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uv", None)
    with pytest.raises(UserError, match="do: pip install uv"):
        uv.make(tmp_path / "new", sys.executable, "x", print)


def test_options_are_spelled_as_uv_spells_them() -> None:
    assert uv.translated(["--pre", "--index-url=https://x", "--find-links=/a=b", "--no-index"]) == [
        *("--prerelease", "allow", "--default-index", "https://x", "--find-links", "/a=b", "--no-index"),
    ]
