"""What an interpreter sees: its version and its distributions, asked of itself; and what fastdiff needs of them."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shlex
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from fastdiff.record.distribution import DISTRIBUTION
from fastdiff.record.errors import UserError
from fastdiff.sides.spec import masked

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

PACKAGE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
PATIENCE_S = 60.0
"""An interpreter lists its packages in a fraction of a second, but for the first time on a network disk it may not."""
INDEX_PATIENCE_S = 300.0
"""pip tries an index that does not answer several times, 15 seconds each."""
LAST_WORDS = 500
"""Characters of a failed program's output that are worth showing."""
LISTING = """
import importlib.metadata, json, os, platform, re, sys
found = {}
for one in importlib.metadata.distributions():
    try:
        name, version = one.metadata["Name"], one.version
    except FileNotFoundError:  # what an interrupted pip leaves behind
        continue
    if name and version:
        found.setdefault(re.sub("[-_.]+", "-", name).lower(), version)  # the first is the one that is imported
folders = [path for path in sys.path if path.endswith(("site-packages", "dist-packages")) and os.path.isdir(path)]
build = [*platform.python_build(), platform.python_compiler()]
print(json.dumps({"python": platform.python_version(), "build": build, "packages": found, "folders": folders}))
"""


def packages(python: Path, variables: Mapping[str, str]) -> dict[str, str]:
    """The version of every package that an interpreter sees, by normalised name.

    One that cannot say it is a UserError.
    """
    return asked(python, variables)[1]


def asked(python: Path, variables: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """The interpreter's own version, and its packages."""
    answer = _listing(python, variables)
    return answer["python"], answer["packages"]


def folders(python: Path) -> tuple[str, str, tuple[Path, ...]]:
    """The interpreter's own version and build, and the folders in which its packages lie, in their order."""
    answer = _listing(python, {})
    return answer["python"], " ".join(answer["build"]), tuple(map(Path, answer["folders"]))


def _listing(python: Path, variables: Mapping[str, str]) -> dict[str, Any]:
    done = _ended([str(python), "-c", LISTING], str(python), PATIENCE_S, apart() | dict(variables))
    try:
        answer = json.loads(done.stdout.strip().splitlines()[-1])  # before it stands what others print at the start
        return {name: answer[name] for name in ("python", "build", "packages", "folders")}
    except (IndexError, KeyError, TypeError, ValueError):
        raise UserError(
            "environment",
            f"{python} does not answer as a Python interpreter does; name one that starts. "
            f"It ended with: {last_words(done.stdout + done.stderr) or f'exit status {done.returncode}'}",
        ) from None


def needs() -> list[Requirement]:
    """What fastdiff needs here, under normalised names, without the extras."""
    try:
        written = importlib.metadata.requires(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        raise UserError(
            "environment",
            "fastdiff is not installed here, so its requirements are unknown; do: pip install -e . (where it lies).",
        ) from None
    found = [Requirement(text) for text in written]
    found = [need for need in found if need.marker is None or need.marker.evaluate({"extra": ""})]
    for need in found:
        need.name, need.marker = canonicalize_name(need.name), None
    return found


def releases(package: str, python: Path, options: Sequence[str] = ()) -> list[str]:
    """Every release that pip's index offers this interpreter, oldest first; without one, a UserError says why."""
    if not PACKAGE.fullmatch(package):
        raise UserError("environment", f"{package!r} is no name of a package; give one such as torch.")
    command = [str(python), "-m", "pip", "index", "versions", "--pre", *options, package]
    done = _ended(command, f"pip of {python}", INDEX_PATIENCE_S, apart())
    found = re.search(r"^Available versions: (.+)$", done.stdout, re.MULTILINE)
    if found:
        return [str(one) for one in sorted(_versions(found[1].split(",")))]
    if "Retrying" in done.stderr:
        why = "pip reached no index; look at the network, or name an index that can be reached (--index-url=URL)"
    elif "No matching distribution" in done.stderr:
        why = (
            f"pip's index has no release of {package!r} for {python}; look at the name, or name another --index-url=URL"
        )
    else:
        why = (
            f"pip of {python} lists no releases of {package!r}; it needs a pip of 21.2 or newer "
            f"({python} -m ensurepip --upgrade)"
        )
    raise UserError("environment", f"{why}. It ended with: {last_words(done.stdout + done.stderr)}")


def apart() -> dict[str, str]:
    """The variables for what must not see this process's own path, nor the folder in which it happens to run."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"PYTHONSAFEPATH": "1"}


def last_words(output: str) -> str:
    useful = [line for line in output.splitlines() if line.strip() and not line.startswith(("WARNING:", "[notice]"))]
    return "\n".join(useful)[-LAST_WORDS:].strip()


def _versions(texts: Iterable[str]) -> list[Version]:
    found = []
    for text in texts:
        with suppress(InvalidVersion):  # from before there were rules; no installer of today takes those
            found.append(Version(text.strip()))
    return found


def _ended(
    command: Sequence[str], who: str, patience_s: float, variables: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command,
            env=variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=patience_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise UserError(
            "environment",
            f"{who} did not answer within {patience_s:.0f} s; see whether it does by hand: "
            f"{masked(shlex.join(command))}",
        ) from None
    except OSError as error:
        raise UserError(
            "environment", f"{who} cannot be started ({error.strerror}); name an interpreter that can."
        ) from None
