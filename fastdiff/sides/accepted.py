"""The side of an accepted run, made again: its packages by uv, its code from the commit that is the same."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastdiff.compare.facts import listed, package_differences
from fastdiff.host.software import code as code_here
from fastdiff.host.software import entries_of, git, top_of
from fastdiff.record.distribution import OURS
from fastdiff.record.errors import UserError
from fastdiff.sides import checkout, uv
from fastdiff.sides.environment import Environment, base_folders
from fastdiff.sides.home import (
    CHECKOUTS,
    Plan,
    digest,
    found_or_made,
    found_or_made_folder,
    interpreter,
    others,
    site_packages,
)
from fastdiff.sides.installed import asked, needs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from fastdiff.record.software import Distribution, Project, Software

TORCH_INDEX = "https://download.pytorch.org/whl/"
"""Where builds such as 2.13.0+cpu come from; its folders bear the names of the local versions."""
FREE_BYTES = 2 * 1024**3
"""What has to be free: a CUDA torch has more, unless its files can be shared with the cache of uv."""
LISTED = 3
PROTOCOL = "from fastdiff.trial.process import PROTOCOL; print(PROTOCOL)"


@dataclass(frozen=True)
class Rebuilt:
    environment: Environment
    remarks: tuple[str, ...] = ()
    """What of the accepted side is today's instead; in sentences."""


def rebuild(
    software: Software | None,
    root: Path,
    kept: Path,
    say: Callable[[str], None],
    *,
    protocol: int,
    baseline: Path | None = None,
    variables: Mapping[str, str | None] | None = None,
    own: Path | None = None,
    files: bool = False,
    name: str = "accepted",
) -> Rebuilt:
    """`baseline`: the file of the accepted run; the commit that brought it is the first one that is looked at.
    `protocol`: of this fastdiff's workers; an accepted fastdiff of another one is not used. `own`: an environment of
    the user's that takes the place of the one that would be made. `files`: whether a file of the project makes a
    pipeline."""
    if software is None:
        raise UserError(
            "side-not-recorded",
            "the accepted run does not say which software it ran, because an older fastdiff wrote it; accept a run of "
            "today.",
        )
    remarks: list[str] = []
    code = _code(software, root, baseline, files=files)
    if own is None:
        differs: list[str] = []
        python, seen = _made(software, kept, say, name)
    else:
        python, seen = _named(software, own)
        mine = {one.name for one in software.distributions if one.editable}
        differs = package_differences(_versions(software), {one: seen[one] for one in seen.keys() - mine})
    if differs:
        remarks.append(f"{own} is not the accepted run's software: {', '.join(differs)}")
    project = checked_out(code, kept, say, python, digest(python, others(seen))) if code else None
    source, paths = code_in(software, project, python, protocol) if project else (None, ())
    if source is None:
        remarks.append("both sides run today's fastdiff, so a change of fastdiff itself is not measured")
    chosen = dict(variables or {})
    key = digest(python, others(seen), sorted(chosen.items()), str(source), list(map(str, paths)))
    side = Environment(name, python, chosen, key, (name,), source, paths, project, tuple(differs))
    return Rebuilt(side, tuple(remarks))


def _made(software: Software, kept: Path, say: Callable[[str], None], name: str) -> tuple[Path, dict[str, str]]:
    """By uv, in the cache."""
    packages = _packages(software)
    plan = Plan(name, f"{name}-{_torch(software)}", (packages, software.python, *_platform()), _filling(software, name))
    python, seen = found_or_made(plan, kept, say)
    _require_versions(software, seen, python)
    share_libraries(python)
    return python, seen


def _named(software: Software, own: Path) -> tuple[Path, dict[str, str]]:
    """The user's environment, which is only read: its interpreter, and what that sees."""
    own = own.expanduser().absolute()
    python = interpreter(own) if own.is_dir() else own
    if not python.is_file():
        raise UserError(
            "side-no-python",
            f"--fastdiff-accepted-python: {own} is no Python interpreter, and no folder with bin/python; name one.",
        )
    version, seen = asked(python, {})
    if _minor(version) != _minor(software.python):
        raise UserError(
            "side-no-python",
            f"--fastdiff-accepted-python: {python} is Python {version}, and the accepted run ran {software.python}; "
            f"name an environment of Python {_minor(software.python)}.",
        )
    lacking: list[str] = []
    with suppress(UserError):  # a fastdiff that runs without being installed does not know what it needs
        lacking = [f"'{need}'" for need in needs() if need.name not in seen]
    if lacking:
        raise UserError(
            "side-no-package",
            f"--fastdiff-accepted-python: {python} lacks what fastdiff needs; do: {python} -m pip install "
            f"{' '.join(lacking)}",
        )
    return python, seen


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _versions(software: Software) -> dict[str, str]:
    """Of what an installer brings; the project's own code comes from its commit."""
    return {one.name: one.version for one in software.distributions if not one.editable and one.name not in OURS}


