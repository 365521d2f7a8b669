"""An estimate of how long pairs of a stage take, from the times that the session measured for that stage."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastdiff.compare.comparison import undisturbed
from fastdiff.compare.effect import centre
from fastdiff.compare.plan import calls

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastdiff.record.run import Trial

STARTING_S = 15.0
"""From the start of a pair's two processes until both have imported torch and diffusers."""
SIDES = 2
"""Each side makes every call. Side by side the calls run at once, but on half of the cores they take twice as long."""
LOOKING = 6
"""Additional calls of the first pair: counts, components, memory, pictures."""


@dataclass(frozen=True)
class Expected:
    """The expected time for the pairs of one stage."""

    id: str
    least_s: float
    """If the first look decides."""
    most_s: float


@dataclass(frozen=True)
class Planned:
    """What is measured of each stage."""

    calls: int | None
    """Per side in a pair; None if the duration of a call decides."""
    looks: tuple[int, ...]
    """The numbers of pairs after which measuring may end."""
    beside: int = 0
    """Additional pairs with all cores."""
    calls_beside: int = 0


def expected(trial: Trial, planned: Planned) -> Expected:
    call_s = math.exp(centre(trial.samples)) if undisturbed(trial) else 0.0
    warm_up_s = trial.warm_up.seconds if trial.warm_up else 0.0
    ready_s = STARTING_S + SIDES * ((trial.load_s or 0.0) + (trial.first_call_s or call_s) + warm_up_s)
    pair_s = ready_s + SIDES * (planned.calls or calls(SIDES * call_s)) * call_s
    once_s = SIDES * LOOKING * call_s + planned.beside * (ready_s + SIDES * planned.calls_beside * call_s)
    return Expected(trial.id, planned.looks[0] * pair_s + once_s, planned.looks[-1] * pair_s + once_s)


def out_of_reach(stages: Sequence[Expected], most_s: float) -> list[str]:
    """Stages whose first look may come later than `most_s`. `stages` are in the order of measuring, a look each."""
    found, passed_s = [], 0.0
    for one in stages:
        passed_s += one.least_s
        found += [one.id] if passed_s > most_s else []
    return found
