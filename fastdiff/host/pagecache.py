"""Shared libraries in the page cache.

Two copies of the same libraries can differ by 1 % in speed for as long as they lie in the page cache, with the pages
where they happened to come. Dropped and read again before each pair, that is chance, which pairs average.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def unshared(old: Sequence[Path], new: Sequence[Path]) -> list[Path]:
    """The shared libraries that one of two environments has for itself, by the folders that each imports from. What
    both read from the same file, or by hard links from the same pages, is the same for both."""
    if list(old) == list(new):
        return []
    sides = [_libraries(folders) for folders in (old, new)]
    return [
        path
        for side, other in (sides, reversed(sides))
        for name, path in side.items()
        if name not in other or not _same(path, other[name])
    ]


def drop(files: Iterable[Path]) -> None:
    """Where the system can; pages that a process has mapped stay."""
    if not hasattr(os, "posix_fadvise"):
        return
    for path in files:
        with suppress(OSError):
            file = os.open(path, os.O_RDONLY)
            try:
                os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(file)


def _libraries(folders: Iterable[Path]) -> dict[str, Path]:
    """By the name below its folder; of several the one that is imported, which is the first."""
    found: dict[str, Path] = {}
    for top in folders:
        for folder, _, names in os.walk(top):
            for name in names:
                if name.endswith(".so") or ".so." in name:
                    path = Path(folder, name)
                    found.setdefault(str(path.relative_to(top)), path)
    return found


def _same(one: Path, other: Path) -> bool:
    with suppress(OSError):
        return one.samefile(other)
    return False
