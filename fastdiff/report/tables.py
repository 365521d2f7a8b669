"""A table as lines: for a terminal, or as markdown. The first and the last column hold words, the others numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    Row = tuple[str, ...]


def text(headings: Row, rows: Sequence[Row]) -> list[str]:
    table = [headings, *rows]
    widths = [max(len(row[i]) for row in table) for i in range(len(headings))]
    lines = []
    for row in table:
        cells = [
            cell.ljust(w) if i in (0, len(row) - 1) else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return [lines[0], "  ".join("-" * width for width in widths), *lines[1:]]


def markdown(headings: Row, rows: Sequence[Row]) -> list[str]:
    numbers = ("---", *["---:"] * (len(headings) - 2), "---")
    table = [headings, numbers, *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in table]
