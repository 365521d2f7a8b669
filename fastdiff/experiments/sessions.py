"""The paired experiments of one command: creates the environments, runs the experiments, and stores the results."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fastdiff.compare import pairs as judge
from fastdiff.compare.facts import listed, package_differences
from fastdiff.compare.pairs import Answer, differing
from fastdiff.compare.policy import FEWEST_PAIRS
from fastdiff.compare.verdicts import FAST, SLOW, VOID, fails
from fastdiff.experiments import ab
from fastdiff.experiments.accepted import newest, side_of
from fastdiff.experiments.bisect import Bench, Difference, search
from fastdiff.experiments.calibrate import KNOWN_WORK, calibration, recovered
from fastdiff.experiments.pairs import OLD
from fastdiff.experiments.questions import code_of, limits, policy_of, questions
from fastdiff.experiments.releases import candidates, of_one_package, spec_of
from fastdiff.experiments.swaps import Swaps, accepted_code
from fastdiff.host.environment import device_kind, device_slug
from fastdiff.record import bisection, pairs
from fastdiff.record import calibration as calibrations
from fastdiff.record.bisection import MEASURED, UNUSABLE, Member, Step
from fastdiff.record.errors import UserError
from fastdiff.record.files import read_baseline
from fastdiff.record.pairs import FOLDER, HALVES
from fastdiff.record.project import OURS
from fastdiff.record.writing import write_text
from fastdiff.report.pairs import WAYS
from fastdiff.report.sentences import interval, percent, reason_of, sentence
from fastdiff.sides.environment import Environment, ready
from fastdiff.sides.home import digest, home, let_go
from fastdiff.sides.installed import releases
from fastdiff.sides.source import source_path
from fastdiff.sides.spec import parse
from fastdiff.stages.published import LADDER

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fastdiff.compare.policy import Policy
    from fastdiff.experiments.ab import Question
    from fastdiff.experiments.bisect import Candidate
    from fastdiff.experiments.questions import AbOptions
    from fastdiff.record.bisection import Found
    from fastdiff.record.calibration import Calibration
    from fastdiff.trial.runner import Progress


NOWHERE = Environment("", Path(), {}, "")
"""A placeholder, to check the options before any environment is created."""


class Done:
    """The results that a command has already, so that the same command after Ctrl-C does not measure them again, which
    would bias the result.

    The file is stored with the experiments until the command has finished, for a day at most.
    """

    LASTS_S = 24 * 3600

    def __init__(self, root: Path, asking: Sequence[Question]) -> None:
        digest = hashlib.sha256(repr(asking).encode()).hexdigest()[:16]
        self._file = root / FOLDER / f".{digest}.command"
        self._known: dict[str, str] = {}
        with suppress(OSError, ValueError):
            if time.time() - self._file.stat().st_mtime > self.LASTS_S:
                return
            self._known = dict(json.loads(self._file.read_text(encoding="utf-8")))

    def answer(self, question: Question, policy: Policy) -> Answer | None:
        name = self._known.get(_key(question))
        if name is None:
            return None
        path = self._file.parent / name
        with suppress(UserError):
            experiment = pairs.read(path)
            judged = judge.judge(experiment, policy, judge.comparisons_of(experiment.comparisons))
            return Answer(experiment, judged, path)
        return None

    def keep(self, question: Question, answer: Answer) -> None:
        if answer.experiment.complete:
            self._known[_key(question)] = answer.path.name
            write_text(self._file, json.dumps(self._known) + "\n")

    def forget(self) -> None:
        self._known = {}
        self._file.unlink(missing_ok=True)


def _key(question: Question) -> str:
    """The key of one question among those of a command."""
    return f"{question.id} {question.new.work.faults} {question.in_halves}"


class PairSession:
    def __init__(self, root: Path, *, say: Callable[[str], None], progress: Progress) -> None:
        self.root, self.say, self.progress = root.resolve(), say, progress

    @property
    def source(self) -> Path:
        return source_path(self.root / OURS)

    def close(self) -> None:
        """The environments and checkouts that were used may be removed from now on."""
        let_go()

    def environment(self, words: Sequence[str], device: str = "auto") -> Environment:
        """The environment that the words describe; created if necessary. `device`: that of the accepted run, if the
        words name it."""
        spec = parse(words, self.root)
        if not spec.accepted:
            return ready(spec, home(), self.say)
        found = self.accepted(newest(self.root, device), spec.variables)
        return replace(found, name=spec.name, words=spec.words)

    def accepted(self, path: Path, changed: Mapping[str, str] | None = None, own: Path | None = None) -> Environment:
        """Recreates the software of the accepted run in this file. `changed`: additional variables. `own`: an
        environment that the user kept from that run."""
        side = side_of(path, self.root, self.say, changed, own)
        for remark in side.remarks:
            self.say(f"accepted: {remark}")
        return side.environment

    def compare(
        self, asked: AbOptions, old: Sequence[str], new: Sequence[str], *, minutes: float = 0.0, fresh: bool = False
    ) -> list[Answer]:
        """Compares stage after stage; impossible comparisons are rejected before anything is created."""
        for words in (old, new):
            parse(words, self.root)
        self._check(asked)
        before, now = (self.environment(words, asked.device) for words in (old, new))
        until = time.monotonic() + 60 * minutes if minutes else float("inf")
        asking = questions(asked, before, now, self.root)
        done = Done(self.root, asking)
        if fresh:
            done.forget()
        answers = [self._answered(done, question, until=until, fresh=fresh) for question in asking]
        if all(answer.experiment.complete for answer in answers):
            done.forget()
        return answers

    def calibrate(self, asked: AbOptions, *, most_pairs: int, fresh: bool = False) -> list[Calibration]:
        """Measures how much of a known amount of work pairs detect, then the scatter with the same environment on both
        sides."""
        self._check(asked)
        here = self.environment(["."])
        asking = questions(asked, here, here, self.root)
        asking = [replace(question, to_the_end=True, all_cores=False) for question in asking]
        done = Done(self.root, asking)
        if fresh:
            done.forget()
        found = []
        for question in asking:
            shares = self._recovered(done, question, fresh=fresh)
            in_halves = shares.get(HALVES, 1.0) >= calibrations.FEWEST_RECOVERED
            answer = self._answered(done, replace(question, in_halves=in_halves), fresh=fresh)
            policy, stages = policy_of(question, self.root), len(LADDER.stages)
            known = calibration(answer.experiment, policy, shares, most_pairs=most_pairs, stages=stages)
            verdict = answer.latency.verdict
            read = interval(verdict.estimate) if verdict.estimate else verdict.word
            self.say(f"{known.stage}: the same environment twice read {read}")
            if verdict.word in (SLOW, FAST):
                done.forget()
                raise UserError(
                    "experiment",
                    f"{known.stage}: the same environment twice is {verdict.word}, so this machine favours one of two "
                    f"equal processes, and what pairs say here cannot be trusted; nothing was kept but {answer.path}. "
                    "Repeat the command when the machine is quieter.",
                )
            calibrations.write(self.root, known)
            found.append(known)
        done.forget()
        return found

    def _recovered(self, done: Done, question: Question, *, fresh: bool) -> dict[str, float]:
        """The share of a known amount of work that pairs measure, by way of measuring: on halves of the cores if there
        are halves, and in turns if there are none or the halves hide some of the work."""
        work = replace(question.new.work, faults=str(KNOWN_WORK))
        known = replace(question, new=replace(question.new, work=work), most_pairs=FEWEST_PAIRS)
        shares: dict[str, float] = {}
        for in_halves in (True, False):
            asking = replace(known, in_halves=in_halves)
            experiment = self._answered(done, asking, fresh=fresh).experiment
            share = shares[experiment.way] = recovered(experiment, KNOWN_WORK.share)
            put_in = f"+{percent(KNOWN_WORK.share)} that were put into one side"
            self.say(f"{question.id}: pairs {WAYS[experiment.way]} saw {percent(share)} of the {put_in}")
            if experiment.way != HALVES or share >= calibrations.FEWEST_RECOVERED:
                break
            self.say(f"{question.id}: halves of the cores hide work here, so the sides take turns")
        return shares

    def _check(self, asked: AbOptions) -> None:
        """Checks the options before anything is created, and reports the effect of missing CPU instructions."""
        questions(asked, NOWHERE, NOWHERE, self.root)
        if limit := limits(asked, self.root):
            self.say(limit)

    def _answered(self, done: Done, question: Question, *, until: float = float("inf"), fresh: bool = False) -> Answer:
        """The result from before this command was stopped, or a new measurement."""
        policy = policy_of(question, self.root)
        answer = done.answer(question, policy)
        if answer:
            self.say(
                f"{question.id}: measured before this command was stopped ({answer.path.name}); --fresh repeats it"
            )
            return answer
        answer = self.answer(question, policy, until=until, fresh=fresh)
        done.keep(question, answer)
        return answer

    def bisect(
        self,
        asked: AbOptions,
        old: Sequence[str],
        new: Sequence[str],
        *,
        pip: Sequence[str] = (),
        also: Sequence[str] = (),
    ) -> Found:
        """Finds what makes the new side slower. `also`: words for both sides; `pip`: options for their installer."""
        if ends := of_one_package(old, new):
            self._check(asked)
            return self._bisect_releases(asked, *ends, words=[*pip, *also], pip=pip)
        specs = [parse([*words, *also], self.root) for words in (old, new)]
        self._check(asked)
        words = [[*spec.words, *(pip if spec.requirements or spec.files else ())] for spec in specs]
        before, now = (self.environment(one, asked.device) for one in words)
        accepted = None
        if specs[0].accepted != specs[1].accepted:
            is_old = specs[0].accepted
            file = newest(self.root, asked.device)
            software = read_baseline(file).run.software
            accepted = accepted_code(software, before if is_old else now, self.root, file, is_old=is_old)
        swaps = Swaps(self.root, before, now, accepted, pip, self.say)
        measure = self._measuring(asked, before, swaps.environment)
        bench = Bench("the new side", measure, swaps.releases, swaps.commits)
        return self._search(asked, swaps.difference, bench, before, now)

    def _bisect_releases(
        self, asked: AbOptions, package: str, good: str, bad: str, *, words: Sequence[str], pip: Sequence[str]
    ) -> Found:
        """Both sides are this environment with one release of the same package, and so is every candidate."""
        offered = releases(package, Path(sys.executable), pip)
        specs, end = candidates(offered, good, bad, package), spec_of(offered, good, package)
        (_, _, first), (_, _, last) = end.partition("=="), specs[-1].partition("==")
        before = self.environment([end, *words])
        measure = self._measuring(asked, before, lambda candidate: self.environment([candidate.text, *words]))
        bench = Bench(specs[-1], measure, lambda _: specs, list)
        return self._search(asked, Difference((Member("package", package, first, last),)), bench, before)

    def _search(
        self,
        asked: AbOptions,
        difference: Difference,
        bench: Bench,
        old: Environment,
        new: Environment | None = None,
    ) -> Found:
        about = {name: str(value) for name, value in asdict(asked).items()}
        about["device"] = device_slug(device_kind() if asked.device == "auto" else asked.device)
        about["old"], about["new"] = f"{old.name} ({old.key})", f"{new.name} ({new.key})" if new else bench.whole
        about["difference"] = listed([*(member.text for member in difference.members), *difference.lasting])
        if any(member.kind == "code" for member in difference.members):
            about["code"] = code_of(self.root)
        command = digest(old.name, new.name if new else bench.whole, asdict(asked))
        path = self.root / bisection.FOLDER / f"{asked.model}-{'-'.join(asked.stages)}-{command}.json"
        found = search(difference, bench, path, about, self.say)
        return replace(found, old=old.words)

    def _measuring(
        self, asked: AbOptions, reference: Environment, environment: Callable[[Candidate], Environment]
    ) -> Callable[[Candidate], Step]:
        def measure(candidate: Candidate) -> Step:
            began = time.monotonic()
            try:
                made = environment(candidate)
                (question,) = questions(asked, reference, made, self.root)
                # In halves alone: a search wants to know which side a candidate is on. And what packages of two sides
                # do not run together does not at the third attempt.
                answer = self.answer(replace(question, all_cores=False, attempts=2))
            except UserError as error:
                if error.code not in ("environment", "process", "memory", "not-applied"):
                    raise
                return Step(
                    candidate.text, candidate.level, UNUSABLE, reason=str(error), seconds=time.monotonic() - began
                )
            trouble = answer.experiment.unapplied or next(reversed(answer.experiment.failures), "")
            if answer.latency.verdict.estimate is None and trouble.startswith(f"{OLD} "):
                raise UserError("bisect", f"the old side cannot be measured: {trouble}; name another OLD.")
            return _step(candidate, answer, made.words, time.monotonic() - began)

        return measure

    def limit(self, answers: Sequence[Answer]) -> Calibration | None:
        """The calibration of this machine, for the report."""
        first = answers[0].experiment
        return calibrations.of_device(self.root, first.device.slug, first.stage)

    def answer(
        self,
        question: Question,
        policy: Policy | None = None,
        *,
        until: float = float("inf"),
        one_look: bool = False,
        fresh: bool = False,
    ) -> Answer:
        return ab.ask(
            question,
            policy or policy_of(question, self.root),
            self.root,
            self.source,
            progress=self.progress,
            say=self.say,
            until=until,
            one_look=one_look,
            fresh=fresh,
        )


def failing(answers: Sequence[Answer], *, strict: bool) -> bool:
    """VOID fails even without strict mode, because a comparison that was not possible must not look like a pass. Strict
    mode also requires that every optimization is proven."""
    verdicts = [one.verdict for answer in answers for one in answer.judgements]
    unproven = any(answer.experiment.unproven for answer in answers)
    return any(fails(one, strict) or one.word == VOID for one in verdicts) or (strict and unproven)


def _step(candidate: Candidate, answer: Answer, words: tuple[str, ...], seconds: float) -> Step:
    verdict, experiment = answer.latency.verdict, answer.experiment
    found, reason = verdict.estimate, reason_of(answer.latency)
    if found is None:
        return Step(candidate.text, candidate.level, UNUSABLE, word=verdict.word, reason=reason, seconds=seconds)
    return Step(
        candidate.text,
        candidate.level,
        MEASURED,
        word=verdict.word,
        ratio=found.ratio,
        low=found.low,
        high=found.high,
        reason=reason,
        difference=tuple(package_differences(experiment.old.packages, experiment.new.packages)),
        changes=tuple(map(sentence, differing(experiment))),
        words=words,
        seconds=seconds,
    )
