"""Full disks, closed folders, kills at random moments, commands at once, and hundreds of mistyped ones.

Nothing that was accepted or measured is lost, what is written is whole, and each trouble is a sentence.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bad_invocations
import pytest
from faked import faked as faked
from test_record import DEVICE, a_run, a_stage, benchmarks_of
from troubles import closed, code_of, forked, with_room
from troubles import obeying as obeying
from troubles import small_disk as small_disk

from fastdiff.cli.accept import accept_run
from fastdiff.record import log
from fastdiff.record.baselines import accepted, folder_of, newest
from fastdiff.record.files import read, read_baseline, read_benchmarks, runs, write
from fastdiff.report.published import THEIRS, as_csv

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from faked import Faked

pytestmark = pytest.mark.nightly

TRIES_AT_ONCE = 20
KILLS = 35
COMMAND = [sys.executable, "-m", "fastdiff.cli"]
SUITE = ["perf_tests", "-p", "no:cacheprovider", "-q"]
SESSION = [sys.executable, "-m", "pytest", *SUITE]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project with an accepted run and a newer one, both with pictures."""
    root = tmp_path / "project"
    for name in ("old", "new"):
        kept(root, name)
    accept_run(root / "runs" / "old.json", "the first", root=root, say=str)
    return root


def kept(root: Path, name: str) -> Path:
    path = root / "runs" / f"{name}.json"
    run = a_run(a_stage("fp32", 2.0), a_stage(), outcome=name)
    write(path, benchmarks_of(run), run)
    path.with_suffix("").mkdir()
    (path.with_suffix("") / "shapes-fp32.png").write_bytes(name.encode() * 5000)
    return path


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def accept(root: Path, name: str) -> None:
    accept_run(root / "runs" / f"{name}.json", name, root=root, say=str)


def session(root: Path, *options: str) -> int:
    """Of a child that runs the suite of a faked project: without the seconds that Python and pytest take to begin."""

    def work() -> None:
        os.chdir(root)
        output = os.open(root / "output.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(output, 2)
        if pytest.main([*SUITE, *options]):
            raise AssertionError("the session failed")

    return forked(work)


def run(command: Sequence[str], folder: Path, **more: Any) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False, **more)
    assert "Traceback" not in done.stdout + done.stderr, done.stdout + done.stderr
    return done


def fastdiff(folder: Path, *words: str, before: Sequence[str] = (), **more: Any) -> subprocess.CompletedProcess[str]:
    return run([*before, *COMMAND, *words], folder, **more)


def check_whole(root: Path) -> list[str]:
    """Every accepted run has its pictures and can be read, by pytest-benchmark too; the answer is their reasons."""
    reasons = []
    for path in accepted(folder_of(root, DEVICE.slug)):
        baseline = read_baseline(path)
        assert read_benchmarks(path) == benchmarks_of(baseline.run)
        source = baseline.acceptance.source.removesuffix(".json")
        assert (path.with_suffix("") / "shapes-fp32.png").read_bytes() == source.encode() * 5000
        reasons.append(baseline.acceptance.reason)
    assert len(set(reasons)) == len(reasons)
    return reasons


# -- a full disk ------------------------------------------------------------------------------------------------------

SIZES = [0, 1, 100, 2_000, 5_000, 14_000, 16_000, 25_000]
"""Bytes: some are too few for a picture, others for a baseline, or for the log."""


def test_an_acceptance_on_a_full_disk_is_whole_or_not_at_all(root: Path) -> None:
    """The log is the largest file here, so that each size stops another write."""
    logged = folder_of(root, DEVICE.slug) / log.NAME
    with logged.open("a") as file:
        file.write(json.dumps({"reason": "x" * 30_000}) + "\n")
    half_a_line = logged.stat().st_size + 100
    codes = []
    for size in (*SIZES, half_a_line, 60_000):
        before = files_of(root / "baselines")
        done = fastdiff(root, "accept", "runs/new.json", "--reason", str(size), preexec_fn=with_room(size))
        codes.append(done.returncode)
        if done.returncode:
            assert re.search(r"cannot be written \(.+\)", done.stderr), done.stderr
            assert files_of(root / "baselines") == before
        else:
            assert str(size) in check_whole(root)
    assert codes == [2] * (len(SIZES) + 1) + [0]


def a_row(label: str) -> dict[str, str]:
    numbers = {"batch_size": "1", "num_inference_steps": "8", "time (secs)": "1.5", "compile_vae": "False"}
    return dict.fromkeys(THEIRS, "x") | numbers | {"tag": label}


