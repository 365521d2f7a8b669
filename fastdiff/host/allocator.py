"""What the host's allocator does with the memory that a call has freed: keep it while a stage lives, then give it back.

By default glibc returns large blocks to the system at once, and the next call finds them missing, page by page. On two
shared cores a call of the embedded model met 400,000 page faults in `fp32` and 220,000 in `bf16`, and none where freed
memory is kept, which made the calls shorter by a tenth to a quarter. It is told here without torch, which need not be.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4
"""The numbers of glibc's settings, from malloc.h."""

KEEP = {M_TRIM_THRESHOLD: -1, M_MMAP_MAX: 0}
"""Nothing goes back from the end of the main thread's heap, and nothing is mapped outside of it."""

AFTERWARDS = {M_TRIM_THRESHOLD: 64 * 2**20, M_MMAP_THRESHOLD: 32 * 2**20, M_MMAP_MAX: 65536}
"""Settings cannot be read, and once one is set glibc moves its two thresholds no longer. This is where they end by
themselves in a process that frees large blocks; so much stays changed until the process ends."""

VARIABLES = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_MMAP_MAX_", "MALLOC_TOP_PAD_")
"""With any of these, or a tunable of the same, the user has decided about freed memory."""

TUNABLES = re.compile(r"glibc\.malloc\.(trim_threshold|mmap_threshold|mmap_max|top_pad)\b")


def policy() -> str:
    """What happens to freed memory while a stage lives on a CPU; a fact of a run."""
    return "keeps freed memory" if _ours() and _function("mallopt") else "as the system has it"


@contextmanager
def freed_memory_kept(device: str) -> Iterator[None]:
    """On a CPU, unless the environment says what is to happen."""
    wanted = device.partition(":")[0] == "cpu" and _ours()
    if wanted:
        _set(KEEP)
    try:
        yield
    finally:
        if wanted:
            _set(AFTERWARDS)


def give_back() -> None:
    """What is free goes back to the system; without this ten stages look like a leak."""
    trim = _function("malloc_trim")
    if trim is not None:
        trim(0)


def _ours() -> bool:
    decided = any(os.environ.get(name) for name in VARIABLES)
    return not decided and not TUNABLES.search(os.environ.get("GLIBC_TUNABLES", ""))


def _set(settings: dict[int, int]) -> None:
    change = _function("mallopt")
    if change is not None:
        for name, value in settings.items():
            change(name, value)


def _function(name: str) -> Any:
    """None where the C library is not glibc."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
