"""The two commands of the Makefile, with nothing installed: what `make -n` says, and make with a Python that only
notes what it is asked for."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

pytestmark = pytest.mark.alone

REPOSITORY = Path(__file__).parents[1]
BENCH = ("perf_tests", "--benchmark-compare", "--fastdiff-chart", "runs/ladder.png")
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What a fresh clone holds of the things that make reads."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(REPOSITORY / name, tmp_path)
    return tmp_path


@pytest.fixture
def python(tmp_path: Path) -> str:
    """Answers the version check as this Python does; a new environment gets tools that write down how they are called.

    In a folder of its own, because make compares times in the clone.
    """
    tool = f'#!/bin/sh\necho "$0 $*" >> {tmp_path}/calls\n'
    return script(
        tmp_path,
        "python",
        f"""[ "$1" = -c ] && exec {sys.executable} "$@"
        mkdir -p "$3/bin"
        for name in pip pytest ruff mypy; do
            printf '%s' '{tool}' > "$3/bin/$name"
            chmod +x "$3/bin/$name"
        done""",
    )


def script(folder: Path, name: str, body: str) -> str:
    path = folder / "scripts" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


def environment(**changes: str) -> dict[str, str]:
    """Without what a surrounding make hands down: its flags, and variables that were named on its command line."""
    handed_down = {"MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "PYTHON", "TORCH", "ARGS"}
    return {name: value for name, value in os.environ.items() if name not in handed_down} | changes


def make(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", *args], cwd=folder, env=environment(), capture_output=True, text=True, timeout=60, check=False
    )


def said(folder: Path, *args: str) -> str:
    done = make(folder, *args)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def calls(folder: Path) -> list[str]:
    """What the tools were called with since the last question, without the path before the environment's name."""
    path = folder / "calls"
    lines = path.read_text().splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return [line.removeprefix(f"{folder}/").removeprefix("./") for line in lines]


def pins(path: Path) -> dict[str, str]:
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    found = dict(line.split("==") for line in lines)
    assert len(found) == len(lines), "two pins for one library"
    return found


# -- what make -n says ------------------------------------------------------------------------------------------------


def test_bench_installs_with_the_pins_and_measures(clone: Path) -> None:
    *_, install, _, last = said(clone, "-n", "bench").splitlines()
    assert re.search(r"\.venv/bin/pip install .*-c \.venv/constraints\.txt -e \.$", install)
    assert last.split() == [".venv/bin/pytest", *BENCH]


def test_bench_full_measures_sdxl_with_random_weights(clone: Path) -> None:
    text = " ".join(said(clone, "-n", "bench-full", "ARGS=--fastdiff-size=512").replace("\\\n", " ").split())
    assert ".venv/bin/pytest perf_tests --fastdiff-model sdxl --fastdiff-weights dummy --fastdiff-size 256" in text
    measured, shown = text.split(" .venv/bin/fastdiff ")
    assert measured.endswith("--fastdiff-markdown runs/bench-full.md --fastdiff-size=512"), "the last one counts"
    assert shown == 'published "$(ls -t runs/*.json | head -n 1)"', "beside what was published"


def test_another_torch_gets_an_environment_of_its_own(clone: Path) -> None:
    text = said(clone, "-n", "bench", "TORCH=2.15.0")
    assert "-m venv .venv-torch-2.15.0" in text
    assert "torch==2.15.0" in text
    assert f".venv-torch-2.15.0/bin/pytest {' '.join(BENCH)}" in text
    assert ".venv/" not in text


def test_test_checks_format_lint_types_tests_in_that_order(clone: Path) -> None:
    text = said(clone, "-n", "test")
    steps = ["pip install", "ruff format --check .", "ruff check .", "mypy", "pytest tests"]
    places = [text.index(f".venv/bin/{step}") for step in steps]
    assert places == sorted(places)
    together, alone = text.splitlines()[-2:]
    assert together.startswith('.venv/bin/pytest tests -m "not alone and not compile and not nightly" -n 2 ')
    assert alone.startswith('.venv/bin/pytest tests -m "alone and not compile and not nightly" ')
    assert "-e '.[test]'" in text


