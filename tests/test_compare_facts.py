"""Facts of two runs, in words."""

from __future__ import annotations

import pytest

from fastdiff.compare.facts import listed


@pytest.mark.parametrize(
    ("names", "most", "expected"),
    [("abc", 3, "a, b, c"), ("abcd", 3, "a, b, c and 1 more"), ("abcdefg", 5, "a, b, c, d, e and 2 more"), ("", 3, "")],
)
def test_a_long_list_is_cut_and_says_how_much_is_left(names: str, most: int, expected: str) -> None:
    assert listed(names, most) == expected
