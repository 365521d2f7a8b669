"""The ladder as a table: each stage's time, what it gains on the one before and on the first, and its likeness."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median, quantiles


@dataclass(frozen=True)
class Rung:
    """One stage's line. What was not measured is None, and `remark` says why."""

    model: str
    stage: str
    follows: str | None
    samples_s: tuple[float, ...] = ()
    first_call_s: float | None = None
    cache: str = "none"
    ssim: float | None = None
    worst_tile: float | None = None
    remark: str = ""

    @property
    def median_s(self) -> float | None:
        return median(self.samples_s) if self.samples_s else None

    @property
    def spread(self) -> float | None:
        """Half the distance of the quartiles as a share of the median: what an ordinary sample deviates by."""
        if len(self.samples_s) < 2:
            return None
        low, middle, high = quantiles(self.samples_s, n=4, method="inclusive")
        return (high - low) / 2 / middle


HEADINGS = ("stage", "latency", "spread", "to previous", "to first", "first call", "SSIM", "worst tile", "remark")


def rows(rungs: list[Rung]) -> list[tuple[str, ...]]:
    """Cells as text; ratios above 1 are gains. The rungs are of one model, in the ladder's order."""
    medians = {rung.stage: rung.median_s for rung in rungs}
    first = rungs[0].median_s if rungs and rungs[0].follows is None else None
    return [
        (
            rung.stage,
            _duration(rung.median_s),
            f"±{rung.spread:.1%}" if rung.spread is not None else "-",
            _ratio(medians.get(rung.follows or ""), rung.median_s),
            _ratio(first, rung.median_s) if rung.follows is not None else "-",
            _first_call(rung),
            f"{rung.ssim:.4f}" if rung.ssim is not None else "-",
            f"{rung.worst_tile:.4f}" if rung.worst_tile is not None else "-",
            rung.remark or _slower(medians.get(rung.follows or ""), rung),
        )
        for rung in rungs
    ]


def text(rungs: list[Rung]) -> list[str]:
    """Lines for a terminal: the first and the last column to the left, numbers to the right."""
    table = [HEADINGS, *rows(rungs)]
    widths = [max(len(row[i]) for row in table) for i in range(len(HEADINGS))]
    lines = []
    for row in table:
        cells = [
            cell.ljust(w) if i in (0, len(row) - 1) else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return [lines[0], "  ".join("-" * width for width in widths), *lines[1:]]


def markdown(rungs: list[Rung]) -> list[str]:
    numbers = ["---", *["---:"] * (len(HEADINGS) - 2), "---"]
    table = [HEADINGS, tuple(numbers), *rows(rungs)]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in table]


def _slower(previous: float | None, rung: Rung) -> str:
    if previous is None or rung.median_s is None or rung.median_s <= previous:
        return ""
    return f"slower than {rung.follows} here"


def _first_call(rung: Rung) -> str:
    if rung.first_call_s is None:
        return "-"
    return _duration(rung.first_call_s) + (f" ({rung.cache})" if rung.cache != "none" else "")


def _ratio(before: float | None, after: float | None) -> str:
    return f"{before / after:.2f}x" if before and after else "-"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds * 1000:.0f} ms" if seconds < 0.9995 else f"{seconds:.2f} s"
