"""Which software runs here: every distribution with where it came from, and the project's code."""

from __future__ import annotations

import hashlib
import importlib.machinery
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit, urlunsplit

from packaging.utils import canonicalize_name

from fastdiff.record.bounds import NAME
from fastdiff.record.errors import UserError
from fastdiff.record.reading import convert
from fastdiff.record.software import Distribution, Project, Software

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

GIT_PATIENCE_S = 30
"""Files that are not in git are hashed once; a repository on a slow disk must not hold up a session for much longer."""
LARGE_BYTES = 20 * 1024**2
OURS = ("baselines", "runs", ".fastdiff")
"""In a project's folder, what fastdiff itself writes: no part of the code under test."""
COMPILED = ":(glob)**/__pycache__/**"
"""What Python compiles beside the sources, as git names it."""


def software(project: Path) -> Software:
    """`project`: the folder in which the code under test lies."""
    return Software(platform.python_version(), distributions(project), code(project))


def distributions(project: Path) -> tuple[Distribution, ...]:
    found = []
    for name, one in installed().items():
        described = _described(name, one.version, one.read_text("direct_url.json"), project)
        found.append(_readable(replace(described, files=contents(one.read_text("RECORD")))))
    return tuple(found)


def installed(folders: Sequence[Path] = ()) -> dict[str, importlib.metadata.Distribution]:
    """By normalised name, in their order; of two of one name the first on the path, which is the one that is
    imported. `folders`: of another interpreter."""
    found: dict[str, importlib.metadata.Distribution] = {}
    every = importlib.metadata.distributions
    for one in every(path=[str(folder) for folder in folders]) if folders else every():
        try:
            name, version = one.metadata["Name"], one.version
        except (FileNotFoundError, KeyError):  # what an interrupted removal leaves behind
            continue
        if name and version and NAME.fullmatch(canonicalize_name(name)):
            found.setdefault(canonicalize_name(name), one)
    return dict(sorted(found.items()))


def contents(record: str | None) -> str:
    """A hash of what an installer has written down; scripts hold the path of the environment, and differ."""
    lines = [line for line in (record or "").splitlines() if ",sha256=" in line and not line.startswith("..")]
    found = sorted(line for line in lines if ".dist-info/" not in line)
    return hashlib.sha256("\n".join(found).encode("utf-8", "replace")).hexdigest()[:12] if found else ""


def _readable(found: Distribution) -> Distribution:
    """What a run file could not hold is nothing that can be installed again."""
    try:
        return convert(asdict(found), Distribution, found.name)
    except UserError:
        return Distribution(found.name, "0", local=True)


def _described(name: str, version: str, direct_url: str | None, project: Path) -> Distribution:
    """`direct_url` is what installers write where a place was named (PEP 610)."""
    try:
        written = json.loads(direct_url) if direct_url else {}
        url = written.get("url", "")
        editable = bool(written.get("dir_info", {}).get("editable"))
        vcs, commit = (written.get("vcs_info", {}).get(key, "") for key in ("vcs", "commit_id"))
        below = f"#subdirectory={part}" if (part := written.get("subdirectory", "")) else ""
        bare = without_credentials(url)
        signed = bool(urlsplit(url).query)
    except (ValueError, AttributeError):
        return Distribution(name, version, local=True)
    if not url:
        return Distribution(name, version)
    if vcs and commit:
        return Distribution(name, version, source=f"{vcs}+{bare}@{commit}{below}", local=signed)
    if url.startswith("file:"):
        folder = Path(unquote(urlsplit(url).path))
        inside = Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(project))
        if editable and inside:
            place = os.path.relpath(os.path.realpath(folder), os.path.realpath(project))
            return Distribution(name, version, editable=place)
        # A wheel of a local folder may be on an index as well; what else lies here is nowhere else.
        return Distribution(name, version, local=folder.suffix != ".whl")
    return Distribution(name, version, source=bare, local=signed)


def without_credentials(url: str) -> str:
    """The user of ssh stays: `git@host` is no secret, and the host knows no other. A query may be a signature."""
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    kept = f"{user.partition(':')[0]}{at}{host}" if parts.scheme.endswith("ssh") else host
    return urlunsplit(parts._replace(netloc=kept, query=""))


def code(project: Path) -> Project | None:
    """Of the files as they lie there, changed or new; None outside of a git repository, and where git refuses."""
    try:
        top = top_of(project)
        folder = git(project, "rev-parse", "--show-prefix").strip()
        commit = _head(top)
        large = _large(top, folder)
        entries = entries_of(top, folder, without=large) | large | _changed_submodules(top)
        dirty = not commit or entries != entries_of(top, folder, commit)
        return Project(commit, dirty, folder, entries, _built(top))
    except (OSError, subprocess.SubprocessError):
        return None


