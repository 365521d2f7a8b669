"""Where environments and checkouts that fastdiff made are kept: outside of the project, each finished or not there.

Beside each folder lies a lock. The process that makes or removes the folder has it alone; those that use the folder
share it until they end, so that nothing in use is removed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import sysconfig
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastdiff.record.distribution import OURS
from fastdiff.record.errors import UserError
from fastdiff.record.writing import as_json, locked, write_text
from fastdiff.sides.installed import packages

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

VARIABLE = "FASTDIFF_CACHE"
"""Names another folder, for instance one that a CI runner keeps between nights."""
MARKER = "fastdiff-environment.json"
"""Written last: an environment without it was never finished."""
CHECKOUTS = "checkouts"
"""Beside the environments: the project's code as it was."""
DIGITS = 8
"""Of a hash, for the name of a folder: two of a handful are the same once in a billion."""
SAID_AFTER_S = 3.0
"""A wait that is over sooner needs no line."""
PATIENCE_S = 1800.0
"""For another process that makes the same: as long as an installation may take (`bounded.LIMIT_S`)."""

BETWEEN_S = 0.2
"""Several that wait find nothing made when the process that was making it dies; one of them makes it."""

_used: dict[Path, ExitStack] = {}
"""What this process uses, with the locks that it shares."""


def home() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.environ.get(VARIABLE) or f"{cache}/fastdiff").expanduser().absolute() / "environments"


@dataclass(frozen=True)
class Plan:
    """An environment, or a checkout, that can be made."""

    name: str
    """As lines of progress call it."""
    slug: str
    ingredients: tuple[Any, ...]
    """Everything that decides what it holds: where one of it differs, another one is made."""
    fill: Callable[[Path, Callable[[str], None]], None]
    """Makes it in a folder that is not there."""
    runs: bool = True
    """Whether it is an environment, with an interpreter."""


def found_or_made(plan: Plan, kept: Path, say: Callable[[str], None]) -> tuple[Path, dict[str, str]]:
    """The interpreter of an environment, and the packages that it holds."""
    folder, marker = found_or_made_folder(plan, kept, say)
    return interpreter(folder), marker["packages"]


def found_or_made_folder(plan: Plan, kept: Path, say: Callable[[str], None]) -> tuple[Path, dict[str, Any]]:
    """The folder, now in use, and what its marker says. One process makes it; others wait, and find it."""
    folder = kept / f"{plan.slug}-{digest(*plan.ingredients)}"
    try:
        if marker := finished(folder, runs=plan.runs):
            with suppress(OSError):  # a cache that can only be read
                _use(folder, plan.name, say)
            if marker := finished(folder, runs=plan.runs):  # until now it might have been removed
                say(f"{plan.name}: as made on {marker['made']}; remove {folder} to have it made anew")
                with suppress(OSError):
                    os.utime(folder / MARKER)  # used now
                return folder, marker
        ready_home(kept)
        until = time.monotonic() + PATIENCE_S
        while not (marker := finished(folder, runs=plan.runs)):
            if time.monotonic() > until:
                raise UserError(
                    "environment", f"{folder} is not finished, and other processes use it; end them, and try again."
                )
            let_go(folder)
            with locked(_lock(folder), BETWEEN_S) as alone:
                if alone and not finished(folder, runs=plan.runs):
                    _sign(folder)
                    _make(plan, folder, say)
            _use(folder, plan.name, say)  # which waits for the process that makes it
    except OSError as error:
        raise UserError(
            "environment",
            f"{error.filename or folder} cannot be written ({error.strerror}); make room there or get the right "
            f"to, or name another folder in {VARIABLE}, and try again.",
        ) from None
    return folder, marker


def _make(plan: Plan, folder: Path, say: Callable[[str], None]) -> None:
    """Makes it where it stays, because a virtual environment cannot be moved; the marker comes last."""
    began = time.monotonic()
    if folder.exists():
        say(f"{plan.name}: {folder} was not finished; it is made anew")
        shutil.rmtree(folder)
    say(f"{plan.name}: creating {folder}")
    try:
        plan.fill(folder, say)
        seen = {"packages": packages(interpreter(folder), {})} if plan.runs else {}
        made = datetime.now(UTC).isoformat(timespec="seconds")
        write_text(folder / MARKER, as_json({"words": plan.name, "made": made, **seen}))
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    say(f"{plan.name}: ready after {time.monotonic() - began:.0f} s")


