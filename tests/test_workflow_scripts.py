"""The shell steps of the nightly GPU workflow, run as GitHub's runner runs them, in a checkout with fake tools.

Each test looks at what a night leaves behind: the artifact's folder, the summary, the exit code, and what was called.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from test_workflows import GPU, REPOSITORY, load, steps
from tiny_wheels import wheel

from fastdiff.host import environment

if TYPE_CHECKING:
    from pathlib import Path

MAKE = """
printf '%s\\n' "$@" > make.txt
if [ "$1" = install ]; then exit ${INSTALLS:-0}; fi
mkdir -p runs
echo '{}' > runs/20261130T010000Z.json
page=$(printf '%s' "$*" | sed -E 's/.*--fastdiff-markdown ([^ ]+).*/\\1/')
echo "the page" > "$page"
exit ${MEASURES:-0}
"""
NVIDIA_SMI = """
echo "$*" >> "$HOME/nvidia-smi.txt"
case "$*" in
  --query-gpu=name*) echo "${GPU_NAME:-NVIDIA H200}" ;;
  --query-gpu=clocks*) printf '%s\\n' "${DEFAULT_CLOCK:-1980}" 1990 ;;
  --*-gpu-clocks*) echo "${ANSWER:-All done.}"; exit ${CLOCKS:-0} ;;
