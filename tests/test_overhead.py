"""What the plugin adds to a call: the numbers behind the answer, with pairs that are known."""

from __future__ import annotations

import random

import pytest

from fastdiff.experiments.overhead import FEWEST, measure, median_ratio


def pairs(share: float, count: int, seed: int) -> list[tuple[float, float]]:
    """Through the plugin and bare; now and then a neighbour comes in the middle of a pair, and stays."""
    scatter = random.Random(seed)

    def call(seconds: float) -> float:
        return seconds * scatter.lognormvariate(0, 0.03) * (5 if scatter.random() < 0.1 else 1)

    return [(call(1 + share), call(1)) for _ in range(count)]


@pytest.mark.parametrize("count", [FEWEST, 40, 400])
def test_the_share_lies_between_the_bounds_as_often_as_is_said(count: int) -> None:
    tries = 400
    within = 0
    for seed in range(tries):
        middle, low, high = median_ratio(pairs(0.02, count, seed))
        assert low <= middle <= high
        within += low <= 1.02 <= high
    assert within >= 0.93 * tries


def test_neighbours_do_not_hide_one_per_cent() -> None:
    _, low, high = median_ratio(pairs(0.01, 2000, 1))
    assert 1.005 < low < high < 1.015


def test_a_stage_that_is_not_possible_here_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """It asks for kernels of a GPU."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(SystemExit, match="sdpa-cudnn is not possible here"):
        measure("sdpa-cudnn", FEWEST)
