"""What a runner is: it builds a stage and makes the first call. `run` takes a trial from beginning to end; in a session
pytest-benchmark asks for the samples instead.

Three runners follow this protocol: `live.here` builds in this process, `fresh.Fresh` in a process of its own, and
`fake.Fake` builds nothing. The last two also give the sides of a pair, whose steps are begun and waited for apart.
Nothing outside of this room builds a stage or times a call.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from fastdiff.record.run import Sample, Trial
    from fastdiff.trial.work import Work


class Progress(Protocol):
    """What this room and those above it need of a progress display; `fastdiff.report.progress` is one."""

    def doing(self, what: str) -> AbstractContextManager[object]:
        """Shows what takes long while it takes long."""


class Silent:
    """Shows nothing."""

    def doing(self, what: str) -> AbstractContextManager[object]:  # noqa: ARG002
        return nullcontext()


SILENT = Silent()


class OpenTrial(Protocol):
    """A stage that was built and called once; the block that opened it ends it."""

    def settle(self) -> None:
        """Calls until the times agree, so that the samples are of the steady state."""

    def sample(self) -> Sample:
        """One timed call."""

    def examine(self, pictures: Path | None = None) -> None:
        """Passes of their own that count and take apart; `pictures` names a NumPy file for what was drawn."""

    def trial(self) -> Trial:
        """Everything that is known by now."""


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

    def trial(self) -> Trial: ...


class Runner(Protocol):
    def __call__(self, work: Work, progress: Progress = ...) -> AbstractContextManager[OpenTrial]:
        """Builds `work` and makes the first call."""
