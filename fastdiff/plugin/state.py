"""The results of a session so far: a trial for each stage, and the run file."""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from fastdiff import __version__
from fastdiff.host.environment import device_name, device_slug, environment
from fastdiff.host.software import software
from fastdiff.plugin.options import project_folder
from fastdiff.record import files
from fastdiff.record.errors import UserError
from fastdiff.record.run import INCOMPLETE, MEASURED, Device, Run, Trial
from fastdiff.record.writing import write_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

    from fastdiff.compare.gate import Judgement
    from fastdiff.record.run import State
    from fastdiff.record.software import Software
    from fastdiff.trial.live import LiveStage


@dataclass
class SessionState:
    """The results; slow imports happen only when there is something to keep."""

    config: pytest.Config
    device: str
    expected: tuple[str, ...] = ()
    """Ids of the stages that the collected tests need."""
    trials: dict[str, Trial] = field(default_factory=dict)
    remarks: dict[str, str] = field(default_factory=dict)
    """By stage, in a few words what went wrong."""
    judgements: dict[tuple[str, str], Judgement] = field(default_factory=dict)
    """By stage and metric; empty in a session without a comparison."""
    outcome: str = ""
    complete: bool = False
    uncompared: dict[str, str] = field(default_factory=dict)
    """By stage, why its comparison was impossible, in one sentence."""
    experiments: list[Path] = field(default_factory=list)
    """The files of pairs."""
    troubles: list[str] = field(default_factory=list)
    """Sentences about what could not be written or compared."""

    def __post_init__(self) -> None:
        self.started = datetime.now(UTC)
        self._file: Path | None = None
        self._written = True
        self._environment: dict[str, Any] = {}
        self._software: Software | None = None

    # -- what is known ------------------------------------------------------------------------------------------------

    def known(self, blank: Trial) -> Trial:
        return self.trials.setdefault(blank.id, blank)

    def keep(self, stage: LiveStage) -> None:
        """Stores everything known about a stage; called after each of its tests, because a later one may fail."""
        now = stage.trial()
        before = self.known(now)
        self.trials[now.id] = replace(
            now,
            samples=now.samples or before.samples,
            quality=now.quality or before.quality,
            state=before.state,
            reason=before.reason,
        )

    def remark(self, blank: Trial, remark: str, state: State | None = None) -> None:
        """Keeps the first remark, because later ones are mostly its consequence. `state`: the stage's new state, for
        instance FAILED; None does not change it."""
        self.remarks.setdefault(blank.id, remark)
        if state is not None:
            self.trials[blank.id] = replace(self.known(blank), state=state, reason=self.remarks[blank.id])

    def end(self, stage: LiveStage, leaks: list[str]) -> None:
        """After the last test of a stage: its trial is final."""
        trial = self.trials[stage.id]
        state = MEASURED if trial.state == INCOMPLETE else trial.state
        self.trials[stage.id] = replace(trial, state=state, leaks=tuple(leaks))
        if stage.drawn is not None:
            from fastdiff.record import outputs

            try:
                outputs.keep(self.file.with_suffix(""), stage.id, stage.drawn)
            except OSError as error:
                self._trouble(f"the pictures of {stage.id} cannot be kept ({error.strerror}).")

    # -- the run file -------------------------------------------------------------------------------------------------

    @property
    def file(self) -> Path:
        """Named on first use, so that a session that measures nothing writes nothing."""
        if self._file is None:
            self._file = files.next_run_path(project_folder(self.config), self.started.isoformat())
        return self._file

    @property
    def shown_file(self) -> str:
        return self._shown(self.file)

    def _shown(self, path: Path) -> str:
        """The path as a user would type it."""
        here = self.config.invocation_params.dir
        return str(path.relative_to(here) if path.is_relative_to(here) else path)

    def write(self, benchmarks: Callable[[], dict[str, Any]]) -> None:
        """Called after every stage, because a later one may crash the process."""
        try:
            files.write(self.file, benchmarks(), self.run())
            ignored = self.file.parent / ".gitignore"
            if not ignored.exists():
                write_text(ignored, "*\n")  # runs are generated; what is accepted is copied
            self._written = True
        except UserError as error:
            self._written = False
            self._trouble(str(error))
        except OSError as error:
            self._written = False
            self._trouble(f"{error.filename} cannot be written ({error.strerror}).")
        with suppress(OSError):
            self.file.with_suffix("").rmdir()  # if it is empty

    def run(self) -> Run:
        if "torch" in sys.modules and not self._environment:
            # Only now, because torch must be imported to know the commit from which it was built.
            self._environment = environment(self.device, project_folder(self.config))
            self._software = software(project_folder(self.config))
        return Run(
            device=Device(device_slug(self.device), self.device.partition(":")[0], device_name(self.device)),
            started=self.started.isoformat(timespec="seconds"),
            environment=self._environment,
            software=self._software,
            expected=self.expected,
            stages=tuple(self.trials.values()),
            complete=self.complete,
            outcome=self.outcome,
            judgements=tuple(judgement.as_dict() for judgement in self.judgements.values()),
            made_by=f"fastdiff {__version__}",
        )

    @property
    def closing_lines(self) -> list[str]:
        whole = "" if self.complete else " (interrupted: not everything is in it)"
        whole = whole if self._written else " (an earlier state, which is incomplete)"
        pairs = [f"pairs: {self._shown(path)}" for path in self.experiments]
        return [*pairs, *([f"run file: {self.shown_file}{whole}"] if self.file.exists() else []), *self.troubles]

    def _trouble(self, sentence: str) -> None:
        sentence = f"{sentence} Fix that, or write the run to another file too: --benchmark-json FILE."
        if sentence not in self.troubles:
            self.troubles.append(sentence)
