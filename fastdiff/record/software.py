"""What software a run's processes ran, as far as it can be made again: kept with the run, and rebuilt from an accepted
one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from msgspec import Meta

from fastdiff.record.bounds import Name  # noqa: TC001  (msgspec reads it)
from fastdiff.record.distribution import OURS

ONE_LINE = r"^(?![\s\S]*\n)"
"""A baseline comes with a pull request, and what stands in these fields reaches uv and git."""
Version = Annotated[str, Meta(pattern=rf"{ONE_LINE}[A-Za-z0-9][A-Za-z0-9.!+_-]{{0,99}}$")]
Source = Annotated[str, Meta(pattern=rf"{ONE_LINE}([a-z]+\+)?[a-z]+://[^\s;]{{1,500}}$|^$")]
Inside = Annotated[str, Meta(pattern=rf"{ONE_LINE}(?!/)(?!.*\.\.)[^\\]{{0,200}}$")]
"""A folder in the project."""
Commit = Annotated[str, Meta(pattern=rf"{ONE_LINE}([0-9a-f]{{40,64}})?$")]


@dataclass(frozen=True)
class Distribution:
    """One that is installed."""

    name: Name
    """Normalised."""
    version: Version
    """With its local part: 2.13.0+cpu is another build than 2.13.0."""
    source: Source = ""
    """Where it came from, if not from an index by its version: `git+https://...@COMMIT` or a URL, without
    credentials."""
    editable: Inside = ""
    """The folder in the project from which it is imported, `.` for the project itself."""
    files: str = ""
    """A hash of its files: a build of one's own may have the version of another one."""
    local: bool = False
    """Whether it came from a place of this machine alone, or from outside of any installer."""


@dataclass(frozen=True)
class Project:
    """The code under test, as git knows it."""

    commit: Commit
    """Empty where the repository had none."""
    dirty: bool
    """Whether files differed from the commit, or were not in it."""
    folder: Inside = ""
    """Where the project lies in the repository, `tools/bench/` for instance; empty at its top."""
    entries: dict[str, str] = field(default_factory=dict)
    """Git's hash of every file and folder at the top, as they were: changed files and those that are not in git, too.
    A commit that has the same is the same code."""
    built: dict[str, str] = field(default_factory=dict)
    """Extension modules beside the sources that git ignores, with a hash of each: no commit has them."""


@dataclass(frozen=True)
class Software:
    python: Version
    distributions: tuple[Distribution, ...] = ()
    project: Project | None = None
    """None outside of a git repository."""

    @property
    def versions(self) -> dict[str, str]:
        return {one.name: f"{one.version} {one.source}".strip() for one in self.distributions}

    @property
    def fastdiff(self) -> Distribution | None:
        """None where a process ran a fastdiff that is not installed."""
        return next((one for one in self.distributions if one.name in OURS), None)
