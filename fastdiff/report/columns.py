"""Columns for a terminal: the one place that knows how wide they are. Which look a table has is its caller's choice."""

from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING

from fastdiff.report.clean import clean

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

WIDEST = 10_000
"""Lines are not wrapped: a terminal does that, and a log need not."""


def aligned(rows: Sequence[Sequence[str]], numbers: Container[int] = (), *, ruled: bool = False) -> list[str]:
    """All rows have equally many cells; those of the columns `numbers` stand to the right, all others to the left.

    `ruled` draws a line below the first row, the headings.
    """
    # Here, because collecting tests needs no table and should not wait for rich.
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    rows = [[clean(cell) for cell in row] for row in rows]
    if ruled:
        rows = [rows[0], ["-" * max(map(cell_len, column)) for column in zip(*rows, strict=True)], *rows[1:]]
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for place in range(len(rows[0])):
        table.add_column(justify="right" if place in numbers else "left", no_wrap=True)
    for row in rows:
        table.add_row(*map(Text, row))  # as text: brackets in a cell are no markup
    page = StringIO()
    Console(file=page, width=WIDEST, color_system=None, force_terminal=False, force_jupyter=False).print(table)
    return [line.rstrip() for line in page.getvalue().rstrip("\n").split("\n")]
