"""What the study of pairs makes of measured ones."""

from __future__ import annotations

import numpy as np
import pytest

from fastdiff.record.pairs import Pair
from fastdiff.record.run import Sample, Trial
from tools import paired_power

pytestmark = pytest.mark.nightly


def a_pair(random: np.random.Generator, change: float) -> Pair:
    """Pairs scatter by 1 %."""
    ratio = (1 + change) * float(np.exp(random.normal(0, 0.01)))
    old, new = (Trial("m", "s", None, samples=(Sample(value),) * 2) for value in (1.0, ratio))
    return Pair(old, new, "turns", "o", 1.0)


def test_the_table_of_pairs_counts_alarms_and_detections() -> None:
    random, amounts = np.random.default_rng(0), (paired_power.CLEAN, *paired_power.AMOUNTS)
    measured = [
        paired_power.Measured({amount: a_pair(random, amount / 100) for amount in amounts}, 1.0) for _ in range(24)
    ]
    cells = [cell.strip() for cell in paired_power.table(measured, 12, 1)[2].split("|")][2:-1]
    clean, *found = (float(cell.removesuffix(" %")) for cell in cells)
    assert clean <= 1.0
    assert found == sorted(found)
    assert found[0] < 20, "inside the band"
    assert found[-1] == 100.0, "far beyond it"