def _packages(software: Software) -> list[str]:
    """As requirements that allow nothing else."""
    return [_requirement(one) for one in software.distributions if not one.editable and one.name not in OURS]


def _requirement(one: Distribution) -> str:
    if one.local:
        raise UserError(
            "side-local-package",
            f"{one.name} {one.version} was installed from a folder of its machine, and is on no index; install it "
            "from an index or a commit, and accept a run of that.",
        )
    return f"{one.name} @ {one.source}" if one.source else f"{one.name}=={one.version}"


def _require_versions(software: Software, seen: Mapping[str, str], python: Path) -> None:
    """A pin without a local part admits any build, and a finished environment may have been changed by hand."""
    other = [
        f"{name} {seen.get(name, 'nothing')} instead of {now}"
        for name, now in _versions(software).items()
        if seen.get(name) != now
    ]
    if other:
        raise UserError(
            "side-no-package",
            f"{python.parents[1]} has {', '.join(other[:LISTED])}; remove that folder, and name the index that has the "
            "accepted build in pip's or uv's configuration.",
        )


def _torch(software: Software) -> str:
    return next((f"torch-{one.version}" for one in software.distributions if one.name == "torch"), "environment")


def _platform() -> tuple[str, ...]:
    return (platform.python_implementation(), sysconfig.get_platform())


def _filling(software: Software, name: str) -> Callable[[Path, Callable[[str], None]], None]:
    def fill(folder: Path, say: Callable[[str], None]) -> None:
        free = shutil.disk_usage(folder.parent).free
        if free < FREE_BYTES:
            raise UserError("side-no-room", f"{folder.parent} has {free / 1e9:.1f} GB left; make room for a torch.")
        minor = _minor(software.python)
        same = minor == ".".join(map(str, sys.version_info[:2]))
        try:
            uv.make(folder, sys.executable if same else minor, f"{name}: there is no Python {minor}", say)
        except UserError as error:
            raise UserError("side-no-python", str(error)) from None
        pins = folder / "packages.txt"
        pins.write_text("".join(f"{one}\n" for one in _packages(software)), encoding="utf-8")
        builds = {one.version.partition("+")[2] for one in software.distributions if one.name.startswith("torch")}
        indexes = [f"--extra-index-url={TORCH_INDEX}{build}" for build in sorted(filter(None, builds))]
        say(f"{name}: installing {len(_packages(software))} packages")
        _install(interpreter(folder), pins, name, say, indexes)

    return fill


def _install(python: Path, pins: Path, name: str, say: Callable[[str], None], indexes: list[str]) -> None:
    """First without torch's own index: it is another place that may not be reachable, and is seldom needed."""
    asked, trouble = ["--no-deps", "-r", str(pins)], f"{name} cannot be installed"
    try:
        uv.install(python, asked, trouble, say, compiled=True)
    except UserError as error:
        if indexes:
            with suppress(UserError):
                uv.install(python, asked, trouble, say, options=indexes, compiled=True)
                return
        raise UserError("side-no-package", str(error)) from None


# -- the files --------------------------------------------------------------------------------------------------------


def share_libraries(python: Path) -> None:
    """Shared libraries that are the same here become hard links to those of this environment, because two copies of
    one differ in speed by up to 1 % for as long as they stay in the page cache."""
    theirs = site_packages(python.parents[1])
    for base in base_folders()[:1]:
        for library in _libraries(theirs):
            here = base / library.relative_to(theirs)
            with suppress(OSError):
                if not here.samefile(library) and _equal(here, library):
                    part = library.with_name(f".{library.name}.{os.getpid()}.part")
                    os.link(here, part)
                    part.replace(library)


