"""One pytest session, from top to bottom: what was collected, measured, ended, compared, and finished."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import pytest

from fastdiff.plugin.benchmark import write_run
from fastdiff.plugin.judge import Judge, masked
from fastdiff.plugin.selection import Selection
from fastdiff.plugin.settings import project_folder
from fastdiff.plugin.stages import RUNNER, StageManager
from fastdiff.plugin.state import SessionState
from fastdiff.record.errors import UserError
from fastdiff.record.run import FAILED, Trial

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastdiff.experiments.questions import Asked
    from fastdiff.models import Model
    from fastdiff.plugin.selection import Subject
    from fastdiff.record.run import State
    from fastdiff.report.progress import Progress
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

    def collected(self, tests: Sequence[tuple[str, str]], *, reference_wanted: bool) -> None:
        """`tests`: the stage and the node id of every test that needs one, in the order in which they run."""
        self.last_tests = dict(tests)
        self.state.expected = self.stages.expected = tuple(self.last_tests)
        self.stages.reference_wanted = reference_wanted

    def measured(self, live: LiveStage, *, whole: bool) -> None:
        """After every test of a stage. `whole` allows further calls that measure; an interrupt does not."""
        self.state.keep(live)
        if whole and not live.unapplied:
            live.count()
            if live.samples:
                live.take_apart()
            self.state.keep(live)

    def judged(self, subject: Subject, test: str) -> None:
        """What is exact fails the stage's own test."""
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
        """After the last stage has ended: is this one slower than what it is compared with?"""
        trial = self.state.trials.get(subject.id)
        if trial is None and subject.id not in self.last_tests:  # as with --last-failed: a skip would look like a pass
            sentence = f"{subject.id} was not measured, because its own tests are not in this session"
            pytest.fail(f"{sentence}; add them, for instance with -k {subject.stage.name}.", pytrace=False)
        if trial is None or not trial.samples:
            pytest.skip(f"{subject.id} was not timed in this session.")
        self.compare(subject)
        self._fail_on(subject, self.judge.timing(subject.id, test))

    def compare(self, subject: Subject) -> None:
        """Measures what the comparison needs, once: pairs with the other environment, or a slow stage again."""
        if subject.id in self.compared:
            return
        self.compared.add(subject.id)
        with self.stages.compile_cache():
            if self.judge.against:
                self._measure_pairs(subject)
            elif self.judge.wants_confirmation(subject.id):
                self._confirm(subject)

    def finished(self, *, interrupted: bool) -> bool:
        """The answer is whether what only the whole session shows fails it."""
        failing = False
        if self.comparing and not interrupted:
            for subject in self.selection.subjects:  # of which no item of test_regression.py was collected
                trial = self.state.trials.get(subject.id)
                if trial is not None and trial.samples and subject.id not in self.compared:
                    self.compare(subject)
                    failing |= bool(self.judge.timing(subject.id))
        failing |= self.judge.finish(self.deselected, interrupted=interrupted)
        write_run(self.config, self.state)
        return failing

    def remark(self, subject: Subject, remark: str, state: State | None = FAILED) -> None:
        asked = asdict(self.selection.request(subject.model))
        blank = Trial(subject.model.name, subject.stage.name, subject.stage.follows, request=asked)
        self.state.remark(blank, remark, state)

    def _fail_on(self, subject: Subject, failing: list) -> None:  # type: ignore[type-arg]
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
            for samples in confirm(runner, work, first, processes, self.progress):
                self.state.confirm(subject.id, samples)
        except UserError as error:
            self.state.troubles.append(f"{subject.id} was not confirmed: {error}")

    def _measure_pairs(self, subject: Subject) -> None:
        from fastdiff.experiments import ab, questions, sessions

        asked, ladder = self._asked(subject.model), self.selection.ladders[subject.model.name]
        against = self.selection.settings.against
        session = sessions.Session(project_folder(self.config), say=self.progress.say, progress=self.progress)
        try:
            with self.progress.doing(f"{subject.id}: the environment {' '.join(masked(against))}"):
                old, new = (session.environment(words) for words in (against, ["."]))
            question = ab.Question(
                old=questions.side_of(old, subject.model, subject.stage, asked, session.root),
                new=questions.side_of(new, subject.model, subject.stage, asked, session.root, ladder),
                calls=asked.calls,
                most_pairs=asked.most_pairs,
                comparisons=len(self.state.expected),
                options=asked.options(subject.stage.name),
            )
            answer = session.answer(question, self.selection.policy_of(subject.model.name, subject.stage.name))
        except UserError as error:
            raise pytest.fail.Exception(f"--fastdiff-against: {error}", pytrace=False) from None
        self.judge.keep_pairs(subject.id, answer)

    def _asked(self, model: Model) -> Asked:
        """The options of this session that concern pairs."""
        from fastdiff.experiments.ab import CALLS, MOST_PAIRS
        from fastdiff.experiments.questions import Asked

        given = self.selection.settings
        return Asked(
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
