"""Every write of fastdiff: complete or not at all, checked, and never through a link."""

from __future__ import annotations

import errno
import json
import os
import stat
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastdiff.record.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

POLL_S = 0.05


def as_json(value: Any) -> str:
    """One line for each value. Half characters, as a broken file name has them, become question marks."""
    text = json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False, default=str)
    return text.encode("utf-8", "replace").decode() + "\n"


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode("utf-8", "replace"))


def write_bytes(path: Path, content: bytes, *, replacing: bool = True) -> None:
    """In one step, into a folder that is made where it is missing. A reader finds the old file or the new one.

    Without `replacing` a file that is there is an OSError, and stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_native_id()}.part")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if replacing:
            part.replace(path)
        else:
            os.link(part, path)  # unlike a rename, this fails where the name is taken
    finally:
        with suppress(OSError):
            part.unlink()


def append_line(path: Path, line: str) -> None:
    """At the end of the file, whole or not at all. Half a line that a crash left keeps the line for itself."""
    log = _opened(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
    try:
        before = os.fstat(log).st_size
        torn = before and os.pread(log, 1, before - 1) != b"\n"
        content = (("\n" if torn else "") + line + "\n").encode("utf-8", "replace")
        try:
            if os.write(log, content) != len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            os.fsync(log)
        except OSError:
            os.ftruncate(log, before)
            raise
    finally:
        os.close(log)


@contextmanager
def locked(path: Path, patience_s: float = 0.0, *, shared: bool = False) -> Iterator[bool]:
    """Holds the lock file until the block ends; the system frees it with the process.

    `shared`: with others that share it, and with none that has it alone. The value is False where another process held
    it for longer than `patience_s`: then nothing is held.
    """
    import fcntl

    lock = _opened(path, os.O_RDWR | os.O_CREAT)
    try:
        until = time.monotonic() + patience_s
        while True:
            try:
                fcntl.flock(lock, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= until:
                    yield False
                    return
                time.sleep(POLL_S)
            else:
                yield True
                return
    finally:
        os.close(lock)


def _opened(path: Path, flags: int) -> int:
    """A regular file: a link could lead out of the project, and a pipe would wait for ever."""
    try:
        file = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR):
            raise UserError("file", f"{path} is a link, a pipe or a folder; remove it, and try again.") from None
        raise
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise UserError("file", f"{path} is a pipe or a device; remove it, and try again.")
    return file


def require_inside(path: Path, root: Path) -> None:
    """Baselines are committed, and a link among them could lead anywhere on this machine."""
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root)):
        raise UserError("file", f"{path} is a link that leads out of {root}; replace it by a file or a folder.")
