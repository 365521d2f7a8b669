"""Run files: pytest-benchmark's JSON with one more key, `fastdiff`. Written whole or not at all, and read with care."""

from __future__ import annotations

import os
import shlex
from collections import Counter
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from fastdiff.record.benchmarks import Benchmarks
from fastdiff.record.errors import UserError
from fastdiff.record.reading import convert, entries_of, load, named, parsed, require_bounded
from fastdiff.record.run import Acceptance, Baseline, Noise, Run
from fastdiff.record.schema import require_schema
from fastdiff.record.writing import as_json, write_bytes

if TYPE_CHECKING:
    from pathlib import Path

RUNS = "runs"
APART = "FASTDIFF_RUNS_APART"
"""Variable that names a folder in `runs/` for sessions that are a part of a larger measurement."""
KEY = "fastdiff"
MEASURE_AGAIN = "Remove this file, and measure again: pytest perf_tests --benchmark-compare"


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
    found = [path for path in entries_of(root / RUNS) if path.suffix == ".json"]
    return sorted(found, key=lambda path: path.stem)


# -- writing ----------------------------------------------------------------------------------------------------------


def write(path: Path, pytest_benchmark: dict[str, Any], run: Run) -> None:
    """Replaces the file in one step; a reader finds the old one or the new one, never a part."""
    _write(path, pytest_benchmark, as_dict(run), replacing=True)


def write_baseline(path: Path, pytest_benchmark: dict[str, Any], baseline: Baseline) -> None:
    """A baseline that is there stays: its file is made, never replaced."""
    accepted = {"accepted": asdict(baseline.acceptance), "noise": asdict(baseline.noise) if baseline.noise else None}
    _write(path, pytest_benchmark, as_dict(baseline.run) | accepted, replacing=False)


def as_dict(run: Run) -> dict[str, Any]:
    """What stands under the key, after the look that its reader will take: nothing is kept that cannot be read."""
    plain = asdict(run)
    require_bounded(plain, KEY)
    value: dict[str, Any] = parsed(as_json(plain).encode())
    _run(value)
    return value


def _write(path: Path, pytest_benchmark: dict[str, Any], ours: dict[str, Any], *, replacing: bool) -> None:
    whole = {"benchmarks": [], **pytest_benchmark, KEY: ours}
    try:
        content = as_json(whole).encode()
    except ValueError as error:
        why = f"pytest-benchmark's part is no JSON: {error}"
        raise UserError("file", f"{path} was not written, because {why}.") from None
    try:
        write_bytes(path, content, replacing=replacing)
    except OSError as error:
        old = "the file that was there is whole" if path.exists() else "no part of it was left behind"
        raise UserError("file", f"{path} cannot be written ({error.strerror}); {old}.") from None


# -- reading ----------------------------------------------------------------------------------------------------------


def read(path: Path) -> Run:
    """The run in a file, which may be a baseline's."""
    return _read(path, MEASURE_AGAIN)[0]


def read_baseline(path: Path) -> Baseline:
    try:
        run, whole = _read(path)
        ours = whole[KEY]
        if "accepted" in ours:
            with named(path):
                convert(whole, Benchmarks, "the file")  # pytest-benchmark reads it next, and with less care
                acceptance = convert(ours["accepted"], Acceptance, f"{KEY}.accepted")
                noise: Noise | None = convert(ours.get("noise"), Noise | None, f"{KEY}.noise")  # type: ignore[arg-type]
            return Baseline(run, acceptance, noise, path.name)
    except UserError as error:
        if error.code == "schema":
            raise
        raise UserError("file", str(error), _restore(path)) from None
    raise UserError("file", f'{path} is a run that was not accepted; do: fastdiff accept {path} --reason "..."')


def read_benchmarks(path: Path) -> dict[str, Any]:
    """pytest-benchmark's part of the file."""
    theirs = {key: value for key, value in load(path, mend=MEASURE_AGAIN).items() if key != KEY}
    with named(path, MEASURE_AGAIN):
        convert(theirs, Benchmarks, "the file")
    return theirs


def _restore(path: Path) -> str:
    return f"Restore it (git checkout -- {shlex.quote(str(path))}), or remove it and accept a run."


def _read(path: Path, mend: str = "") -> tuple[Run, dict[str, Any]]:
    whole = load(path, mend=mend)
    if KEY not in whole:
        raise UserError("file", f"{path} is a pytest-benchmark file without fastdiff's key; give a file of {RUNS}/.")
    with named(path, mend):
        return _run(whole[KEY]), whole


def _run(value: object) -> Run:
    require_schema(value, KEY)
    run = convert(value, Run, KEY)
    twice = [id_ for id_, count in Counter(stage.id for stage in run.stages).items() if count > 1]
    if twice:
        raise UserError("file", f"{KEY}.stages holds {twice[0]} more than once; expected each stage once.")
    return run
