"""From a SPEC to an environment: one that exists, one from requirements files, or this one with a change."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
import sysconfig
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.requirements import Requirement
from packaging.utils import parse_wheel_filename
from packaging.version import Version

from fastdiff.compare.facts import package_differences
from fastdiff.record.errors import UserError
from fastdiff.sides import uv
from fastdiff.sides.home import Plan, digest, found_or_made, interpreter, others, site_packages
from fastdiff.sides.installed import asked, needs, packages
from fastdiff.sides.spec import is_wheel, masked, named, with_extras

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from fastdiff.sides.spec import Spec

OLDEST_PYTHON = (3, 11)
"""As pyproject.toml asks for: the workers run this very fastdiff."""
BASE_LINK = "zz-fastdiff-base.pth"
"""Such files are read in alphabetical order, and what the copy itself holds comes before what stands behind it."""
SLUG_LENGTH = 40


@dataclass(frozen=True)
class Environment:
    """Where the workers of one side run."""

    name: str
    python: Path
    variables: Mapping[str, str | None]
    """None: taken away from what this process has."""
    key: str
    """Short, of its content and its variables: names its compile cache's folder."""
    words: tuple[str, ...] = ()
    """As written, to be written again; masked."""
    source: Path | None = None
    """The folder of a fastdiff of its own, which its workers run; None where they run this one."""
    paths: tuple[Path, ...] = ()
    """Folders of the project as it was, from which its workers import."""
    project: Path | None = None
    """The project as it was; None where it is as it is."""
    differs: tuple[str, ...] = ()
    """Of the accepted run's software, where the user named an environment that stands for it: one text each."""

    @property
    def is_this_one(self) -> bool:
        """Whether its workers run as this process does: with the same interpreter, and no variable changed."""
        return self.python == Path(sys.executable) and not self.variables


def ready(spec: Spec, home: Path, say: Callable[[str], None]) -> Environment:
    """Finds the environment of a side, or makes it in `home`, where it is found the next time.

    The variables belong to the workers, not to what is installed: sides that differ in them alone share a folder.
    """
    if spec.python is not None:
        python, seen = spec.python, _examined(spec, spec.python, say)
    else:
        python, seen = found_or_made(_plan(spec), home.absolute(), say)
    key = digest(python, others(seen), sorted(spec.variables.items()))
    return Environment(spec.name, python, spec.variables, key, tuple(map(masked, spec.words)))


def _examined(spec: Spec, python: Path, say: Callable[[str], None]) -> dict[str, str]:
    version, seen = asked(python, spec.variables)
    if tuple(map(int, version.split(".")[:2])) < OLDEST_PYTHON:
        oldest = ".".join(map(str, OLDEST_PYTHON))
        raise UserError(
            "environment", f"{python} is Python {version}; fastdiff runs on {oldest} or newer, so name another one."
        )
    lacking: list[Requirement] = []
    with suppress(UserError):  # a fastdiff that runs without being installed can measure all the same
        lacking = [need for need in needs() if need.name not in seen]
    if lacking:
        names = " ".join(f"'{need}'" for need in lacking)
        say(f"{spec.name} lacks what fastdiff needs; if its trials fail: {python} -m pip install {names}")
    return seen


def _plan(spec: Spec) -> Plan:
    base = {} if spec.files else packages(Path(sys.executable), {})

    def fill(folder: Path, say: Callable[[str], None]) -> None:
        uv.make(folder, sys.executable, f"{spec.name}: no virtual environment can be made", say)
        if spec.files:
            _install_files(spec, folder, say)
        else:
            copy_this_one(folder)
            _install_requirements(spec, folder, base, say)

    return Plan(spec.name, _slug(spec), _ingredients(spec, base), fill)


def _ingredients(spec: Spec, base: Mapping[str, str]) -> tuple[Any, ...]:
    return (
        [(one, _stamp(one)) for one in spec.requirements],
        [path.read_bytes().hex() for path in _with_included(spec.files)],
        [str(need) for need in needs()] if spec.files else (sys.prefix, others(base)),
        spec.options,
        (sys.base_prefix, platform.python_version(), platform.python_implementation(), sysconfig.get_platform()),
    )


def _stamp(requirement: str) -> tuple[int, int]:
    """When a wheel was built and its size: reading all of a wheel of torch would take longer than everything else."""
    if not is_wheel(requirement):
        return (0, 0)
    at = Path(requirement).stat()
    return (at.st_mtime_ns, at.st_size)


def _with_included(paths: Iterable[Path]) -> list[Path]:
    """Requirements files, and those that they include."""
    found: list[Path] = []
    waiting = list(paths)
    while waiting:
        path = waiting.pop(0)
        if path not in found and path.is_file():
            found.append(path)
            text = path.read_text(encoding="utf-8", errors="replace")
            included = re.findall(r"^\s*(?:-r|--requirement|-c|--constraint)[\s=]*(\S+)", text, re.MULTILINE)
            waiting += [path.parent / one for one in included]
    return found


def _slug(spec: Spec) -> str:
    names = [Path(one).name if is_wheel(one) else one.partition("@")[0] for one in spec.requirements]
    text = "-".join([*names, *(path.stem for path in spec.files)]).lower()
    return re.sub(r"[^a-z0-9.]+", "-", text)[:SLUG_LENGTH].strip("-.")


