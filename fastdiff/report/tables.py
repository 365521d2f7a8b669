"""A table as lines: for a terminal, or as markdown. The first and the last column hold words, the others numbers
where a caller does not say otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastdiff.report.columns import aligned

if TYPE_CHECKING:
    from collections.abc import Sequence

    Row = tuple[str, ...]


def text(headings: Row, rows: Sequence[Row]) -> list[str]:
    return aligned([headings, *rows], range(1, len(headings) - 1), ruled=True)


def markdown(headings: Row, rows: Sequence[Row], *, numbers: bool = True) -> list[str]:
    between = ["---:" if numbers else "---"] * (len(headings) - 2)
    table = [headings, ("---", *between, "---"), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in table]
