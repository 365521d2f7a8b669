"""Writes are complete or not at all, locks are held by one, and neither follows a link out of the project."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import numpy as np
import pytest
from test_record import a_run, benchmarks_of

from fastdiff.record import baselines, pictures
from fastdiff.record.errors import UserError
from fastdiff.record.files import runs, write, write_baseline
from fastdiff.record.reading import read_bytes
from fastdiff.record.run import Acceptance, Baseline
from fastdiff.record.writing import append_line, as_json, locked, require_inside, write_bytes, write_text

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes the first half of what is written, and says so, as a full disk may."""
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, content: write(file, content[: len(content) // 2]))


@pytest.mark.usefixtures("full_disk")
def test_a_short_write_leaves_no_half_line(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text('{"a": 1}\n')
    with pytest.raises(OSError, match="No space left on device"):
        append_line(log, '{"b": 2}')
    assert log.read_text() == '{"a": 1}\n'


def test_half_a_line_keeps_the_line_for_itself(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text('{"a": 1}\n{"b"')
    append_line(log, '{"c": 3}')
    assert log.read_text() == '{"a": 1}\n{"b"\n{"c": 3}\n'


def test_a_full_disk_leaves_the_old_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, os.strerror(28))

    pictures.save(tmp_path, "fp32", np.ones((1, 8, 8, 3)))
    before = (tmp_path / "fp32.png").read_bytes()
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        pictures.save(tmp_path, "fp32", np.zeros((1, 8, 8, 3)))
    assert (tmp_path / "fp32.png").read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["fp32.png"]


def test_what_must_not_be_replaced_stays(tmp_path: Path) -> None:
    write_bytes(tmp_path / "a", b"1")
    with pytest.raises(FileExistsError):
        write_bytes(tmp_path / "a", b"2", replacing=False)
    assert (tmp_path / "a").read_bytes() == b"1"
    write_text(tmp_path / "a", "3")
    assert (tmp_path / "a").read_text() == "3"


def test_a_lock_is_held_by_one_alone(tmp_path: Path) -> None:
    with locked(tmp_path / "lock") as first, locked(tmp_path / "lock", patience_s=0.1) as second:
        assert (first, second) == (True, False)
    with locked(tmp_path / "lock") as third:
        assert third


@pytest.mark.parametrize("make", [lambda path: path.symlink_to("/etc/hostname"), os.mkfifo, os.mkdir])
def test_a_link_or_a_pipe_is_no_lock_and_no_log(tmp_path: Path, make: object) -> None:
    make(tmp_path / "it")  # type: ignore[operator]
    for use in (lambda path: append_line(path, "x"), lambda path: locked(path).__enter__()):
        with pytest.raises((UserError, IsADirectoryError)) as refused:
            use(tmp_path / "it")
        assert "is a link, a pipe or a folder" in str(refused.value) or "pipe or a device" in str(refused.value)


def test_a_pipe_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for path in (tmp_path / "pipe", tmp_path, tmp_path / "loop", tmp_path / "a\0b"):
        with pytest.raises(UserError):
            read_bytes(path)


def test_half_characters_are_written_as_question_marks() -> None:
    assert json.loads(as_json({"name": "a\udc80b"})) == {"name": "a?b"}


# -- baselines of a stranger ------------------------------------------------------------------------------------------


def test_a_baseline_is_not_read_through_a_link_out_of_the_project(tmp_path: Path) -> None:
    project, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    elsewhere.mkdir()
    write(elsewhere / "0001_x.json", benchmarks_of(a_run()), a_run())
    (project / "baselines").mkdir(parents=True)
    (project / "baselines" / "cpu").symlink_to(elsewhere)
    with pytest.raises(UserError, match="is a link that leads out of"):
        baselines.newest(baselines.folder_of(project, "cpu"))
    require_inside(project / "baselines", project)


def test_a_baseline_that_is_no_file_is_refused(tmp_path: Path) -> None:
    """An older one would stand in for it silently."""
    folder = tmp_path / "baselines" / "cpu"
    write_baseline(folder / "0001_x.json", {}, Baseline(a_run(), Acceptance("a", "now", "why", "r.json")))
    newer = folder / "0002_x.json"
    for make in (newer.symlink_to, lambda _: newer.symlink_to(newer), lambda _: os.mkfifo(newer)):
        make(tmp_path / "nowhere")
        with pytest.raises(UserError, match=r"0002_x\.json"):
            baselines.newest(folder)
        newer.unlink()
    assert baselines.newest(folder) is not None


def test_a_folder_that_cannot_be_listed_is_not_an_empty_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, os.strerror(13))

    folder = tmp_path / "baselines" / "cpu"
    folder.mkdir(parents=True)
    assert baselines.newest(folder) is None
    monkeypatch.setattr(os, "listdir", refuse)
    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(UserError, match="cannot be listed \\(Permission denied\\)"):
        baselines.newest(folder)
    with pytest.raises(UserError, match="cannot be listed"):
        baselines.next_path(folder, "x")
    (tmp_path / "runs").mkdir()
    with pytest.raises(UserError, match="runs cannot be listed"):
        runs(tmp_path)
