"""Columns for a terminal: the one place that knows how wide they are. Which look a table has is its caller's choice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastdiff.report.clean import clean

if TYPE_CHECKING:
    from collections.abc import Container, Sequence


def aligned(rows: Sequence[Sequence[str]], numbers: Container[int] = (), *, ruled: bool = False) -> list[str]:
    """All rows have equally many cells; those of the columns `numbers` stand to the right, all others to the left.

    `ruled` draws a line below the first row, the headings.
    """
    rows = [[clean(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    if ruled:
        rows = [rows[0], ["-" * width for width in widths], *rows[1:]]
    return ["  ".join(_padded(row, widths, numbers)).rstrip() for row in rows]


def _padded(row: Sequence[str], widths: Sequence[int], numbers: Container[int]) -> list[str]:
    return [
        cell.rjust(width) if place in numbers else cell.ljust(width)
        for place, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
