"""The house: which room may look into which."""

from __future__ import annotations

import ast
from pathlib import Path

import fastdiff

HOUSE = Path(fastdiff.__file__).parent
BELOW = {
    "host": set(),
    "recipes": set(),
    "models": {"host", "recipes"},
    "quality": {"host", "recipes"},
    "optimize": {"host", "recipes", "models"},
    "record": {"host", "recipes", "judge"},
    "judge": {"host", "recipes", "record"},
    "measure": {"host", "recipes", "models", "quality", "optimize", "record"},
}
"""What a room may import from. A run is judged for its noise when it is accepted, so two of them share a floor; all the
others stand above these."""


def imported(file: Path) -> set[str]:
    """The rooms that a file imports from, wherever in it, also for its annotations alone."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        found |= {name.split(".")[1] for name in names if name.startswith("fastdiff.")}
    return found


def test_imports_point_one_way() -> None:
    looked_at = 0
    for room, below in BELOW.items():
        files = [HOUSE / f"{room}.py"] if (HOUSE / f"{room}.py").exists() else sorted((HOUSE / room).rglob("*.py"))
        for file in files:
            above = imported(file) - {room} - below
            assert not above, f"{file.relative_to(HOUSE)} imports from {', '.join(sorted(above))}"
            looked_at += 1
    assert looked_at > 40


def test_the_package_needs_nothing_of_the_tools() -> None:
    """They are not installed."""
    for file in sorted(HOUSE.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not [name for name in names if name.partition(".")[0] == "tools"], file
