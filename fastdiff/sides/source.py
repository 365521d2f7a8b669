"""The code of fastdiff that the workers of a side run."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import fastdiff
from fastdiff.record.errors import UserError
from fastdiff.sides.home import ready_home

NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS)
"""How a file system without links refuses one."""


def source_path(home: Path) -> Path:
    """A folder that holds nothing but a link to this very fastdiff package, for PYTHONPATH of the workers.

    Both sides run the same code of fastdiff, whatever is installed there; and nothing else of this environment
    comes along, as it would with the folder that the package lies in.
    """
    package = Path(fastdiff.__file__).parent.resolve()
    home = home.absolute()
    target = home / "source" / package.name
    if target.resolve() == package:
        return target.parent
    fresh = home / f".source.{os.getpid()}"
    try:
        ready_home(home)
        _remove(fresh)  # left by a killed process of the same number
        target.parent.mkdir(exist_ok=True)
        try:
            fresh.symlink_to(package, target_is_directory=True)
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            shutil.copytree(package, fresh, ignore=shutil.ignore_patterns("__pycache__"))
        if target.is_dir() and not target.is_symlink():  # such a copy, and only a link can be replaced in one step
            shutil.rmtree(target)
        fresh.replace(target)
    except OSError as error:
        raise UserError(
            "environment",
            f"{target} cannot be written ({error.strerror}); make room or get the right to, and try again.",
        ) from None
    finally:
        _remove(fresh)
    return target.parent


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
