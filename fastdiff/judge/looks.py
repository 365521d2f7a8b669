"""The second look at a latency, planned before the first: who gets it, in how many processes, and what it costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastdiff.judge.verdicts import AMBIGUOUS, SLOW

if TYPE_CHECKING:
    from fastdiff.judge.verdicts import Verdict


@dataclass(frozen=True)
class Looks:
    processes: int = 0
    """Fresh ones of a second look; all of them count, and so does the first look."""
    at_doubts: bool = False
    """Whether every AMBIGUOUS latency gets it, and not only what seems slow. A doubt around the accepted value fails
    nobody who is not strict, and is not worth everyone's minutes."""

    @property
    def alarms(self) -> int:
        """How often a latency may be called slow: as often it may be called so wrongly."""
        return 2 if self.processes else 1

    @property
    def acquittals(self) -> int:
        """How often it may be called the same. What only what seems slow may hear a second time is no second chance
        worth counting: of stages at the edge of the band it acquits about one in 200 more (simulated in the tests)."""
        return 2 if self.processes and self.at_doubts else 1

    def wanted(self, verdict: Verdict, band: float) -> bool:
        """After a first look with this verdict."""
        return self.processes > 0 and (seems_slow(verdict, band) or (self.at_doubts and verdict.word == AMBIGUOUS))


NO_SECOND_LOOK = Looks()


def seems_slow(verdict: Verdict, band: float) -> bool:
    """Surely, or with the middle of its interval beyond the band."""
    found = verdict.estimate
    return verdict.word in (SLOW, AMBIGUOUS) and found is not None and found.ratio > 1 + band
