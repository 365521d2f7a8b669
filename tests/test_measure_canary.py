"""The canary: named so that two of a name are the same work, and independent of torch."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from fastdiff.measure import canary

if TYPE_CHECKING:
    from types import FrameType

pytestmark = pytest.mark.alone


def test_identity_names_library_size_and_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in canary.THREAD_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(canary, "usable_cores", lambda: {0, 1, 5})
    first = canary.identity()
    assert first.startswith(f"numpy {np.__version__}, ")
    assert "unknown" not in first
    assert (
        f", 768x768 float32, {canary.TURNS} x {canary.PRODUCTS} products, 3 threads, python {sys.version.split()[0]}"
        in first
    )
    assert canary.identity() == first
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert ", 7 threads, " in canary.identity()
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    assert ", 1 threads, " in canary.identity()


def test_work_is_always_the_same_and_stays_finite() -> None:
    matrix = canary._matrix()
    assert matrix.shape == (768, 768)
    assert matrix.dtype == np.float32
    canary._matrix.cache_clear()
    assert np.array_equal(canary._matrix(), matrix)
    last = np.linalg.matrix_power(matrix, canary.TURNS * canary.PRODUCTS + 1)
    assert 1e-3 < np.abs(last).max() < 1e3


@pytest.mark.parametrize("part", ["PRODUCTS", "ADDITIONS", "TURNS"])
def test_time_is_that_of_both_parts(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = min(canary.time_canary() for _ in range(3))
    with monkeypatch.context() as longer:
        longer.setattr(canary, part, 20 * getattr(canary, part))
        seconds = canary.time_canary()
        assert f"{getattr(canary, part)} " in canary.identity()
    once = min(before, *(canary.time_canary() for _ in range(3)))  # neighbours come and go
    assert 0 < once < 60
    assert seconds > 3 * once


def test_nobody_traces_it() -> None:
    seen: list[str] = []

    def watch(frame: FrameType, event: str, argument: object) -> None:
        seen.append(frame.f_code.co_name)

    before = sys.gettrace(), sys.getprofile()
    sys.settrace(watch)
    sys.setprofile(watch)
    try:
        canary.time_canary()
        during = sys.gettrace(), sys.getprofile()
    finally:
        sys.settrace(before[0])
        sys.setprofile(before[1])
    assert during == (watch, watch), "whoever traces goes on afterwards"
    assert "time_canary" in seen
    assert "_work" not in seen


def test_torch_is_not_needed() -> None:
    code = "import sys; from fastdiff.measure.canary import *; time_canary(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize("core", ["Haswell", "Sandybridge"])
def test_identity_names_the_kernels_that_a_variable_forces(core: str) -> None:
    """The same product takes another time with other kernels, so it is another canary."""
    code = "from fastdiff.measure.canary import identity; print(identity())"
    forced = os.environ | {"OPENBLAS_CORETYPE": core}
    done = subprocess.run([sys.executable, "-c", code], env=forced, capture_output=True, text=True, check=True)
    assert f" {core}, 768x768" in done.stdout