esac
"""
EXPRESSION = re.compile(r"\$\{\{.*\}\}")


class Night:
    """One job on the machine with the GPU: its home stays, its checkout is its own."""

    def __init__(self, home: Path) -> None:
        self.home, self.tools = home, home / "tools"
        self.checkout, self.temporary = home / "checkout", home / "temporary"
        for folder in (self.checkout, self.temporary, self.tools):
            folder.mkdir()
        (self.checkout / ".github").symlink_to(REPOSITORY / ".github")
        shutil.copy(REPOSITORY / "constraints.txt", self.checkout)
        self.summary_file, self.outputs_file = home / "summary.md", home / "outputs.txt"
        self.tool("make", MAKE)
        self.tool("nvidia-smi", NVIDIA_SMI)
        self.tool("id", "echo ${USER_ID:-0}")
        self.tool("sudo", '[ "$1" = -n ] || exit 3\nshift\necho "sudo $*" >> "$HOME/nvidia-smi.txt"\nexec "$@"')

    def tool(self, name: str, body: str) -> None:
        path = self.tools / name
        path.write_text(f"#!/bin/bash\n{body}\n")
        path.chmod(0o755)

    def accepts(self, device: str = "nvidia-h200") -> None:
        (self.checkout / "baselines" / device).mkdir(parents=True)
        (self.checkout / "baselines" / device / "0001_sdxl.json").touch()

    def step(self, name: str, **given: str) -> subprocess.CompletedProcess[str]:
        """Runs the step of this name. What GitHub would put into its variables is given here."""
        (job,) = load(GPU)["jobs"].values()
        (step,) = [one for one in job["steps"] if one.get("name") == name]
        written = {**job.get("env", {}), **step.get("env", {})}
        assert set(given) >= {key for key, text in written.items() if EXPRESSION.search(text)} - {
            "MODEL_NAME",
            "ARTIFACT",
        }
        variables = {
            "PATH": f"{self.tools}:{os.environ['PATH']}",
            "HOME": str(self.home),
            "RUNNER_TEMP": str(self.temporary),
            "GITHUB_STEP_SUMMARY": str(self.summary_file),
            "GITHUB_OUTPUT": str(self.outputs_file),
            "GITHUB_RUN_ID": "77",
            **written,
            "MODEL_NAME": "sd15",
            "ARTIFACT": "runs-sd15-pinned-1",
            **given,
        }
        # The options that GitHub gives to `shell: bash`.
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
        return subprocess.run(
            command, cwd=self.checkout, env=variables, capture_output=True, text=True, timeout=60, check=False
        )

    def measure(self, torch: str = "", **given: str) -> subprocess.CompletedProcess[str]:
        return self.step("Measure", TORCH_VERSION=torch, **given)

    @property
    def summary(self) -> str:
        return self.summary_file.read_text() if self.summary_file.exists() else ""

    @property
    def outputs(self) -> str:
        return self.outputs_file.read_text() if self.outputs_file.exists() else ""

    @property
    def made(self) -> list[str]:
        """What make was called with."""
        path = self.checkout / "make.txt"
        return path.read_text().splitlines() if path.exists() else []

    @property
    def asked(self) -> list[str]:
        """What nvidia-smi was called with, besides questions."""
        path = self.home / "nvidia-smi.txt"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line for line in lines if "--query" not in line]


@pytest.fixture
def night(tmp_path: Path) -> Night:
    return Night(tmp_path)


def options(name: str) -> dict[str, Any]:
    return next(step for _, step in steps(load(GPU)) if step.get("name") == name)


OPTIONS = "ARGS=--fastdiff-model sd15 --fastdiff-device cuda --fastdiff-markdown runs/sd15.md"


# -- the measurement --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("torch", "arguments"),
    [("", ["bench"]), ("2.15.0", ["bench", "TORCH=2.15.0"])],
    ids=["pinned-torch", "named-torch"],
)
def test_before_the_first_accepted_run_the_summary_says_how_to_accept_this_one(
    night: Night, torch: str, arguments: list[str]
) -> None:
    assert night.measure(torch).returncode == 0
    assert night.made == [*arguments, f"{OPTIONS} --fastdiff-confirm none"]
    command = (
        "`gh run download 77 --name runs-sd15-pinned-1 --dir runs && "
        "fastdiff accept runs/20261130T010000Z.json --reason 'the first night'`"
    )
    assert night.summary.count(command) == (0 if torch else 1), "a run of another torch is not to be accepted"
    assert night.summary.count("\n") <= 1, "one sentence"


def test_from_the_first_accepted_run_on_the_gate_is_strict(night: Night) -> None:
    night.accepts()
    assert night.measure().returncode == 0
    assert night.made == ["bench", f"{OPTIONS} --fastdiff-max-time 100 --fastdiff-strict"]
    assert night.summary == ""


def test_a_run_that_was_accepted_on_another_gpu_makes_nothing_strict(night: Night) -> None:
    night.accepts("nvidia-a100-sxm4-80gb")
    night.measure()
    assert night.made[-1].endswith("--fastdiff-confirm none")


@pytest.mark.parametrize("name", ["NVIDIA H200", "NVIDIA A100-SXM4-80GB", "NVIDIA GeForce RTX 4090 (Laptop)"])
def test_the_folder_of_a_gpu_is_the_one_that_fastdiff_names(
    night: Night, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "_nvidia_names", lambda: [name])
    night.accepts(environment.device_slug("cuda"))
    night.measure(GPU_NAME=name)
    assert night.made[-1].endswith("--fastdiff-strict")


def test_another_torch_is_compared_and_not_strict(night: Night) -> None:
    night.accepts()
    night.measure("2.15.0")
    assert night.made == ["bench", "TORCH=2.15.0", f"{OPTIONS} --fastdiff-max-time 100"]


def test_the_memory_techniques_are_compared_and_not_strict(night: Night) -> None:
    night.accepts()
    assert night.step("Measure the memory techniques", MODEL_NAME="sdxl").returncode == 0
    assert night.made == [
        "bench",
        "ARGS=--fastdiff-model sdxl --fastdiff-device cuda --fastdiff-markdown runs/sdxl-techniques.md "
        "--fastdiff-ladder techniques --fastdiff-batch 4 --fastdiff-rounds 3",
    ]


@pytest.mark.parametrize("typed", ["$(shell id)", "2.15.0; id", "2.15.0\nid", "`id`"])
def test_what_make_or_a_shell_would_run_is_refused(night: Night, typed: str) -> None:
    for done in (night.measure(typed), night.measure(MODEL_NAME=typed)):
        assert done.returncode == 2
        assert done.stdout.startswith("::error::")
        assert done.stdout.count("\n") == 1, "A second line could carry a workflow command of the person who typed it."
    assert night.made == []


def test_compiled_code_is_kept_outside_of_the_checkout(night: Night) -> None:
    night.tool("make", 'echo "$TORCHINDUCTOR_CACHE_DIR"')
    assert night.measure().stdout.splitlines()[0] == f"{night.home}/.cache/fastdiff/compile"


def test_a_red_night_leaves_as_much_behind_as_a_green_one(night: Night) -> None:
    """Measured, and a verdict failed: the step fails, and those after it run because they say `always()`."""
    night.step("Lock the clocks", GPU_CLOCK_MHZ="")
    assert night.measure(MEASURES="2").returncode == 2
    assert "fastdiff accept runs/20261130T010000Z.json" in night.summary, "what is NEW may be accepted all the same"
    after = ("Restore the clocks", "Ladder and verdicts into the job summary", "Keep the runs", "Run files and reports")
    for name in after:
        assert "always()" in options(name)["if"]
    for name in after[:3]:
        assert night.step(name).returncode == 0
    assert night.summary.endswith("the page\n")
    assert night.asked[-1] == "--reset-gpu-clocks"
    assert (night.home / ".cache/fastdiff/runs/20261130T010000Z.json").exists()
    assert options("Run files and reports")["with"]["path"] == "runs/"


# -- the newest torch -------------------------------------------------------------------------------------------------


def with_pip(night: Night, answer: str) -> None:
    """A Python whose environments have a pip that answers like this."""
    night.tool(
        "python3",
        f"""[ "$1 $2" = "-m venv" ] || exit 3
        mkdir -p "$3/bin"
        printf '#!/bin/sh\\n%s\\n' {answer!r} > "$3/bin/pip"
        chmod +x "$3/bin/pip" """,
    )


PINNED = dict(re.findall(r"^(\S+)==(\S+)$", (REPOSITORY / "constraints.txt").read_text(), re.MULTILINE))["torch"]
NEWER = "99.1.0"


def test_a_newer_torch_is_installed_and_measured(night: Night) -> None:
    night.accepts()
    with_pip(night, f'echo "torch ({NEWER})"; echo "Available versions: {NEWER}, {PINNED}"')
    assert night.step("Find the newest torch").returncode == 0
    assert night.outputs == f"torch={NEWER}\n"
    assert night.made == ["install", f"TORCH={NEWER}"]
    assert night.summary == f"torch {NEWER}, the newest stable one, measured in pairs with the accepted side:\n"


@pytest.mark.parametrize(
    ("pip", "installs", "sentence"),
    [
        (f'echo "torch ({PINNED})"', "0", "there is no newer one to measure."),
        (f'echo "torch ({PINNED}+cu130)"', "0", "there is no newer one to measure."),
        ('echo "torch (2.1.0)"', "0", "there is no newer one to measure."),
        ('echo "ERROR: No matching distribution found for torch" >&2; exit 1', "0", "No stable release of torch"),
        ('echo "torch (rm -rf .)"', "0", "No stable release of torch"),
        (f'echo "torch ({NEWER})"', "2", f"torch {NEWER} does not install with the other pins"),
    ],
    ids=["pinned", "pinned-build", "older", "no-index", "nonsense", "does-not-install"],
)
def test_without_a_newer_torch_one_sentence_says_why(night: Night, pip: str, installs: str, sentence: str) -> None:
    night.accepts()
    with_pip(night, pip)
    done = night.step("Find the newest torch", INSTALLS=installs)
    assert done.returncode == 0, "a release that is missing is no failure"
    assert night.outputs == "torch=none\n"
    assert sentence in night.summary
    assert night.summary.count("\n") == 1


def test_without_an_accepted_run_no_other_torch_is_measured(night: Night) -> None:
    night.tool("python3", "exit 3")
    assert night.step("Find the newest torch").returncode == 0
    assert (night.outputs, night.made) == ("torch=none\n", [])
    assert night.summary.count("\n") == 1


def test_where_there_is_nothing_to_ask_nothing_is_locked_or_measured() -> None:
    for name in ("Lock the clocks", "Measure"):
        assert options(name)["if"] == "${{ steps.newest.outputs.torch != 'none' }}"
    assert options("Measure")["env"]["TORCH_VERSION"] == "${{ steps.newest.outputs.torch || inputs.torch }}"
    (job,) = load(GPU)["jobs"].values()
    assert next(iter(job["strategy"]["matrix"])) == "torch", "every model's gate comes before the first question"


@pytest.mark.nightly
@pytest.mark.alone
def test_the_newest_stable_torch_of_a_real_index(night: Night) -> None:
    """pip itself, and an index that is a folder; a release candidate is not stable."""
    index = night.home / "index" / "torch"
    index.mkdir(parents=True)
    names = [wheel(index, "torch", version).name for version in (PINNED, NEWER, "99.2.0rc1")]
    (index / "index.html").write_text("".join(f'<a href="{name}">{name}</a>' for name in names))
    night.accepts()
    night.tool("python3", f'exec {sys.executable} "$@"')
    where = {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": index.parent.as_uri()}
    done = night.step("Find the newest torch", **where)
    assert (done.returncode, night.outputs) == (0, f"torch={NEWER}\n"), done.stderr


# -- the clocks -------------------------------------------------------------------------------------------------------


def clocks(night: Night, **given: str) -> tuple[subprocess.CompletedProcess[str], subprocess.CompletedProcess[str]]:
    locked = night.step("Lock the clocks", **{"GPU_CLOCK_MHZ": "", **given})
    assert locked.returncode == 0
    assert locked.stdout.count("\n") == 1, locked.stdout
    return locked, night.step("Restore the clocks", **given)


@pytest.mark.parametrize(("named", "mhz"), [("", "1980"), ("1500", "1500")], ids=["default", "named"])
def test_the_clocks_are_locked_and_given_back(night: Night, named: str, mhz: str) -> None:
    locked, restored = clocks(night, GPU_CLOCK_MHZ=named)
    assert night.asked == [f"--lock-gpu-clocks={mhz},{mhz}", "--reset-gpu-clocks"]
    assert (locked.stdout, restored.stdout, restored.returncode) == (*["GPU clocks: All done.\n"] * 2, 0)


def test_who_is_not_root_asks_sudo(night: Night) -> None:
    clocks(night, USER_ID="1000")
    assert [line for line in night.asked if line.startswith("sudo")] == [
        "sudo nvidia-smi --lock-gpu-clocks=1980,1980",
        "sudo nvidia-smi --reset-gpu-clocks",
    ]


def test_where_it_is_not_allowed_one_line_says_so(night: Night) -> None:
    locked, restored = clocks(night, CLOCKS="4", ANSWER="no permission to change clocks\nTerminating early.")
    assert locked.stdout == "GPU clocks: not locked: no permission to change clocks\n"
    assert (restored.returncode, restored.stdout.count("\n")) == (0, 1)
    assert "::error" not in restored.stdout


def test_without_sudo_one_line_says_so(night: Night) -> None:
    night.tool("sudo", 'echo "sudo: a password is required" >&2; exit 1')
    locked, restored = clocks(night, USER_ID="1000")
    assert locked.stdout == "GPU clocks: not locked: sudo: a password is required\n"
    assert restored.returncode == 0


@pytest.mark.parametrize("default", ["[N/A]", "Field is not a valid field to query."])
def test_a_driver_without_a_default_locks_nothing(night: Night, default: str) -> None:
    locked, _ = clocks(night, DEFAULT_CLOCK=default)
    assert default in locked.stdout
    assert night.asked == ["--reset-gpu-clocks"]


def test_clocks_that_stay_locked_are_an_error(night: Night) -> None:
    night.step("Lock the clocks", GPU_CLOCK_MHZ="")
    done = night.step("Restore the clocks", CLOCKS="4", ANSWER="no")
    assert (done.returncode, done.stdout) == (1, "::error::The GPU's clocks are still locked: no\n")


# -- what is kept -----------------------------------------------------------------------------------------------------


def leave_a_run(night: Night, name: str, folder: str = "runs") -> None:
    there = night.checkout / folder
    (there / name).mkdir(parents=True, exist_ok=True)
    (there / name / "picture.npz").write_text(name)
    (there / f"{name}.json").write_text(json.dumps(name))
    minute = 60 * int(name)
    os.utime(there / f"{name}.json", (minute, minute))


def kept(night: Night, folder: str = "runs") -> list[str]:
    return sorted(path.name for path in (night.home / ".cache/fastdiff" / folder).iterdir() if path.name != "ab")


def test_runs_and_pairs_of_every_night_are_kept_with_their_pictures(night: Night) -> None:
    for number in ("1", "2"):
        leave_a_run(night, number)
        leave_a_run(night, f"3{number}", "runs/ab")
        (night.checkout / "runs" / "sd15.md").write_text("a page of this night alone")
        assert night.step("Keep the runs").returncode == 0
        shutil.rmtree(night.checkout / "runs")  # as the next checkout does
    assert kept(night) == ["1", "1.json", "2", "2.json"]
    assert kept(night, "runs/ab") == ["31", "31.json", "32", "32.json"]
    assert (night.home / ".cache/fastdiff/runs/1/picture.npz").read_text() == "1"


def test_the_newest_runs_are_kept_and_the_disk_does_not_fill(night: Night) -> None:
    for number in ("10", "9", "11", "8"):  # the oldest by their time, not by their name
        leave_a_run(night, number)
    assert night.step("Keep the runs", KEPT="3").returncode == 0
    assert kept(night) == ["10", "10.json", "11", "11.json", "9", "9.json"]


def test_a_night_without_a_run_keeps_what_is_there(night: Night) -> None:
    leave_a_run(night, "1")
    night.step("Keep the runs")
    shutil.rmtree(night.checkout / "runs")
    assert night.step("Keep the runs").returncode == 0
    assert kept(night) == ["1", "1.json"]
