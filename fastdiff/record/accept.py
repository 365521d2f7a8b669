"""`fastdiff accept`: makes a run, or some stages of it, the baseline of its device. Nothing else writes there."""

from __future__ import annotations

import getpass
import re
import shutil
import signal
import subprocess
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from fastdiff.record import log
from fastdiff.record.baselines import folder_of, newest, next_path
from fastdiff.record.changes import changes
from fastdiff.record.checks import RecordError
from fastdiff.record.eligibility import injected, objections
from fastdiff.record.files import read, read_benchmarks, write_baseline
from fastdiff.record.parts import chosen, merged, merged_benchmarks, merged_noise, without_centres
from fastdiff.record.run import HARDWARE, Acceptance, Baseline, Noise, Run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

LOCK = ".fastdiff/accept.lock"
"""In the folder that git ignores; the file stays, and only who holds it counts."""
PATIENCE_S = 10.0
"""An acceptance takes well under a second; whoever holds the lock longer hangs."""


def accept(
    path: Path,
    reason: str,
    *,
    root: Path,
    only: Sequence[str] = (),
    noise_of: Sequence[Path] = (),
    force: bool = False,
    name: str = "",
    say: Callable[[str], None] = print,
) -> Path:
    """Says what changes and writes the new baseline, or raises a RecordError that says why not. Returns its path."""
    if not reason.strip():
        raise RecordError('an acceptance needs a reason; give --reason "why this is the new normal".')
    run = read(path)
    trials = {path.resolve(): run} | {other.resolve(): read(other) for other in noise_of}
    folder = folder_of(root, run.device.slug)
    by = _who(root)
    with _alone(root):
        old = newest(folder)
        ids = chosen(run, only)
        if ids and old is None:
            raise RecordError(f"there is no baseline in {folder} of which a part could be replaced; drop --only.")
        asked_for = ids
        if old and not ids and _other_models(old.run, run):
            # A session measures the models that were named; those of other sessions stay as they are.
            ids = tuple(stage.id for stage in run.stages)
        for line in changes(old.run if old else None, run, ids):
            say(line)
        leaving = _leaving(old.run, run) if old and not ids else []
        forced = _allowed(trials, asked_for, old.run if old else None, force, leaving)
        benchmarks, noise = read_benchmarks(path), _noise(list(trials.values()), old, ids, say)
        if ids and old:
            run = merged(old.run, run, ids, path.name)
            benchmarks = merged_benchmarks(read_benchmarks(folder / old.name), benchmarks, ids)
        when = datetime.now(UTC).isoformat(timespec="seconds")
        target = next_path(folder, _slug(name or "-".join(dict.fromkeys(stage.model for stage in run.stages))))
        acceptance = Acceptance(by, when, reason.strip(), path.name, ids, forced)
        new = Baseline(run, acceptance, noise, target.name)
        pictures = _pictures(run, path, folder / old.name if ids and old else None, ids)
        if not pictures:
            say("pictures: the run has none of its reference, so none are kept")
        with _uninterrupted():
            _write(target, benchmarks, new, pictures)
            _log(folder, old.run if old else None, new)
    say(f"accepted: {target}")
    return target


def _leaving(old: Run, new: Run) -> list[str]:
    """Nobody drops what was measured before because a session was asked for less."""
    there = [stage.id for stage in new.stages]
    gone = [stage.id for stage in old.stages if stage.id not in there]
    if not gone:
        return []
    keeping = " ".join(f"--only {id_}" for id_ in there)
    return [f"{', '.join(gone)} would leave the baseline, because this run has no such stage; {keeping} keeps it"]


def _allowed(
    trials: dict[Path, Run], ids: Sequence[str], old: Run | None, force: bool, leaving: Sequence[str]
) -> tuple[str, ...]:
    """What spoke against it and was forced."""
    never = [f"{path.name}: {sentence}" for path, run in trials.items() for sentence in injected(run, ids)]
    if never:
        more = "; leave such files out of --noise-of" if len(trials) > 1 else ""
        raise RecordError(f"an injected fault is never accepted, not by force either{more}:\n{_listed(never)}")
    against = [f"{path.name}: {sentence}" for path, run in trials.items() for sentence in objections(run, ids, old)]
    against += leaving
    if against and not force:
        raise RecordError(f"not accepted (--force would do it, and keep these reasons):\n{_listed(against)}")
    return tuple(against)


