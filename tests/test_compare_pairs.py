"""Decisions over pairs: looks are planned, they share the error, and simulations show what that is worth."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastdiff.compare import pairs as judge
from fastdiff.compare.policy import default
from fastdiff.compare.verdicts import FAST, SAME, SLOW, UNSURE, decide
from fastdiff.record.pairs import Pair
from fastdiff.record.run import Sample, Trial

if TYPE_CHECKING:
    from fastdiff.record.pairs import Way

POLICY = default("cpu")


def pair(old: list[float], new: list[float], starts: str, way: Way = "turns") -> Pair:
    sides = [Trial("m", "s", None, samples=tuple(map(Sample, times))) for times in (old, new)]
    return Pair(*sides, way=way, starts=starts, seconds=1.0)


# -- the plan ---------------------------------------------------------------------------------------------------------


@given(st.integers(judge.FEWEST_PAIRS, 500))
def test_all_looks_together_spend_the_error_once(most: int) -> None:
    looks = judge.plan(most)
    assert looks[-1] == most
    assert looks[0] >= judge.FEWEST_PAIRS
    assert len(looks) <= judge.LOOKS
    assert sum(judge.share(looks, one) for one in looks) == pytest.approx(1)
    assert all(judge.share(looks, one) > 0 for one in looks)


@given(st.integers(4, 100), st.data())
def test_a_stop_between_two_looks_spends_no_more_than_the_next_one_would(most: int, data: st.DataObject) -> None:
    looks = judge.plan(most)
    at = data.draw(st.integers(looks[0], most))
    planned = next(one for one in looks if one >= at)
    assert 0 < judge.share(looks, at) <= judge.share(looks, planned) + 1e-12


def test_two_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match="2 pairs are too few"):
        judge.plan(2)


# -- one pair ---------------------------------------------------------------------------------------------------------


def test_a_steady_drift_favours_neither_side() -> None:
    clock = [1.01**place for place in range(8)]
    # old new new old, new old old new
    drifting = pair([clock[0], clock[3], clock[5], clock[6]], [1.1 * clock[i] for i in (1, 2, 4, 7)], "on")
    assert math.exp(judge.ratio_of(drifting)) == pytest.approx(1.1)


def test_a_few_disturbed_blocks_do_not_move_a_pair() -> None:
    old, new = [1.0] * 40, [1.05] * 40
    new[4] = new[21] = 9.0
    old[30] = 5.0
    assert math.exp(judge.ratio_of(pair(old, new, "on" * 10))) == pytest.approx(1.05, abs=0.002)


def test_processes_that_were_alone_are_compared_by_their_medians() -> None:
    assert math.exp(judge.ratio_of(pair([1.0, 1.0, 9.0], [2.0, 2.0, 0.1], "", "apart"))) == pytest.approx(2)


@given(st.lists(st.floats(0.1, 10), min_size=8, max_size=8), st.text("on", min_size=4, max_size=4))
def test_swapping_the_sides_turns_the_ratio_round(times: list[float], starts: str) -> None:
    other = [one * 1.3 for one in reversed(times)]
    turned = starts.translate(str.maketrans("on", "no"))
    there, back = judge.ratio_of(pair(times, other, starts)), judge.ratio_of(pair(other, times, turned))
    assert there == pytest.approx(-back, abs=1e-9)


def test_a_slower_half_and_a_common_disturbance_favour_neither_side() -> None:
    """The first half of the cores is 10 % slower; in the second block a neighbour doubles one call of both sides, and
    in the third a single one of the new side."""
    old = [1.1, 1.1, 1.0, 1.0, 1.0, 2.0, 1.1, 1.1] + [1.1, 1.1, 1.0, 1.0] * 3
    new = [1.05, 1.05, 1.155, 1.155, 1.155, 2.31, 1.05, 1.05] + [1.05, 1.05, 1.155, 1.155] * 3
    new[8] *= 3
    found = pair(old, new, "onooo", "halves")
    assert math.exp(judge.ratio_of(found)) == pytest.approx(1.05)
    assert judge.order_effect([found]) is None, "nothing took turns"


def test_the_order_effect_is_seen_and_tilts_nothing() -> None:
    """The side that is called after the other one finds its caches empty and takes 10 % longer."""
    old = [1.0, 1.1, 1.1, 1.0]  # old new new old: old's second follows new; then new old old new
    new = [1.1, 1.0, 1.0, 1.1]
    found = pair(old, new, "on")
    assert math.expm1(judge.order_effect([found]) or 0) == pytest.approx(0.1)
    assert judge.ratio_of(found) == pytest.approx(0, abs=1e-9)


# -- many pairs -------------------------------------------------------------------------------------------------------


def experiment(chance: np.random.Generator, effect: float, sd: float, most: int, comparisons: int) -> str:
    """The word at which a whole sequential experiment ends."""
    looks = judge.plan(most)
    ratios = chance.normal(math.log1p(effect), sd, most).tolist()
    word = UNSURE
    for look in looks:
        found = judge.estimate(ratios[:look], looks, confidence=POLICY.paired_confidence, comparisons=comparisons)
        word = decide(found, POLICY.paired).word
        if word != UNSURE:
            break
    return word


def words(effect: float, sd: float, most: int = 12, comparisons: int = 1, count: int = 1500) -> dict[str, float]:
    chance = np.random.default_rng(5)
    said = [experiment(chance, effect, sd, most, comparisons) for _ in range(count)]
    return {word: said.count(word) / count for word in (SAME, SLOW, FAST, UNSURE)}


@pytest.mark.parametrize("sd", [0.002, 0.005, 0.01, 0.03])
def test_no_change_is_no_alarm(sd: float) -> None:
    found = words(0.0, sd)
    assert found[SLOW] + found[FAST] <= 0.01


def test_a_change_at_the_very_edge_of_the_band_is_a_false_alarm_of_one_per_cent_at_most() -> None:
    """The hardest case that must not alarm, with every look that could."""
    assert words(POLICY.paired, 0.01, count=4000)[SLOW] <= 0.015


def test_a_change_beyond_the_band_is_called_the_same_in_one_of_twenty_at_most() -> None:
    assert words(POLICY.paired + 1e-6, 0.004, count=3000)[SAME] <= 0.06


def test_two_per_cent_are_found_where_pairs_scatter_by_half_a_per_cent() -> None:
    assert words(0.02, 0.005)[SLOW] >= 0.95


def test_the_promised_smallest_slowdown_is_found() -> None:
    """As a calibration computes it, with the stages of a whole suite."""
    promised = judge.smallest(0.01, judge.plan(12), POLICY.paired, confidence=POLICY.paired_confidence, comparisons=6)
    found = words(promised, 0.01, comparisons=6)
    assert found[SLOW] >= 0.95
    assert words(promised / 2, 0.01, comparisons=6)[SLOW] < 0.5, (
        "the promise is not worth much if half of it is found too"
    )


@pytest.mark.parametrize("ratios", [[0.02, 0.016, 0.024], [0.03, 0.02, 0.035], [0.008, -0.006, 0.001]])
def test_the_pairs_that_are_asked_for_would_settle_it(ratios: list[float]) -> None:
    """With pairs of the same mean and scatter, so many end in a verdict at the last look, and one fewer does not."""
    rule = {"confidence": 0.99, "comparisons": 1}
    assert decide(judge.estimate(ratios, (3,), **rule), 0.01).word == UNSURE
    needed = judge.pairs_needed(ratios, 0.01, **rule)
    assert needed is not None
    for pairs, settled in ((needed - 1, False), (needed, True)):
        if pairs > len(ratios):
            others = like(ratios, pairs)
            assert (decide(judge.estimate(others, judge.plan(pairs), **rule), 0.01).word != UNSURE) is settled


def like(ratios: list[float], count: int) -> list[float]:
    """So many of the same mean and standard deviation."""
    steps = np.linspace(-1, 1, count)
    return list(np.mean(ratios) + steps * np.std(ratios, ddof=1) / steps.std(ddof=1))


def test_a_question_that_the_machine_cannot_answer_has_no_number_of_pairs() -> None:
    assert judge.pairs_needed([0.3, 0.01, -0.27], 0.01, confidence=0.99, comparisons=1) is None
