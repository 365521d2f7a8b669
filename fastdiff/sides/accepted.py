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
from pathlib import Path
from typing import TYPE_CHECKING

from fastdiff.host.software import entries_of, git
from fastdiff.record.errors import UserError
from fastdiff.sides import uv
from fastdiff.sides.environment import Environment, base_folders
from fastdiff.sides.home import CHECKOUTS, Plan, digest, found_or_made, interpreter, others, site_packages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from fastdiff.record.software import Distribution, Project, Software

TORCH_INDEX = "https://download.pytorch.org/whl/"
"""Where builds such as 2.13.0+cpu come from; its folders bear the names of the local versions."""
FREE_BYTES = 2 * 1024**3
"""What has to be free: a CUDA torch has more, unless its files can be shared with the cache of uv."""
LISTED = 3
CHECKOUT_PATIENCE_S = 600.0
"""Of large repositories, and where git has to fetch what a partial clone left out."""
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
    name: str = "accepted",
) -> Rebuilt:
    """`baseline`: the file of the accepted run; the commit that brought it is the first one that is looked at.
    `protocol`: of this fastdiff's workers; an accepted fastdiff of another one is not used."""
    if software is None:
        raise UserError(
            "side-not-recorded",
            "the accepted run does not say which software it ran, because an older fastdiff wrote it; accept a run of "
            "today.",
        )
    remarks: list[str] = []
    packages = _packages(software)
    checkout = _checkout(software, root, kept, say, baseline)
    plan = Plan(name, f"{name}-{_torch(software)}", (packages, software.python, *_platform()), _filling(software, name))
    python, seen = found_or_made(plan, kept, say)
    _require_versions(software, seen, python)
    share_libraries(python)
    source, paths = code_of(software, checkout, python, protocol) if checkout else (None, ())
    if source is None:
        remarks.append("both sides ran today's fastdiff, so a change of fastdiff itself was not measured")
    chosen = dict(variables or {})
    key = digest(python, others(seen), sorted(chosen.items()), str(source), list(map(str, paths)))
    return Rebuilt(Environment(name, python, chosen, key, (name,), source, paths), tuple(remarks))


def _packages(software: Software) -> list[str]:
    """As requirements that allow nothing else."""
    return [_requirement(one) for one in software.distributions if not one.editable and one.name != "fastdiff"]


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
    wanted = {one.name: one.version for one in software.distributions if not one.editable and one.name != "fastdiff"}
    other = [
        f"{name} {seen.get(name, 'nothing')} instead of {now}" for name, now in wanted.items() if seen.get(name) != now
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
        minor = ".".join(software.python.split(".")[:2])
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


def _checkout(
    software: Software, root: Path, kept: Path, say: Callable[[str], None], baseline: Path | None
) -> Path | None:
    """The project as it was; None where nothing of it is installed, so that no worker imports from it."""
    project = software.project
    if not any(one.editable for one in software.distributions):
        return None
    if project is None:
        raise UserError("side-no-commit", "the accepted run was made outside of a git repository, so its code is gone.")
    commit = same_code(project, root, baseline)
    return checked_out(root, commit, project.entries, kept, say) / project.folder


def checked_out(root: Path, commit: str, entries: Mapping[str, str], kept: Path, say: Callable[[str], None]) -> Path:
    """The folder with the code of a commit, which is kept under the name of its entries."""
    folder = kept.parent / CHECKOUTS / digest(sorted(entries.items()))
    if folder.exists():
        os.utime(folder)  # used now
        return folder
    say(f"the project's code of {commit[:10]}: {folder}")
    part = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(part, ignore_errors=True)  # left by a killed process of the same number
    index = part.with_name(f"{part.name}.index")
    try:
        part.mkdir(parents=True)
        own = {"GIT_INDEX_FILE": str(index)}
        git(root, "read-tree", commit, variables=own)
        top = Path(git(root, "rev-parse", "--show-toplevel").strip())
        git(top, "checkout-index", "--all", f"--prefix={part}/", variables=own, patience_s=CHECKOUT_PATIENCE_S)
        if not folder.exists():  # another process may have made it meanwhile
            part.replace(folder)
    except (OSError, subprocess.SubprocessError) as error:
        raise UserError("side-no-room", f"{folder} cannot be written ({error}); make room there.") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
        index.unlink(missing_ok=True)
    return folder


def code_of(software: Software, checkout: Path, python: Path, protocol: int) -> tuple[Path | None, tuple[Path, ...]]:
    """The fastdiff of the checkout, where it speaks the protocol of this one, and the folders of the project's own
    packages."""
    ours = next((one for one in software.distributions if one.name == "fastdiff" and one.editable), None)
    source = _speaking(python, checkout / ours.editable, protocol) if ours else None
    return source, import_folders(software, checkout)


def import_folders(software: Software, checkout: Path) -> tuple[Path, ...]:
    """Of the project's own distributions, which an editable install imports from the folder or from `src` in it."""
    found = [checkout / one.editable for one in software.distributions if one.editable and one.name != "fastdiff"]
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
    for commit in (*candidates, project.commit):
        try:
            entries = entries_of(Path(git(root, "rev-parse", "--show-toplevel").strip()), project.folder, commit)
        except (subprocess.SubprocessError, OSError):
            continue
        if entries == project.entries:
            return commit
        names = entries.keys() | project.entries.keys()
        different = sorted(name for name in names if entries.get(name) != project.entries.get(name))
    if different:
        more = f" and {len(different) - LISTED} more" if len(different) > LISTED else ""
        raise UserError(
            "side-changed-files",
            f"no commit has the code that was measured: {', '.join(different[:LISTED])}{more} were changed and never "
            "committed like that; commit before you measure what is to be accepted, and let .gitignore name what is no "
            "code.",
        )
    raise UserError(
        "side-no-commit",
        f"commit {project.commit[:10]} of the accepted run is not in this clone; fetch it: git fetch --unshallow, or "
        f"git fetch origin {project.commit}.",
    )


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
