"""Decisions over pairs: looks are planned, they share the error, and simulations show what that is worth."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastdiff.compare import plan
from fastdiff.compare.effect import Effect, Errors, estimate, from_scatter, of_pairs
from fastdiff.compare.facts import across_stacks
from fastdiff.compare.one_pair import log_ratio, of_slow_calls, order_effect, void_blocks, void_share
from fastdiff.compare.policy import FEWEST_PAIRS, default
from fastdiff.compare.verdicts import FAST, SAME, SLOW, UNSURE, decide
from fastdiff.record.errors import UserError
from fastdiff.record.pairs import BLOCK, Pair
from fastdiff.record.run import Sample, Trial

if TYPE_CHECKING:
    from fastdiff.record.pairs import Way

POLICY = default("cpu")


def pair(old: list[float], new: list[float], starts: str, way: Way = "turns") -> Pair:
    sides = [Trial("m", "s", None, samples=tuple(map(Sample, times))) for times in (old, new)]
    return Pair(*sides, way=way, starts=starts, seconds=1.0)


# -- the plan ---------------------------------------------------------------------------------------------------------


@given(st.integers(FEWEST_PAIRS, 500), st.sampled_from([plan.OF_ALARMS, plan.OF_SAME]))
def test_all_looks_together_spend_the_error_once(most: int, power: int) -> None:
    looks = plan.looks(most)
    assert looks[-1] == most
    assert looks[0] >= FEWEST_PAIRS
    assert sum(plan.share(looks, one, power) for one in looks) == pytest.approx(1)
    assert all(plan.share(looks, one, power) > 0 for one in looks)
    assert plan.share(looks, most, plan.OF_ALARMS) > 0.5, "the last look knows most"


def test_an_early_look_may_err_more_with_same_than_with_an_alarm() -> None:
    first = plan.errors(replace(POLICY, paired_confidence=0.9, same_confidence=0.9), 1, (6, 12), 6)
    assert first == Errors(pytest.approx(0.1 / 2), pytest.approx(0.1 / 4))


def test_the_suite_shares_its_error_and_same_is_an_error_of_its_own() -> None:
    sure = replace(POLICY, paired_confidence=0.98, same_confidence=0.9)
    assert plan.errors(sure, 4, (5,), 5) == Errors(pytest.approx(0.1), pytest.approx(0.02 / 4))


def test_the_looks_of_usual_experiments() -> None:
    assert [plan.looks(most) for most in (5, 7, 8, 12)] == [(5,), (7,), (5, 8), (5, 8, 12)]
    assert [plan.looks(most) for most in (10, 24)] == [(5, 7, 10), (5, 8, 12, 16, 24)]


@given(st.integers(FEWEST_PAIRS, 100), st.sampled_from([plan.OF_ALARMS, plan.OF_SAME]), st.data())
def test_a_stop_between_two_looks_spends_no_more_than_the_next_one_would(
    most: int, power: int, data: st.DataObject
) -> None:
    looks = plan.looks(most)
    at = data.draw(st.integers(looks[0], most))
    planned = next(one for one in looks if one >= at)
    assert 0 < plan.share(looks, at, power) <= plan.share(looks, planned, power) + 1e-12


def test_four_pairs_are_refused() -> None:
    with pytest.raises(UserError, match="--pairs is 4; give 5 or more: fewer pairs decide nothing"):
        plan.looks(4)
    with pytest.raises(UserError, match="4 pairs are too few for an interval; measure 5 or more"):
        of_pairs([0.01] * 4)


# -- one pair ---------------------------------------------------------------------------------------------------------


def test_a_steady_drift_favours_neither_side() -> None:
    clock = [1.01**place for place in range(8)]
    # old new new old, new old old new
    drifting = pair([clock[0], clock[3], clock[5], clock[6]], [1.1 * clock[i] for i in (1, 2, 4, 7)], "on")
    assert math.exp(log_ratio(drifting)) == pytest.approx(1.1)


def test_a_slower_gpu_favours_neither_side() -> None:
    """The second GPU takes 1.2 times as long; each side has it for half of the calls."""
    old, new = [1.0] * 4 + [1.2] * 4, [1.2 * 1.05] * 4 + [1.05] * 4
    for disturbed, void in ((0, set()), (3, {0, 1, 2}), (4, set())):  # the other seating alone would show the GPUs
        samples = tuple(Sample(one, None, "steal" if place < disturbed else "") for place, one in enumerate(new))
        found = pair(old, new, "oooonnnn", "gpus")
        found = replace(found, new=replace(found.new, samples=samples))
        assert void_blocks(found) == void
        assert math.exp(log_ratio(found)) == pytest.approx(1.05)


def test_a_few_disturbed_blocks_do_not_move_a_pair() -> None:
    old, new = [1.0] * 40, [1.05] * 40
    new[4] = new[21] = 9.0
    old[30] = 5.0
    assert math.exp(log_ratio(pair(old, new, "on" * 10))) == pytest.approx(1.05, abs=0.002)


def test_blocks_that_the_machine_disturbed_on_one_side_are_void() -> None:
    """So many are left out that without this the ratio would be another one; one that both sides had counts."""
    voids = {"old": {2: "steal"}, "new": {2: "steal", 6: "steal", 9: "others", 11: "others"}}
    found = disturbed([1.0] * 12, [1.05, 1.05] * 3 + [3.0] * 6, voids)
    assert void_blocks(found) == {3, 4, 5}
    assert math.exp(log_ratio(found)) == pytest.approx(1.05)
    assert void_share([found, pair([1.0] * 12, [1.0] * 12, "o" * 6)]) == 0.25


def test_a_side_that_disturbs_itself_is_slow_and_not_void() -> None:
    found = disturbed([1.0] * 12, [3.0] * 12, {"old": {}, "new": dict.fromkeys(range(0, 8), "others")})
    assert void_blocks(found) == set(), "four of six blocks are no accident"
    assert math.exp(log_ratio(found)) == pytest.approx(3)


def disturbed(old: list[float], new: list[float], voids: dict[str, dict[int, str]]) -> Pair:
    sides = {"old": old, "new": new}
    trials = [
        Trial("m", "s", None, samples=tuple(Sample(one, None, voids[name].get(i, "")) for i, one in enumerate(times)))
        for name, times in sides.items()
    ]
    return Pair(*trials, way="turns", starts="o" * (len(old) // 2), seconds=1.0)


def test_processes_that_were_alone_are_compared_by_their_faster_halves() -> None:
    assert math.exp(log_ratio(pair([1.0, 1.0, 5.0, 9.0], [30.0, 40.0, 2.0, 2.0], "", "apart"))) == pytest.approx(2)


@given(st.lists(st.floats(0.1, 10), min_size=8, max_size=8), st.text("on", min_size=4, max_size=4))
def test_swapping_the_sides_turns_the_ratio_round(times: list[float], starts: str) -> None:
    other = [one * 1.3 for one in reversed(times)]
    turned = starts.translate(str.maketrans("on", "no"))
    there, back = log_ratio(pair(times, other, starts)), log_ratio(pair(other, times, turned))
    assert there == pytest.approx(-back, abs=1e-9)


def test_a_slower_half_and_a_common_disturbance_favour_neither_side() -> None:
    """The first half of the cores is 10 % slower; in the second block a neighbour doubles one call of both sides, and
    in the third a single one of the new side."""
    old = [1.1, 1.1, 1.0, 1.0, 1.0, 2.0, 1.1, 1.1] + [1.1, 1.1, 1.0, 1.0] * 3
    new = [1.05, 1.05, 1.155, 1.155, 1.155, 2.31, 1.05, 1.05] + [1.05, 1.05, 1.155, 1.155] * 3
    new[8] *= 3
    found = pair(old, new, "onooo", "halves")
    assert math.exp(log_ratio(found)) == pytest.approx(1.05)
    assert order_effect([found]) is None, "nothing took turns"


def test_each_half_of_the_cores_has_its_own_faster_calls() -> None:
    """The first half of the cores is 30 % slower: taken together, the faster calls would all be of the second half."""
    on_halves = [1.3, 1.3, 1.0, 1.0, 1.0, 1.0, 1.3, 1.3]
    new = [1.0, 1.2, 1.5, 1.3, 1.6, 1.3, 1.0, 1.4]
    faster_on_first, faster_on_second = [math.log(1.3)] * 2, [math.log(1.0)] * 2
    found = log_ratio(pair(on_halves, new, "on", "halves"))
    assert found == pytest.approx((sum(faster_on_first) + sum(faster_on_second)) / 4 - math.log(1.3) / 2)


@pytest.mark.parametrize("way", ["turns", "halves", "gpus"])
def test_calls_that_other_work_made_longer_do_not_count(way: Way) -> None:
    """Half of them, and so long that no mean of blocks bears it."""
    new = [1.05 * (3.0 if call % 4 in (1, 2) else 1.0) for call in range(16)]
    starts = "on" * (16 // BLOCK[way] // 2)
    assert math.exp(log_ratio(pair([1.0] * 16, new, starts, way))) == pytest.approx(1.05)


def test_what_makes_every_fourth_call_longer_is_seen_among_the_slow_ones() -> None:
    new = [2.0 if call % 4 == 3 else 1.0 for call in range(16)]
    found = pair([1.0] * 16, new, "oooo", "halves")
    assert log_ratio(found) == 0
    assert math.exp(of_slow_calls(found)) == pytest.approx(2**0.5)
    assert of_slow_calls(pair([1.0] * 16, [1.3] * 16, "oooo", "halves")) == pytest.approx(0), "all calls are latency"


def test_the_order_effect_is_seen_and_tilts_nothing() -> None:
    """The side that is called after the other one finds its caches empty and takes 10 % longer."""
    old = [1.0, 1.1, 1.1, 1.0]  # old new new old: old's second follows new; then new old old new
    new = [1.1, 1.0, 1.0, 1.1]
    found = pair(old, new, "on")
    assert math.expm1(order_effect([found]) or 0) == pytest.approx(0.1)
    assert log_ratio(found) == pytest.approx(0, abs=1e-9)


# -- the centre of many pairs -----------------------------------------------------------------------------------------

QUIET = [0.004, -0.006, 0.008, 0.001, -0.002, 0.003, 0.005]
"""Seven pairs that were measured, of two builds of torch."""
WILD = -0.042
"""The eighth."""


def test_one_wild_pair_of_eight_moves_the_centre_little() -> None:
    without, found = of_pairs(QUIET), of_pairs([*QUIET, WILD])
    assert abs(found.mean - without.mean) < 0.002
    assert found.error < 2 * without.error
    assert abs(np.mean([*QUIET, WILD]) - np.mean(QUIET)) > 0.005, "the mean does not bear it"
    wilder = of_pairs([*QUIET, 100 * WILD])
    assert (wilder.mean, wilder.error) == pytest.approx((found.mean, found.error)), "how wild it is does not matter"


@given(st.lists(st.floats(-0.5, 0.5), min_size=5, max_size=24), st.floats(-1, 1))
def test_only_the_difference_counts(ratios: list[float], shift: float) -> None:
    found, moved = of_pairs(ratios), of_pairs([one + shift for one in ratios])
    turned = of_pairs([-one for one in ratios])
    assert moved.mean == pytest.approx(found.mean + shift, abs=1e-9)
    assert turned.mean == pytest.approx(-found.mean, abs=1e-9)
    assert min(ratios) - 1e-9 <= found.mean <= max(ratios) + 1e-9


@given(st.floats(-3, 3), st.integers(5, 24))
def test_pairs_that_are_all_equal_have_no_error(ratio: float, pairs: int) -> None:
    found = of_pairs([ratio] * pairs)
    assert (found.mean, found.error) == (pytest.approx(ratio, abs=1e-14), pytest.approx(0.0, abs=1e-14))


def alarms(pairs: int, allowed: float, wild: float = 0.0, *, count: int) -> float:
    """How often a bound excludes the truth, against how often it may; pairs are wild with this probability."""
    chance = np.random.default_rng(pairs)
    ratios = chance.normal(0, 1, (count, pairs))
    ratios += 10 * (chance.random(ratios.shape) < wild) * chance.choice([-1, 1], ratios.shape)
    found = [estimate(of_pairs(one), Errors(allowed, allowed)) for one in ratios.tolist()]
    return sum((one.low > 1) + (one.high < 1) for one in found) / (2 * count * allowed)


@pytest.mark.parametrize("pairs", [5, 8, 12, 24])
@pytest.mark.parametrize("wild", [0.0, 1 / 8], ids=["normal", "one wild in eight"])
def test_an_interval_excludes_the_truth_no_oftener_than_it_may(pairs: int, wild: float) -> None:
    assert alarms(pairs, 0.05, wild, count=6000) <= 1.1


@pytest.mark.nightly
@pytest.mark.parametrize("pairs", [5, 6, 8, 12, 16, 24])
def test_neither_does_it_far_out(pairs: int) -> None:
    """Where the alarms of a suite lie. A tenth more is allowed, and what 200,000 bounds leave to chance."""
    assert alarms(pairs, 0.01, count=100_000) <= 1.1 * 1.07
    assert alarms(pairs, 0.001, count=100_000) <= 1.1 * 1.2


# -- many pairs -------------------------------------------------------------------------------------------------------


def experiment(ratios: list[float], comparisons: int) -> str:
    """The word at which a whole sequential experiment ends."""
    looks, word = plan.looks(len(ratios)), UNSURE
    for look in looks:
        found = estimate(of_pairs(ratios[:look]), plan.errors(POLICY, comparisons, looks, look))
        word = decide(found, POLICY.paired).word
        if word != UNSURE:
            break
    return word


def words(
    effect: float, sd: float, most: int = 12, comparisons: int = 1, count: int = 1500, wild: float = 0.0
) -> dict[str, float]:
    chance = np.random.default_rng(5)
    ratios = chance.normal(math.log1p(effect), sd, (count, most))
    ratios += 10 * sd * (chance.random(ratios.shape) < wild) * chance.choice([-1, 1], ratios.shape)
    said = [experiment(one, comparisons) for one in ratios.tolist()]
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
    promised = plan.smallest(0.01, plan.looks(12), POLICY.paired, POLICY, 6)
    found = words(promised, 0.01, comparisons=6)
    assert found[SLOW] >= 0.95
    assert words(promised / 2, 0.01, comparisons=6)[SLOW] < 0.5, (
        "the promise is not worth much if half of it is found too"
    )


def test_a_slowdown_is_found_although_one_pair_in_eight_is_wild() -> None:
    """With the mean it was found in 70 of 100 such experiments, and no change was called the same in 43."""
    assert words(0.03, 0.005, wild=1 / 8)[SLOW] >= 0.9
    assert words(0.0, 0.005, wild=1 / 8)[SAME] >= 0.8
    assert words(POLICY.paired, 0.005, wild=1 / 8)[SLOW] <= 0.01


@pytest.mark.parametrize(("mean", "sd"), [(0.02, 0.01), (0.03, 0.016), (0.001, 0.014)])
def test_the_pairs_that_are_asked_for_would_settle_it(mean: float, sd: float) -> None:
    """With pairs of the same mean and scatter, so many end in a verdict at the last look, and one fewer does not."""
    seen = from_scatter(mean, sd, 5)
    assert word_of(seen, 5) == UNSURE
    needed = plan.pairs_needed(seen, 0.01, POLICY, 1)
    assert needed is not None
    ends = [word_of(from_scatter(mean, sd, pairs), pairs) != UNSURE for pairs in (needed - 1, needed)]
    assert ends == [False, True]


def word_of(effect: Effect, pairs: int) -> str:
    return decide(estimate(effect, plan.errors(POLICY, 1, plan.looks(pairs), pairs)), 0.01).word


def test_a_question_that_the_machine_cannot_answer_has_no_number_of_pairs() -> None:
    assert plan.pairs_needed(of_pairs([0.3, 0.01, -0.27, 0.2, -0.2]), 0.01, POLICY, 1) is None


# -- the band ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "across"),
    [
        ({}, False),
        ({"fastdiff": "2"}, False),
        ({"fastdiff": None, "pytest-fastdiff": "2"}, False),
        ({"mine": "0.2"}, False),
        ({"numpy": "2.5"}, True),
        ({"numpy": None}, True),
        ({"more": "1"}, True),
    ],
    ids=str,
)
def test_other_packages_are_another_stack(changed: dict[str, str | None], across: bool) -> None:
    """fastdiff and the project are what is compared; their versions make no other stack."""
    old = {"fastdiff": "1", "mine": "0.1", "numpy": "2.4"}
    new = {name: version for name, version in (old | changed).items() if version}
    assert across_stacks(old, new, "mine") is across
    assert across_stacks(new, old, "mine") is across
