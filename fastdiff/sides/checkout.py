"""The project's code as it was, in a folder of its own: files, submodules, and the extensions that a command builds."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from fastdiff.compare.facts import listed
from fastdiff.host.software import git, submodules
from fastdiff.record.errors import UserError
from fastdiff.record.project import FILE, prepare
from fastdiff.sides import bounded
from fastdiff.sides.installed import last_words

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fastdiff.record.software import Software

PATIENCE_S = 600.0
"""Of large repositories, and where git has to fetch what a partial clone left out."""
LISTED = 3
OF_ANOTHER = ("PYTHONPATH", "PYTHONHOME", "CONDA_PREFIX")
"""Variables with which a command would build for the environment of this process."""


def write(top: Path, commit: str, folder: Path) -> None:
    """The files of a commit, into a folder that may be there; those of its submodules, too."""
    with tempfile.TemporaryDirectory() as own:
        index = {"GIT_INDEX_FILE": f"{own}/index"}
        git(top, "read-tree", commit, variables=index)
        git(top, "checkout-index", "--all", f"--prefix={folder}/", variables=index, patience_s=PATIENCE_S)
    for name, at in submodules(top, commit).items():
        write(top / name, at, folder / name)


def require_submodules(top: Path, commit: str) -> None:
    """A submodule's commits are in a repository of its own, which has to be here."""
    for name, at in submodules(top, commit).items():
        there = top / name
        try:
            if not (there / ".git").exists():  # else git would ask the project around it
                raise FileNotFoundError
            git(there, "cat-file", "-e", f"{at}^{{commit}}")
        except (OSError, subprocess.SubprocessError):
            raise UserError(
                "side-submodules",
                f"the accepted run's code has the submodule {name} at {at[:10]}, which is not in this clone; fetch it: "
                f"git submodule update --init {name}, and then git -C {name} fetch origin {at}.",
            ) from None
        require_submodules(there, at)


def command_of(top: Path, commit: str, folder: str) -> str:
    """The command that the project named at that commit; empty where it named none."""
    file = f"{folder}{FILE}"
    if not git(top, "ls-tree", "--name-only", commit, "--", file):
        return ""
    try:
        return prepare(git(top, "show", f"{commit}:{file}", patience_s=PATIENCE_S))
    except (OSError, subprocess.SubprocessError):
        raise UserError(
            "side-no-commit",
            f"{file} of commit {commit[:10]} is not in this clone; fetch it: git fetch origin {commit}",
        ) from None


def built(software: Software) -> list[str]:
    """Extension modules that the accepted run could import and that no commit has."""
    project = software.project
    if project is None:
        return []
    folders = [PurePosixPath(project.folder, one.editable) for one in software.distributions if one.editable]
    return [name for name in project.built if any(PurePosixPath(name).is_relative_to(one) for one in folders)]


def require_command(wanted: Sequence[str], command: str) -> None:
    if wanted and not command:
        raise UserError(
            "side-needs-prepare",
            f"the accepted run imported {listed(wanted, LISTED)}, built beside its sources and in no commit; name "
            f'the command that builds them in {FILE} ([tool.fastdiff] prepare = "python setup.py build_ext --inplace")'
            ", commit it, measure, and accept that run.",
        )


def build(command: str, folder: Path, project: str, python: Path, wanted: Sequence[str]) -> None:
    """Runs the command in the project's folder of this checkout, as in the activated environment of `python`."""
    outside = {name: text for name, text in os.environ.items() if name not in OF_ANOTHER}
    path = f"{python.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    place = {"PATH": path, "VIRTUAL_ENV": str(python.parents[1])}
    ended = bounded.run(["/bin/sh", "-c", command], outside | place, folder / project)
    if ended.status is None:
        why = f"did not end within {bounded.LIMIT_S / 60:.0f} minutes"
    elif ended.status:
        why = f"failed; it ended with: {last_words(ended.output) or ended.status_text}"
    elif missing := [name for name in wanted if not (folder / name).exists()]:
        why = f"ended well and did not make {listed(missing, LISTED)}"
    else:
        return
    raise UserError(
        "side-not-prepared",
        f"`{command}`, which prepares the accepted run's code ({FILE}), {why}. Fix it, and check that it works: "
        "fastdiff side build",
    )