@pytest.mark.parametrize("kind", ["compile", "nightly"])
def test_the_slow_tests_have_commands_of_their_own(clone: Path, kind: str) -> None:
    together, alone = said(clone, "-n", f"test-{kind}").splitlines()[-2:]
    assert together.startswith(f'.venv/bin/pytest tests -m "not alone and {kind}" -n 2 ')
    assert alone.startswith(f'.venv/bin/pytest tests -m "alone and {kind}" ')


def test_arguments_reach_pytest(clone: Path) -> None:
    assert (
        said(clone, "-n", "bench", "ARGS=-k int8").splitlines()[-1].endswith("--fastdiff-chart runs/ladder.png -k int8")
    )
    for line in said(clone, "-n", "test", "ARGS=-x").splitlines()[-2:]:
        assert line.endswith(" -x || [ $? = 5 ]")


# -- what make does ---------------------------------------------------------------------------------------------------


def test_bench_installs_once(clone: Path, python: str) -> None:
    said(clone, "bench", f"PYTHON={python}")
    assert [call.split()[0] for call in calls(clone)] == [".venv/bin/pip", ".venv/bin/pytest"]
    said(clone, "bench", f"PYTHON={python}")
    assert calls(clone) == [f".venv/bin/pytest {' '.join(BENCH)}"]


def test_test_installs_once_and_shares_the_environment(clone: Path, python: str) -> None:
    tools = [".venv/bin/ruff", ".venv/bin/ruff", ".venv/bin/mypy", ".venv/bin/pytest", ".venv/bin/pytest"]
    said(clone, "bench", f"PYTHON={python}")
    calls(clone)
    said(clone, "test", f"PYTHON={python}")
    assert [call.split()[0] for call in calls(clone)] == [".venv/bin/pip", *tools]
    said(clone, "test", f"PYTHON={python}")
    assert [call.split()[0] for call in calls(clone)] == tools


@pytest.mark.parametrize("name", ["constraints.txt", "pyproject.toml"])
def test_changed_needs_install_again(clone: Path, python: str, name: str) -> None:
    said(clone, "bench", f"PYTHON={python}")
    calls(clone)
    later = (clone / ".venv" / ".bench-installed").stat().st_mtime + 10
    os.utime(clone / name, (later, later))
    said(clone, "bench", f"PYTHON={python}")
    assert [call.split()[0] for call in calls(clone)] == [".venv/bin/pip", ".venv/bin/pytest"]


def test_a_failed_installation_is_repeated(clone: Path, python: str) -> None:
    said(clone, "bench", f"PYTHON={python}")
    calls(clone)
    (clone / ".venv" / ".bench-installed").unlink()
    pip = clone / ".venv" / "bin" / "pip"
    works = pip.read_text()
    pip.write_text("#!/bin/sh\nexit 1\n")
    assert make(clone, "bench", f"PYTHON={python}").returncode != 0
    assert calls(clone) == []
    pip.write_text(works)
    said(clone, "bench", f"PYTHON={python}")
    assert [call.split()[0] for call in calls(clone)] == [".venv/bin/pip", ".venv/bin/pytest"]


def test_the_first_failing_check_ends_the_test(clone: Path, python: str) -> None:
    said(clone, "test", f"PYTHON={python}")
    calls(clone)
    (clone / ".venv" / "bin" / "mypy").write_text("#!/bin/sh\nexit 1\n")
    assert make(clone, "test", f"PYTHON={python}").returncode != 0
    assert [call.split()[0] for call in calls(clone)] == [".venv/bin/ruff", ".venv/bin/ruff"]


def test_the_environment_takes_the_pins_as_they_are(clone: Path, python: str) -> None:
    said(clone, "bench", f"PYTHON={python}")
    assert pins(clone / ".venv" / "constraints.txt") == pins(clone / "constraints.txt")


