"""The runner whose every trial is a fresh process."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from fastdiff.record.errors import UserError
from fastdiff.record.reading import convert
from fastdiff.record.run import Sample, Trial
from fastdiff.trial.process import Process
from fastdiff.trial.runner import SILENT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fastdiff.trial.runner import Progress
    from fastdiff.trial.work import Work

T = TypeVar("T")


@dataclass(frozen=True)
class Fresh:
    """The runner: every trial is a process of its own, under the named interpreter and with these variables besides."""

    name: str
    """How errors call the process."""
    python: Path = Path(sys.executable)
    variables: Mapping[str, str | None] = field(default_factory=dict)

    @contextmanager
    def __call__(self, work: Work, progress: Progress = SILENT) -> Iterator[FreshTrial]:
        with self.start() as process:
            with progress.doing(
                f"{work.id}: building and first call{' (compiling)' if work.stage.recipe.compile else ''}"
            ):
                trial = FreshTrial.of(process, work)
            yield trial

    def start(self) -> Process:
        return Process(self.name, self.python, self.variables)


class FreshTrial:
    """A stage in another process."""

    def __init__(self, process: Process, trial: Trial, facts: Mapping[str, Any]) -> None:
        self.process = process
        self.facts = facts
        """What the process says of itself: `environment` and `packages`."""
        self._trial = trial
        self._samples: list[Sample] = []

    @classmethod
    def of(cls, process: Process, work: Work) -> Self:
        """Builds `work` in a process that was started already."""
        process.greet()
        answer = process.ask("build", **asdict(work))
        if answer.get("unapplied"):
            raise UserError("not-applied", f"{process.name}: {work.id} was not applied: {answer['unapplied'][0]}")
        return cls(process, _read(answer, "trial", Trial, process.name), answer)

    def settle(self) -> None:
        self.process.ask("settle")

    def sample(self) -> Sample:
        self._samples.append(_read(self.process.ask("sample"), "sample", Sample, self.process.name))
        return self._samples[-1]

    def examine(self, pictures: Path | None = None) -> None:
        answer = self.process.ask("examine", pictures=str(pictures) if pictures else "")
        self._trial = _read(answer, "trial", Trial, self.process.name)

    def inject(self, faults: str) -> None:
        """Another amount of a fault that was put in when the stage was built."""
        self.process.ask("inject", faults=faults)

    def trial(self) -> Trial:
        return replace(self._trial, samples=tuple(self._samples))


def _read(answer: Mapping[str, Any], what: str, kind: type[T], name: str) -> T:
    """A part of an answer; nonsense is refused as in any other file."""
    try:
        return convert(answer.get(what), kind, what)
    except UserError as error:
        raise UserError("process", f"{name}: invalid {what}: {error}") from None
