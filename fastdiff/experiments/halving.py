"""A binary search for the first bad one of ordered candidates, some of which may give no information."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def first_bad(weights: Sequence[float], ask: Callable[[int, int, int], bool | None]) -> tuple[int, int]:
    """The indices of the last good candidate (-1: the state before the first candidate) and of the first bad one.

    The last candidate is known to be bad, and the state before the first one to be good. `weights` are the likelihoods
    of being the first bad one: each question halves the remaining weight. `ask(place, low, high)` measures a candidate
    between a good and a bad one. If it returns None, the neighbours are tried next, on one side and then on the other.
    If the two returned indices are not adjacent, the candidates between them gave no information.
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
    """The untried candidate that best halves the weight between `low` and `high`."""

    def imbalance(place: int) -> float:
        return abs(sum(weights[low + 1 : place + 1]) - sum(weights[place + 1 : high + 1]))

    return min(untried, key=lambda place: (imbalance(place), -place))


def most_questions(weights: Sequence[float], low: int, high: int) -> int:
    """The maximum number of questions until the first bad one is known, if each gives information."""
    if high - low < 2:
        return 0
    place = middle(weights, low, high, range(low + 1, high))
    return 1 + max(most_questions(weights, low, place), most_questions(weights, place, high))