def _other_models(old: Run, new: Run) -> set[str]:
    return {stage.model for stage in old.stages} - {stage.model for stage in new.stages}


def _listed(sentences: list[str]) -> str:
    return "\n".join(f"  {sentence}" for sentence in sentences)


def _noise(trials: list[Run], old: Baseline | None, ids: Sequence[str], say: Callable[[str], None]) -> Noise | None:
    """Measured over the trials, or else the old baseline's; None means the declared one."""
    run, before = trials[0], old.noise if old else None
    if len(trials) > 1:
        from fastdiff.judge.noise import measured

        try:
            noise = measured(trials)
        except ValueError as error:
            raise RecordError(f"the noise cannot be measured: {error}") from None
        say(f"noise: measured over {noise.trials} processes, latency ±{noise.latency_sd:.1%}")
        return merged_noise(before, noise, ids) if ids else noise
    if old is None or before is None:
        say("noise: the declared one, because it was not measured on this device; --noise-of RUN measures it")
        return None
    facts = [(old.run.environment.get(name), run.environment.get(name)) for name in HARDWARE]
    if any(before and now and before != now for before, now in facts):
        say("noise: the declared one, because the measured one is of another machine; --noise-of RUN measures it")
        return None
    say(f"noise: carried over from {old.name}, measured over {before.trials} processes")
    return without_centres(before, ids or [stage.id for stage in old.run.stages])


def _pictures(run: Run, path: Path, old: Path | None, ids: Sequence[str]) -> list[Path]:
    """The pictures of the reference stages; of a stage that is not replaced, those beside the old baseline."""
    found = []
    for id_ in {f"{stage.model}-{stage.quality.reference}" for stage in run.stages if stage.quality}:
        folder = (old if old and id_ not in ids else path).with_suffix("")
        pattern = re.compile(rf"{re.escape(id_)}(-[0-9]+)?\.png")
        # A link could bring in any file of this machine, and baselines are committed.
        found += [p for p in folder.glob("*.png") if pattern.fullmatch(p.name) and p.is_file() and not p.is_symlink()]
    return sorted(found)


def _write(target: Path, benchmarks: dict[str, Any], new: Baseline, pictures: list[Path]) -> None:
    """The pictures first: where the file is, the baseline is whole."""
    beside = target.with_suffix("")
    try:
        for picture in pictures:
            beside.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(picture, beside / picture.name)
        write_baseline(target, benchmarks, new)
    except BaseException as error:
        shutil.rmtree(beside, ignore_errors=True)
        if isinstance(error, OSError):
            raise RecordError(
                f"{beside} cannot be written ({error.strerror}); no part of it was left behind."
            ) from None
        raise


def _log(folder: Path, old: Run | None, new: Baseline) -> None:
    try:
        log.append(folder, old, new)
    except OSError as error:
        raise RecordError(
            f"{folder / new.name} is accepted, but {folder / log.NAME} cannot be written ({error.strerror})."
        ) from None


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """One acceptance at a time, so that each builds on the one before; the system ends the lock with the process."""
    import fcntl

    path = root / LOCK
    path.parent.mkdir(exist_ok=True)  # not its parents: a mistyped --root stays an error
    patient_until = time.monotonic() + PATIENCE_S
    with path.open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > patient_until:
                    raise RecordError(f"another `fastdiff accept` holds {path}; end it, and accept again.") from None
                time.sleep(0.05)
        yield


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ctrl-C waits for the end of the writing, so that no baseline is without its pictures or its line in the log.

    Not by blocking the signal: libraries start threads, and one that does not block it takes it for all of them.
    Python hears signals in its main thread only, so whoever accepts in another one is not interrupted anyway.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heard = []
    before = signal.signal(signal.SIGINT, lambda number, _: heard.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if heard:
        signal.raise_signal(heard[0])


def _who(root: Path) -> str:
    """As git would sign a commit here, else the login."""
    name, email = (_git(root, f"user.{part}") for part in ("name", "email"))
    if email:
        return f"{name} <{email}>".strip()
    try:
        return name or getpass.getuser()
    except (KeyError, OSError):  # a container may run under a number that has no name
        return "unknown"


def _git(root: Path, key: str) -> str:
    try:
        return subprocess.run(
            ["git", "config", key], cwd=root, capture_output=True, text=True, timeout=10
        ).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""


def _slug(name: str) -> str:
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:80]
    if not slug:
        raise RecordError(f"--name is {name!r}; give a name with letters or digits.")
    return slug
