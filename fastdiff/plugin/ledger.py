"""What one session knows and decided: a record of each stage, verdicts, and the run file that keeps both."""

from __future__ import annotations

import os
import shlex
import sys
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from fastdiff import __version__
from fastdiff.compare.looks import TRIALS, Looks
from fastdiff.compare.policy import default
from fastdiff.compare.reasons import because
from fastdiff.compare.steps import Accept, Measure
from fastdiff.compare.verdicts import MISSING, VOID, Verdict, fails
from fastdiff.host.environment import device_name, device_slug, environment
from fastdiff.plugin.settings import OF_PAIRS, configured_policy, given_options, project_folder, settings
from fastdiff.record import baselines, files
from fastdiff.record.eligibility import VOID_SHARE
from fastdiff.record.errors import UserError
from fastdiff.record.run import FAILED, INCOMPLETE, MEASURED, Device, Run, StageRecord
from fastdiff.report import verdicts
from fastdiff.report.ladder import Rung
from fastdiff.report.steps import Shell

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fastdiff.compare.gate import Judgement
    from fastdiff.compare.pairs import Answer
    from fastdiff.compare.policy import Policy
    from fastdiff.record.run import Baseline, State
    from fastdiff.trial.live import LiveStage


@dataclass
class Ledger:
    """Imports what is slow to import only when there is something to keep: whoever only collects does not wait."""

    config: pytest.Config
    device: str
    comparing: bool
    """Whether `--benchmark-compare` was given: only then verdicts decide."""
    expected: tuple[str, ...] = ()
    """Ids of the stages that the collected tests ask for."""
    records: dict[str, StageRecord] = field(default_factory=dict)
    remarks: dict[str, str] = field(default_factory=dict)
    """A few words about what went wrong with a stage."""
    judgements: dict[tuple[str, str], Judgement] = field(default_factory=dict)
    """By stage and metric; empty in a session that compares with nothing."""
    baseline: Baseline | None = None
    deselected: dict[str, list[str]] = field(default_factory=dict)
    """By stage, the names of its tests that were collected and taken away again."""
    outcome: str = ""
    complete: bool = False
    paired: dict[str, list[Judgement]] = field(default_factory=dict)
    """Of each stage that took turns with another environment: then nothing stored is compared with."""
    experiments: list[Path] = field(default_factory=list)
    """Where the pairs are kept."""
    troubles: list[str] = field(default_factory=list)
    """What could not be kept, in sentences."""

    def __post_init__(self) -> None:
        self.started = datetime.now(UTC)
        asked = settings(self.config)
        self.strict = asked.strict
        self.looks = Looks(
            trials=TRIALS if asked.trials is None else asked.trials,
            at_doubts=asked.strict or asked.trials is not None,
        )
        self.kind = self.device.partition(":")[0]
        root = project_folder(self.config)
        self._file: Path | None = None
        self._judged_in: dict[tuple[str, str], str] = {}
        self._kept = True
        self._environment: dict[str, Any] = {}
        self._machine_info: Any = None
        self.against = _shown(asked.against)
        if self.comparing and self.against:
            with suppress(UserError):  # it is asked only what was skipped when it was accepted
                self.baseline = baselines.newest(baselines.folder_of(root, device_slug(self.device)))
        elif self.comparing:
            self.baseline = compared_with(self.config, self.device)

    # -- what is known ------------------------------------------------------------------------------------------------

    def known(self, blank: StageRecord) -> StageRecord:
        return self.records.setdefault(blank.id, blank)

    def keep(self, stage: LiveStage, samples_s: tuple[float, ...] = ()) -> None:
        """Everything that is known of a stage so far; called after each of its tests, because a later one may fail."""
        now = stage.record(samples_s)
        before = self.known(now)
        self.records[now.id] = replace(
            now,
            rounds=now.rounds or before.rounds,
            further_rounds=before.further_rounds,
            quality=now.quality or before.quality,
            state=before.state,
            reason=before.reason,
        )

    def remark(self, blank: StageRecord, remark: str, state: State | None = None) -> None:
        """The first remark stays: what comes later is mostly its consequence. `state` says that it is a failure."""
        self.remarks.setdefault(blank.id, remark)
        if state is not None:
            self.records[blank.id] = replace(self.known(blank), state=state, reason=self.remarks[blank.id])

    def end(self, stage: LiveStage, leaks: list[str]) -> None:
        """After the last test of a stage: what is known of it now is all that there will be."""
        record = self.records[stage.id]
        state = MEASURED if record.state == INCOMPLETE else record.state
        self.records[stage.id] = replace(record, state=state, leaks=tuple(leaks))
        if stage.drawn is not None:
            from fastdiff.record import pictures

            try:
                pictures.save(self.file.with_suffix(""), stage.id, stage.drawn)
            except OSError as error:
                self._trouble(f"the pictures of {stage.id} cannot be kept ({error.strerror}).")

    def rung(self, record: StageRecord) -> Rung:
        undisturbed = [one for one in record.rounds if not one.void]
        return Rung(
            record.model,
            record.stage,
            record.follows,
            # The same samples as the verdict's: a disturbed round says nothing, unless there is nothing else.
            samples_s=tuple(one.wall_s for one in undisturbed or record.rounds),
            first_call_s=record.first_call_s,
            cache=record.cache,
            ssim=record.quality.ssim if record.quality else None,
            worst_tile=record.quality.worst_tile if record.quality else None,
            dtype=record.dtype,
            pictures=record.batch,
            memory_bytes=record.memory.whole_bytes if record.memory else None,
            peak_in=record.memory.where if record.memory else "",
            remark=self.remarks.get(record.id, ""),
            disturbed=len(undisturbed) < (1 - VOID_SHARE) * len(record.rounds),
        )

    # -- the run file -------------------------------------------------------------------------------------------------

    @property
    def file(self) -> Path:
        """Named when there is something to keep, so that a session that measures nothing leaves nothing."""
        if self._file is None:
            self._file = files.next_run_path(project_folder(self.config), self.started.isoformat())
        return self._file

    @property
    def shown_file(self) -> str:
        return self._shown(self.file)

    def _shown(self, path: Path) -> str:
        """As a person would type it."""
        here = self.config.invocation_params.dir
        return str(path.relative_to(here) if path.is_relative_to(here) else path)

    def write(self, benchmarks: Callable[[], dict[str, Any]]) -> None:
        """After every stage, because a later one may take the whole process with it."""
        try:
            files.write(self.file, benchmarks(), self.run())
            ignored = self.file.parent / ".gitignore"
            if not ignored.exists():
                ignored.write_text("*\n")  # runs are generated; what is accepted is copied
            self._kept = True
        except UserError as error:
            self._kept = False
            self._trouble(str(error))
        except OSError as error:
            self._kept = False
            self._trouble(f"{error.filename} cannot be written ({error.strerror}).")
        with suppress(OSError):
            self.file.with_suffix("").rmdir()  # if no picture came into it

    @property
    def closing_lines(self) -> list[str]:
        whole = "" if self.complete else " (interrupted: not everything is in it)"
        whole = whole if self._kept else " (an earlier state: not everything is in it)"
        pairs = [f"pairs: {self._shown(path)}" for path in self.experiments]
        return [*pairs, *([f"run file: {self.shown_file}{whole}"] if self.file.exists() else []), *self.troubles]

    def as_json(self) -> dict[str, Any]:
        return files.as_dict(self.run())

    def run(self) -> Run:
        if "torch" in sys.modules and not self._environment:
            # Only now, because torch itself says from which commit it was built.
            self._environment = environment(self.device, project_folder(self.config))
        return Run(
            device=Device(device_slug(self.device), self.kind, device_name(self.device)),
            started=self.started.isoformat(timespec="seconds"),
            environment=self._environment,
            expected=self.expected,
            stages=tuple(self.records.values()),
            complete=self.complete,
            outcome=self.outcome,
            judgements=tuple(judgement.as_dict() for judgement in self.judgements.values()),
            made_by=f"fastdiff {__version__}",
        )

    def machine_info(self, ask: Callable[[], Any]) -> Any:
        """pytest-benchmark asks the processor for seconds, and it answers the same every time.

        The name of the host stays out: run files are accepted and committed.
        """
        if self._machine_info is None:
            self._machine_info = {name: value for name, value in ask().items() if name != "node"}
        return self._machine_info

    def _trouble(self, sentence: str) -> None:
        sentence = f"{sentence} Mend that, or keep the run elsewhere too: --benchmark-json FILE."
        if sentence not in self.troubles:
            self.troubles.append(sentence)

    # -- what is decided ----------------------------------------------------------------------------------------------

    def judge(self, id_: str, *, timing: bool, test: str = "") -> list[Judgement]:
        """Decides about everything that is newly known of a stage; the answer is what fails.

        Times are judged in the tests that take times, so that each failure has the name of what it is about.
        """
        if not self.comparing:
            return []
        from fastdiff.compare import gate

        found = self._judged(id_)
        found = [one for one in found if timing or one.metric not in gate.INTERVAL_METRICS]
        return self._new(found, test)

    def wants_a_second_look(self, id_: str) -> bool:
        """Whether the latency of a stage is to be timed in fresh processes; once, or it would be until it is green."""
        if not self.comparing or self.records[id_].further_rounds:
            return False
        found = [one.verdict for one in self._judged(id_) if one.metric == "latency"]
        band = self.policy_of(self.records[id_].model, self.records[id_].stage).latency
        return any(self.looks.wanted(one, band) for one in found)

    def look_again(self, id_: str, measured: StageRecord) -> None:
        """Keeps what a fresh process measured of a stage beside what this one did."""
        before = self.records[id_]
        self.records[id_] = replace(before, further_rounds=(*before.further_rounds, measured.rounds))

    def keep_pairs(self, id_: str, answer: Answer) -> None:
        self.paired[id_] = answer.judgements
        self.experiments.append(answer.path)

    @property
    def compared_with(self) -> str:
        """The line above the verdicts."""
        if self.against:
            return f"against {' '.join(self.against)}, whose processes took turns with this environment's"
        return verdicts.against(self.baseline, device_name(self.device))

    def _judged(self, id_: str) -> list[Judgement]:
        from fastdiff.compare import gate

        if self.against:
            return self.paired.get(id_, [])
        run, record = self.run(), self.records[id_]
        return gate.judge_stage(
            record,
            run.stage(f"{record.model}-{record.follows}"),
            self.baseline,
            self.policy_of(record.model, record.stage),
            gate.comparisons_of(len(run.expected), self.looks),
            run.device,
            run.environment,
            looks=self.looks,
        )

    def finish(self, *, interrupted: bool) -> bool:
        """Judges what only the whole session shows; the answer is whether that fails it."""
        from fastdiff.compare import gate

        failing = []
        if self.comparing and not interrupted:
            judged = gate.judge_run(self.run(), self.baseline, self.policy_of, looks=self.looks)
            for judgement in judged:
                record = self.records.get(judgement.stage)
                if self.against and judgement.verdict.word != MISSING:
                    continue
                if judgement.verdict.word == MISSING:
                    told = record is not None and record.state == FAILED  # and so not missing without a word
                else:
                    # A test that failed by itself was not judged; a stage that was not timed is not judged on times.
                    untimed = record is None or not record.rounds
                    told = (judgement.stage, judgement.metric) in self.judgements
                    told = told or (untimed and judgement.metric in gate.INTERVAL_METRICS)
                failing += [] if told else self._new([judgement])
            failing += self._new(self._halved()) if self.strict else []
        self.outcome, self.complete = self._outcome(interrupted), not interrupted
        return bool(failing)

    def _halved(self) -> list[Judgement]:
        """Stages of which some tests ran and others were deselected; whoever is strict wants all of them."""
        from fastdiff.compare.gate import Judgement

        return [
            Judgement(id_, "stage", Verdict(MISSING, because("tests-deselected", id=id_, tests=tests), next=Measure()))
            for id_, tests in self.deselected.items()
            if id_ in self.expected
        ]

    @property
    def failed(self) -> list[str]:
        """Stages that could not be built or measured."""
        return [id_ for id_, record in self.records.items() if record.state == FAILED]

    def sentences(self, judgements: list[Judgement]) -> str:
        return "\n".join(verdicts.sentence(judgement, self.shell) for judgement in judgements)

    def policy_of(self, model: str, stage: str) -> Policy:
        return default(self.kind).configured(configured_policy(self.config), model, stage)

    def _new(self, found: list[Judgement], test: str = "") -> list[Judgement]:
        """Keeps what no other test was judged by before; the answer is what of it fails.

        A test that is run again is judged again: a verdict does not turn green because it was given once.
        """
        found = [self._in_this_session(one) for one in found]
        new = []
        for one in found:
            key = (one.stage, one.metric)
            if self.judgements.get(key) != one or (test and self._judged_in.get(key) == test):
                new.append(one)
                self.judgements[key], self._judged_in[key] = one, test
        return [one for one in new if self._fails(one)]

    def _fails(self, judgement: Judgement) -> bool:
        """Who asked for a comparison with another environment and got none must not think that all is well."""
        record = self.records.get(judgement.stage)
        untimed = judgement.verdict.word == MISSING and record is not None and record.state == MEASURED
        none = judgement.verdict.word == VOID or untimed
        return fails(judgement.verdict, self.strict) or (bool(self.against) and none)

    def _in_this_session(self, judgement: Judgement) -> Judgement:
        """What is accepted from a session that measured a part of the baseline is that stage alone."""
        if judgement.verdict.next == Accept() and self._in_part:
            return replace(judgement, verdict=replace(judgement.verdict, next=Accept(judgement.stage)))
        return judgement

    @property
    def shell(self) -> Shell:
        """The next command repeats what this session was asked for: it is to measure the same work."""
        given = given_options(self.config) + given_options(self.config, OF_PAIRS)
        given += [f"--fastdiff-against={shlex.join(self.against)}"] if self.against else []
        pairs = {id_: (one.model, one.stage) for id_, one in self.records.items()}
        return Shell(tuple(self._paths), tuple(given), self._root, self.shown_file, pairs)

    @property
    def _in_part(self) -> bool:
        """Whether the accepted run has stages that this session was not asked for, and would lose them."""
        accepted = {stage.id for stage in self.baseline.run.stages} if self.baseline else set()
        return not accepted <= set(self.expected)

    @property
    def _root(self) -> str:
        """The project's folder, where a person who types a command is elsewhere."""
        here, root = self.config.invocation_params.dir, project_folder(self.config)
        return "" if root == here else os.path.relpath(root, here)

    @property
    def _paths(self) -> list[str]:
        """The suite, as this session was given it; a single test of it stands for its whole file."""
        if self.config.args_source is not pytest.Config.ArgsSource.ARGS:
            return []
        return list(dict.fromkeys(argument.partition("::")[0] for argument in self.config.args))

    def _outcome(self, interrupted: bool) -> str:
        """The reasons for which the session failed; "passed" if there is none."""
        if interrupted:
            return "interrupted"
        reasons = [one.verdict.word.lower() for one in self.judgements.values() if self._fails(one)]
        for record in self.records.values():
            of_record = {
                "unapplied": record.unapplied,
                "leak": record.leaks,
                "quality": record.quality is not None and not record.quality.passed,
            }
            found = [reason for reason, there in of_record.items() if there]
            if record.state == FAILED and not found:
                found = [record.reason]
            reasons += found
        return ", ".join(dict.fromkeys(reasons)) or "passed"


def _shown(words: tuple[str, ...]) -> tuple[str, ...]:
    """The other side's words as they may be printed and kept."""
    if not words:
        return ()
    from fastdiff.experiments.environments import masked

    return tuple(map(masked, words))


def compared_with(config: pytest.Config, device: str) -> Baseline | None:
    """The accepted run that `--benchmark-compare` names by its number, or the newest one of this device."""
    folder = baselines.folder_of(project_folder(config), device_slug(device))
    named = config.option.benchmark_compare
    try:
        if not isinstance(named, str):
            return baselines.newest(folder)
        paths = [path for path in baselines.accepted(folder) if path.name.startswith(named)]
        if len(paths) != 1:
            there = ", ".join(path.name for path in baselines.accepted(folder)) or "none"
            raise pytest.UsageError(f"--benchmark-compare: {named!r} names no accepted run; there are: {there}.")
        return files.read_baseline(paths[0])
    except UserError as error:
        raise pytest.UsageError(str(error)) from None
