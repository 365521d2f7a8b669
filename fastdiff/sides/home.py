"""Where environments that fastdiff made are kept: outside of any checkout, each finished, locked, or not there."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import stat
import sysconfig
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastdiff.record.errors import UserError
from fastdiff.record.writing import as_json, locked, write_text
from fastdiff.sides.installed import packages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

VARIABLE = "FASTDIFF_CACHE"
"""Names another folder, for instance one that a CI runner keeps between nights."""
MARKER = "fastdiff-environment.json"
"""Written last: an environment without it was never finished."""
CHECKOUTS = "checkouts"
"""Beside the environments: the project's code as it was."""
DIGITS = 8
"""Of a hash, for the name of a folder: two of a handful are the same once in a billion."""


def home() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.environ.get(VARIABLE) or f"{cache}/fastdiff").expanduser().absolute() / "environments"


@dataclass(frozen=True)
class Plan:
    """An environment that can be made."""

    name: str
    """As lines of progress call it."""
    slug: str
    ingredients: tuple[Any, ...]
    """Everything that decides what it holds: where one of it differs, another one is made."""
    fill: Callable[[Path, Callable[[str], None]], None]
    """Makes it in a folder that is not there."""


def found_or_made(plan: Plan, kept: Path, say: Callable[[str], None]) -> tuple[Path, dict[str, str]]:
    """Its interpreter, and the packages that it holds. One process makes it; others wait, and find it."""
    folder = kept / f"{plan.slug}-{digest(*plan.ingredients)}"
    marker = finished(folder)
    if marker:
        say(f"{plan.name}: as made on {marker['made']}; remove {folder} to have it made anew")
        with suppress(OSError):
            os.utime(folder / MARKER)  # used now
        return interpreter(folder), marker["packages"]
    try:
        ready_home(kept)
        with _alone(folder, plan.name, say):
            marker = finished(folder)  # the process that held the lock has made it meanwhile
            seen = marker["packages"] if marker else _make(plan, folder, say)
    except OSError as error:
        raise UserError(
            "environment",
            f"{error.filename or folder} cannot be written ({error.strerror}); make room there or get the right "
            f"to, or name another folder in {VARIABLE}, and try again.",
        ) from None
    return interpreter(folder), seen


def _make(plan: Plan, folder: Path, say: Callable[[str], None]) -> dict[str, str]:
    """Makes it where it stays, because a virtual environment cannot be moved; the marker comes last."""
    began = time.monotonic()
    if folder.exists():
        say(f"{plan.name}: {folder} was not finished; it is made anew")
        shutil.rmtree(folder)
    say(f"{plan.name}: creating {folder}")
    try:
        plan.fill(folder, say)
        seen = packages(interpreter(folder), {})
        made = datetime.now(UTC).isoformat(timespec="seconds")
        write_text(folder / MARKER, as_json({"words": plan.name, "made": made, "packages": seen}))
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    say(f"{plan.name}: ready after {time.monotonic() - began:.0f} s")
    return seen


def finished(folder: Path) -> dict[str, Any] | None:
    """What the marker says; None where the environment was never finished, or its Python has gone since."""
    with suppress(OSError, ValueError):
        marker = json.loads((folder / MARKER).read_text(encoding="utf-8"))
        if isinstance(marker, dict) and {"made", "packages"} <= marker.keys() and interpreter(folder).exists():
            return marker
    return None


@contextmanager
def _alone(folder: Path, name: str, say: Callable[[str], None]) -> Iterator[None]:
    """One process makes it, the others wait."""
    lock = folder.with_name(f"{folder.name}.lock")
    with locked(lock) as held:
        if held:
            yield
            return
    say(f"{name}: another process is making {folder}; waiting for it")
    with locked(lock, patience_s=math.inf):  # without an end: it may be downloading for as long as it takes
        yield


def ready_home(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    ignored = folder / ".gitignore"
    if not ignored.exists():
        write_text(ignored, "*\n")  # everything here is made, and can be made again


def digest(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()[:DIGITS]


def others(seen: Mapping[str, str]) -> list[tuple[str, str]]:
    """All but fastdiff, of which the workers of every side run the same code."""
    return sorted((name, version) for name, version in seen.items() if name != "fastdiff")


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
                mark = one / MARKER if folder == home() else one
                used = mark.stat().st_mtime if mark.exists() else 0.0
                found.append(Kept(one, mark.exists() and not one.name.startswith("."), used))
    return sorted(found, key=lambda one: -one.used)


def remove(one: Kept) -> int:
    """The bytes that became free; 0 where another process is making it."""
    with locked(one.folder.with_name(f"{one.folder.name}.lock")) as held:
        if not held:
            return 0
        freed = one.own_bytes
        shutil.rmtree(one.folder)
    return freed  # the lock's file stays: another process may be waiting for it
