"""Draws what a command prints as an SVG, for the README: `python docs/picture.py bench.log docs/bench.svg`."""

from __future__ import annotations

import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

WIDTH = 96
"""Columns: a wider picture has letters of less than 13 px where GitHub shows it, 850 pixels wide."""
INDENT = 6
"""Of the rest of a line that is wider."""


def main(log: str, picture: str) -> None:
    console = Console(record=True, width=WIDTH + 2, file=sys.stderr)
    for line in Path(log).read_text(encoding="utf-8").rstrip().splitlines():
        text = Text.from_ansi(line)
        if text.cell_len > WIDTH:
            first, *rest = text.wrap(console, WIDTH - INDENT)
            text = Text("\n").join([first, *(Text(" " * INDENT) + one for one in rest)])
        console.print(text)
    console.save_svg(picture, title="pytest perf_tests --benchmark-compare")


if __name__ == "__main__":
    main(*sys.argv[1:])
