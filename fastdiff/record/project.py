"""The project's own settings: the tables `[tool.fastdiff.NAME]` of its pyproject.toml, as they are written there."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any

from packaging.utils import canonicalize_name

from fastdiff.record.errors import UserError, unknown

if TYPE_CHECKING:
    from pathlib import Path

KNOWN = ("models", "stages", "policy")
FILE = "pyproject.toml"
CACHE_VARIABLE = "TORCHINDUCTOR_CACHE_DIR"
"""Where inductor keeps compiled code."""
OURS = ".fastdiff"
"""The folder in the project that holds what fastdiff makes and can make again."""
COMPILE_CACHE = f"{OURS}/compile-cache"
"""Inside the project, where neither an option nor the variable names another folder."""


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
    for name, table in _ours(file).items():
        if name not in found:
            raise UserError("recipe", f"{FILE}: [tool.fastdiff] {unknown('key', name, found)}")
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


def _ours(file: Path) -> dict[str, Any]:
    whole: Any = _whole(file)
    for name in ("tool", "fastdiff"):
        whole = whole.get(name, {})
        if not isinstance(whole, dict):
            where = "[tool]" if name == "tool" else "[tool.fastdiff]"
            raise UserError("recipe", f"{FILE}: {where} must be a table.")
    return whole


def _whole(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError("file", f"{FILE} cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError:
        raise UserError("file", f"{FILE} is not UTF-8 text, which TOML has to be; save it as UTF-8.") from None
    except (ValueError, RecursionError) as error:  # also for a number of more digits than Python reads
        raise UserError("recipe", f"{FILE}: this is no TOML: {error}.") from None
