"""Asking for help, or collecting alone, does not wait for torch, and hardly for fastdiff."""

import os
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
SUITE = REPOSITORY / "perf_tests"
HEAVY = {"torch", "diffusers", "transformers", "torchao", "numpy", "PIL", "skimage"}
ALLOWED_S = 0.3
ALLOWED_SHARE = 0.6
"""Of what the command costs without fastdiff, where that is more: on a slow evening everything took twice as long."""
ALLOWED_TO_STRANGERS_S = 0.1
"""More of a suite that has nothing to do with fastdiff."""
RUNS = 5

BIN = Path(sys.executable).parent
FASTDIFF = [str(BIN / "fastdiff"), "--help"]
PYTEST = [str(BIN / "pytest")]
HELP = [*PYTEST, "--help"]
COLLECT = [*PYTEST, "--collect-only", "-q"]

pytestmark = pytest.mark.alone

WITNESS = """
import atexit, runpy, sys
def tell():
    print("LOADED", *{name.partition(".")[0] for name in sys.modules}, file=sys.__stderr__)
atexit.register(tell)
if sys.argv[1] == "-c":
    exec(sys.argv[2])
else:
    del sys.argv[0]
    runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""Runs a script, or the code after -c, and tells at the end which packages it has loaded."""


@pytest.fixture(scope="module")
def suites(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the suite as it is, in `ours`, and in `bare` the same tests without anything of fastdiff."""
    folder = tmp_path_factory.mktemp("suites")
    shutil.copytree(SUITE, folder / "ours", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(folder / "ours", folder / "bare")
    for path in (folder / "bare").glob("*.py"):
        path.write_text(re.sub(r"^from fastdiff.*\n", "", path.read_text(), flags=re.MULTILINE))
    (folder / "strangers").mkdir()
    (folder / "strangers" / "test_theirs.py").write_text("def test_one(): pass\ndef test_two(tmp_path): pass\n")
    (folder / "pytest.ini").write_text("[pytest]\n")
    return folder


@pytest.mark.parametrize(
    "command",
    [["-c", "import fastdiff"], FASTDIFF, HELP, [*COLLECT, "perf_tests"]],
    ids=["import", "fastdiff --help", "pytest --help", "pytest --collect-only"],
)
def test_what_is_heavy_stays_outside(command: list[str]) -> None:
    done = run([sys.executable, "-c", WITNESS, *command], REPOSITORY)
    loaded = set(done.stderr.rpartition("LOADED ")[2].split())
    assert "fastdiff" in loaded, done.stderr
    assert not loaded & HEAVY


def test_the_witness_sees_what_is_loaded_late() -> None:
    done = run([sys.executable, "-c", WITNESS, "-c", "def late():\n  import colorsys\nlate()"], REPOSITORY)
    assert "colorsys" in done.stderr.rpartition("LOADED ")[2].split()


def test_collecting_the_suite_finds_every_stage(suites: Path) -> None:
    """So that what is timed below is the whole work."""
    assert "test_latency[shapes-int8]" in run([*COLLECT, "ours"], suites).stdout
    assert "test_latency\n" in run([*COLLECT, "-p", "no:fastdiff", "bare"], suites).stdout


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("bare", "ours"),
    [
        ([sys.executable, "-c", "pass"], [sys.executable, "-c", "import fastdiff"]),
        ([sys.executable, "-c", "import typer.rich_utils"], FASTDIFF),  # which draws every tool's help
        ([*HELP, "-p", "no:fastdiff"], HELP),
        ([*COLLECT, "-p", "no:fastdiff", "bare"], [*COLLECT, "ours"]),
    ],
    ids=["import", "fastdiff --help", "pytest --help", "pytest --collect-only"],
)
def test_little_time_is_added(bare: list[str], ours: list[str], suites: Path) -> None:
    """In turns, the best of each, and in seconds of the processor: other work on the machine does not count."""
    seconds = [(cost_s(bare, suites), cost_s(ours, suites)) for _ in range(RUNS)]
    without = min(other for other, _ in seconds)
    added = min(our for _, our in seconds) - without
    assert added < max(ALLOWED_S, ALLOWED_SHARE * without), f"{added:.2f} s more than the {without:.2f} s of {bare}"


def test_a_suite_of_strangers_loads_the_names_of_the_options_alone(suites: Path) -> None:
    collect = (
        "import sys, pytest; pytest.main(['--collect-only', '-q', 'strangers', '--benchmark-compare']); "
        "print('LOADED', *(name for name in sys.modules if name.partition('.')[0] == 'fastdiff'))"
    )
    loaded = run([sys.executable, "-c", collect], suites).stdout.rpartition("LOADED ")[2].split()
    ours = ("plugin", "plugin.specs", "plugin.options", "plugin.waiting")
    assert set(loaded) == {"fastdiff", *(f"fastdiff.{name}" for name in ours)}


@pytest.mark.nightly
def test_a_suite_of_strangers_waits_for_nothing(suites: Path) -> None:
    """The best of more runs than above, because less is allowed."""
    theirs = [*COLLECT, "strangers"]
    seconds = [(cost_s([*theirs, "-p", "no:fastdiff"], suites), cost_s(theirs, suites)) for _ in range(2 * RUNS)]
    added = min(with_plugin for _, with_plugin in seconds) - min(without for without, _ in seconds)
    assert added < ALLOWED_TO_STRANGERS_S


def cost_s(command: list[str], folder: Path) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run(command, folder)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """As a user runs it: with compiled modules on disk, and without what a surrounding pytest has set."""
    alien = ("PYTHONDONTWRITEBYTECODE", "PYTEST_", "COVERAGE", "FORCE_COLOR")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(alien)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done
