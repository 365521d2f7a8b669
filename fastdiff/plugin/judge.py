"""The verdicts of a session: which are new, which of them fail it, and the next command."""

from __future__ import annotations

import os
import shlex
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from fastdiff.compare.reasons import because
from fastdiff.compare.steps import Accept, Measure
from fastdiff.compare.verdicts import MISSING, VOID, Verdict, fails
from fastdiff.host.environment import device_name, device_slug
from fastdiff.plugin.benchmark import accepted_run
from fastdiff.plugin.options import OF_PAIRS, given_options, project_folder
from fastdiff.plugin.pairs import OF_TIME
from fastdiff.record import baselines
from fastdiff.record.eligibility import objections
from fastdiff.record.errors import UserError
from fastdiff.record.run import FAILED, MEASURED
from fastdiff.report import verdicts
from fastdiff.report.steps import Shell

if TYPE_CHECKING:
    from fastdiff.compare.gate import Judgement
    from fastdiff.plugin.pairs import Pairs
    from fastdiff.plugin.selection import Selection
    from fastdiff.plugin.state import SessionState
    from fastdiff.record.run import Baseline


class Judge:
    """Applies the rules of `fastdiff.compare` to what the session has measured."""

    def __init__(self, selection: Selection, state: SessionState, pairs: Pairs, *, comparing: bool) -> None:
        self.selection, self.state, self.pairs, self.comparing = selection, state, pairs, comparing
        self.baseline = pairs.baseline
        self.strict = selection.settings.strict
        self.against = masked(selection.settings.against)
        self._judged_in: dict[tuple[str, str], str] = {}

    # -- one stage ----------------------------------------------------------------------------------------------------

    def exact(self, id_: str, test: str) -> list[Judgement]:
        """Judges metrics without noise: facts, memory. Returns the failing judgements."""
        from fastdiff.compare.gate import INTERVAL_METRICS

        return self._new([one for one in self._found(id_) if one.metric not in INTERVAL_METRICS], test)

    def timing(self, id_: str, test: str = "") -> list[Judgement]:
        """Judges metrics with noise: times, and pairs. Returns the failing judgements."""
        from fastdiff.compare.gate import INTERVAL_METRICS

        found, paired = self._found(id_), self.pairs.found.get(id_, [])
        of_time = (*INTERVAL_METRICS, *OF_TIME)
        return self._new([one for one in found if one in paired or one.metric in of_time], test)

    def _found(self, id_: str) -> list[Judgement]:
        from fastdiff.compare import gate

        if not self.comparing:
            return gate.judge_alone(self.state.trials[id_])
        if self.against:
            return self.pairs.found.get(id_, [])
        run, trial = self.state.run(), self.state.trials[id_]
        stored = gate.judge_stage(
            trial,
            run.stage(f"{trial.model}-{trial.follows}"),
            self.baseline,
            self.selection.policy_of(trial.model, trial.stage),
            gate.comparisons_of(len(run.expected)),
            run.device,
            run.environment,
        )
        return self.pairs.weighed(stored, id_)

    # -- the whole session --------------------------------------------------------------------------------------------

    def finish(self, deselected: dict[str, list[str]], *, interrupted: bool) -> bool:
        """Judges what is known only at the end of the session. Returns whether that fails the session."""
        failing = []
        if self.comparing and not interrupted:
            failing = self._new(self._missing())
            failing += self._new(self._halved(deselected)) if self.strict else []
        self.state.outcome, self.state.complete = self._outcome(interrupted), not interrupted
        return bool(failing)

    def _missing(self) -> list[Judgement]:
        """Expected stages that were not measured, and metrics that no test has judged."""
        from fastdiff.compare import gate

        trials, found = self.state.trials, []
        for one in gate.judge_run(self.state.run(), self.baseline, self.selection.policy_of):
            failed_already = one.stage in trials and trials[one.stage].state == FAILED
            found += [one] if one.verdict.word == MISSING and not failed_already else []
        for id_, trial in trials.items() if not self.against else ():
            for one in self._found(id_):
                # A stage that was not timed is not judged on times.
                untimed = not trial.samples and one.metric in gate.INTERVAL_METRICS
                judged = (id_, one.metric) in self.state.judgements
                found += [] if untimed or judged else [one]
        return found

    def _halved(self, deselected: dict[str, list[str]]) -> list[Judgement]:
        """Stages with deselected tests; strict mode requires all tests of a stage."""
        from fastdiff.compare.gate import Judgement

        return [
            Judgement(id_, "stage", Verdict(MISSING, because("tests-deselected", id=id_, tests=tests), next=Measure()))
            for id_, tests in deselected.items()
            if id_ in self.state.expected
        ]

    def _new(self, found: list[Judgement], test: str = "") -> list[Judgement]:
        """Keeps judgements that are new or were given by the same test before. Returns those that fail.

        A test that runs again is judged again; otherwise it would pass because its failing verdict is already known.
        """
        new = []
        for one in map(self._in_this_session, found):
            key = (one.stage, one.metric)
            if self.state.judgements.get(key) != one or (test and self._judged_in.get(key) == test):
                new.append(one)
                self.state.judgements[key], self._judged_in[key] = one, test
        return [one for one in new if self._fails(one)]

    def _fails(self, judgement: Judgement) -> bool:
        """With `--fastdiff-against`, VOID and stages that were not timed fail, too."""
        trial = self.state.trials.get(judgement.stage)
        untimed = judgement.verdict.word == MISSING and trial is not None and trial.state == MEASURED
        none = judgement.verdict.word == VOID or untimed
        return fails(judgement.verdict, self.strict) or (bool(self.against) and none)

    def _in_this_session(self, judgement: Judgement) -> Judgement:
        """If the session measured only some of the baseline's stages, the next step accepts one stage, not the run."""
        accepted = {stage.id for stage in self.baseline.run.stages} if self.baseline else set()
        if judgement.verdict.next == Accept() and not accepted <= set(self.state.expected):
            return replace(judgement, verdict=replace(judgement.verdict, next=Accept(judgement.stage)))
        return judgement

    def _outcome(self, interrupted: bool) -> str:
        """The reasons why the session failed; "passed" if there are none."""
        if interrupted:
            return "interrupted"
        reasons = [one.verdict.word.lower() for one, _ in self.failing]
        reasons += ["not compared"] if self.state.uncompared else []
        for trial in self.state.trials.values():
            of_trial = {
                "unapplied": trial.unapplied,
                "leak": trial.leaks,
                "quality": trial.quality is not None and not trial.quality.passed,
            }
            found = [reason for reason, there in of_trial.items() if there]
            if trial.state == FAILED and not found:
                found = [trial.reason]
            reasons += found
        return ", ".join(dict.fromkeys(reasons)) or "passed"

    @property
    def failing(self) -> list[tuple[Judgement, str]]:
        """Verdicts that fail the session, each with its test; the test is empty if the verdict came from none."""
        return [(one, self._judged_in[key]) for key, one in self.state.judgements.items() if self._fails(one)]

    @property
    def shown(self) -> list[Judgement]:
        """With next commands that will work: what `fastdiff accept` would refuse is measured again, as a whole."""
        run, whole = self.state.run(), self.accepting_refused
        found = []
        for one in self.state.judgements.values():
            step = one.verdict.next
            refused = isinstance(step, Accept) and objections(run, (step.only,) if step.only else ())
            again = refused or (whole and one.verdict.word == VOID)
            found.append(replace(one, verdict=replace(one.verdict, next=Measure())) if again else one)
        return found

    @property
    def accepting_refused(self) -> list[str]:
        """Why `fastdiff accept` would refuse the run that these verdicts offer to accept; empty if they do not."""
        offered = any(one.verdict.next == Accept() for one in self.state.judgements.values())
        return objections(self.state.run()) if offered else []

    # -- in words -----------------------------------------------------------------------------------------------------

    @property
    def headline(self) -> str:
        """The line above the verdicts."""
        if self.against:
            return f"against {' '.join(self.against)}, measured in pairs with this environment"
        side = self.pairs.side if self.pairs.found and not self.baseline else None
        elsewhere = f"{side.parent.name}/{side.name}" if side else ""
        above = None if self.pairs.side else baselines.above(project_folder(self.selection.config))
        return verdicts.against(self.baseline, device_name(self.selection.device), elsewhere, above)

    @property
    def shell(self) -> Shell:
        """The next command repeats the options of this session: it is to measure the same work."""
        config = self.selection.config
        given = given_options(config) + given_options(config, OF_PAIRS)
        given += [f"--fastdiff-against={shlex.join(self.against)}"] if self.against else []
        pairs = {id_: (one.model, one.stage) for id_, one in self.state.trials.items()}
        here, root = config.invocation_params.dir, project_folder(config)
        elsewhere = "" if root == here else os.path.relpath(root, here)
        files = self.selection.paths
        return Shell(tuple(_paths(config)), tuple(given), elsewhere, self.state.shown_file, pairs, files)


def _paths(config: pytest.Config) -> list[str]:
    """The paths of the suite as given on the command line; a single test is replaced by its file."""
    if config.args_source is not pytest.Config.ArgsSource.ARGS:
        return []
    paths = dict.fromkeys(argument.partition("::")[0] for argument in config.args)
    return [*(["--pyargs"] if config.option.pyargs else []), *paths]


def masked(words: tuple[str, ...]) -> tuple[str, ...]:
    """The other side's words without passwords, as they may be printed and stored."""
    if not words:
        return ()
    from fastdiff.sides.spec import masked as mask

    return tuple(map(mask, words))


def accepted_baseline(selection: Selection) -> Baseline | None:
    """The accepted run. With `--fastdiff-against` only its skipped stages are used."""
    if not selection.settings.against:
        return accepted_run(selection.config, selection.device)
    with suppress(UserError):
        return baselines.newest(baselines.folder_of(project_folder(selection.config), device_slug(selection.device)))
    return None