def test_another_torch_is_pinned_and_the_other_pins_stay(clone: Path, python: str) -> None:
    said(clone, "bench", "TORCH=2.15.0", f"PYTHON={python}")
    before, after = pins(clone / "constraints.txt"), pins(clone / ".venv-torch-2.15.0" / "constraints.txt")
    assert before["torch"] != after["torch"] == "2.15.0"
    assert not (clone / ".venv").exists()
    gone = before.keys() - after.keys()
    assert gone <= {"triton", "sympy", "networkx", "mpmath", "fsspec", "setuptools"}, "only what torch alone brings"
    assert all(after[name] == before[name] for name in before.keys() - gone - {"torch"})
    for need in PROJECT["dependencies"]:
        assert re.split("[<>=]", need)[0] in after
    assert {call.split()[0] for call in calls(clone)} == {
        ".venv-torch-2.15.0/bin/pip",
        ".venv-torch-2.15.0/bin/pytest",
    }


def test_the_oldest_libraries_that_are_allowed_are_tested_alone(clone: Path, python: str) -> None:
    said(clone, "test-floors", f"PYTHON={python}")
    wanted = dict(re.split(">=", need) for need in PROJECT["dependencies"])
    assert pins(clone / ".venv-floors" / "constraints.txt") == wanted
    install, together, alone = calls(clone)
    assert install.endswith("-c .venv-floors/constraints.txt -e .[test]")
    wanted = "not compile and not nightly and not pinned"
    assert together.startswith(f".venv-floors/bin/pytest tests -m not alone and {wanted} -n 2 ")
    assert alone == f".venv-floors/bin/pytest tests -m alone and {wanted}"
    assert not (clone / ".venv").exists()


def test_each_torch_keeps_its_environment(clone: Path, python: str) -> None:
    for torch in ("2.14.0", "2.15.0"):
        said(clone, "bench", f"TORCH={torch}", f"PYTHON={python}")
    calls(clone)
    said(clone, "bench", "TORCH=2.14.0", f"PYTHON={python}")
    assert calls(clone) == [f".venv-torch-2.14.0/bin/pytest {' '.join(BENCH)}"]


@pytest.mark.parametrize("command", ["bench", "test"])
def test_a_python_that_is_too_old_is_answered_in_one_sentence(clone: Path, command: str) -> None:
    old = script(clone, "old", "exit 1")
    done = make(clone, command, f"PYTHON={old}")
    assert done.returncode != 0
    (line,) = done.stdout.splitlines()
    minimum = PROJECT["requires-python"].removeprefix(">=")
    for word in (f"needs Python {minimum} or newer", "make PYTHON=python3."):
        assert word in line
    assert not (clone / ".venv").exists()


def test_a_python_that_does_not_exist_is_answered_the_same(clone: Path) -> None:
    done = make(clone, "bench", "PYTHON=python9.9")
    assert done.returncode != 0
    assert "needs Python" in done.stdout


def test_clean_removes_what_make_made_and_nothing_else(clone: Path, python: str) -> None:
    before = {path.name for path in clone.iterdir()}
    said(clone, "bench", f"PYTHON={python}")
    said(clone, "bench", "TORCH=2.15.0", f"PYTHON={python}")
    said(clone, "test-floors", f"PYTHON={python}")
    (clone / "calls").unlink()
    said(clone, "clean")
    assert {path.name for path in clone.iterdir()} == before


# -- .ci/run ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [0, 2])
def test_ci_calls_make_in_the_repository_and_nothing_else(tmp_path: Path, code: int) -> None:
    """From any folder; and what make answers is the answer."""
    fake = script(tmp_path, "make", f'echo "make $* in $PWD"; exit {code}')
    path = f"{Path(fake).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [str(REPOSITORY / ".ci" / "run")],
        cwd=tmp_path,
        env=environment(PATH=path),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    asked = ("test",) if code else ("test", "test-compile")
    assert done.stdout == "".join(f"make {target} in {REPOSITORY}\n" for target in asked), "the first failure ends it"
    assert done.returncode == code
