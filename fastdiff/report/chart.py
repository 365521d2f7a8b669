"""A bar chart: one bar below the other, what each is, and how it stands to the first."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastdiff.record.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.figure import Figure

PICTURES = (".png", ".svg", ".pdf", ".jpg", ".jpeg")
WIDTH_INCHES, DPI = 10.0, 150
BAR_INCHES, LINE_INCHES = 0.5, 0.19
"""A bar is as high as its label needs, and at least this high."""
LABEL_LETTERS, TITLE_LETTERS = 44, 90


@dataclass(frozen=True)
class Bar:
    label: str
    value: float
    shown: str
    """The value as a reader sees it, with its unit."""
    low: float
    high: float
    """Ends of the whisker; equal to the value where there is none."""
    factor: float | None = None
    """To the first bar of its kind; above 1 is better."""


def require_picture(path: Path) -> None:
    if path.suffix not in PICTURES:
        raise UserError("file", f"{path} is no name for a chart; end it with {', '.join(PICTURES)}.")


def draw(bars: Sequence[Bar], title: str, axis: str) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    labels = [_lines(bar.label, LABEL_LETTERS) for bar in bars]
    height = max(BAR_INCHES, *(LINE_INCHES * (label.count("\n") + 1.5) for label in labels))
    figure = Figure(figsize=(WIDTH_INCHES, 1.4 + height * len(bars)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for place, bar in enumerate(bars):
        _draw(axes, place, bar)
    axes.set_yticks(range(len(bars)), labels, fontsize=9)
    axes.invert_yaxis()
    axes.margins(x=0.2)
    axes.set_xlim(left=0)
    axes.set_xlabel(axis)
    axes.set_title(_lines(title, TITLE_LETTERS), fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def save(figure: Figure, path: Path) -> None:
    # Without a date, so that the same bars give the same file.
    metadata = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(path.suffix)
    figure.savefig(path, dpi=DPI, metadata=metadata)


def _draw(axes: Any, place: int, bar: Bar) -> None:
    axes.barh(place, bar.value, height=0.6, color="#4477aa")
    if bar.low < bar.high:
        ends = [[max(bar.value - bar.low, 0)], [max(bar.high - bar.value, 0)]]
        axes.errorbar(bar.value, place, xerr=ends, color="#222222", capsize=4)
    text = bar.shown if bar.factor is None else f"{bar.shown}   {bar.factor:.2f}x"
    axes.annotate(text, (max(bar.value, bar.high), place), (6, 0), textcoords="offset points", va="center")


def _lines(text: str, letters: int) -> str:
    """A dollar sign would begin a formula."""
    return textwrap.fill(text.replace("$", r"\$"), letters, break_on_hyphens=False)
