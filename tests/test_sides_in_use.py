"""Who has an environment in the cache: the process that makes or removes it, or those that use it. And how long a
program may take."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from fastdiff.cli import app
from fastdiff.record.errors import UserError
from fastdiff.record.writing import locked
from fastdiff.sides import bounded, uv
from fastdiff.sides import home as homes
from fastdiff.sides.home import MARKER, VARIABLE, Plan, found_or_made_folder, home, kept, let_go, remove

if TYPE_CHECKING:
    from collections.abc import Callable

HOLDING = """
import sys
from fastdiff.sides.home import Plan, found_or_made_folder, home
plan = Plan("it", "it", (), lambda folder, say: folder.mkdir(), runs=False)
found_or_made_folder(plan, home(), lambda line: print(line, flush=True))
print("in use", flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))


def plan(fill: Callable[[Path], None] = lambda folder: folder.mkdir()) -> Plan:
    return Plan("it", "it", (), lambda folder, _: fill(folder), runs=False)


def made(fill: Callable[[Path], None] = lambda folder: folder.mkdir(), said: list[str] | None = None) -> Path:
    return found_or_made_folder(plan(fill), home(), (said if said is not None else []).append)[0]


def old(folder: Path) -> None:
    os.utime(folder / MARKER, (1, 1))


def pruned() -> str:
    done = CliRunner().invoke(app, ["side", "prune"])
    assert done.exit_code == 0, done.output
    return done.stdout


# -- what is in use ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [None, signal.SIGKILL])
def test_what_another_process_uses_is_not_removed(end: signal.Signals | None) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDING], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert any(line == "in use\n" for line in process.stdout)
        (one,) = kept()
        old(one.folder)
        assert pruned() == f"{one.folder.name} is in use and was kept\n0 MB freed\n"
        assert one.folder.is_dir()
        if end:
            process.send_signal(end)
        else:
            process.communicate("")
        process.wait()
    assert pruned() == "0 MB freed\n"
    assert not kept()


def test_two_use_it_at_once_and_it_stays_until_both_have_ended() -> None:
    folder = made()
    with locked(folder.with_name(f"{folder.name}.lock"), shared=True) as shared:
        assert shared, "another session"
        let_go()
        old(folder)
        assert "is in use" in pruned()
    assert "is in use" not in pruned()


def test_what_a_session_used_is_free_after_it() -> None:
    made()
    (one,) = kept()
    assert remove(one) is None
    let_go(one.folder)
    assert remove(one) is not None


def test_what_is_half_removed_was_never_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = made()
    (folder / "file").touch()
    let_go()
    monkeypatch.setattr(homes.shutil, "rmtree", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        remove(kept()[0])
    assert (folder / "file").exists()
    assert not kept()[0].finished


def test_a_cache_that_can_only_be_read_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = made()
    let_go()

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(homes, "locked", refused)
    monkeypatch.setattr(homes.os, "utime", refused)
    assert made() == folder


# -- waiting ----------------------------------------------------------------------------------------------------------


def test_a_wait_names_the_process_and_the_folder_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(homes, "SAID_AFTER_S", 0.1)
    monkeypatch.setattr(homes, "PATIENCE_S", 0.3)
    begun, go_on = threading.Event(), threading.Event()

    def slowly(folder: Path) -> None:
        folder.mkdir()
        begun.set()
        go_on.wait(30)

    maker = threading.Thread(target=made, args=[slowly])
    maker.start()
    assert begun.wait(10)
    said: list[str] = []
    with pytest.raises(UserError, match=rf"^process {os.getpid()} has held .*/it-\w+ for 0 minutes; see whether"):
        made(said=said)
    go_on.set()
    maker.join()
    assert [line.partition(" /")[0] for line in said] == [
        f"it: waiting for process {os.getpid()}, which makes or removes"
    ]
    assert made().is_dir()


def test_a_wait_of_a_moment_is_not_worth_a_line() -> None:
    begun = threading.Event()

    def quickly(folder: Path) -> None:
        folder.mkdir()
        begun.set()
        time.sleep(0.3)

    maker = threading.Thread(target=made, args=[quickly])
    maker.start()
    assert begun.wait(10)
    said: list[str] = []
    made(said=said)
    maker.join()
    assert not [line for line in said if "waiting" in line]


def test_where_the_first_one_fails_the_next_one_makes_it() -> None:
    def fails(folder: Path) -> None:
        folder.mkdir()
        raise UserError("environment", "no")

    with pytest.raises(UserError):
        made(fails)
    assert kept() == []
    assert made().is_dir()


def test_a_marker_that_was_taken_away_while_others_use_the_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(homes, "PATIENCE_S", 0.5)
    folder = made()
    let_go()
    with locked(folder.with_name(f"{folder.name}.lock"), shared=True):
        (folder / MARKER).unlink()
        with pytest.raises(UserError, match="is not finished, and other processes use it"):
            made()
    assert made() == folder


# -- how long a program may take --------------------------------------------------------------------------------------


def test_uv_ends_at_the_limit_with_all_that_it_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hangs = tmp_path / "uv"
    hangs.write_text(f"#!/bin/sh\nsleep 60 &\necho $! > {tmp_path}/child\nwait\n")
    hangs.chmod(0o755)
    monkeypatch.setattr(uv, "_binary", lambda: str(hangs))
    monkeypatch.setattr(bounded, "LIMIT_S", 0.5)
    began = time.monotonic()
    with pytest.raises(UserError, match=r"no: uv did not end within 0 minutes; look at the network .*: /.*/uv venv"):
        uv.make(tmp_path / "new", sys.executable, "no", lambda _: None)
    assert time.monotonic() - began < 30, "nor does it wait for what uv started"
    child = int((tmp_path / "child").read_text())
    until = time.monotonic() + 5
    while _runs(child) and time.monotonic() < until:
        time.sleep(0.05)
    assert not _runs(child)


def _runs(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
