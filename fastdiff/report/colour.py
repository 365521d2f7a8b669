"""Verdict words in colour, for terminals that show colours. The word is the signal; its colour helps to find it."""

from __future__ import annotations

from io import StringIO

from rich.console import Console
from rich.text import Text

from fastdiff.compare.verdicts import CHANGED, FAST, LESS, MACHINE, MISSING, MORE, NEW, SAME, SLOW, UNSURE, VOID

STYLES = {
    **dict.fromkeys((SLOW, MORE, CHANGED, MISSING), "bold red"),
    **dict.fromkeys((FAST, LESS), "bold cyan"),
    **dict.fromkeys((UNSURE, VOID, NEW, MACHINE), "yellow"),
    SAME: "green",
}


def coloured(line: str) -> str:
    text = Text(line)
    for word, style in STYLES.items():
        text.highlight_regex(rf"\b{word}\b", style)
    page = StringIO()
    Console(file=page, color_system="standard", force_terminal=True, force_jupyter=False).print(
        text, end="", soft_wrap=True
    )
    return page.getvalue()
