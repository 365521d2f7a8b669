"""The ladder as a table: time, speedup over the previous and the first stage, and similarity of the picture."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median, quantiles

from fastdiff.report import tables
from fastdiff.report.chart import Bar


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
    dtype: str = ""
    pictures: int = 1
    """Per call; speedups are computed per picture."""
    memory_bytes: int | None = None
    """At the peak, weights included."""
    peak_in: str = ""
    remark: str = ""
    disturbed: bool = False
    """The machine disturbed too many samples: the time is shown, but gets no speedup."""
    relative_l2: float | None = None
    """Of tensors, which have no SSIM; as the next one."""
    largest_error: float | None = None

    @property
    def median_s(self) -> float | None:
        return median(self.samples_s) if self.samples_s else None

    @property
    def picture_s(self) -> float | None:
        """Used for the ratios; None if the samples were disturbed."""
        return self.median_s / self.pictures if self.median_s is not None and not self.disturbed else None

    @property
    def note(self) -> str:
        return self.remark or ("disturbed" if self.disturbed else "")

    @property
    def spread(self) -> float | None:
        """Half the distance between the quartiles, divided by the median: the deviation of a typical sample."""
        if len(self.samples_s) < 2:
            return None
        low, middle, high = quantiles(self.samples_s, n=4, method="inclusive")
        return (high - low) / 2 / middle


HEADINGS = ("stage", "latency", "spread", "to previous", "to first", "first call", "SSIM", "worst tile", "remark")
OF_TENSORS = {"SSIM": "relative L2", "worst tile": "largest error"}


def rows(rungs: list[Rung]) -> list[tuple[str, ...]]:
    """Cells as text; ratios above 1 are gains. The rungs are of one model, in the ladder's order."""
    medians = {rung.stage: rung.picture_s for rung in rungs}
    first = rungs[0].picture_s if rungs and rungs[0].follows is None else None
    return [
        (
            rung.stage,
            _duration(rung.median_s),
            f"±{rung.spread:.1%}" if rung.spread is not None else "-",
            ratio(medians.get(rung.follows or ""), rung.picture_s),
            ratio(first, rung.picture_s) if rung.follows is not None else "-",
            _first_call(rung),
            *_likeness(rung),
            rung.note or _slower(medians.get(rung.follows or ""), rung),
        )
        for rung in rungs
    ]


def headings(rungs: list[Rung]) -> tuple[str, ...]:
    tensors = any(rung.relative_l2 is not None for rung in rungs)
    return tuple(OF_TENSORS.get(name, name) for name in HEADINGS) if tensors else HEADINGS


def text(rungs: list[Rung]) -> list[str]:
    return tables.text(headings(rungs), rows(rungs))


def markdown(rungs: list[Rung]) -> list[str]:
    return tables.markdown(headings(rungs), rows(rungs))


def bars(rungs: list[Rung], *, name_model: bool = False) -> list[Bar]:
    """The measured stages, with the same ratio to the first one as in the table."""
    first = rungs[0].picture_s if rungs and rungs[0].follows is None else None
    found = []
    for rung in rungs:
        if (middle := rung.median_s) is None:
            continue
        low, _, high = quantiles(rung.samples_s, n=4, method="inclusive") if rung.spread is not None else (middle,) * 3
        label = f"{rung.model} {rung.stage}" if name_model else rung.stage
        factor = first / rung.picture_s if first and rung.picture_s and rung.follows is not None else None
        found.append(Bar(label, middle, _duration(middle), low, high, factor))
    return found


def _likeness(rung: Rung) -> tuple[str, str]:
    if rung.relative_l2 is not None and rung.largest_error is not None:
        return f"{rung.relative_l2:.2g}", f"{rung.largest_error:.2g}"
    ssim, worst_tile = (f"{one:.4f}" if one is not None else "-" for one in (rung.ssim, rung.worst_tile))
    return ssim, worst_tile


def _slower(previous: float | None, rung: Rung) -> str:
    if previous is None or rung.picture_s is None or rung.picture_s <= previous:
        return ""
    return f"slower than {rung.follows} here"


def _first_call(rung: Rung) -> str:
    if rung.first_call_s is None:
        return "-"
    return _duration(rung.first_call_s) + (f" ({rung.cache})" if rung.cache != "none" else "")


def ratio(before: float | None, after: float | None) -> str:
    return f"{before / after:.2f}x" if before and after else "-"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds * 1000:.0f} ms" if seconds < 0.9995 else f"{seconds:.2f} s"
