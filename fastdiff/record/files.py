"""Run files: pytest-benchmark's JSON with one more key, `fastdiff`. Written whole or not at all, and read with care."""

from __future__ import annotations

import difflib
import json
import os
import stat
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from fastdiff.record.checks import list_, object_, require_finite, shaped
from fastdiff.record.errors import UserError
from fastdiff.record.run import Acceptance, Baseline, Noise, Run
from fastdiff.record.schema import require_schema

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RUNS = "runs"
APART = "FASTDIFF_RUNS_APART"
"""Variable that names a folder in `runs/` for sessions that are a part of another one, such as a second look."""
KEY = "fastdiff"
LARGEST_BYTES = 64 * 1024**2
"""A run of six stages has some 100 kB; a file beyond this is something else, and reading it could fill the memory."""


def next_run_path(root: Path, started: str) -> Path:
    """Where a session that began at `started` (ISO 8601) keeps its run.

    The folder for its pictures is made now: of two sessions that begin within one second, one finds it taken.
    """
    stem = stamp(started)
    path, count = root / RUNS / os.environ.get(APART, "") / f"{stem}.json", 1
    while path.exists() or not _taken(path.with_suffix("")):
        count += 1
        path = path.with_name(f"{stem}-{count}.json")
    return path


def stamp(started: str) -> str:
    """How a file is called for the time when it was begun (ISO 8601); names in their order are files in theirs."""
    return f"{datetime.fromisoformat(started).astimezone(UTC):%Y%m%dT%H%M%SZ}"


def _taken(folder: Path) -> bool:
    """Whether the folder is ours now; where none can be made, writing the run will tell why."""
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        return not folder.parent.is_dir()
    except OSError:
        return True
    return True


def runs(root: Path) -> list[Path]:
    """Oldest first."""
    return sorted((root / RUNS).glob("*.json"), key=lambda path: path.stem)


# -- writing ----------------------------------------------------------------------------------------------------------


def write_text(path: Path, text: str) -> None:
    """In one step, into a folder that is made where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


def write(path: Path, pytest_benchmark: dict[str, Any], run: Run) -> None:
    """Replaces the file in one step; a reader finds the old one or the new one, never a part."""
    _write(path, pytest_benchmark, as_json(run), replacing=True)


def write_baseline(path: Path, pytest_benchmark: dict[str, Any], baseline: Baseline) -> None:
    """A baseline that is there stays: its file is made, never replaced."""
    accepted = {"accepted": asdict(baseline.acceptance), "noise": asdict(baseline.noise) if baseline.noise else None}
    _write(path, pytest_benchmark, as_json(baseline.run) | accepted, replacing=False)


def as_json(run: Run) -> dict[str, Any]:
    """What stands under the key, after the look that its reader will take: nothing is kept that cannot be read."""
    try:
        value: dict[str, Any] = json.loads(json.dumps(asdict(run)))
    except (TypeError, ValueError) as error:
        raise UserError("file", f"this run cannot be kept as JSON: {error}.") from None
    _run(value)
    return value


def _write(path: Path, pytest_benchmark: dict[str, Any], ours: dict[str, Any], *, replacing: bool) -> None:
    whole = {"benchmarks": [], **pytest_benchmark, KEY: ours}
    try:
        # The parameters of a test may be any objects; pytest-benchmark writes them as text, too.
        content = json.dumps(whole, indent=1, allow_nan=False, default=str)
    except ValueError as error:
        raise UserError(
            "file", f"{path} was not written, because pytest-benchmark's part is no JSON: {error}."
        ) from None
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("w", encoding="utf-8") as file:
            file.write(content + "\n")
            file.flush()
            os.fsync(file.fileno())
        if replacing:
            part.replace(path)
        else:
            os.link(part, path)  # unlike a rename, this fails where the name is taken
    except OSError as error:
        old = "the file that was there is whole" if path.exists() else "no part of it was left behind"
        raise UserError("file", f"{path} cannot be written ({error.strerror}); {old}.") from None
    finally:
        with suppress(OSError):
            part.unlink()


# -- reading ----------------------------------------------------------------------------------------------------------


def read(path: Path) -> Run:
    """The run in a file, which may be a baseline's."""
    return _read(path)[0]


def read_baseline(path: Path) -> Baseline:
    try:
        run, whole = _read(path)
    except UserError as error:
        if error.code == "schema":
            raise
        raise UserError(
            "file", f"{error} Restore it (git checkout -- {path}), or remove it and accept a run."
        ) from None
    ours = whole[KEY]
    if "accepted" not in ours:
        raise UserError("file", f'{path} is a run that nobody accepted; do: fastdiff accept {path} --reason "..."')
    with named(path):
        acceptance = shaped(Acceptance, ours["accepted"], f"{KEY}.accepted")
        noise = shaped(Noise | None, ours.get("noise"), f"{KEY}.noise")
    return Baseline(run, acceptance, noise, path.name)


def read_benchmarks(path: Path) -> dict[str, Any]:
    """pytest-benchmark's part of the file."""
    theirs = {key: value for key, value in load(path).items() if key != KEY}
    with named(path):
        require_finite(theirs, "the file")
        for i, entry in enumerate(list_(theirs.get("benchmarks"), "benchmarks")):
            object_(object_(entry, f"benchmarks[{i}]").get("stats"), f"benchmarks[{i}].stats")
    return theirs


def _read(path: Path) -> tuple[Run, dict[str, Any]]:
    whole = load(path)
    if KEY not in whole:
        raise UserError("file", f"{path} is a pytest-benchmark file without fastdiff's key; give a file of {RUNS}/.")
    with named(path):
        return _run(whole[KEY]), whole


def _run(value: object) -> Run:
    ours = object_(value, KEY)
    require_schema(ours, KEY)
    run: Run = shaped(Run, ours, KEY)
    twice = [id_ for id_, count in Counter(stage.id for stage in run.stages).items() if count > 1]
    if twice:
        raise UserError("file", f"{KEY}.stages holds {twice[0]} more than once; expected each stage once.")
    return run


def load(path: Path) -> dict[str, Any]:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise UserError("file", f"{path} is a folder or a device; give a run file.")
        if status.st_size > LARGEST_BYTES:
            raise UserError("file", f"{path} has {status.st_size:,} bytes; a run file has at most {LARGEST_BYTES:,}.")
        content = path.read_bytes()
    except FileNotFoundError:
        raise UserError("file", f"there is no {path}; {_nearest(path)}") from None
    except OSError as error:
        raise UserError("file", f"{path} cannot be read ({error.strerror}).") from None
    with named(path):
        return object_(_parsed(content), "the file")


def _parsed(content: bytes) -> object:
    try:
        return json.loads(content.decode())
    except UnicodeDecodeError:
        raise UserError("file", "this is not UTF-8 text; expected JSON.") from None
    except ValueError as error:
        raise UserError("file", f"this is not whole JSON: {error}.") from None


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Puts the file's name before what is wrong in it."""
    try:
        yield
    except UserError as error:
        raise UserError(error.code, f"{path}: {error}") from None
    except RecursionError:
        raise UserError("file", f"{path}: this is nested too deeply for a run; expected a file of {RUNS}/.") from None


def _nearest(path: Path) -> str:
    names = sorted(entry.name for entry in path.parent.glob("*.json"))
    near = difflib.get_close_matches(path.name, names, n=1)
    return f"did you mean {path.with_name(near[0])}?" if near else "`fastdiff runs` lists the run files."
