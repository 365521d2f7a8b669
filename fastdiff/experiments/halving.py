"""The search for the first bad one of ordered candidates: which one is next, where some of them tell nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def first_bad(weights: Sequence[float], ask: Callable[[int, int, int], bool | None]) -> tuple[int, int]:
    """Places of the last good candidate (-1: what stands before the first one) and of the first bad one.

    The last candidate is known to be bad, and what stands before the first one to be good. `weights` say how likely
    each one is to be the first bad one: a question halves what is likely. `ask(place, low, high)` measures a candidate
    between a good and a bad one; None tells nothing, and its neighbours are asked next, on one side and then on the
    other. Where two places are left that are no neighbours, nothing is known of those between them.
    """
    known: dict[int, bool | None] = {-1: False, len(weights) - 1: True}
    while True:
        high = min(place for place, side in known.items() if side)
        low = max(place for place, side in known.items() if place < high and side is False)
        untried = [place for place in range(low + 1, high) if place not in known]
        if not untried:
            return low, high
        place = middle(weights, low, high, untried)
        known[place] = ask(place, low, high)


def middle(weights: Sequence[float], low: int, high: int, untried: Sequence[int]) -> int:
    """The first bad one lies after `low` and up to `high`; a good answer about a place leaves those after it."""

    def imbalance(place: int) -> float:
        return abs(sum(weights[low + 1 : place + 1]) - sum(weights[place + 1 : high + 1]))

    return min(untried, key=lambda place: (imbalance(place), -place))


def most_questions(weights: Sequence[float], low: int, high: int) -> int:
    """Until the first bad one is known, if each answer tells its side."""
    if high - low < 2:
        return 0
    place = middle(weights, low, high, range(low + 1, high))
    return 1 + max(most_questions(weights, low, place), most_questions(weights, place, high))
