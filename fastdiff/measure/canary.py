"""The canary: a fixed piece of work, timed between the calls to know how fast the machine is right now.

Matrix products of NumPy's on every core, and plain Python on one, because a call is both: arithmetic, and the way from
operator to operator, and neighbours slow the two differently. It does not need torch, so a slower torch does not make
it slower; threads that torch leaves spinning would, and threads that hold Python's lock.
"""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import re
import sys
import time
from pathlib import Path

import numpy as np

from fastdiff.host.processor import usable_cores

SIZE = 768
"""Three such matrices are 7 MB: they stay in the caches of a server's core, and arithmetic decides, not memory."""

PRODUCTS = 5
"""About 25 ms on two cores."""

ADDITIONS = 400_000
"""About 12 ms. Between fourteen processes of a noisy night calls scattered by 6.6 % (`sdpa`) and 9.5 % (`bf16`) in
units of products alone, and by 4 % and 5 % with half as much time in additions. Tried on two cores: with more of them
the products take less, and the additions as long as here."""

TURNS = 4
"""Of products and additions. The whole is long against the scheduler's slices, and short against a call."""

CORE_NAMES = ("scipy_openblas_get_corename64_", "scipy_openblas_get_corename", "openblas_get_corename")
"""One function; NumPy's wheels and other builds give it their own prefix and suffix."""

THREAD_VARIABLES = ("OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")
"""Whichever is set limits the threads of the BLAS; the particular ones come before the general one."""


def identity() -> str:
    """What was timed. Latencies in the canary's unit compare only where it is the same."""
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return (
        f"numpy {np.__version__}, {blas['name']} {blas['version']} {_kernel()}, "
        f"{SIZE}x{SIZE} float32, {TURNS} x {PRODUCTS} products, {_threads()} threads, "
        f"python {platform.python_version()}, {TURNS} x {ADDITIONS} additions"
    )


def time_canary() -> float:
    """Seconds of wall time, untraced as the timed calls are: coverage and debuggers slow Python alone, and much."""
    tracer, profiler = sys.gettrace(), sys.getprofile()
    sys.settrace(None)
    sys.setprofile(None)
    try:
        return _work()
    finally:
        sys.setprofile(profiler)
        sys.settrace(tracer)


def _work() -> float:
    matrix = _matrix()
    result = matrix
    began = time.perf_counter()
    for _ in range(TURNS):
        for _ in range(PRODUCTS):
            result = result @ matrix
        total = 0
        for number in range(ADDITIONS):
            total += number
    return time.perf_counter() - began


@functools.cache
def _matrix() -> np.ndarray:
    """Scaled so that its powers neither vanish nor overflow: numbers near zero are slow on some processors."""
    return np.random.default_rng(0).standard_normal((SIZE, SIZE), dtype=np.float32) / np.float32(SIZE**0.5)


def _kernel() -> str:
    """The processor for which OpenBLAS chose its kernels, which a variable can force: the same product on the same
    machine took twice the time with OPENBLAS_CORETYPE=Haswell."""
    maps = Path("/proc/self/maps")
    libraries = re.findall(r"(/\S*openblas\S*)", maps.read_text()) if maps.exists() else []
    for library in dict.fromkeys(libraries):
        loaded = ctypes.CDLL(library)
        for name in CORE_NAMES:
            if function := getattr(loaded, name, None):
                function.restype = ctypes.c_char_p
                return str(function().decode())
    return os.environ.get("OPENBLAS_CORETYPE", "kernel unknown")


def _threads() -> str:
    asked = [os.environ[name] for name in THREAD_VARIABLES if os.environ.get(name)]
    return asked[0] if asked else str(len(usable_cores()))
