"""How long a session will still take, from what its stages took so far. An estimate, not a promise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastdiff.compare.duration import Expected

CALLS_BESIDES = 6
"""Calls of a stage in addition to the timed ones: first call, drawing, counting, warm-up, components, memory."""
COMPILING_S = 120.0
"""A compilation, until one was seen: full-size and embedded models took 40 to 150 s on two cores."""
WORTH_SAYING_S = 60.0


@dataclass(frozen=True)
class Seen:
    """What one stage took."""

    call_s: float
    compiling_s: float | None
    """How much longer its first call took than a steady-state call; None if nothing is compiled."""


def seconds_left(seen: Sequence[Seen], coming: Sequence[bool], samples: int) -> float:
    """Call it after the newest of `seen` made its first picture. `coming`: whether each later stage is compiled.

    Later stages are faster than earlier ones, so the estimate errs on the long side.
    """
    compiled = [one.compiling_s for one in seen if one.compiling_s is not None]
    compiling = compiled[-1] if compiled else COMPILING_S
    calls = (samples + CALLS_BESIDES) * (len(coming) + 1) - 2
    return calls * seen[-1].call_s + compiling * sum(coming)


def shown(seconds: float) -> str:
    """An upper bound, because the state of the compile cache is not known yet; empty where it is short."""
    return f"; up to {math.ceil(seconds / 60)} min left" if seconds >= WORTH_SAYING_S else ""


def of_pairs(stages: Sequence[Expected], minutes: int) -> list[str]:
    """Before the first pair: how long each stage takes, in the order of measuring, and which stages may not have their
    first look in time."""
    from fastdiff.compare.duration import out_of_reach

    least, most = (sum(getattr(one, name) for one in stages) for name in ("least_s", "most_s"))
    each = ", ".join(f"{one.id} {_between(one.least_s, one.most_s)}" for one in stages)
    many = f", together {_between(least, most)}" if len(stages) > 1 else ""
    lines = [f"pairs take about: {each}{many}; no new pair starts after {minutes} min"]
    if most > 60 * minutes:
        late = out_of_reach(stages, 60 * minutes)
        some = f"may not be reached: {', '.join(late)}" if late else "some may stay undecided"
        lines.append(f"{some}; --fastdiff-max-time={math.ceil(most / 60)} is enough for all")
    return lines


def _between(least_s: float, most_s: float) -> str:
    low, high = (max(1, math.ceil(one / 60)) for one in (least_s, most_s))
    return f"{low} min" if low == high else f"{low} to {high} min"
