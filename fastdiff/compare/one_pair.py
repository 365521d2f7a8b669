"""One pair: how much longer the calls of the new side took than those of the old side.

Everything is computed on logarithms of seconds.
"""

from __future__ import annotations

from statistics import fmean, median
from typing import TYPE_CHECKING

from fastdiff.compare.effect import logarithm
from fastdiff.record.pairs import APART, BLOCK, GPUS, HALVES, TURNS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from fastdiff.record.pairs import Pair
    from fastdiff.record.run import Trial


def log_ratio(pair: Pair) -> float:
    """The logarithm of new to old, by the faster half of each side's calls.

    Other work on the machine only makes calls longer, often those of one side alone. So the faster half agrees better
    from pair to pair than all calls do: in 24 experiments pairs scattered by 0.9 % instead of 1.2 %. What it does
    not show is in `of_slow_calls`. Each half of the cores has its own faster calls, and so has each GPU, so a slower
    one favours neither side.
    """
    return _between(pair, faster)


def of_slow_calls(pair: Pair) -> float:
    """How much more the slower half of the calls differs between the sides than the faster half does; as a logarithm.

    It shows what makes only some calls longer: a compilation now and then, or garbage that is collected.
    """
    return _between(pair, lambda times: slower(times) - faster(times))


def faster(times: Sequence[float]) -> float:
    """The mean of the faster half."""
    return fmean(sorted(times)[: (len(times) + 1) // 2])


def slower(times: Sequence[float]) -> float:
    """The mean of the slower half."""
    return fmean(sorted(times)[len(times) // 2 :])


def log_seconds(trial: Trial) -> float:
    """The logarithm of a call's seconds, by the faster half of the calls."""
    return faster(_logarithms(trial))


def _between(pair: Pair, of: Callable[[Sequence[float]], float]) -> float:
    old, new = _logarithms(pair.old), _logarithms(pair.new)
    return fmean(of([new[call] for call in calls]) - of([old[call] for call in calls]) for calls in _alike(pair))


def _logarithms(trial: Trial) -> list[float]:
    return [logarithm(one.wall_s, "a call") for one in trial.samples]


def _alike(pair: Pair) -> Iterable[list[int]]:
    """The numbers of the calls in which both sides had the same halves of the cores, or the same GPUs; void blocks are
    left out."""
    if pair.way == APART:
        return [list(range(len(pair.old.samples)))]
    size, void = BLOCK[pair.way], void_blocks(pair)
    found: dict[bool, list[int]] = {}
    for block, start in enumerate(pair.starts):
        for call in range(size) if block not in void else ():
            swapped = pair.way == HALVES and call >= size // 2
            seated = pair.way != TURNS and (start == "o") != swapped
            found.setdefault(seated, []).append(block * size + call)
    return found.values()


def void_blocks(pair: Pair) -> set[int]:
    """The blocks in which the machine disturbed only one side. Empty if these are more than half of all blocks: then
    the side itself may cause the disturbance."""
    if pair.way == APART:
        return set()
    size = BLOCK[pair.way]
    disturbed = [{place // size for place, one in enumerate(side.samples) if one.void} for side in (pair.old, pair.new)]
    void = disturbed[0] ^ disturbed[1]
    seatings = [{block for block, one in enumerate(pair.starts) if one == start} for start in set(pair.starts)]
    if pair.way == GPUS and any(blocks <= void for blocks in seatings):
        return set()  # one seating alone would show the difference of the GPUs
    return void if 2 * len(void) <= len(pair.starts) else set()


def void_share(pairs: Sequence[Pair]) -> float:
    blocks = sum(len(pair.starts) for pair in pairs)
    return sum(len(void_blocks(pair)) for pair in pairs) / blocks if blocks else 0.0


def order_effect(pairs: Sequence[Pair]) -> float | None:
    """How much longer a call takes after a call of the other side than after one of its own side; as a logarithm. None
    if the sides did not take turns.

    In old, new, new, old the two calls in the middle show it. Both sides have equally many of each kind. A large value
    means that the two processes disturb each other.
    """
    found = []
    for pair in pairs:
        for block, start in enumerate(pair.starts if pair.way == TURNS else ""):
            middle = (pair.new if start == "o" else pair.old).samples[block * BLOCK[TURNS] :][: BLOCK[TURNS]]
            first, second = (logarithm(one.wall_s, "a call") for one in middle)
            found.append(first - second)
    return median(found) if found else None
