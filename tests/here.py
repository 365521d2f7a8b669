"""The ladder as the CPU of these tests climbs it: where it only emulates bfloat16, a call in it takes seconds."""

import pytest

from fastdiff.host.processor import emulated
from fastdiff.stages.published import LADDER

EMULATED = emulated("cpu")
HERE = LADDER.native(EMULATED)
NATIVE = tuple(name for name in HERE.names if name not in HERE.refused(EMULATED))
"""What is not skipped here."""
DTYPE = HERE["sdpa"].recipe.dtype
"""The shortest that is quick here."""
SLOW = [pytest.mark.nightly] if "bfloat16" in EMULATED else []
"""Marks of what computes in bfloat16."""
