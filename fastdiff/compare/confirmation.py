"""Confirmation of a latency in fresh processes, planned beforehand: of which verdicts, how often, and what it costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastdiff.compare.verdicts import SLOW, UNSURE

if TYPE_CHECKING:
    from fastdiff.compare.verdicts import Verdict

PROCESSES = 4
"""With the session's own process, the noise of a stage is less than half."""


@dataclass(frozen=True)
class Confirmation:
    processes: int = 0
    """Fresh processes; all of them count, and so does the session's own."""
    of_doubts: bool = False
    """Whether every UNSURE latency gets it, and not only what seems slow. Without strict mode a doubt around the
    accepted value fails nothing, and is not worth the minutes."""

    @property
    def chances(self) -> int:
        """How often a latency may be given the same word, rightly or wrongly.

        What seems slow is called so after its confirmation only, which is one chance. It may be acquitted there, but of
        stages at the edge of the band that is about one in 200 (simulated in the tests), and not counted.
        """
        return 2 if self.processes and self.of_doubts else 1

    def wanted(self, verdict: Verdict, band: float) -> bool:
        """After a first look with this verdict."""
        if not self.processes:
            return False
        return verdict.word == SLOW or seems_slow(verdict, band) or (self.of_doubts and verdict.word == UNSURE)


UNCONFIRMED = Confirmation()


def seems_slow(verdict: Verdict, band: float) -> bool:
    """Surely, or with the middle of its interval beyond the band."""
    found = verdict.estimate
    return verdict.word in (SLOW, UNSURE) and found is not None and found.ratio > 1 + band
