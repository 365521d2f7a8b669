"""Where fastdiff runs: on which operating systems, and without another project of its name beside it."""

from __future__ import annotations

import sys

from fastdiff.record.distribution import clash
from fastdiff.record.errors import UserError

PLATFORM = sys.platform


def require_supported() -> None:
    """Locks, signals and processes are POSIX's all over fastdiff."""
    if PLATFORM == "win32":
        raise UserError("process", "fastdiff does not run on Windows; run it in WSL, the Linux inside: wsl --install.")
    if sentence := clash():
        raise UserError("environment", sentence)
