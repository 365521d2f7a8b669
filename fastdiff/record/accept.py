"""Makes a run, or some stages of it, the baseline of its device. Nothing else writes there."""

from __future__ import annotations

import getpass
import os
import re
import shutil
import signal
import subprocess
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastdiff.record import log
from fastdiff.record.baselines import folder_of, newest, next_path
from fastdiff.record.eligibility import injected, objections
from fastdiff.record.errors import UserError
from fastdiff.record.files import read, read_benchmarks, write_baseline
from fastdiff.record.parts import chosen, merged, merged_benchmarks
from fastdiff.record.reading import entries_of, read_bytes
from fastdiff.record.run import Acceptance, Baseline, Noise, Run
from fastdiff.record.writing import locked, require_inside, write_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LOCK = ".fastdiff/accept.lock"
"""In the folder that git ignores; the file stays, and only who holds it counts."""
PATIENCE_S = 10.0
"""An acceptance takes well under a second; a process that holds the lock for longer hangs."""


@dataclass(frozen=True)
class Proposal:
    """A run that may become the baseline of its device, and the baseline that it would replace."""

    path: Path
    run: Run
    trials: dict[Path, Run]
    """The run, and others of the same code over which the noise is measured."""
    only: tuple[str, ...]
    """Ids of the stages that were named; empty where all are meant."""
    old: Baseline | None
    folder: Path

    @property
    def ids(self) -> tuple[str, ...]:
        """Stages that replace those of the old baseline; empty where the whole run replaces it."""
        if self.old and not self.only and _other_models(self.old.run, self.run):
            # A session measures the models that were named; those of other sessions stay as they are.
            return tuple(stage.id for stage in self.run.stages)
        return self.only

    @property
    def old_run(self) -> Run | None:
        return self.old.run if self.old else None


def propose(path: Path, root: Path, only: Sequence[str] = (), noise_of: Sequence[Path] = ()) -> Proposal:
    """Reads everything; writes nothing."""
    trials = {Path(os.path.realpath(one)): read(one) for one in (path, *noise_of)}
    run = trials[Path(os.path.realpath(path))]
    folder = folder_of(root, run.device.slug)
    old, ids = newest(folder), chosen(run, only)
    if ids and old is None:
        raise UserError("file", f"there is no baseline in {folder} of which a part could be replaced; drop --stage.")
    return Proposal(path, run, trials, ids, old, folder)


def require_allowed(proposal: Proposal, *, force: bool) -> tuple[str, ...]:
    """The objections that were forced; without force, or to an injected fault, an objection is an error."""
    trials = proposal.trials.items()
    never = [f"{path.name}: {sentence}" for path, run in trials for sentence in injected(run, proposal.only)]
    if never:
        more = "; leave such files out of --noise-of" if len(trials) > 1 else ""
        raise UserError("file", f"an injected fault is never accepted, not by force either{more}:\n{_listed(never)}")
    old = proposal.old_run
    against = [f"{path.name}: {one}" for path, run in trials for one in objections(run, proposal.only, old)]
    against += _leaving(old, proposal.run) if old and not proposal.ids else []
    if against and not force:
        raise UserError("file", f"not accepted (--force would do it, and keep these reasons):\n{_listed(against)}")
    return tuple(against)


def write(
    proposal: Proposal, reason: str, root: Path, *, noise: Noise | None, forced: Sequence[str] = (), name: str = ""
) -> tuple[Path, int]:
    """The path of the new baseline, and how many pictures it has."""
    run, old, ids, folder = proposal.run, proposal.old, proposal.ids, proposal.folder
    benchmarks = read_benchmarks(proposal.path)
    if ids and old:
        run = merged(old.run, run, ids, proposal.path.name)
        benchmarks = merged_benchmarks(read_benchmarks(folder / old.name), benchmarks, ids)
    when = datetime.now(UTC).isoformat(timespec="seconds")
    target = next_path(folder, _slug(name or "-".join(dict.fromkeys(stage.model for stage in run.stages))))
    acceptance = Acceptance(_who(root), when, reason.strip(), proposal.path.name, ids, tuple(forced))
    new = Baseline(run, acceptance, noise, target.name)
    pictures = _pictures(run, proposal.path, folder / old.name if ids and old else None, ids)
    require_inside(folder, root)
    with _uninterrupted():
        _write(target, benchmarks, new, pictures, proposal.old_run)
    return target, len(pictures)


def _leaving(old: Run, new: Run) -> list[str]:
    """A session of fewer stages must not drop the others from the baseline."""
    there = [stage.id for stage in new.stages]
    gone = [stage.id for stage in old.stages if stage.id not in there]
    if not gone:
        return []
    keeping = " ".join(f"--stage {id_}" for id_ in there)
    return [f"{', '.join(gone)} would leave the baseline, because this run has no such stage; {keeping} keeps it"]


def _other_models(old: Run, new: Run) -> set[str]:
    return {stage.model for stage in old.stages} - {stage.model for stage in new.stages}


def _listed(sentences: list[str]) -> str:
    return "\n".join(f"  {sentence}" for sentence in sentences)


def _pictures(run: Run, path: Path, old: Path | None, ids: Sequence[str]) -> list[Path]:
    """What the reference stages drew; of a stage that is not replaced, what lies beside the old baseline."""
    found = []
    for id_ in {f"{stage.model}-{stage.quality.reference}" for stage in run.stages if stage.quality}:
        folder = (old if old and id_ not in ids else path).with_suffix("")
        pattern = re.compile(rf"{re.escape(id_)}((-[0-9]+)?\.png|\.npz)")
        # A link could bring in any file of this machine, and baselines are committed.
        require_inside(folder, folder.parent)
        ours = [picture for picture in entries_of(folder) if pattern.fullmatch(picture.name)]
        found += [picture for picture in ours if picture.is_file() and not picture.is_symlink()]
    return sorted(found)


def _write(target: Path, benchmarks: dict[str, Any], new: Baseline, pictures: list[Path], old: Run | None) -> None:
    """The pictures first: where the file is, the baseline is whole. What was there before is never touched.

    Without its line in the log nothing is accepted.
    """
    beside, place = target.with_suffix(""), target.with_suffix("")
    try:
        with ExitStack() as undo:
            if pictures:
                beside.mkdir(parents=True)
                undo.callback(shutil.rmtree, beside, ignore_errors=True)
            for picture in pictures:
                write_bytes(beside / picture.name, read_bytes(picture))
            write_baseline(target, benchmarks, new)
            undo.callback(target.unlink)
            place = target.parent / log.NAME
            log.append(target.parent, old, new)
            undo.pop_all()
    except OSError as error:
        raise UserError(
            "file", f"{place} cannot be written ({error.strerror}); nothing was accepted, and no part left behind."
        ) from None


@contextmanager
def alone(root: Path) -> Iterator[None]:
    """One acceptance at a time, so that each builds on the one before."""
    path = root / LOCK
    path.parent.mkdir(exist_ok=True)  # not its parents: a mistyped --root stays an error
    with locked(path, PATIENCE_S) as held:
        if not held:
            raise UserError("file", f"another `fastdiff accept` holds {path}; end it, and accept again.")
        yield


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ctrl-C waits for the end of the writing, so that no baseline is without its pictures or its line in the log.

    Not by blocking the signal: libraries start threads, and one that does not block it takes it for all of them.
    Python hears signals in its main thread only, so an acceptance in another thread is not interrupted anyway.
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
        raise UserError("file", f"--name is {name!r}; give a name with letters or digits.")
    return slug
