"""What is measured, as data: recipes, stages, ladders. Imports no torch."""

from __future__ import annotations

from fastdiff.stages.beyond import BEYOND
from fastdiff.stages.published import LADDER
from fastdiff.stages.techniques import TECHNIQUES

LADDERS = {"published": LADDER, "techniques": TECHNIQUES}
EVERY_STAGE = tuple(dict.fromkeys([*LADDER.names, *(step.name for _, step in BEYOND), *TECHNIQUES.names]))
"""Names that mean something in some session, if not in this one."""
