"""Which software runs here: every distribution with where it came from, and the project's code."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
import shutil
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from fastdiff.record.bounds import NAME
from fastdiff.record.errors import UserError
from fastdiff.record.reading import convert
from fastdiff.record.software import Distribution, Project, Software

GIT_PATIENCE_S = 30
"""Files that are not in git are hashed once; a repository on a slow disk must not hold up a session for much longer."""
LARGE_BYTES = 20 * 1024**2
OURS = ("baselines", "runs", ".fastdiff")
"""At the top of a project, what fastdiff itself writes: no part of the code under test."""


def software(project: Path) -> Software:
    """`project`: the folder in which the code under test lies."""
    return Software(platform.python_version(), distributions(project), code(project))


def distributions(project: Path) -> tuple[Distribution, ...]:
    """In the order of their names; of two of one name the first on the path, which is the one that is imported."""
    found: dict[str, Distribution] = {}
    for one in importlib.metadata.distributions():
        try:
            name, version = one.metadata["Name"], one.version
        except (FileNotFoundError, KeyError):  # what an interrupted removal leaves behind
            continue
        if name and version:
            plain = re.sub(r"[-_.]+", "-", name).lower()
            if plain not in found and NAME.fullmatch(plain):
                found[plain] = _readable(_described(plain, version, one.read_text("direct_url.json"), project))
    return tuple(found[name] for name in sorted(found))


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
    except (ValueError, AttributeError):
        return Distribution(name, version, local=True)
    if not url:
        return Distribution(name, version)
    if vcs and commit:
        return Distribution(name, version, source=f"{vcs}+{without_credentials(url)}@{commit}{below}")
    if url.startswith("file:"):
        folder = Path(unquote(urlsplit(url).path))
        inside = Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(project))
        if editable and inside:
            place = os.path.relpath(os.path.realpath(folder), os.path.realpath(project))
            return Distribution(name, version, editable=place)
        # A wheel of a local folder may be on an index as well; what else lies here is nowhere else.
        return Distribution(name, version, local=folder.suffix != ".whl")
    return Distribution(name, version, source=without_credentials(url))


def without_credentials(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def code(project: Path) -> Project | None:
    """Of the files as they lie there, changed or new; None outside of a git repository.

    Git hashes them with an index and a folder for objects of its own: the repository is only read.
    """
    try:
        top = Path(git(project, "rev-parse", "--show-toplevel").strip())
        commit = git(top, "rev-parse", "HEAD").strip()
        index = Path(git(top, "rev-parse", "--git-path", "index").strip())
        objects = (top / git(top, "rev-parse", "--git-path", "objects").strip()).absolute()
        with tempfile.TemporaryDirectory() as folder:
            apart = {
                "GIT_INDEX_FILE": f"{folder}/index",
                "GIT_OBJECT_DIRECTORY": folder,
                "GIT_ALTERNATE_OBJECT_DIRECTORIES": str(objects),
            }
            with suppress(OSError):  # with what git knows of files that did not change, it need not read them
                shutil.copyfile(top / index, f"{folder}/index")
            large = _large(top)
            git(top, "add", "--all", "--", ".", *(f":(exclude,literal){name}" for name in large), variables=apart)
            tree = git(top, "write-tree", variables=apart).strip()
            entries = entries_of(top, tree, variables=apart) | large
        return Project(commit, entries != entries_of(top, commit), entries)
    except (OSError, subprocess.SubprocessError):
        return None


def _large(top: Path) -> dict[str, str]:
    """Files that are not in git and would take long to hash, weights for instance: their size and time instead."""
    names = git(top, "ls-files", "--others", "--exclude-standard", "-z").split("\0")
    found = {}
    for name in filter(None, names):
        with suppress(OSError):
            status = (top / name).lstat()
            if status.st_size > LARGE_BYTES and name.partition("/")[0] not in OURS:
                found[name] = f"{status.st_size} bytes of {status.st_mtime_ns}"
    return found


def entries_of(top: Path, tree: str, variables: dict[str, str] | None = None) -> dict[str, str]:
    """Git's hash of everything at the top of a tree or commit, but for what fastdiff writes."""
    lines = git(top, "ls-tree", "-z", tree, variables=variables).split("\0")
    found = {}
    for line in filter(None, lines):
        about, _, name = line.partition("\t")
        if name not in OURS:
            found[name] = about.split()[2]
    return found


def git(folder: Path, *words: str, variables: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        ["git", "--no-optional-locks", *words],
        cwd=folder,
        env={**os.environ, **(variables or {})},
        capture_output=True,
        text=True,
        errors="replace",
        timeout=GIT_PATIENCE_S,
        check=True,
    )
    return done.stdout
