"""Who builds and measures a stage, and what those who ask for it need to know.

`live.here` builds in this process, for a session and for `fastdiff run`. `fresh.Fresh` starts a process for one side of
a pair, whose steps are begun and waited for apart. `fake.Fake` builds nothing and stands in for both. Nothing outside
of this room builds a stage or times a call.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from fastdiff.record.pairs import Profile
    from fastdiff.record.run import Sample, Trial


class Progress(Protocol):
    """What this room and those above it need of a progress display; `fastdiff.report.progress` is one."""

    def doing(self, what: str) -> AbstractContextManager[object]:
        """Shows what takes long while it takes long."""


class Silent:
    """Shows nothing."""

    def doing(self, what: str) -> AbstractContextManager[object]:  # noqa: ARG002
        return nullcontext()


SILENT = Silent()


T = TypeVar("T")
Wait = Callable[[], T]
"""Of a step that was begun: returns when it has ended."""


class SideTrial(Protocol):
    """One side of a pair: a stage that is to be built in a process of its own. Each step is begun by its method and has
    ended when what the method returned was called, so that both sides are at work at the same time."""

    @property
    def folders(self) -> tuple[Path, ...]:
        """From which its libraries will be imported."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the process says of itself once it has built: `environment` and `packages`."""

    def load(self) -> Wait[None]:
        """Imports the libraries."""

    def build(self) -> Wait[None]:
        """Builds, and makes the first call."""

    def settle(self) -> Wait[None]: ...

    def move(self, cores: Collection[int]) -> Wait[None]:
        """To these cores, with all of its threads."""

    def sample(self, at: float = 0.0) -> Wait[Sample]:
        """One timed call, which begins when `time.monotonic` reads `at`."""

    def inject(self, faults: str) -> Wait[None]:
        """Another amount of a fault that was put in when the stage was built."""

    def examine(self, pictures: Path | None = None) -> Wait[None]: ...

    def profile(self) -> Wait[Profile]:
        """What one call runs; the last step of all."""

    def trial(self) -> Trial: ...
