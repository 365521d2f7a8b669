"""The interfaces of the code that builds and measures a stage.

`live.here` builds in this process, for a session and for `fastdiff run`. `fresh.Fresh` starts a process for one side of
a pair; each of its steps can be started first and waited for later. `fake.Fake` builds nothing and replaces both in
tests. A session builds stages and times calls nowhere else.
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
    """The interface of a progress display; `fastdiff.report.progress` implements it."""

    def doing(self, what: str) -> AbstractContextManager[object]:
        """Shows `what` while the block runs, if it takes long."""


class Silent:
    """Shows nothing."""

    def doing(self, what: str) -> AbstractContextManager[object]:  # noqa: ARG002
        return nullcontext()


SILENT = Silent()


T = TypeVar("T")
Wait = Callable[[], T]
"""Waits until a started step has ended, and returns its result."""


class SideTrial(Protocol):
    """One side of a pair: a stage that is built in a process of its own. Each method starts a step and returns a
    function that waits for its end, so that both sides can work at the same time."""

    @property
    def folders(self) -> tuple[Path, ...]:
        """The folders from which its libraries will be imported."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the process reports about itself after building: `environment` and `packages`."""

    def load(self) -> Wait[None]:
        """Imports the libraries."""

    def build(self) -> Wait[None]:
        """Builds, and makes the first call."""

    def settle(self) -> Wait[None]: ...

    def move(self, cores: Collection[int]) -> Wait[None]:
        """Moves the process, with all of its threads, to these cores."""

    def sample(self, at: float = 0.0) -> Wait[Sample]:
        """One timed call, which begins when `time.monotonic` reads `at`."""

    def inject(self, faults: str) -> Wait[None]:
        """Changes the amount of a fault that was injected when the stage was built."""

    def examine(self, pictures: Path | None = None) -> Wait[None]: ...

    def profile(self) -> Wait[Profile]:
        """The operators and kernels that one call runs; always the last step."""

    def trial(self) -> Trial: ...
