"""What an environment is made of, package by package, and an environment with some packages of another one."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from fastdiff.compare.facts import listed
from fastdiff.host.software import contents, installed
from fastdiff.record.distribution import OURS
from fastdiff.record.errors import UserError
from fastdiff.sides import uv
from fastdiff.sides.environment import BASE_LINK, link, link_folders
from fastdiff.sides.home import Plan, found_or_made, interpreter
from fastdiff.sides.installed import folders

if TYPE_CHECKING:
    import importlib.metadata
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

LOOSE = ("*.pth", "sitecustomize.py", "usercustomize.py")
"""Files that every process of an environment runs, also where they belong to no package."""
NO_PARTS = {BASE_LINK, "_virtualenv.pth", "distutils-precedence.pth"}
"""What makes an environment one."""


@dataclass(frozen=True)
class Part:
    """A package, or a loose file, that can be put into another environment."""

    version: str
    digest: str
    """Of its contents: a build of one's own may have the version of another one."""
    folder: Path
    files: tuple[str, ...]
    requires: tuple[Requirement, ...] = ()


@dataclass(frozen=True)
class Whole:
    """An environment, taken apart."""

    python: Path
    version: str
    """Of Python."""
    build: str
    """Another build of one version is as fast as it likes."""
    folders: tuple[Path, ...]
    packages: Mapping[str, Part]
    loose: Mapping[str, Part]
    fixed: Mapping[str, str]
    """Versions of packages that cannot be taken out: their installer keeps no list of their files, or they are imported
    from the folder of a project."""

    @property
    def minor(self) -> str:
        return ".".join(self.version.split(".")[:2])

    def has(self, name: str) -> bool:
        return name in self.packages or name in self.fixed

    def version_of(self, name: str) -> str | None:
        return self.packages[name].version if name in self.packages else self.fixed.get(name)

    def owned(self, names: Iterable[str]) -> set[str]:
        parts = [self.packages.get(name) or self.loose.get(name) for name in names]
        return {str(part.folder / file) for part in parts if part for file in part.files}


def taken_apart(python: Path) -> Whole:
    version, build, where = folders(python)
    found = installed(where)
    packages, fixed = {}, {}
    for name, one in found.items():
        if name in OURS:  # of which every side runs today's, or which is the project's code
            continue
        if part := None if _editable(one) else _part(one):
            packages[name] = part
        else:
            fixed[name] = one.version
    owned = {file for one in found.values() for file in _files(one)}
    return Whole(python, version, build, where, packages, dict(_loose(where[0], owned)) if where else {}, fixed)


def _editable(one: importlib.metadata.Distribution) -> bool:
    with suppress(ValueError, AttributeError):
        return bool(json.loads(one.read_text("direct_url.json") or "{}").get("dir_info", {}).get("editable"))
    return False


def _files(one: importlib.metadata.Distribution) -> tuple[str, ...]:
    """Relative to where it lies; empty where its installer keeps no list. No scripts, which no worker runs."""
    rows = csv.reader(io.StringIO(one.read_text("RECORD") or ""))
    return tuple(row[0] for row in rows if row and not row[0].startswith(("..", "/")))


def _part(one: importlib.metadata.Distribution) -> Part | None:
    files, folder = _files(one), Path(str(one.locate_file("")))
    if not files:
        return None
    return Part(one.version, contents(one.read_text("RECORD")), folder, files, tuple(_requires(one.requires or ())))


def _requires(written: Iterable[str]) -> Iterator[Requirement]:
    for text in written:
        try:
            found = Requirement(text)
        except InvalidRequirement:
            continue
        if found.marker is None or found.marker.evaluate({"extra": ""}):
            found.name = canonicalize_name(found.name)
            yield found


def _loose(folder: Path, owned: set[str]) -> Iterator[tuple[str, Part]]:
    for pattern in LOOSE:
        for path in sorted(folder.glob(pattern)):
            if path.name not in owned | NO_PARTS:
                digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
                yield path.name, Part(digest, digest, folder, (path.name,))


# -- what goes together -----------------------------------------------------------------------------------------------


