"""One pytest session; the methods are in the order of its phases: collected, measured, ended, compared, finished."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from fastdiff.plugin.benchmark import is_comparing, write_run
from fastdiff.plugin.judge import Judge, accepted_baseline
from fastdiff.plugin.pairs import Pairs
from fastdiff.plugin.selection import Selection
from fastdiff.plugin.stages import StageManager
from fastdiff.plugin.state import SessionState
from fastdiff.record.errors import UserError
from fastdiff.record.project import compile_cache
from fastdiff.record.run import FAILED, INCOMPLETE, Trial
from fastdiff.report.verdicts import announced

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fastdiff.compare.gate import Judgement
    from fastdiff.plugin.selection import Subject
    from fastdiff.record.run import State
    from fastdiff.report.github import Place
    from fastdiff.report.progress import Progress
    from fastdiff.trial.live import LiveStage


class Judged(pytest.fail.Exception):  # type: ignore[name-defined]
    """A verdict failed a test. Its measurements are complete and may be accepted."""

    __module__ = "builtins"  # as pytest does it, so that the report shows the sentence and no path


class Session:
    def __init__(self, config: pytest.Config, progress: Progress) -> None:
        self.config, self.progress, self.comparing = config, progress, is_comparing(config)
        self.selection = Selection(config)
        self.state = SessionState(config, self.selection.device)
        baseline = accepted_baseline(self.selection) if self.comparing else None
        self.pairs = Pairs(self.selection, self.state, progress, baseline)
        self.judge = Judge(self.selection, self.state, self.pairs, comparing=self.comparing)
        self.stages = StageManager(self.selection, progress, self.began, self.remark)
        self.last_tests: dict[str, str] = {}
        """By stage, the test after which it ends."""
        self.places: Mapping[str, Place] = {}
        """The file and line of each test."""
        self.deselected: dict[str, list[str]] = {}
        """By stage, the names of its deselected tests."""
        self.compared: set[str] = set()
        self.regressions: set[str] = set()
        """Stages whose `regression` test has run."""
        self.interrupted = False
        """Whether Ctrl-C came in a comparison after the last test."""

    def collected(
        self,
        tests: Sequence[tuple[str, str]],
        compared: Sequence[str],
        *,
        places: Mapping[str, Place],
        reference_wanted: bool,
    ) -> None:
        """`tests`: the stage and the node id of every test that needs one, in the order in which they run; `compared`:
        the stages that are to be compared; `places`: of every test."""
        self.last_tests, self.places = dict(tests), places
        self.stages.expected = tuple(self.last_tests)
        self.state.expected = tuple(dict.fromkeys([*self.last_tests, *compared]))
        self.stages.reference_wanted = reference_wanted

    def began(self, subject: Subject) -> None:
        """Before a stage is built: if it crashes the process, the run file holds the others and names this one."""
        self.state.known(self._blank(subject))
        write_run(self.config, self.state)

    def measured(self, live: LiveStage, *, whole: bool) -> None:
        """After every test of a stage. `whole`: the test did not raise, so further passes over the stage may follow."""
        self.state.keep(live)
        if whole and not live.unapplied and live.samples:
            live.take_apart()
            self.state.keep(live)

    def judge_exact(self, subject: Subject, test: str) -> None:
        """Fails the stage's own test if a metric without noise fails: the fingerprint, the memory."""
        self._fail_on(subject, self.judge.exact(subject.id, test))

    def ended(self, subject: Subject) -> list[str]:
        """After the last test of a stage; returns the settings that it leaked."""
        stage = self.stages.alive.pop(subject.id, None)
        leaks = []
        if stage is not None:
            self.state.keep(stage)
            leaks = stage.close()
            self.state.end(stage, leaks)
        write_run(self.config, self.state)
        return leaks

    def regression(self, subject: Subject, test: str) -> None:
        """Fails or skips the stage's `regression` test, which runs after the last stage has ended."""
        trial = self.state.trials.get(subject.id)
        if trial is None and subject.id not in self.last_tests:  # as with --last-failed: a skip would look like a pass
            sentence = f"{subject.id} was not measured, because its own tests are not in this session"
            pytest.fail(f"{sentence}; add them, for instance with -k {subject.stage.name}.", pytrace=False)
        if trial is None or not trial.samples:
            pytest.skip(f"{subject.id} was not timed in this session.")
        self.regressions.add(subject.id)
        try:
            self.compare(subject)
        except UserError as error:
            self.remark(subject, "not compared", state=None)
            raise pytest.fail.Exception(str(error), pytrace=False) from None
        self._fail_on(subject, self.judge.timing(subject.id, test))

    def compare(self, subject: Subject) -> None:
        """Measures what the comparison needs, once: pairs with another side. The stages that wait for pairs with the
        accepted side take turns, a look each, until this one is decided.

        If that is impossible it raises, also when it is called again, so that a test that runs again does not pass.
        """
        while subject.id not in self.compared:
            if subject.id in self.state.uncompared:
                raise UserError("process", self.state.uncompared[subject.id])
            self._take_turn(self.pairs.next_of(subject, self._waiting()) if self.comparing else subject)

    def _waiting(self) -> list[Subject]:
        """Stages that were timed and are not compared yet."""
        over = self.compared | self.state.uncompared.keys()
        return [one for one in self._timed() if one.id not in over]

    def _timed(self) -> list[Subject]:
        trials = self.state.trials
        return [one for one in self.selection.subjects if one.id in trials and trials[one.id].samples]

    def _take_turn(self, subject: Subject) -> None:
        over = True
        try:
            with compile_cache(self.stages.cache_folder):
                if against := self.selection.settings.against:
                    self.pairs.against(subject, against)
                elif self.comparing and self.pairs.wanted(subject.id):
                    over = self.pairs.beside_accepted(subject)
        except (UserError, OSError) as error:  # it fails the stage's own test
            self.state.uncompared[subject.id] = str(error)
            return
        if over:
            self.compared.add(subject.id)

    @property
    def unfinished(self) -> bool:
        """Whether any stage did not reach its last test."""
        trials = [self.state.trials.get(id_) for id_ in self.last_tests]
        return any(trial is None or trial.state == INCOMPLETE for trial in trials)

    def finished(self, *, interrupted: bool, stopped: bool = False) -> bool:
        """Returns whether the session fails for a reason that failed no test. `stopped` (for instance by -x): nothing
        more is measured."""
        failing = False
        if self.comparing and not interrupted and not stopped:
            try:
                failing = self._compare_the_rest()
            except KeyboardInterrupt:
                interrupted = self.interrupted = True
        failing |= self.judge.finish(self.deselected, interrupted=interrupted)
        write_run(self.config, self.state)
        self.pairs.close()
        return failing

    def _compare_the_rest(self) -> bool:
        """Stages that were timed and that no `regression` test has compared."""
        failing = False
        for subject in self._timed():
            if subject.id in self.regressions:
                continue
            try:
                self.compare(subject)
                failing |= bool(self.judge.timing(subject.id))
            except UserError as error:
                self.state.troubles.append(f"{subject.id} was not compared: {error}")
                failing = True
        return failing

    def remark(self, subject: Subject, remark: str, state: State | None = FAILED) -> None:
        self.state.remark(self._blank(subject), remark, state)

    def _blank(self, subject: Subject) -> Trial:
        asked = self.selection.request(subject.model).as_kept()
        return Trial(subject.model.name, subject.stage.name, subject.stage.follows, request=asked)

    def _fail_on(self, subject: Subject, failing: list[Judgement]) -> None:
        if failing:
            self.remark(subject, failing[0].verdict.word, state=None)
            raise Judged("\n".join(announced(one, self.judge.shell) for one in failing), pytrace=False)


@dataclass(frozen=True)
class Regression:
    """What the fixture `regression` gives to a test."""

    session: Session
    subject: Subject
    test: str

    def assert_not_slower(self) -> None:
        self.session.regression(self.subject, self.test)