def _libraries(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*.so*"):
        if path.is_file() and not path.is_symlink():
            yield path


def _equal(one: Path, other: Path) -> bool:
    if one.stat().st_size != other.stat().st_size or one.is_symlink():
        return False
    with one.open("rb") as left, other.open("rb") as right:
        while block := left.read(1 << 20):
            if block != right.read(1 << 20):
                return False
    return True


# -- the project's code -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Code:
    """Where the project's code of the accepted run is found, and what it takes to run it."""

    project: Project
    top: Path
    """Of the repository."""
    commit: str
    command: str
    """Builds its extensions; may be empty."""
    built: tuple[str, ...]
    """What has to be there then."""


def _code(software: Software, root: Path, baseline: Path | None, *, files: bool) -> Code | None:
    """None where nothing of the project is installed, and none of its `files` is used, so that no worker imports from
    it."""
    project = software.project
    if not files and not any(one.editable for one in software.distributions):
        return None
    if project is None:
        raise UserError("side-no-commit", "the accepted run was made outside of a git repository, so its code is gone.")
    return code_at(software, project, root, same_code(project, root, baseline))


def code_at(software: Software, project: Project, root: Path, commit: str) -> Code:
    """The project's code of a commit. Refuses what cannot be had before anything is made."""
    top = top_of(root)
    checkout.require_submodules(top, commit)
    command, built = checkout.command_of(top, commit, project.folder), checkout.built(software)
    checkout.require_command(built, command)
    return Code(project, top, commit, command, tuple(built))


def checked_out(code: Code, kept: Path, say: Callable[[str], None], python: Path, key: str) -> Path:
    """The project as it was, kept under the name of its entries. `key`: of the environment, which decides what the
    command builds."""
    project = code.project

    def fill(folder: Path, say: Callable[[str], None]) -> None:
        try:
            folder.mkdir()
            checkout.write(code.top, code.commit, folder)
        except (OSError, subprocess.SubprocessError) as error:
            raise UserError("side-no-room", f"{folder} cannot be written ({error}); make room there.") from None
        if code.command:
            say(f"preparing it: {code.command}")
            checkout.build(code.command, folder, project.folder, python, code.built)

    prepared = (code.command, project.folder, key) if code.command else ()
    name = f"the project's code of {code.commit[:10]}"
    plan = Plan(name, "code", (sorted(project.entries.items()), *prepared), fill, runs=False)
    return found_or_made_folder(plan, kept.parent / CHECKOUTS, say)[0] / project.folder


def code_in(software: Software, project: Path, python: Path, protocol: int) -> tuple[Path | None, tuple[Path, ...]]:
    """The fastdiff of the checkout, where it speaks the protocol of this one, and the folders of the project's own
    packages."""
    ours = software.fastdiff
    source = _speaking(python, project / ours.editable, protocol) if ours and ours.editable else None
    return source, import_folders(software, project)


def import_folders(software: Software, project: Path) -> tuple[Path, ...]:
    """Of the project's own distributions, which an editable install imports from the folder or from `src` in it."""
    found = [project / one.editable for one in software.distributions if one.editable and one.name not in OURS]
    return tuple(path for folder in found for path in (folder / "src", folder) if path.is_dir())


def same_code(project: Project, root: Path, baseline: Path | None) -> str:
    """A commit whose files are those that were measured: the one that brought the baseline's file (a squash merge
    leaves no other), or the one that was measured."""
    candidates = []
    if baseline is not None:
        with suppress(subprocess.SubprocessError, OSError):
            asked = ("log", "--diff-filter=A", "--format=%H", "-1", "--", str(baseline))
            candidates = git(root, *asked).split()
    different: list[str] = []
    for commit in filter(None, (*candidates, project.commit)):
        try:
            entries = entries_of(top_of(root), project.folder, commit)
        except (subprocess.SubprocessError, OSError):
            continue
        if entries == project.entries:
            return commit
        names = entries.keys() | project.entries.keys()
        different = sorted(name for name in names if entries.get(name) != project.entries.get(name))
    with suppress(subprocess.SubprocessError, OSError):  # committed after the baseline, or brought by a rebase
        if entries_of(top_of(root), project.folder, "HEAD") == project.entries:
            return git(root, "rev-parse", "HEAD").strip()
    if _lies_here(project, root):
        raise UserError(
            "side-changed-files",
            "no commit has the code that was measured; it still lies here, so commit it with its accepted run: "
            "git add -A && git commit",
        )
    if different:
        raise UserError(
            "side-changed-files",
            f"no commit has the code that was measured: {listed(different, LISTED)} were changed and never "
            "committed like that; commit before you measure what is to be accepted, and let .gitignore name what is no "
            "code.",
        )
    if not project.commit:
        raise UserError(
            "side-no-commit",
            "the accepted run was made in a repository without a commit, and no commit has its code; commit it, let "
            ".gitignore name what is no code, and accept a run of that.",
        )
    raise UserError(
        "side-no-commit",
        f"commit {project.commit[:10]} of the accepted run is not in this clone; fetch it: git fetch --unshallow, or "
        f"git fetch origin {project.commit}.",
    )


def _lies_here(project: Project, root: Path) -> bool:
    """Whether a commit of today's files would be the code that was measured."""
    now = code_here(root)
    # Large files and changed submodules stand there in a way that no commit has.
    apart = any(" " in hash_ or name.endswith("/") for name, hash_ in project.entries.items())
    return now is not None and now.entries == project.entries and not apart


def _speaking(python: Path, source: Path, protocol: int) -> Path | None:
    """The folder, where the fastdiff in it speaks the protocol of this one."""
    done = subprocess.run(
        [str(python), "-P", "-c", PROTOCOL],
        env={**os.environ, "PYTHONPATH": str(source)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return source if done.stdout.strip() == str(protocol) else None