def bound(old: Mapping[str, Part], new: Mapping[str, Part], names: Collection[str]) -> set[tuple[str, str]]:
    """Pairs of packages: where the first one is the new side's, the second one has to be, because one of the two says
    so. What a side's packages ask for and its own do not fulfil binds nothing."""
    found = set()
    for one in names:
        for need in new[one].requires if one in new else ():
            other = need.name
            if other in names and _meets(need, new.get(other)) and not _meets(need, old.get(other)):
                found.add((one, other))
        for need in old[one].requires if one in old else ():
            other = need.name
            if other in names and _meets(need, old.get(other)) and not _meets(need, new.get(other)):
                found.add((other, one))
    return found


def releases_of(old: Mapping[str, Part], new: Mapping[str, Part], names: Collection[str]) -> list[tuple[str, ...]]:
    """Packages that are one release, because they pin each other, as torch its triton and torchvision its torch. The
    one that pins most comes first."""
    groups = {name: {name} for name in names}
    pins = dict.fromkeys(names, 0)
    for parts in (old, new):
        for one in names:
            for need in parts[one].requires if one in parts else ():
                if need.name in names and any(_pins(spec.operator, spec.version) for spec in need.specifier):
                    pins[one] += 1
                    together = groups[one] | groups[need.name]
                    groups |= dict.fromkeys(together, together)
    found = {tuple(sorted(group, key=lambda name: (-pins[name], name))) for group in groups.values()}
    return sorted(found)


def _pins(operator: str, version: str) -> bool:
    return operator in ("==", "===") and not version.endswith(".*")


def _meets(need: Requirement, part: Part | None) -> bool:
    return part is not None and need.specifier.contains(part.version, prereleases=True)


# -- other environments of the same parts -----------------------------------------------------------------------------


def mixed(
    old: Whole, new: Whole, taken: Sequence[str], kept: Path, say: Callable[[str], None]
) -> tuple[Path, dict[str, str]]:
    """The old environment with these packages of the new one: all of its files are hard links to theirs."""
    names = listed(list(taken))

    def fill(folder: Path, say: Callable[[str], None]) -> None:
        site = _begun(old, folder, names, say, old.owned(taken) - old.owned(old.packages.keys() - set(taken)))
        for name in taken:
            part = new.packages.get(name) or new.loose.get(name)
            for file in part.files if part else ():
                source = part.folder / file  # type: ignore[union-attr]
                if source.is_file():
                    link(source, site / file)

    return found_or_made(Plan(f"with {names}", "mixed", _of_parts(old, new, taken), fill), kept, say)


def changed(
    old: Whole, requirements: Sequence[str], options: Sequence[str], kept: Path, say: Callable[[str], None]
) -> tuple[Path, dict[str, str]]:
    """The old environment with these requirements, and with what they need."""
    names = listed(list(requirements))

    def fill(folder: Path, say: Callable[[str], None]) -> None:
        _begun(old, folder, names, say)
        uv.install(interpreter(folder), requirements, f"{names} cannot be installed", say, options=options)

    ingredients = (*_of_parts(old, old, ()), list(requirements), list(options))
    return found_or_made(Plan(f"with {names}", "changed", ingredients, fill), kept, say)


def _begun(old: Whole, folder: Path, names: str, say: Callable[[str], None], without: Collection[str] = ()) -> Path:
    """A copy of the old environment, and where its packages lie."""
    uv.make(folder, str(old.python), f"with {names}: no virtual environment can be made", say)
    site = folder / "lib" / f"python{old.minor}" / "site-packages"
    if not site.is_dir():
        raise UserError("environment", f"{folder} has no {site.relative_to(folder)}; name an ordinary Python.")
    link_folders(old.folders, site, without)
    return site


def _of_parts(old: Whole, new: Whole, taken: Collection[str]) -> tuple[Any, ...]:
    own = {name: (part.version, part.digest) for name, part in (*old.packages.items(), *old.loose.items())}
    for name in taken:
        part = new.packages.get(name) or new.loose.get(name)
        own[name] = (part.version, part.digest) if part else ("", "")
    return (sorted(own.items()), sorted(old.fixed.items()), list(map(str, old.folders)), str(old.python), old.version)
