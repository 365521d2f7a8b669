"""The two sides of a search, taken apart: what differs between them, and an environment for each candidate."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from fastdiff.compare.facts import BUILD, differences
from fastdiff.experiments.bisect import Difference
from fastdiff.experiments.groups import LIKELY, OTHERS
from fastdiff.experiments.releases import candidates
from fastdiff.host.software import OURS, code, entries_of, git, top_of
from fastdiff.record.bisection import WORKING_TREE, Member
from fastdiff.record.errors import UserError
from fastdiff.sides.accepted import TORCH_INDEX, checked_out, code_at, code_in, import_folders, same_code
from fastdiff.sides.environment import Environment
from fastdiff.sides.home import digest, home, others
from fastdiff.sides.installed import releases
from fastdiff.sides.parts import bound, changed, mixed, releases_of, taken_apart
from fastdiff.trial.process import PROTOCOL

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fastdiff.experiments.bisect import Candidate
    from fastdiff.record.software import Project, Software
    from fastdiff.sides.parts import Part

CODE = "the project's code"


@dataclass(frozen=True)
class Accepted:
    """The accepted run's software, if it is one of the sides and includes the project's code."""

    software: Software
    project: Project
    """The accepted code."""
    commit: str
    """A commit that contains this code."""
    is_old: bool


def accepted_code(
    software: Software | None, side: Environment, root: Path, file: Path, *, is_old: bool
) -> Accepted | None:
    if software is None or software.project is None or not (side.source or side.paths or side.project):
        return None
    return Accepted(software, software.project, same_code(software.project, root, file), is_old)


class Swaps:
    """Environments of the old side with some parts taken from the new side."""

    def __init__(
        self,
        root: Path,
        old: Environment,
        new: Environment,
        accepted: Accepted | None,
        options: Sequence[str],
        say: Callable[[str], None],
    ) -> None:
        """`options`: for the installer, and for pip's index."""
        self.root, self.old, self.new, self.accepted = root, old, new, accepted
        self._pip, self._say = options, say
        self.parts = taken_apart(old.python), taken_apart(new.python)
        if self.parts[0].minor != self.parts[1].minor:
            raise UserError(
                "bisect",
                f"python {self.parts[0].version} -> {self.parts[1].version} cannot be swapped, because the packages "
                "of one do not run on the other; search between two sides of one Python.",
            )

    # -- what differs -------------------------------------------------------------------------------------------------

    @cached_property
    def difference(self) -> Difference:
        old, new = self.parts
        names = [name for name in old.packages.keys() | new.packages.keys() if self._differs("packages", name)]
        names = [name for name in names if name not in old.fixed and name not in new.fixed]
        groups = releases_of(old.packages, new.packages, names)
        members = [self._package(group) for group in groups]
        leader = {name: member.name for group, member in zip(groups, members, strict=True) for name in group}
        pairs = {(leader[one], leader[other]) for one, other in bound(old.packages, new.packages, names)}
        loose = sorted(name for name in old.loose.keys() | new.loose.keys() if self._differs("loose", name))
        members += [Member("file", name, *self._versions(old.loose.get(name), new.loose.get(name))) for name in loose]
        variables = {name: self._values(name) for name in self._variables}
        members += [
            Member("variable", name, before or "", now or "")
            for name, (before, now) in variables.items()
            if before != now
        ]
        members += [Member("code", CODE, *self._code_names())] if self._code_differs else []
        bonds = frozenset((one, other) for one, other in pairs if one != other)
        return Difference(tuple(members), bonds, tuple(self._lasting()))

    def _differs(self, what: str, name: str) -> bool:
        old, new = (getattr(side, what).get(name) for side in self.parts)
        return (old and (old.version, old.digest)) != (new and (new.version, new.digest))

    def _package(self, group: tuple[str, ...]) -> Member:
        name = max(group, key=lambda one: LIKELY.get(one, OTHERS))  # the first of equal ones, which pins the others
        old, new = (side.packages.get(name) for side in self.parts)
        return Member("package", name, *self._versions(old, new), tuple(one for one in group if one != name))

    @staticmethod
    def _versions(old: Part | None, new: Part | None) -> tuple[str, str]:
        if old and new and old.version == new.version:
            return f"{old.version} ({old.digest})", f"{new.version} ({new.digest})"
        return old.version if old else "", new.version if new else ""

    def _lasting(self) -> list[str]:
        old, new = self.parts
        found = differences({"python": old.version}, {"python": new.version})
        if not found:
            found = differences({"python's build": old.build}, {"python's build": new.build})
        # On one side alone it is a project that is imported from its folder: of that the code is compared.
        fixed = [name for name in old.fixed.keys() | new.fixed.keys() if old.has(name) and new.has(name)]
        return found + differences(*({name: side.version_of(name) for name in fixed} for side in self.parts))

    # -- variables and code -------------------------------------------------------------------------------------------

    @property
    def _variables(self) -> list[str]:
        return sorted(self.old.variables.keys() | self.new.variables.keys())

    def _values(self, name: str) -> tuple[str | None, str | None]:
        """The values on the old and the new side; None if a side has none."""
        today = os.environ.get(name)
        return self.old.variables.get(name, today), self.new.variables.get(name, today)

    @property
    def _code_differs(self) -> bool:
        now = code(self.root)
        return self.accepted is not None and now is not None and now.entries != self.accepted.project.entries

    def _code_names(self) -> tuple[str, str]:
        assert self.accepted is not None
        names = (self.accepted.commit[:10], WORKING_TREE)
        return names if self.accepted.is_old else names[::-1]  # type: ignore[return-value]

    def _code(self, *, is_new: bool) -> tuple[Path | None, tuple[Path, ...], Path | None]:
        """The fastdiff, the import folders and the project of a side's code, for a worker in the old side's
        environment. Today's code is not installed there if the old side is the accepted run's."""
        if self.accepted is None:
            return None, (), None
        if self.accepted.is_old is not is_new:
            side = self.new if is_new else self.old
            return side.source, side.paths, side.project
        return None, import_folders(self.accepted.software, self.root) if self.accepted.is_old else (), None

    # -- candidates ---------------------------------------------------------------------------------------------------

    def environment(self, candidate: Candidate) -> Environment:
        if candidate.level == "whole":
            return self.new
        if candidate.level == "commits":
            return self._of_commit(candidate.commit)
        if candidate.level == "releases":
            needed = self._belonging(candidate.release.partition("==")[0])
            options = self._options(candidate.release)
            python, seen = changed(self.parts[0], [candidate.release, *needed], options, home(), self._say)
        else:
            python, seen = self._mixed(candidate.taken)
        variables = {name: self._values(name)[name in candidate.taken] for name in self._variables}
        code = self._code(is_new=CODE in candidate.taken)
        return self._environment(candidate.text, python, seen, variables, *code)

    def _mixed(self, taken: frozenset[str]) -> tuple[Path, dict[str, str]]:
        old, new = self.parts
        members = [one for one in self.difference.members if one.name in taken and one.kind in ("package", "file")]
        if not members:
            return self.old.python, {name: part.version for name, part in old.packages.items()}
        names = sorted(name for one in members for name in (one.name, *one.besides))
        return mixed(old, new, names, home(), self._say)

    def _environment(
        self,
        name: str,
        python: Path,
        seen: Mapping[str, str],
        variables: Mapping[str, str | None],
        source: Path | None,
        paths: tuple[Path, ...],
        project: Path | None,
    ) -> Environment:
        key = digest(python, others(seen), sorted(variables.items()), str(source), list(map(str, paths)))
        changes = {one: value for one, value in variables.items() if value != os.environ.get(one)}
        words = (str(python), *(f"{one}={value}" for one, value in changes.items()))
        if source or paths or project or None in changes.values():
            words = ()
        return Environment(name, python, variables, key, words, source, paths, project)

    def _of_commit(self, commit: str) -> Environment:
        assert self.accepted is not None
        software, project = self.accepted.software, self.accepted.project
        seen = {name: part.version for name, part in self.parts[0].packages.items()}
        try:
            whole = git(self.root, "rev-parse", commit).strip()
            project = replace(project, entries=entries_of(self._top, self._folder, whole))
            code = code_at(software, project, self.root, whole)
        except (OSError, subprocess.SubprocessError) as error:
            raise UserError("environment", f"the code of {commit} cannot be checked out: {error}") from None
        key = digest(self.old.python, others(seen))
        folder = checked_out(code, home(), self._say, self.old.python, key)
        source, paths = code_in(software, folder, self.old.python, PROTOCOL)
        if self.old.source and source is None:
            raise UserError("environment", f"the fastdiff of {commit} speaks another protocol of workers")
        return self._environment(commit, self.old.python, seen, dict(self.old.variables), source, paths, folder)

    @property
    def _top(self) -> Path:
        return top_of(self.root)

    @property
    def _folder(self) -> str:
        return git(self.root, "rev-parse", "--show-prefix").strip()

    # -- releases and commits -----------------------------------------------------------------------------------------

    def releases(self, member: Member) -> Sequence[str]:
        if self.parts[0].version_of(member.name) == self.parts[1].version_of(member.name):
            return []  # they are two builds of one release
        offered = releases(member.name, Path(sys.executable), self._options(f"{member.name}=={member.new}"))
        return candidates(offered, member.old, member.new, member.name)

    def _options(self, release: str) -> list[str]:
        """Builds such as 2.13.0+cpu are only on torch's own index."""
        build = release.partition("+")[2]
        own = [f"--extra-index-url={TORCH_INDEX}{build}"] if BUILD.fullmatch(build) and not self._pip else []
        return [*self._pip, *own]

    def _belonging(self, package: str) -> list[str]:
        """Packages of the old side that require one specific release of this package, such as torchvision."""
        old = self.parts[0].packages
        groups = releases_of(old, {}, list(old))
        (group,) = [one for one in groups if package in one]
        return sorted(one for one in group if any(need.name == package for need in old[one].requires))

    def commits(self) -> Sequence[str]:
        if self.accepted is None or not self.accepted.is_old:
            return []
        top, ours = self._top, [f":(top,exclude){self._folder}{name}" for name in OURS]
        asked = ("log", "--first-parent", "--reverse", "--format=%h %s", f"{self.accepted.commit}..HEAD")
        try:
            found = git(top, *asked, "--", ":(top)", *ours).splitlines()
        except (OSError, subprocess.SubprocessError) as error:
            raise UserError("bisect", f"git lists no commits since {self.accepted.commit[:10]}: {error}") from None
        now = code(self.root)
        return [*found, WORKING_TREE] if now and now.dirty else found
