"""What `fastdiff side list` shows: the facts, and lines for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastdiff.report.columns import aligned

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fastdiff.sides.home import Kept


def sides_facts(kept: Sequence[Kept]) -> list[dict[str, Any]]:
    """Of every environment and checkout, ready for JSON."""
    return [
        {"name": one.folder.name, "own_bytes": one.own_bytes, "finished": one.finished, "unused_days": one.unused_days}
        for one in kept
    ]


def sides_text(home: Path, kept: Sequence[Kept]) -> list[str]:
    if not kept:
        return [f"{home} holds no environment; `fastdiff ab` and `fastdiff side build` make them"]
    rows = [(one.folder.name, size(one.own_bytes), _used(one)) for one in kept]
    return [str(home.parent), *aligned([("name", "own size", "used"), *rows])]


def _used(one: Kept) -> str:
    if not one.finished:
        return "never finished"
    days = int(one.unused_days)
    return "today" if days == 0 else f"{days} days ago"


def size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
