"""The estimate of what a session will still take."""

from __future__ import annotations

from fastdiff.report.remaining import CALLS_BESIDES, COMPILING_S, Seen, seconds_left, shown


def test_the_stages_that_come_take_as_long_as_the_last_one() -> None:
    seen = [Seen(10.0, None), Seen(2.0, None)]
    one = seconds_left(seen, [False], samples=3)
    assert seconds_left(seen, [False, False], samples=3) - one == 2.0 * (3 + CALLS_BESIDES)
    assert seconds_left([Seen(4.0, None)], [False], samples=3) == 2 * one
    assert 0 < seconds_left(seen, [], samples=3) < one, "this stage is not over yet"


def test_compiling_is_taken_from_the_last_one_that_was_seen() -> None:
    eager = seconds_left([Seen(1.0, None)], [False, False], samples=3)
    assert seconds_left([Seen(1.0, None)], [True, True], samples=3) - eager == 2 * COMPILING_S
    assert seconds_left([Seen(1.0, 30.0)], [True, True], samples=3) - eager == 60.0


def test_less_than_a_minute_is_not_worth_saying() -> None:
    assert shown(59.0) == ""
    assert shown(150.0) == "; up to 3 min left"