def test_merged_rows_on_a_full_disk_are_whole_or_not_there(tmp_path: Path) -> None:
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / "a.csv").write_text(as_csv([a_row(f"{n}" * 50) for n in range(30)]), newline="")
    assert fastdiff(tmp_path, "collate", "rows").returncode == 0
    whole = {name: (tmp_path / name).read_bytes() for name in ("results.csv", "results.png")}
    for size in (*SIZES, 60_000):
        for name in whole:
            (tmp_path / name).write_bytes(b"old")
        done = fastdiff(tmp_path, "collate", "rows", preexec_fn=with_room(size))
        assert done.returncode in (0, 2)
        assert {entry.name for entry in tmp_path.iterdir()} == {"rows", *whole}
        for name, content in whole.items():
            assert (tmp_path / name).read_bytes() in (b"old", content), (size, name)
        if done.returncode == 0:
            assert all((tmp_path / name).read_bytes() == content for name, content in whole.items())


FULL = """
import errno, os
write, left = os.write, [{room}]
def full(file):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
def fsync(file, real=os.fsync):
    left[0] -= os.fstat(file).st_size
    return real(file) if left[0] > 0 else full(file)
os.fsync = fsync
"""


@pytest.mark.parametrize("room", [0, 3000, 9000])
def test_a_session_on_a_full_disk_names_what_was_not_kept(faked: Faked, room: int) -> None:
    """Every write of fastdiff ends with fsync, which reports what did not reach the disk."""
    with (faked.root / "conftest.py").open("a") as conftest:
        conftest.write(FULL.format(room=room))
    done = run([*SESSION, "--fastdiff-strict"], faked.root)
    assert done.returncode == 1, done.stdout
    assert re.search(r"cannot be (written|kept) \(No space left on device\)", done.stdout), done.stdout
    assert_readable(faked.root)


def test_a_disk_that_is_really_full_keeps_what_was_accepted(small_disk: Path) -> None:
    root = small_disk / "project"
    kept(root, "old")
    accept(root, "old")
    kept(root, "new")
    for free in range(0, 60_000, 4096):
        filler = small_disk / "filler"
        disk = os.statvfs(small_disk)
        room = disk.f_bavail * disk.f_frsize
        filler.write_bytes(b"x" * max(0, room - free))
        before = files_of(root / "baselines")
        done = fastdiff(root, "accept", "runs/new.json", "--reason", str(free))
        assert done.returncode in (0, 2), done.stderr
        if done.returncode == 2:
            assert "No space left on device" in done.stderr
            assert files_of(root / "baselines") == before
        filler.unlink()
        check_whole(root)
        if done.returncode == 0:
            return
    pytest.fail("even with 60 kB nothing was accepted")


# -- closed folders ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rights", [0o000, 0o111, 0o444, 0o555])
@pytest.mark.parametrize("name", [".", "baselines", f"baselines/{DEVICE.slug}", ".fastdiff"])
def test_a_closed_folder_loses_nothing(root: Path, obeying: tuple[str, ...], name: str, rights: int) -> None:
    before = files_of(root)
    accepting = ("accept", str(root / "runs" / "new.json"), "--reason", "x", "--root", str(root))
    with closed(root / name, rights):
        for words in (accepting, (*accepting, "--force")):
            assert fastdiff(root.parent, *words, before=obeying).returncode == 2
        for command in ("baselines", "runs"):
            fastdiff(root.parent, command, "--root", str(root), before=obeying)
    assert files_of(root) == before


@pytest.mark.parametrize("rights", [0o000, 0o444])
def test_accepted_runs_that_cannot_be_read_are_not_missing(faked: Faked, obeying: tuple[str, ...], rights: int) -> None:
    """Without the accepted run every verdict would be NEW, and pass."""
    assert faked.session("--benchmark-compare").ret == 0
    faked.accept()
    with closed(faked.baseline.parent, rights):
        done = run([*obeying, *SESSION, "--benchmark-compare"], faked.root)
    assert done.returncode == 4, done.stdout
    assert "Permission denied" in done.stderr


# -- at once ----------------------------------------------------------------------------------------------------------


