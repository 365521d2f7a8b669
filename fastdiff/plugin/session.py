"""One pytest session, from top to bottom: what was collected, measured, ended, compared, and finished."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import pytest

from fastdiff.compare.verdicts import VOID
from fastdiff.plugin.benchmark import write_run
from fastdiff.plugin.judge import Judge, masked
from fastdiff.plugin.selection import Selection
from fastdiff.plugin.settings import project_folder
from fastdiff.plugin.stages import RUNNER, StageManager
from fastdiff.plugin.state import SessionState
from fastdiff.record.errors import UserError
from fastdiff.record.run import FAILED, INCOMPLETE, Trial

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastdiff.compare.gate import Judgement
    from fastdiff.compare.pairs import Answer
    from fastdiff.experiments.questions import AbOptions
    from fastdiff.experiments.sessions import PairSession
    from fastdiff.models import Model
    from fastdiff.plugin.selection import Subject
    from fastdiff.record.run import State
    from fastdiff.report.progress import Progress
    from fastdiff.sides.environment import Environment
    from fastdiff.trial.live import LiveStage


class Judged(pytest.fail.Exception):  # type: ignore[name-defined]
    """A verdict failed a test. What the test measured is whole, and may be accepted."""

    __module__ = "builtins"  # as pytest does it, so that the report shows the sentence and no path


class Session:
    def __init__(self, config: pytest.Config, progress: Progress, *, comparing: bool) -> None:
        self.config, self.progress, self.comparing = config, progress, comparing
        self.selection = Selection(config)
        self.state = SessionState(config, self.selection.device)
        self.judge = Judge(self.selection, self.state, comparing=comparing)
        self.stages = StageManager(self.selection, progress, self.remark)
        self.last_tests: dict[str, str] = {}
        """Of each stage, the test after which it ends."""
        self.deselected: dict[str, list[str]] = {}
        """By stage, the names of its tests that were collected and taken away again."""
        self.compared: set[str] = set()
        self._accepted: Environment | UserError | None = None
        self.until = 0.0
        """A reading of `time.monotonic` after which no pair with the accepted side begins; 0 before the first one."""
        self.interrupted = False
        """Whether Ctrl-C came in a comparison after the last test."""

    def collected(self, tests: Sequence[tuple[str, str]], compared: Sequence[str], *, reference_wanted: bool) -> None:
        """`tests`: the stage and the node id of every test that needs one, in the order in which they run; `compared`:
        the stages that are to be compared."""
        self.last_tests = dict(tests)
        self.stages.expected = tuple(self.last_tests)
        self.state.expected = tuple(dict.fromkeys([*self.last_tests, *compared]))
        self.stages.reference_wanted = reference_wanted

    def measured(self, live: LiveStage, *, whole: bool) -> None:
        """After every test of a stage. `whole`: it did not raise, so calls that count and take apart may follow."""
        self.state.keep(live)
        if whole and not live.unapplied:
            live.count()
            if live.samples:
                live.take_apart()
            self.state.keep(live)

    def judge_exact(self, subject: Subject, test: str) -> None:
        """Fails the stage's own test where something exact is wrong: a fact of the fingerprint, the memory."""
        self._fail_on(subject, self.judge.exact(subject.id, test))

    def ended(self, subject: Subject) -> list[str]:
        """After the last test of a stage; names what it left changed."""
        stage = self.stages.alive.pop(subject.id, None)
        leaks = []
        if stage is not None:
            if subject.id not in self.state.trials:
                self.state.keep(stage)
            leaks = stage.close()
            self.state.end(stage, leaks)
        write_run(self.config, self.state)
        return leaks

    def regression(self, subject: Subject, test: str) -> None:
        """Fails or skips the stage's test of times, which runs after the last stage has ended."""
        trial = self.state.trials.get(subject.id)
        if trial is None and subject.id not in self.last_tests:  # as with --last-failed: a skip would look like a pass
            sentence = f"{subject.id} was not measured, because its own tests are not in this session"
            pytest.fail(f"{sentence}; add them, for instance with -k {subject.stage.name}.", pytrace=False)
        if trial is None or not trial.samples:
            pytest.skip(f"{subject.id} was not timed in this session.")
        try:
            self.compare(subject)
        except UserError as error:
            self.remark(subject, "not compared", state=None)
            raise pytest.fail.Exception(str(error), pytrace=False) from None
        self._fail_on(subject, self.judge.timing(subject.id, test))

    def compare(self, subject: Subject) -> None:
        """Measures what the comparison needs, once: pairs with the other environment, or a slow stage again.

        Where that is impossible it raises, also when it is asked again: a test that is run again must not pass then.
        """
        if subject.id in self.state.uncompared:
            raise UserError("process", self.state.uncompared[subject.id])
        if subject.id in self.compared:
            return
        try:
            with self.stages.compile_cache():
                if self.judge.against:
                    self._measure_against(subject)
                elif self.judge.wants_pairs(subject.id):
                    self._measure_beside_accepted(subject)
                elif self.judge.wants_confirmation(subject.id):
                    self._confirm(subject)
        except (UserError, OSError) as error:
            self.state.uncompared[subject.id] = str(error)
            raise UserError("process", str(error)) from None
        self.compared.add(subject.id)

    @property
    def unfinished(self) -> bool:
        """Whether a stage has not come to its last test."""
        trials = [self.state.trials.get(id_) for id_ in self.last_tests]
        return any(trial is None or trial.state == INCOMPLETE for trial in trials)

    def finished(self, *, interrupted: bool, stopped: bool = False) -> bool:
        """The answer is whether the session fails for what no test has failed for. `stopped`, as by -x: nothing more is
        measured."""
        failing = False
        if self.comparing and not interrupted and not stopped:
            try:
                failing = self._compare_the_rest()
            except KeyboardInterrupt:
                interrupted = self.interrupted = True
        failing |= self.judge.finish(self.deselected, interrupted=interrupted)
        write_run(self.config, self.state)
        return failing

    def _compare_the_rest(self) -> bool:
        """Stages that were timed and that no `regression` test has compared."""
        failing = False
        for subject in self.selection.subjects:
            trial = self.state.trials.get(subject.id)
            if trial is None or not trial.samples or subject.id in self.compared | self.state.uncompared.keys():
                continue
            try:
                self.compare(subject)
                failing |= bool(self.judge.timing(subject.id))
            except UserError as error:
                self.state.troubles.append(f"{subject.id} was not compared: {error}")
                failing = True
        return failing

    def remark(self, subject: Subject, remark: str, state: State | None = FAILED) -> None:
        asked = asdict(self.selection.request(subject.model))
        blank = Trial(subject.model.name, subject.stage.name, subject.stage.follows, request=asked)
        self.state.remark(blank, remark, state)

    def _fail_on(self, subject: Subject, failing: list[Judgement]) -> None:
        if failing:
            self.remark(subject, failing[0].verdict.word, state=None)
            raise Judged(self.judge.sentences(failing), pytrace=False)

    def _confirm(self, subject: Subject) -> None:
        from fastdiff.experiments.confirm import confirm
        from fastdiff.trial.fresh import Fresh

        runner = self.config.stash.get(RUNNER, None) or Fresh("a fresh process")
        first = self.state.trials[subject.id]
        work, processes = self.selection.work(subject), self.judge.confirmation.processes
        try:
            confirmations = list(confirm(runner, work, first, processes, self.progress))  # all of them, or none
        except UserError as error:
            self.state.troubles.append(f"{subject.id} was not confirmed: {error}")
            return
        for samples in confirmations:
            self.state.confirm(subject.id, samples)

    def _measure_against(self, subject: Subject) -> None:
        against, pairs = self.selection.settings.against, self._pair_session()
        try:
            with self.progress.doing(f"{subject.id}: the environment {' '.join(masked(against))}"):
                old = pairs.environment(against, self.selection.device)
            answer = self._answer(pairs, subject, old)
        except UserError as error:
            raise UserError(error.code, f"--fastdiff-against: {error}") from None
        self.judge.keep_pairs(subject.id, answer)

    def _measure_beside_accepted(self, subject: Subject) -> None:
        """Pairs with the accepted run's software. Without that, or without time, nothing decides."""
        minutes, pairs = self.selection.settings.max_time, self._pair_session()
        try:
            old = self._accepted_side(pairs)
        except UserError as error:
            if not error.code.startswith("side-"):
                raise
            self.judge.undecided[subject.id] = (error.code, str(error))
            return
        self.until = self.until or time.monotonic() + 60 * minutes
        late = f"the {minutes} minutes of --fastdiff-max-time were over"
        if time.monotonic() > self.until:
            self.judge.undecided[subject.id] = ("not-reached", late)
            return
        answer = self._answer(pairs, subject, old, until=self.until)
        if answer.latency.verdict.word == VOID and not answer.experiment.complete and time.monotonic() > self.until:
            self.judge.undecided[subject.id] = ("not-reached", f"{late} after {len(answer.experiment.pairs)} pairs")
            self.state.experiments.append(answer.path)
            return
        self.judge.keep_pairs(subject.id, answer)

    def _accepted_side(self, pairs: PairSession) -> Environment:
        """Made once; that it cannot be made is found out once, too."""
        if self._accepted is None:
            assert self.judge.side is not None  # or no software would be known to differ
            try:
                with self.progress.doing("the software of the accepted run"):
                    self._accepted = pairs.accepted(self.judge.side)
            except UserError as error:
                self._accepted = error
        if isinstance(self._accepted, UserError):
            raise self._accepted
        return self._accepted

    def _pair_session(self) -> PairSession:
        from fastdiff.experiments.sessions import PairSession

        return PairSession(project_folder(self.config), say=self.progress.say, progress=self.progress)

    def _answer(self, pairs: PairSession, subject: Subject, old: Environment, until: float = float("inf")) -> Answer:
        """What pairs of `old` and this environment say about a stage."""
        from fastdiff.experiments import ab, questions

        asked, ladder = self._asked(subject.model), self.selection.ladders[subject.model.name]
        question = ab.Question(
            old=questions.side_of(old, subject.model, subject.stage, asked, pairs.root),
            new=questions.side_of(pairs.environment(["."]), subject.model, subject.stage, asked, pairs.root, ladder),
            calls=asked.calls,
            most_pairs=asked.most_pairs,
            comparisons=len(self.state.expected),
            options=asked.options(subject.stage.name),
        )
        policy = self.selection.policy_of(subject.model.name, subject.stage.name)
        return pairs.answer(question, policy, until=until)

    def _asked(self, model: Model) -> AbOptions:
        """The options of this session that concern pairs."""
        from fastdiff.experiments.ab import CALLS, MOST_PAIRS
        from fastdiff.experiments.questions import AbOptions

        given = self.selection.settings
        return AbOptions(
            model=model.name,
            weights=given.weights,
            device=self.selection.device,
            steps=given.steps,
            size=given.size,
            batch=given.batch,
            calls=given.calls or CALLS,
            most_pairs=given.pairs or MOST_PAIRS,
            faults=given.inject,
            emulate=given.emulate,
        )


@dataclass(frozen=True)
class Regression:
    """What the fixture `regression` gives to a test."""

    session: Session
    subject: Subject
    test: str

    def assert_not_slower(self) -> None:
        self.session.regression(self.subject, self.test)
