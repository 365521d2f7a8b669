"""uv, which makes environments in a second: started with the places and credentials of today's pip."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
from functools import lru_cache
from typing import TYPE_CHECKING

from fastdiff.record.errors import UserError
from fastdiff.sides import bounded
from fastdiff.sides.installed import apart, last_words
from fastdiff.sides.spec import masked

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

FROM_PIP = {
    "index-url": ("UV_DEFAULT_INDEX", " "),
    "extra-index-url": ("UV_INDEX", " "),
    "find-links": ("UV_FIND_LINKS", ","),
    "trusted-host": ("UV_INSECURE_HOST", " "),
    "cert": ("SSL_CERT_FILE", " "),
    "client-cert": ("SSL_CLIENT_CERT", " "),
    "keyring-provider": ("UV_KEYRING_PROVIDER", " "),
}
"""Settings of pip, the variable that means the same to uv, and what stands between several values."""
SECTIONS = (":env:.", "install.", "global.")
"""Of pip's settings, the one that wins first."""
WORTH_SHOWING = ("Downloading ", "Building ", "Updating ", "Compiling ")
PIP_PATIENCE_S = 30.0
SAME_OPTION = {
    "--pre": ("--prerelease", "allow"),
    "--index-url": ("--default-index",),
    "--extra-index-url": ("--index",),
}
"""Options that a person writes as pip spells them."""


def make(folder: Path, python: str, trouble: str, say: Callable[[str], None]) -> None:
    """An empty environment for `python`: an interpreter, or a version that uv finds or downloads."""
    _run(["venv", "--no-config", "--python", python, str(folder)], trouble, say)


def install(
    python: Path,
    what: Sequence[str],
    trouble: str,
    say: Callable[[str], None],
    *,
    options: Sequence[str] = (),
    cwd: Path | None = None,
    compiled: bool = False,
) -> None:
    """Installs into the environment of `python`. `compiled`: all of its modules to bytecode, which saves every start of
    a process some seconds and takes 20 once."""
    how = ["--compile-bytecode"] if compiled else []
    if _says("no-index") and "--no-index" not in options:  # for which uv has no variable
        how.append("--no-index")
    _run(["pip", "install", "--python", str(python), *how, *translated(options), *what], trouble, say, cwd)


def conflicts(python: Path) -> list[str]:
    """What the installed packages say about each other, one sentence each."""
    done = subprocess.run(
        [_binary(), "pip", "check", "--python", str(python)],
        env=variables(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    return [line.strip() for line in done.stderr.splitlines() if line.startswith("The package ")]


def translated(options: Sequence[str]) -> list[str]:
    """Options that are spelled as pip spells them."""
    found: list[str] = []
    for option in options:
        name, _, value = option.partition("=")
        found += [*SAME_OPTION.get(name, (name,)), *([value] if value else [])]
    return found


def variables() -> dict[str, str]:
    """Those of uv. Its own settings win over what pip's say."""
    found = {"UV_INDEX_STRATEGY": "unsafe-best-match"}  # as pip: the best version of all places
    for name, (variable, between) in FROM_PIP.items():
        values = _of_pip().get(name, "").split()
        if values:
            found[variable] = between.join(values)
    if _says("pre"):
        found["UV_PRERELEASE"] = "allow"
    return found | apart()


def _says(switch: str) -> bool:
    """Whether it is on in pip's settings."""
    return _of_pip().get(switch, "").lower() in ("1", "true", "yes", "on")


def _binary() -> str:
    try:
        from uv import find_uv_bin

        return find_uv_bin()
    except (ImportError, FileNotFoundError):
        raise UserError("environment", "uv, which makes environments, is not installed; do: pip install uv") from None


@lru_cache(maxsize=1)
def _of_pip() -> Mapping[str, str]:
    """pip's settings, from its files and variables; empty where there is no pip."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    try:
        done = subprocess.run(
            command,
            env=apart(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PIP_PATIENCE_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return {}
    written = dict(re.findall(r"^([^=\s]+)=('.*'|\".*\")$", done.stdout, re.MULTILINE))
    found: dict[str, str] = {}
    for section in reversed(SECTIONS):
        for name, value in written.items():
            if name.startswith(section):
                found[name.removeprefix(section)] = ast.literal_eval(value)
    return found


def _run(arguments: Sequence[str], trouble: str, say: Callable[[str], None], cwd: Path | None = None) -> None:
    """What takes long is shown while it happens; an error ends with the last lines of the output."""

    def seen(line: str) -> None:
        if line.strip().startswith(WORTH_SHOWING):
            say(f"  {line.strip()}")

    command = [_binary(), *arguments, "--color=never"]
    ended = bounded.run(command, variables() | {"UV_NO_PROGRESS": "1"}, cwd, seen)
    if ended.status is None:
        raise UserError(
            "environment",
            f"{trouble}: uv did not end within {bounded.LIMIT_S / 60:.0f} minutes; look at the network and the disk, "
            f"or see what it does by hand: {masked(shlex.join(command))}",
        )
    if ended.status:
        raise UserError("environment", f"{trouble}. It ended with: {last_words(ended.output) or ended.status_text}")