def copy_this_one(folder: Path) -> None:
    """Hard links to everything in this environment's site-packages: two copies of the same shared library can differ
    in speed by 1 % for as long as they stay in the page cache, and one file cannot.

    So whatever is there comes along: builds of one's own, editable installs, a `sitecustomize`. An installer removes
    files and writes new ones, and never writes into one that both environments have. Where a user's own or a system's
    packages stand behind the environment's, they stand behind the copy's, too.
    """
    link_folders(base_folders(), site_packages(folder))


def link_folders(folders: Sequence[Path], target: Path, without: Collection[str] = ()) -> None:
    """The first of an interpreter's folders as hard links, but for these files of it; the others stand behind it."""
    first, *behind = folders
    _link_tree(first, target, without)
    # `addsitedir` and not the bare path: it follows .pth files, which is how editable installs are seen.
    lines = [f"import site; site.addsitedir({str(path)!a})\n" for path in behind]
    if lines:
        (target / BASE_LINK).unlink(missing_ok=True)  # a link to that of the folder, which has to stay as it is
        (target / BASE_LINK).write_text("".join(lines), encoding="ascii")


def base_folders() -> list[Path]:
    """Where this environment's packages lie, in their order; a user's own and Debian's are among them."""
    return [path for path in map(Path, sys.path) if path.name in ("site-packages", "dist-packages") and path.is_dir()]


def _link_tree(source: Path, target: Path, without: Collection[str]) -> None:
    with os.scandir(source) as entries:
        for entry in entries:
            if entry.path in without or _compiled_from(entry.path) in without:
                continue
            there = target / entry.name
            if entry.is_dir(follow_symlinks=False):
                _link_tree(Path(entry.path), there, without)
            else:
                link(Path(entry.path), there)


def _compiled_from(path: str) -> str:
    """The module of which this would be the bytecode."""
    folder, _, name = path.rpartition("/__pycache__/")
    return f"{folder}/{name.partition('.')[0]}.py" if folder else ""


def link(source: Path, target: Path) -> None:
    """What is there already stays: what makes an environment one is its own."""
    target.parent.mkdir(parents=True, exist_ok=True)  # not before: an empty folder can be imported
    if target.exists():
        return
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:  # another file system, or one without links
        shutil.copy2(source, target, follow_symlinks=False)


def _install_requirements(spec: Spec, folder: Path, base: Mapping[str, str], say: Callable[[str], None]) -> None:
    """What is named by its place comes first and by force: an equal version would be taken for the same."""
    python, trouble = interpreter(folder), f"{spec.name} cannot be installed"
    placed = [one for one in spec.requirements if is_wheel(one) or Requirement(one).url]
    wanted = [one for one in spec.requirements if one not in placed]
    before = set(uv.conflicts(python))
    say(f"{spec.name}: installing")
    if placed:
        uv.install(python, ["--no-deps", "--reinstall", *placed], trouble, say, options=spec.options)
        wanted += [with_extras(one) for one in placed]  # now for what they need
    uv.install(python, wanted, trouble, say, options=spec.options)
    for sentence in sorted(set(uv.conflicts(python)) - before):
        say(f"{spec.name}: against a stated range, which may matter or not: {sentence}")
    seen = packages(python, {})
    _require(spec, seen)
    changed = package_differences(base, seen)
    say(f"{spec.name}: {', '.join(changed) if changed else 'nothing differs from this environment'}")


def _install_files(spec: Spec, folder: Path, say: Callable[[str], None]) -> None:
    """What the files say stays, also where fastdiff's own ranges would not allow it: it only adds what is not there.

    Two steps, because files with hashes allow nothing beside them that has none.
    """
    python, trouble = interpreter(folder), f"{spec.name} cannot be installed"
    say(f"{spec.name}: installing")
    of_files = [word for path in spec.files for word in ("-r", str(path))]
    uv.install(python, of_files, trouble, say, options=spec.options, cwd=spec.files[0].parent)
    seen = packages(python, {})
    for need in needs():
        version = seen.get(need.name)
        if version and not need.specifier.contains(version, prereleases=True):
            say(f"{spec.name}: {need.name} stays at {version}, as its file says; fastdiff is made for {need}")
    if lacking := [str(need) for need in needs() if need.name not in seen]:
        say(f"{spec.name}: adding what fastdiff needs: {', '.join(lacking)}")
        kept = folder / "kept.txt"
        kept.write_text("".join(f"{name}=={version}\n" for name, version in seen.items()), encoding="utf-8")
        uv.install(python, ["-c", str(kept), *lacking], trouble, say, options=spec.options)


def _require(spec: Spec, seen: Mapping[str, str]) -> None:
    """uv can end well without having installed anything, for instance with a target in its configuration."""
    for text in spec.requirements:
        name = named(text)
        if is_wheel(text):
            fits = Version(seen.get(name, "0")) == parse_wheel_filename(Path(text).name)[1]
        else:
            fits = name in seen and Requirement(text).specifier.contains(seen[name], prereleases=True)
        if not fits:
            raise UserError(
                "environment",
                f"uv ended well, but the new environment has {seen.get(name, 'no')} {name} where {text} was asked "
                "for; see where uv's configuration puts things (uv.toml, [tool.uv.pip]).",
            )
