"""The ladder as the CPU of these tests climbs it: where it only emulates bfloat16, a call in it takes seconds."""

from fastdiff.measure.environment import emulated
from fastdiff.recipes import LADDER

MISSING = emulated("cpu")
HERE = LADDER.native(MISSING)
NATIVE = tuple(stage.name for stage in HERE if not stage.recipe.arithmetic & set(MISSING))
"""What is not left out here."""
DTYPE = HERE["sdpa"].recipe.dtype
"""The shortest that is quick here."""
