"""The house: which room may look into which."""

from __future__ import annotations

import ast
from pathlib import Path

import fastdiff

HOUSE = Path(fastdiff.__file__).parent
EVERYTHING = {entry.parent.name for entry in HOUSE.glob("*/__init__.py")}
BELOW = {
    "record": set(),
    "host": {"record"},
    "stages": {"record"},
    "models": {"record", "host", "stages"},
    "optimize": {"record", "host", "stages", "models"},
    "quality": {"record", "host", "stages", "models"},
    "instruments": {"record", "host", "stages", "models", "optimize"},
    "trial": {"record", "host", "stages", "models", "optimize", "quality", "instruments"},
    "compare": {"record"},
    "report": {"record", "compare", "sides"},
    "sides": {"record", "host", "compare"},
    "experiments": {
        *("record", "host", "stages", "models", "quality", "instruments", "trial"),
        *("compare", "report", "sides"),
    },
    "suite": {"instruments", "quality"},
    "cli": EVERYTHING,
    "plugin": EVERYTHING,
}
"""What a room may import from. Nothing imports from the last three."""
TORCH = {"models", "optimize", "quality", "instruments", "trial"}
"""Rooms in which torch, diffusers or torchao may be imported."""


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
    for room, below in BELOW.items():
        for file in sorted((HOUSE / room).rglob("*.py")):
            above = imported(file) - {room, "__version__"} - below
            assert not above, f"{file.relative_to(HOUSE)} imports from {', '.join(sorted(above))}"


def test_every_room_is_in_the_table() -> None:
    assert set(BELOW) == EVERYTHING
    assert {entry.name for entry in HOUSE.glob("*.py")} == {"__init__.py"}


def test_the_suite_that_is_installed_is_the_one_of_the_clone() -> None:
    suite, clone = (
        {path.name: path.read_text() for path in folder.glob("test_*.py")}
        for folder in (HOUSE / "suite", Path(__file__).parents[1] / "perf_tests")
    )
    assert suite == clone
    assert len(suite) == 5


def test_only_some_rooms_know_torch() -> None:
    for room in set(BELOW) - TORCH:
        for file in sorted((HOUSE / room).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                libraries = {name.partition(".")[0] for name in names} & {"torch", "diffusers", "torchao"}
                assert not libraries, f"{file.relative_to(HOUSE)} imports {libraries}"


def test_the_package_needs_nothing_of_the_tools() -> None:
    """They are not installed."""
    for file in sorted(HOUSE.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not [name for name in names if name.partition(".")[0] == "tools"], file


def test_every_public_name_is_there() -> None:
    for name in fastdiff.__all__:
        assert getattr(fastdiff, name) is not None
    assert set(fastdiff._HOMES) == set(fastdiff.__all__) - {"__version__"}
