"""What stored seconds are good for where software differs, and how long pairs will take: pure functions, numbers."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from fastdiff.compare.duration import LOOKING, STARTING_S, Expected, Planned, expected, out_of_reach
from fastdiff.compare.screen import Screened, in_order, moved, next_of, worth_it
from fastdiff.record.run import Acceptance, Baseline, Device, Run, Sample, Trial, WarmUp
from fastdiff.report.remaining import of_pairs

BOX = Device("box", "cpu", "box")


def trial(*seconds: float, void: str = "", **known: object) -> Trial:
    samples = tuple(Sample(each, void=void) for each in seconds)
    return Trial("m", "a", None, state="measured", samples=samples, **known)  # type: ignore[arg-type]


def accepted(base: Trial, device: Device = BOX) -> Baseline:
    return Baseline(Run(device, "then", stages=(base,)), Acceptance("me", "then", "why", "run.json"))


# -- which ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("now", "change"), [(2.0, math.log(2)), (0.5, math.log(2)), (1.0, 0.0)])
def test_a_stage_moved_as_far_as_its_seconds(now: float, change: float) -> None:
    assert moved(trial(now, now), accepted(trial(1.0)), BOX) == pytest.approx(change)


def test_what_does_not_compare_is_not_known_to_have_moved() -> None:
    assert moved(trial(2.0), None, BOX) is None
    assert moved(trial(2.0), accepted(trial(1.0), Device("other", "cpu", "other")), BOX) is None
    assert moved(trial(2.0), accepted(trial(1.0, request={"steps": 4})), BOX) is None
    assert moved(trial(2.0), accepted(trial()), BOX) is None
    assert moved(trial(2.0), accepted(trial(1.0, void="stolen")), BOX) is None
    assert moved(trial(2.0, void="stolen"), accepted(trial(1.0)), BOX) is None


def screened(**far: float | None) -> list[Screened]:
    return [Screened(name, "m", each, band=0.1) for name, each in far.items()]


def test_the_most_changed_comes_first_and_equals_stay_as_they_are() -> None:
    assert [one.id for one in in_order(screened(a=0.1, b=0.3, c=None, d=0.1, e=0.0))] == ["b", "a", "d", "c", "e"]


def test_no_stage_has_its_next_look_before_all_had_theirs() -> None:
    a, b, c = screened(a=0.1, b=0.3, c=0.2)
    assert next_of([a, b, c]) == "b"
    assert next_of([a, replace(b, looks=1), c]) == "c"
    assert next_of([a, replace(b, looks=1), replace(c, looks=2)]) == "a"
    assert next_of([replace(a, looks=1), replace(b, looks=1, moved=0.0), replace(c, looks=2)]) == "a"


def test_flagged_stages_and_the_last_one_are_worth_it() -> None:
    assert worth_it(screened(a=0.05, b=0.2, c=None, d=0.0, e=0.0)) == {"b", "c", "e"}
    other = [Screened("x", "n", 0.0, 0.1)]
    assert worth_it([*screened(a=0.0, b=0.0), *other]) == {"b", "x"}, "of each model"
    assert worth_it([]) == set()


# -- how long ---------------------------------------------------------------------------------------------------------


def test_a_stage_takes_its_calls_of_both_sides() -> None:
    known = trial(2.0, 2.0, load_s=1.0, first_call_s=10.0, warm_up=WarmUp(3, 6.0, settled=True))
    one = STARTING_S + 2 * (1.0 + 10.0 + 6.0) + 2 * 24 * 2.0
    looking = 2 * LOOKING * 2.0
    found = expected(known, Planned(24, (5, 8, 12)))
    assert found == Expected("m-a", pytest.approx(5 * one + looking), pytest.approx(12 * one + looking))
    beside = 5 * (one - 2 * 12 * 2.0)
    assert expected(known, Planned(None, (5, 8, 12))) == expected(known, Planned(12, (5, 8, 12))), "the fewest"
    with_all_cores = expected(known, Planned(24, (5, 8, 12), beside=5, calls_beside=12))
    assert with_all_cores.most_s - found.most_s == pytest.approx(beside)
    assert with_all_cores.least_s - found.least_s == pytest.approx(beside)


def test_a_stage_of_which_little_is_known_takes_its_calls_alone() -> None:
    assert expected(trial(1.0), Planned(2, (5,))).most_s == pytest.approx(5 * (STARTING_S + 2 + 4) + 2 * LOOKING)
    assert expected(trial(1.0, void="stolen"), Planned(2, (5,))).most_s == 5 * STARTING_S


def test_a_stage_is_out_of_reach_where_the_first_looks_up_to_its_own_take_too_long() -> None:
    three = [Expected(name, 100.0, 400.0) for name in "abc"]
    assert out_of_reach(three, 300.0) == []
    assert out_of_reach(three, 299.0) == ["c"]
    assert out_of_reach(three, 1.0) == ["a", "b", "c"]


def test_the_time_is_said_before_it_is_spent() -> None:
    three = [Expected(name, 130.0, 400.0) for name in "abc"]
    assert of_pairs(three, 30) == [
        "pairs take about: a 3 to 7 min, b 3 to 7 min, c 3 to 7 min, together 7 to 20 min; "
        "no new pair starts after 30 min"
    ]
    assert of_pairs(three[:1], 30) == ["pairs take about: a 3 to 7 min; no new pair starts after 30 min"]
    assert of_pairs(three, 10)[1:] == ["some may stay undecided; --fastdiff-max-time=20 is enough for all"]
    assert of_pairs(three, 5)[1:] == ["may not be reached: c; --fastdiff-max-time=20 is enough for all"]
    assert of_pairs([Expected("a", 10.0, 50.0)], 15) == ["pairs take about: a 1 min; no new pair starts after 15 min"]
