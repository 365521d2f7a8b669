"""What one trial builds and draws: plain data, so that it can be sent to another process."""

from __future__ import annotations

from dataclasses import dataclass

from fastdiff.models import Model, Request  # noqa: TC001  (msgspec reads them)
from fastdiff.stages.ladder import Stage  # noqa: TC001


@dataclass(frozen=True)
class Work:
    model: Model
    stage: Stage
    built: Stage
    """The stage that is actually built; differs from `stage` only if a fault leaves its optimization out."""
    device: str
    request: Request
    faults: str = ""
    """In the spelling of `--fastdiff-inject`."""

    @property
    def id(self) -> str:
        return f"{self.model.name}-{self.stage.name}"
