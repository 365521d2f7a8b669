"""Pairs in a session: against a named environment, or against the accepted run's software if any of it differs."""

from __future__ import annotations

import math
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

from fastdiff.compare.policy import FEWEST_PAIRS
from fastdiff.compare.steps import Measure
from fastdiff.compare.verdicts import VOID
from fastdiff.host.environment import device_slug
from fastdiff.plugin.options import project_folder
from fastdiff.record import baselines
from fastdiff.record.errors import UserError
from fastdiff.record.files import read
from fastdiff.record.run import FAILED

NOT_ASKED = "on a GPU pairs are measured only for the last stage and for stages whose stored latency exceeds the band"
OF_TIME = ("latency", "latency_slow_calls", "latency_all_cores", "first_call")

if TYPE_CHECKING:
    from pathlib import Path

    from fastdiff.compare.duration import Planned
    from fastdiff.compare.gate import Judgement
    from fastdiff.compare.pairs import Answer
    from fastdiff.compare.screen import Screened
    from fastdiff.experiments.questions import AbOptions
    from fastdiff.experiments.sessions import PairSession
    from fastdiff.models import Model
    from fastdiff.plugin.selection import Selection, Subject
    from fastdiff.plugin.state import SessionState
    from fastdiff.record.run import Baseline, Run
    from fastdiff.report.progress import Progress
    from fastdiff.sides.environment import Environment


