"""One side of a pair: a fresh process that builds and measures one stage."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from fastdiff.record.errors import UserError
from fastdiff.record.pairs import Profile
from fastdiff.record.reading import convert
from fastdiff.record.run import Sample, Trial
from fastdiff.trial.process import Process

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from fastdiff.trial.runner import Wait
    from fastdiff.trial.work import Work

T = TypeVar("T")


@dataclass(frozen=True)
class Fresh:
    """Starts such processes, with the given interpreter and additional variables."""

    name: str
    """The name of the process in error messages."""
    python: Path = Path(sys.executable)
    variables: Mapping[str, str | None] = field(default_factory=dict)
    cores: tuple[int, ...] = ()
    """The cores on which it starts; empty: all cores that this process may use."""

    @contextmanager
    def side(self, work: Work) -> Iterator[FreshSide]:
        with Process(self.name, self.python, self.variables, self.cores) as process:
            yield FreshSide(process, work)


class FreshSide:
    """A stage in another process, step by step; `fastdiff.trial.runner.SideTrial` documents the steps."""

    def __init__(self, process: Process, work: Work) -> None:
        self._process, self._work = process, work
        self.facts: Mapping[str, Any] = {}
        self._trial = Trial(work.model.name, work.stage.name, work.stage.follows)
        self._samples: list[Sample] = []

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def folders(self) -> tuple[Path, ...]:
        return self._process.greet()

    def load(self) -> Wait[None]:
        return self._begun("load", self._loaded, recipe=self._work.built.recipe.as_kept())

    def build(self) -> Wait[None]:
        return self._begun("build", self._built, **asdict(self._work))

    def settle(self) -> Wait[None]:
        return self._begun("settle")

    def move(self, cores: Collection[int]) -> Wait[None]:
        return self._begun("move", cores=list(cores))

    def sample(self, at: float = 0.0) -> Wait[Sample]:
        return self._begun("sample", self._sampled, at=at)

    def examine(self, pictures: Path | None = None) -> Wait[None]:
        return self._begun("examine", self._examined, pictures=str(pictures) if pictures else "")

    def profile(self) -> Wait[Profile]:
        return self._begun("profile", lambda answer: _read(answer, "profile", Profile, self._process.name))

    def inject(self, faults: str) -> Wait[None]:
        return self._begun("inject", faults=faults)

    def trial(self) -> Trial:
        return replace(self._trial, samples=tuple(self._samples))

    def _begun(self, action: str, read: Callable[[dict[str, Any]], Any] = lambda _: None, **details: Any) -> Wait[Any]:
        self._process.greet()
        self._process.begin(action, **details)
        return lambda: read(self._process.answer(action))

    def _loaded(self, answer: dict[str, Any]) -> None:
        asked, understood = self._work.built.recipe.as_kept(), answer.get("recipe")
        if understood != asked:
            raise UserError(
                "process",
                f"{self._process.name}: its fastdiff cannot build {self._work.id}: it reads the recipe {asked} as "
                f"{understood}. Accept a run of today's fastdiff, and compare with that.",
            )

    def _built(self, answer: dict[str, Any]) -> None:
        self.facts = answer
        self._examined(answer)

    def _sampled(self, answer: dict[str, Any]) -> Sample:
        self._samples.append(_read(answer, "sample", Sample, self._process.name))
        return self._samples[-1]

    def _examined(self, answer: dict[str, Any]) -> None:
        self._trial = _read(answer, "trial", Trial, self._process.name)
        if self._trial.unapplied:
            why = self._trial.unapplied[0]
            raise UserError("not-applied", f"{self._process.name}: {self._work.id} was not applied: {why}")


def _read(answer: Mapping[str, Any], what: str, kind: type[T], name: str) -> T:
    """Reads one part of a reply; an invalid one is an error, as in any other file."""
    try:
        return convert(answer.get(what), kind, what)
    except UserError as error:
        raise UserError("process", f"{name}: invalid {what}: {error}") from None
