"""How long pairs of a stage take, from what a session has seen of it. An estimate, not a promise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastdiff.compare.comparison import undisturbed
from fastdiff.compare.effect import centre

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastdiff.record.run import Trial

STARTING_S = 15.0
"""Of the two processes of a pair, until both have imported torch and diffusers."""
SIDES = 2
"""Each call is made twice. In halves that is at once, and with half of the cores takes about twice as long."""
LOOKING = 6
"""Calls of the first pair that look inside: counts, components, memory, pictures."""


@dataclass(frozen=True)
class Expected:
    """Of one stage."""

    id: str
    least_s: float
    """Where the first look decides."""
    most_s: float


@dataclass(frozen=True)
class Planned:
    """What is measured of each stage."""

    calls: int
    """Of a side in a pair."""
    looks: tuple[int, ...]
    """After so many pairs the measuring may end."""
    beside: int = 0
    """Pairs with all cores that follow."""
    calls_beside: int = 0


def expected(trial: Trial, planned: Planned) -> Expected:
    call_s = math.exp(centre(trial.samples)) if undisturbed(trial) else 0.0
    warm_up_s = trial.warm_up.seconds if trial.warm_up else 0.0
    ready_s = STARTING_S + SIDES * ((trial.load_s or 0.0) + (trial.first_call_s or call_s) + warm_up_s)
    pair_s = ready_s + SIDES * planned.calls * call_s
    once_s = SIDES * LOOKING * call_s + planned.beside * (ready_s + SIDES * planned.calls_beside * call_s)
    return Expected(trial.id, planned.looks[0] * pair_s + once_s, planned.looks[-1] * pair_s + once_s)


def out_of_reach(stages: Sequence[Expected], most_s: float) -> list[str]:
    """Those whose turn comes after so many seconds, if none before them ends early. `stages`: in their order."""
    found, before_s = [], 0.0
    for one in stages:
        found += [one.id] if before_s >= most_s else []
        before_s += one.most_s
    return found
