"""Draws what a command prints as an SVG, for the README: `python docs/picture.py bench.log docs/bench.svg`."""

from __future__ import annotations

import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text


def main(log: str, picture: str) -> None:
    lines = Path(log).read_text(encoding="utf-8").rstrip().splitlines()
    console = Console(record=True, width=max(map(len, lines)) + 2, file=sys.stderr)
    for line in lines:
        console.print(Text.from_ansi(line))
    console.save_svg(picture, title="pytest perf_tests --benchmark-compare")


if __name__ == "__main__":
    main(*sys.argv[1:])