def test_acceptances_at_once_are_one_after_the_other(root: Path) -> None:
    wanted = ["the first"]
    for number in range(TRIES_AT_ONCE):
        names = [f"{number}{letter}" for letter in "ab"]
        for name in names:
            kept(root, name)
        children = [forked(lambda name=name: accept(root, name)) for name in names]
        assert [code_of(child) for child in children] == [0, 0]
        wanted += names
        assert sorted(check_whole(root)) == sorted(wanted)
        assert sorted(entry["reason"] for entry in log.entries(folder_of(root, DEVICE.slug))) == sorted(wanted)


def test_sessions_at_once_have_a_file_each(faked: Faked) -> None:
    for number in range(1, TRIES_AT_ONCE + 1):
        children = [session(faked.root) for _ in range(2)]
        assert [code_of(child) for child in children] == [0, 0], (faked.root / "output.txt").read_text()
        assert len(assert_readable(faked.root)) == 2 * number


def assert_readable(root: Path) -> list[Path]:
    for path in runs(root):
        read(path)
        read_benchmarks(path)
        for picture in path.with_suffix("").glob("*.png"):
            assert picture.read_bytes().endswith(b"IEND\xaeB`\x82"), picture
    return runs(root)


# -- kills ------------------------------------------------------------------------------------------------------------


def test_a_killed_acceptance_loses_nothing(root: Path) -> None:
    chance = random.Random(0)
    accept(root, "new")
    wanted, longest = {"the first", "new"}, 0.0
    for number in range(KILLS):
        name = f"n{number}"
        kept(root, name)
        began = time.monotonic()
        child = forked(lambda name=name: accept(root, name))
        if number < 3:
            assert code_of(child) == 0
            longest = max(longest, time.monotonic() - began)
            wanted.add(name)
            continue
        time.sleep(chance.uniform(0, 1.1 * longest))
        os.kill(child, signal.SIGKILL)
        if code_of(child) == 0:
            wanted.add(name)
        found = set(check_whole(root))
        assert wanted <= found <= wanted | {name}
        wanted = found
    accept(root, "old")
    assert newest(folder_of(root, DEVICE.slug)).acceptance.reason == "old"  # type: ignore[union-attr]


CALLS = ("mkdir", "open", "write", "fsync", "link", "replace", "unlink")
"""Every call with which an acceptance changes the disk."""


def test_an_acceptance_that_is_killed_at_any_call_loses_nothing(root: Path) -> None:
    before = check_whole(root)
    for count in range(1000):
        child = forked(lambda count=count: (killed_at(count), accept(root, "new")))
        if code_of(child) == 0:
            break
        found = check_whole(root)
        assert found[: len(before)] == before
        if found != before:  # killed after the file was made, which is the acceptance
            assert found == [*before, "new"]
            accepted(folder_of(root, DEVICE.slug))[-1].unlink()
    assert count > 10
    assert check_whole(root) == [*before, "new"]


def killed_at(count: int) -> None:
    left = iter(range(count))

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if next(left, None) is None:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **kwargs)

        return call

    for name in CALLS:
        setattr(os, name, counted(getattr(os, name)))


def test_a_killed_session_leaves_whole_files(faked: Faked) -> None:
    chance = random.Random(0)
    assert faked.session("--benchmark-compare").ret == 0
    faked.accept()
    accepted_files = files_of(faked.root / "baselines")
    began = time.monotonic()
    assert code_of(session(faked.root, "--benchmark-compare")) == 0, (faked.root / "output.txt").read_text()
    lasts = time.monotonic() - began
    for _ in range(KILLS):
        child = session(faked.root, "--benchmark-compare")
        time.sleep(chance.uniform(0, 1.1 * lasts))
        os.kill(child, signal.SIGKILL)
        code_of(child)
        assert_readable(faked.root)
        assert files_of(faked.root / "baselines") == accepted_files
    assert faked.session("--benchmark-compare").ret == 0


# -- what is typed ----------------------------------------------------------------------------------------------------


def test_hundreds_of_bad_invocations_are_a_sentence_each(tmp_path: Path) -> None:
    here = str(Path(__file__).parent)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([here, os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(
        [sys.executable, bad_invocations.__file__], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) > 900
    assert [one for one in found if one["code"] != 2] == []
    for one in found:
        typed = "\n" in "".join(one["words"])
        lines = one["error"].strip().splitlines()
        assert len(lines) == 1 or "Usage: " in one["error"] or (lines and typed), one
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]|Traceback", one["error"]), one
    assert sorted(entry.name for entry in tmp_path.iterdir()) == bad_invocations.FILES, "nothing was written"