def finished(folder: Path, *, runs: bool = True) -> dict[str, Any] | None:
    """What the marker says; None where the folder was never finished, or the environment's Python has gone since."""
    with suppress(OSError, ValueError):
        marker = json.loads((folder / MARKER).read_text(encoding="utf-8"))
        wanted = {"made", "packages"} if runs else {"made"}
        if isinstance(marker, dict) and wanted <= marker.keys() and (not runs or interpreter(folder).exists()):
            return marker
    return None


# -- who has it -------------------------------------------------------------------------------------------------------


def _use(folder: Path, name: str, say: Callable[[str], None]) -> None:
    """From now on no process removes it, until this one ends or lets it go."""
    if folder in _used:
        return
    lock = _lock(folder)
    with ExitStack() as held:
        if not held.enter_context(locked(lock, SAID_AFTER_S, shared=True)):
            say(f"{name}: waiting for {_holder(lock)}, which makes or removes {folder}")
            if not held.enter_context(locked(lock, PATIENCE_S, shared=True)):
                raise UserError(
                    "environment",
                    f"{_holder(lock)} has held {folder} for {PATIENCE_S / 60:.0f} minutes; see whether it still works, "
                    "or end it, and try again.",
                )
        _used.setdefault(folder, held.pop_all())


def let_go(*folders: Path) -> None:
    """Of these, or of everything that this process used: others may remove it."""
    for folder in folders or tuple(_used):
        if folder in _used:
            _used.pop(folder).close()


def _lock(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")


def _sign(folder: Path) -> None:
    """For those that wait: which process has the lock alone."""
    _lock(folder).write_text(f"{os.getpid()}\n", encoding="ascii")


def _holder(lock: Path) -> str:
    with suppress(OSError, ValueError):
        return f"process {int(lock.read_text(encoding='ascii'))}"
    return "another process"


def ready_home(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    ignored = folder / ".gitignore"
    if not ignored.exists():
        write_text(ignored, "*\n")  # everything here is made, and can be made again


def digest(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()[:DIGITS]


def others(seen: Mapping[str, str]) -> list[tuple[str, str]]:
    """All but fastdiff, of which the workers of every side run the same code."""
    return sorted((name, version) for name, version in seen.items() if name not in OURS)


def interpreter(folder: Path) -> Path:
    return folder / "bin/python"


def site_packages(folder: Path) -> Path:
    return Path(sysconfig.get_path("purelib", scheme="venv", vars={"base": str(folder)}))


# -- what is kept -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kept:
    """A folder in the cache: an environment, or a checkout of the project."""

    folder: Path
    finished: bool
    used: float
    """When it was used last, as `time.time()`."""

    @property
    def unused_days(self) -> float:
        return (time.time() - self.used) / 86400

    @property
    def own_bytes(self) -> int:
        """Of the files that only this folder has: those with more links are elsewhere, too."""
        found = (path.lstat() for path in self.folder.rglob("*"))
        return sum(one.st_size for one in found if stat.S_ISREG(one.st_mode) and one.st_nlink == 1)


def kept() -> list[Kept]:
    """The one that was used last comes first."""
    found = []
    for folder in (home(), home().parent / CHECKOUTS):
        for one in folder.iterdir() if folder.is_dir() else ():
            if one.is_dir():
                mark = one / MARKER
                used = mark.stat().st_mtime if mark.exists() else 0.0
                found.append(Kept(one, mark.exists(), used))
    return sorted(found, key=lambda one: -one.used)


def remove(one: Kept) -> int | None:
    """The bytes that became free; None where a process uses or makes it."""
    with locked(_lock(one.folder)) as alone:
        if not alone:
            return None
        _sign(one.folder)
        freed = one.own_bytes
        (one.folder / MARKER).unlink(missing_ok=True)  # first: what is half removed was never finished
        shutil.rmtree(one.folder)
    return freed  # the lock's file stays: another process may be waiting for it
