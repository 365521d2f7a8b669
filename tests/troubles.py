"""Troubles for tests: a full disk, folders without rights, and children that may be killed."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def forked(work: Callable[[], object]) -> int:
    """The number of a child that does it; its exit code is 0, or 1 where `work` raised."""
    child = os.fork()
    if child:
        return child
    try:
        work()
        os._exit(0)
    except BaseException as error:
        os.write(2, f"{type(error).__name__}: {error}\n".encode("utf-8", "replace"))
        os._exit(1)


def code_of(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def with_room(size: int) -> Callable[[], None]:
    """No file may become larger: then a write is cut short, and the next one fails, as on a full disk."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return limit


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 160 kB, where this process may mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=160k", "tmpfs", str(disk)]
    if os.getuid() != 0 or shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root may mount a small disk, and not everywhere")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.fixture
def obeying() -> tuple[str, ...]:
    """Words before a command that then obeys the rights of files, as root does not."""
    if os.getuid() != 0:
        return ()
    if shutil.which("setpriv") is None:
        pytest.skip("root ignores the rights of files, and there is no setpriv here")
    return ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all")


@contextmanager
def closed(folder: Path, rights: int) -> Iterator[None]:
    """The folder and everything in it has these rights until the block ends."""
    before = [(path, path.stat().st_mode) for path in (folder, *folder.rglob("*"))]
    for path, _ in reversed(before):
        path.chmod(rights)
    try:
        yield
    finally:
        for path, mode in before:
            path.chmod(mode)