def _head(top: Path) -> str:
    """Empty in a repository without a commit."""
    with suppress(subprocess.CalledProcessError):
        return git(top, "rev-parse", "--verify", "--quiet", "HEAD").strip()
    return ""


def top_of(folder: Path) -> Path:
    """Of the repository that the folder lies in."""
    return Path(git(folder, "rev-parse", "--show-toplevel").strip())


def entries_of(top: Path, folder: str, commit: str = "", *, without: Collection[str] = ()) -> dict[str, str]:
    """Git's hash of everything at the top of a commit, or without one of the files as they lie there; but for what
    fastdiff writes into the project's `folder`, and what Python compiles.

    Git works with an index and a folder for objects of its own: the repository is only read.
    """
    index = top / git(top, "rev-parse", "--git-path", "index").strip()
    objects = (top / git(top, "rev-parse", "--git-path", "objects").strip()).absolute()
    with tempfile.TemporaryDirectory() as own:
        apart = {
            "GIT_INDEX_FILE": f"{own}/index",
            "GIT_OBJECT_DIRECTORY": own,
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": str(objects),
        }
        if commit:
            git(top, "read-tree", commit, variables=apart)
        else:
            with suppress(OSError):  # with what git knows of files that did not change, it need not read them
                shutil.copyfile(index, f"{own}/index")
            git(top, "add", "--all", "--", ".", *(f":(exclude,literal){name}" for name in without), variables=apart)
        ours = [f":(literal){folder}{name}" for name in OURS]
        unwanted = [*ours, COMPILED]
        git(top, "rm", "-r", "-q", "-f", "--cached", "--ignore-unmatch", "--", *unwanted, variables=apart)
        tree = git(top, "write-tree", variables=apart).strip()
        lines = git(top, "ls-tree", "-z", tree, variables=apart).split("\0")
    parts = [line.partition("\t") for line in lines if line]
    return {name: about.split()[2] for about, _, name in parts}


def _large(top: Path, folder: str) -> dict[str, str]:
    """Files that are not in git and would take long to hash, weights for instance: their size and time instead."""
    names = git(top, "ls-files", "--others", "--exclude-standard", "-z").split("\0")
    found = {}
    for name in filter(None, names):
        with suppress(OSError):
            status = (top / name).lstat()
            inside = name.removeprefix(folder).partition("/")[0]
            if status.st_size > LARGE_BYTES and inside not in OURS:
                found[name] = f"{status.st_size} bytes of {status.st_mtime_ns}"
    return found


def submodules(top: Path, commit: str = "") -> dict[str, str]:
    """The commit of each submodule by its folder: those of a commit, or without one those that are checked out."""
    listed = git(top, "ls-tree", "-r", "-z", commit) if commit else git(top, "ls-files", "--stage", "-z")
    parts = [line.partition("\t") for line in listed.split("\0") if line.startswith("160000 ")]
    return {name: next(word for word in about.split()[1:] if word != "commit") for about, _, name in parts}


def _changed_submodules(top: Path) -> dict[str, str]:
    """Those with files that differ from their own commit, which is all that the project's git knows of them."""
    found = {}
    for name in submodules(top):
        if (top / name / ".git").exists():
            with suppress(subprocess.SubprocessError):  # one without a commit
                now = entries_of(top / name, "")
                if now != entries_of(top / name, "", "HEAD"):
                    found[f"{name}/"] = hashlib.sha256(json.dumps(sorted(now.items())).encode()).hexdigest()
    return found


def _built(top: Path) -> dict[str, str]:
    """What Python here can load, and what lies beside files of the project: an environment in it has none of them."""
    names = git(top, "ls-files", "--others", "--ignored", "--exclude-standard", "-z", "--", "*.so").split("\0")
    paths = [PurePosixPath(name) for name in names if _is_loaded(name)]
    if not paths:
        return {}
    sources = {PurePosixPath(name).parent for name in git(top, "ls-files", "-z").split("\0") if name}
    found = {}
    for path in paths:
        with suppress(OSError):
            if path.parent in sources:
                with (top / path).open("rb") as file:
                    found[str(path)] = hashlib.file_digest(file, "sha256").hexdigest()[:16]
    return found


def _is_loaded(name: str) -> bool:
    """Not one that another version of Python left behind."""
    last = PurePosixPath(name).name
    ends = [one for one in importlib.machinery.EXTENSION_SUFFIXES if last.endswith(one)]
    return any("." not in last.removesuffix(one) for one in ends)


def git(folder: Path, *words: str, variables: dict[str, str] | None = None, patience_s: float = GIT_PATIENCE_S) -> str:
    done = subprocess.run(
        ["git", "--no-optional-locks", *words],
        cwd=folder,
        env={**os.environ, **(variables or {})},
        capture_output=True,
        text=True,
        errors="replace",
        timeout=patience_s,
        check=True,
    )
    return done.stdout