@dataclass
class Pairs:
    selection: Selection
    state: SessionState
    progress: Progress
    baseline: Baseline | None
    """The accepted run of this device."""
    found: dict[str, list[Judgement]] = field(default_factory=dict)
    """The judgements from pairs, by stage."""
    undecided: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Stages for which software differs but pairs gave no verdict: a code and the reason. Ignored if any is found."""
    _accepted: Environment | UserError | None = None
    _screened: list[Screened] = field(default_factory=list)
    """The stages that waited for pairs with the accepted side before the first pair, in the order of the ladder."""
    _turns: dict[str, Screened] = field(default_factory=dict)
    """The same stages, with what pairs have shown of them since."""
    _until: float = 0.0
    """The `time.monotonic` after which no new pair with the accepted side starts; 0 before the first pair."""

    def against(self, subject: Subject, words: tuple[str, ...]) -> None:
        """Measures pairs against the environment that the words describe."""
        from fastdiff.sides.spec import masked

        try:
            with self.progress.doing(f"{subject.id}: the environment {masked(' '.join(words))}"):
                old = self._session.environment(words, self.selection.device)
            answer = self._answer(subject, old)
        except UserError as error:
            raise UserError(error.code, f"--fastdiff-against: {error}") from None
        self._keep(subject, answer)

    def beside_accepted(self, subject: Subject) -> bool:
        """Measures pairs against the accepted run's software, up to the next look. Returns whether the stage needs no
        other turn. If the software cannot be recreated, or if time is over before the first look, it is undecided."""
        from fastdiff.compare.duration import expected
        from fastdiff.compare.facts import listed
        from fastdiff.compare.screen import in_order
        from fastdiff.report.remaining import of_pairs

        minutes = self.selection.settings.max_time
        if not self._is_asked(subject.id):
            self.undecided[subject.id] = ("not-asked", NOT_ASKED)
            return True
        if self._accepted is None:
            changed = listed(self.changes(subject.id) or []) or "nothing, but --fastdiff-confirm=all asks for it"
            self.progress.say(
                f"what differs from the accepted run: {changed}; its software is recreated and measured beside "
                f"today's, for at most {minutes} minutes"
            )
            coming = [one for one in in_order(self._screened) if self._is_asked(one.id)]
            planned = planned_pairs(self._options(subject.model), self.selection.kind)
            for line in of_pairs([expected(self.state.trials[one.id], planned) for one in coming], minutes):
                self.progress.say(line)
        self._until = self._until or time.monotonic() + 60 * minutes
        try:
            old = self._accepted_side()
        except UserError as error:  # this is no failure of the stage
            self.undecided[subject.id] = (error.code, str(error))
            return True
        late = f"the {minutes} minutes of --fastdiff-max-time were over"
        if time.monotonic() > self._until:
            self.undecided[subject.id] = ("not-reached", late)
            return True
        answer = self._answer(subject, old, until=self._until, one_look=True)
        experiment = answer.experiment
        if answer.latency.verdict.word == VOID and not experiment.complete and time.monotonic() > self._until:
            self.undecided[subject.id] = ("not-reached", f"{late} after {len(experiment.pairs)} pairs")
            self.state.experiments.append(answer.path)
            return True
        self._keep(subject, answer)
        return experiment.complete or not self._has_looked(subject.id, answer)

    # -- in which order -----------------------------------------------------------------------------------------------

    def next_of(self, subject: Subject, waiting: list[Subject]) -> Subject:
        """The stage that is measured next so that this one is decided: one of the waiting ones, if they take turns."""
        from fastdiff.compare.screen import next_of

        if self.selection.settings.against or not self.wanted(subject.id):
            return subject
        known = {one.id: one for one in waiting if self.wanted(one.id)}
        self._turns |= {id_: self._screen(id_) for id_ in known if id_ not in self._turns}
        self._screened = self._screened or list(self._turns.values())
        return known[next_of([self._turns[id_] for id_ in known])]

    def _screen(self, id_: str) -> Screened:
        from fastdiff.compare.screen import Screened, moved

        trial = self.state.trials[id_]
        band = self.selection.policy_of(trial.model, trial.stage).latency
        return Screened(id_, trial.model, moved(trial, self.baseline, self.state.run().device), band)

    def _has_looked(self, id_: str, answer: Answer) -> bool:
        """Keeps what the pairs of a turn have shown; whether they reached another look."""
        from fastdiff.compare.pairs import looked_at

        experiment, shown = answer.experiment, answer.latency.verdict.estimate
        looks = 1 + experiment.looks.index(looked_at(experiment)) if shown else 0
        before = self._turns[id_]
        self._turns[id_] = replace(before, looks=looks, moved=abs(math.log(shown.ratio)) if shown else before.moved)
        return looks > before.looks

    def _is_asked(self, id_: str) -> bool:
        """Whether pairs are wanted for a stage. On a GPU, whose time is expensive, only for some; in strict mode for
        all, because an unmeasured stage would fail."""
        from fastdiff.compare.screen import worth_it

        given = self.selection.settings
        return self.selection.kind == "cpu" or given.confirm == "all" or given.strict or id_ in worth_it(self._screened)

    def close(self) -> None:
        if "_session" in vars(self):
            self._session.close()

    # -- whether ------------------------------------------------------------------------------------------------------

    @cached_property
    def side(self) -> Path | None:
        """The file of the accepted run whose software may be recreated: that of this device, or else of any."""
        from fastdiff.experiments.accepted import newest

        root = project_folder(self.selection.config)
        if self.baseline:
            return baselines.folder_of(root, device_slug(self.selection.device)) / self.baseline.name
        with suppress(UserError):
            return newest(root, self.selection.device)
        return None

    @cached_property
    def accepted(self) -> Run | None:
        return self.baseline.run if self.baseline else read(self.side) if self.side else None

    def changes(self, id_: str) -> list[str] | None:
        """The software that differs between the accepted run and this one; an injected fault counts as a difference.
        None if this is not known, or if stored seconds alone are to decide."""
        from fastdiff.compare.software import changes

        if self.selection.settings.confirm == "none" or self.accepted is None:
            return None
        found, injected = changes(self.accepted, self.state.run()), self.state.trials[id_].injected
        return [*found, f"fault: {injected}"] if found is not None and injected else found

    def wanted(self, id_: str) -> bool:
        """Whether a stage is to be measured in pairs against the accepted run's software. An accepted run of another
        device can be used, too: its times are not comparable, but its software is."""
        changed = self.changes(id_)
        if changed is None or self.state.trials[id_].state == FAILED:
            return False
        return bool(changed) or self.baseline is None or self.selection.settings.confirm == "all"

    # -- what comes of it ---------------------------------------------------------------------------------------------

    def weighed(self, stored: list[Judgement], id_: str) -> list[Judgement]:
        """Adjusts the verdicts on stored seconds: they do not count if there are pairs, or if software differs."""
        from fastdiff.compare import software
        from fastdiff.compare.gate import INTERVAL_METRICS

        changed = self.changes(id_)
        if changed is None or self.accepted is None:
            return stored
        made = self._accepted if not isinstance(self._accepted, UserError) else None
        own_fastdiff = made is not None and made.source is not None
        lasting = software.lasting(self.accepted, self.state.run(), own_fastdiff=own_fastdiff)
        if id_ in self.found:
            exact = [one for one in stored if one.metric not in INTERVAL_METRICS and self.baseline]
            known = {one.metric for one in exact}
            of_pairs = [one for one in self.found[id_] if one.metric not in known]
            other = made.differs if made else ()
            of_pairs = [
                replace(one, verdict=software.beside(software.in_pairs(one.verdict, lasting), other))
                if one.metric in OF_TIME
                else one
                for one in of_pairs
            ]
            return [*exact, *of_pairs]
        trial, noise = self.state.trials[id_], self.baseline.noise if self.baseline else None
        policy = self.selection.policy_of(trial.model, trial.stage)
        code, why = self.undecided.get(id_, ("not-compared", "the stage was not compared"))
        again = {
            "not-reached": Measure(trial.model),  # continues after the finished pairs
            "not-asked": Measure(trial.model, pairs=True),
        }.get(code)
        weighed = []
        for one in stored:
            verdict = one.verdict
            if one.metric in INTERVAL_METRICS and changed:
                verdict = software.undecided(verdict, code, why, again)
            elif one.metric in INTERVAL_METRICS and lasting:
                verdict = software.of_the_system(verdict, lasting, noise.trials if noise else 0)
            elif one.metric in INTERVAL_METRICS:
                verdict = software.of_the_machine(verdict, getattr(policy, one.metric))
            weighed.append(replace(one, verdict=verdict))
        return weighed

    # -- the measuring ------------------------------------------------------------------------------------------------

    @cached_property
    def _session(self) -> PairSession:
        from fastdiff.experiments.sessions import PairSession

        root = project_folder(self.selection.config)
        return PairSession(root, say=self.progress.say, progress=self.progress)

    def _accepted_side(self) -> Environment:
        """Created once; an error is kept and raised again."""
        if self._accepted is None:
            assert self.side is not None  # or no software would be known to differ
            try:
                with self.progress.doing("the software of the accepted run"):
                    self._accepted = self._session.accepted(self.side, own=self.selection.settings.accepted_python)
            except (OSError, subprocess.SubprocessError) as error:
                self._accepted = UserError("environment", f"{error}; see whether fastdiff side build says more.")
            except UserError as error:
                self._accepted = error
        if isinstance(self._accepted, UserError):
            raise self._accepted
        return self._accepted

    def _answer(
        self, subject: Subject, old: Environment, until: float = float("inf"), *, one_look: bool = False
    ) -> Answer:
        """The result of pairs of `old` and this environment for a stage."""
        from fastdiff.experiments import ab, questions

        session, asked, ladder = self._session, self._options(subject.model), self.selection.ladders[subject.model.name]
        new = session.environment(["."])
        question = ab.Question(
            old=questions.side_of(old, subject.model, subject.stage, asked, session.root),
            new=questions.side_of(new, subject.model, subject.stage, asked, session.root, ladder),
            calls=asked.calls,
            most_pairs=asked.most_pairs,
            comparisons=len(self.state.expected),
            options=asked.options(subject.stage.name),
            code=questions.code_of(session.root),
        )
        policy = self.selection.policy_of(subject.model.name, subject.stage.name)
        return session.answer(question, policy, until=until, one_look=one_look)

    def _keep(self, subject: Subject, answer: Answer) -> None:
        self.found[subject.id] = answer.judgements
        if answer.path not in self.state.experiments:
            self.state.experiments.append(answer.path)

    def _options(self, model: Model) -> AbOptions:
        """The options of this session that concern pairs."""
        from fastdiff.experiments.ab import MOST_PAIRS
        from fastdiff.experiments.questions import AbOptions

        given, on_cpu = self.selection.settings, self.selection.kind == "cpu"
        return AbOptions(
            model=self.selection.paths.get(model.name, model.name),
            weights=given.weights,
            device=self.selection.device,
            steps=given.steps,
            size=given.size,
            batch=given.batch,
            calls=given.calls,
            most_pairs=given.pairs or (MOST_PAIRS if on_cpu or given.against else FEWEST_PAIRS),
            faults=given.inject,
            emulate=given.emulate,
        )


def planned_pairs(asked: AbOptions, kind: str) -> Planned:
    """The planned measurements of each stage, for the estimate of their duration."""
    from fastdiff.compare.duration import Planned
    from fastdiff.compare.pairs import ALL_CORES
    from fastdiff.compare.plan import looks
    from fastdiff.experiments.ab import calls_all_cores
    from fastdiff.host import cores

    beside = ALL_CORES if kind == "cpu" and cores.halves() else 0
    return Planned(asked.calls, looks(asked.most_pairs), beside, calls_all_cores(asked.calls))
