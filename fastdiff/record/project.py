"""The project's own settings: the tables `[tool.fastdiff.NAME]` of its pyproject.toml, as they are written there."""

from __future__ import annotations

import os
import tomllib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from packaging.utils import canonicalize_name

from fastdiff.record.errors import UserError, unknown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KNOWN = ("models", "stages", "policy")
PREPARE = "prepare"
FILE = "pyproject.toml"
CACHE_VARIABLE = "TORCHINDUCTOR_CACHE_DIR"
"""Where inductor keeps compiled code."""
OURS = ".fastdiff"
"""The folder in the project that holds what fastdiff makes and can make again."""
COMPILE_CACHE = f"{OURS}/compile-cache"
"""Inside the project, where neither an option nor the variable names another folder."""


def cache_folder(project: Path, named: str | Path | None = None) -> Path:
    """Where code is kept that is compiled here: an option wins over the variable, and that one over the default."""
    return (project / (named or os.environ.get(CACHE_VARIABLE) or COMPILE_CACHE)).resolve()


@contextmanager
def compile_cache(folder: Path) -> Iterator[None]:
    """Inductor reads its folder from the environment, and writes its own choice there if it finds none."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            "file",
            f"the folder for compiled code (--fastdiff-cache, or {CACHE_VARIABLE}), {folder}, cannot be made "
            f"({error.strerror}); name another folder.",
        ) from None
    before = os.environ.get(CACHE_VARIABLE)
    os.environ[CACHE_VARIABLE] = str(folder)
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(CACHE_VARIABLE, None)
        else:
            os.environ[CACHE_VARIABLE] = before


def require_folder(root: Path) -> None:
    """A project without runs is no mistake; a mistyped folder is no project."""
    if not root.is_dir():
        raise UserError(
            "file", f"there is no folder {root}; give the project's, or go there and leave it out: --root FOLDER"
        )


def tables(project: Path) -> dict[str, dict[str, Any]]:
    """Every known table; empty where the file or the table is missing."""
    found: dict[str, dict[str, Any]] = {name: {} for name in KNOWN}
    file = project / FILE
    if not file.is_file():
        return found
    ours = _ours(_whole(file))
    _prepare(ours)
    for name, table in ours.items():
        if name == PREPARE:
            continue
        if name not in found:
            raise UserError("recipe", f"{FILE}: [tool.fastdiff] {unknown('key', name, [*found, PREPARE])}")
        if not isinstance(table, dict):
            raise UserError("recipe", f"{FILE}: [tool.fastdiff.{name}] must be a table of tables.")
        found[name] = table
    return found


def distribution(project: Path) -> str:
    """Name of the project's own distribution, normalised; empty where it is none."""
    file = project / FILE
    table = _whole(file).get("project", {}) if file.is_file() else {}
    found = table.get("name") if isinstance(table, dict) else None
    return canonicalize_name(found) if isinstance(found, str) else ""


def prepare(text: str) -> str:
    """The shell command that builds the project's extensions, as this text of a pyproject.toml names it; or nothing."""
    return _prepare(_ours(_parsed(text)))


def _prepare(ours: dict[str, Any]) -> str:
    command = ours.get(PREPARE, "")
    if not isinstance(command, str) or (PREPARE in ours and not command.strip()):
        raise UserError(
            "recipe",
            f"{FILE}: [tool.fastdiff] {PREPARE} must be a shell command, such as "
            '"python setup.py build_ext --inplace".',
        )
    return command


def _ours(whole: Any) -> dict[str, Any]:
    for name in ("tool", "fastdiff"):
        whole = whole.get(name, {})
        if not isinstance(whole, dict):
            where = "[tool]" if name == "tool" else "[tool.fastdiff]"
            raise UserError("recipe", f"{FILE}: {where} must be a table.")
    return whole


def _whole(file: Path) -> dict[str, Any]:
    try:
        return _parsed(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError("file", f"{FILE} cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError:
        raise UserError("file", f"{FILE} is not UTF-8 text, which TOML has to be; save it as UTF-8.") from None


def _parsed(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also for a number of more digits than Python reads
        raise UserError("recipe", f"{FILE}: this is no TOML: {error}.") from None
