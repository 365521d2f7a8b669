"""What this room needs of a progress display; `fastdiff.report.progress` is one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from contextlib import AbstractContextManager


class Progress(Protocol):
    def doing(self, what: str) -> AbstractContextManager[object]:
        """Shows what takes long while it takes long."""
