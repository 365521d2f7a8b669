"""A pytest plugin that does before every timed call what fastdiff once did: products whose threads spin on afterwards.

With it both checks must fail. OpenBLAS's worker threads wait busily for a while after a product, and take the cores
from torch's: calls of the embedded model took 11 to 22 % longer.
"""

from __future__ import annotations

from functools import cache, wraps
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from fastdiff.trial.live import LiveStage

SIZE, PRODUCTS = 768, 20


@cache
def matrix() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((SIZE, SIZE), dtype=np.float32) / np.float32(SIZE**0.5)


@pytest.fixture(autouse=True)
def disturbed(stage: LiveStage, monkeypatch: pytest.MonkeyPatch) -> None:
    before = stage.watch.before

    @wraps(before)
    def disturb() -> None:
        before()
        result = matrix()
        for _ in range(PRODUCTS):
            result = result @ matrix()

    monkeypatch.setattr(stage.watch, "before", disturb)
