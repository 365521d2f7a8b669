"""One command's paired experiments: makes the environments, asks the questions, and keeps the answers."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from fastdiff.experiments import ab
from fastdiff.experiments.bisect import MEASURED, UNUSABLE, Step, candidates, search, spec_of
from fastdiff.experiments.calibrate import calibration
from fastdiff.experiments.environments import (
    CreationError,
    package_differences,
    parse,
    ready,
    releases,
    source_path,
)
from fastdiff.experiments.pairs import NotAppliedError
from fastdiff.experiments.questions import ENVIRONMENTS, policy_of, questions
from fastdiff.experiments.sides import SideError
from fastdiff.judge.pairs import differing
from fastdiff.judge.verdicts import VOID, fails
from fastdiff.recipes import LADDER
from fastdiff.record import calibration as calibrations
from fastdiff.record.pairs import FOLDER

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fastdiff.experiments.ab import Answer, Question
    from fastdiff.experiments.bisect import Found
    from fastdiff.experiments.environments import Environment
    from fastdiff.experiments.questions import Asked
    from fastdiff.judge.policy import Policy
    from fastdiff.record.calibration import Calibration
    from fastdiff.report.progress import Progress


class Session:
    def __init__(self, root: Path, *, say: Callable[[str], None], progress: Progress) -> None:
        self.root, self.say, self.progress = root.resolve(), say, progress

    @property
    def source(self) -> Path:
        return source_path(self.root / ENVIRONMENTS)

    def environment(self, words: Sequence[str]) -> Environment:
        """As the words describe it; made where there is none."""
        return ready(parse(words, self.root), self.root / ENVIRONMENTS, self.say)

    def compare(
        self, asked: Asked, old: Sequence[str], new: Sequence[str], *, minutes: float = 0.0, fresh: bool = False
    ) -> list[Answer]:
        """Stage after stage; what cannot be asked is said before anything is made."""
        until = time.monotonic() + 60 * minutes if minutes else float("inf")
        specs = [parse(words, self.root) for words in (old, new)]
        before, now = (ready(spec, self.root / ENVIRONMENTS, self.say) for spec in specs)
        asking = questions(asked, before, now, self.root)
        return [self.answer(question, until=until, fresh=fresh) for question in asking]

    def calibrate(self, asked: Asked, *, most_pairs: int, fresh: bool = False) -> list[Calibration]:
        """The same environment on both sides, all of the pairs that were asked for."""
        here = self.environment(["."])
        found = []
        for question in questions(asked, here, here, self.root):
            policy = policy_of(question, self.root)
            answer = self.answer(replace(question, to_the_end=True), fresh=fresh)
            known = calibration(answer.experiment, policy, most_pairs=most_pairs, comparisons=len(LADDER.stages))
            calibrations.write(self.root, known)
            found.append(known)
        return found

    def bisect(
        self, asked: Asked, package: str, good: str, bad: str, *, pip: Sequence[str] = (), also: Sequence[str] = ()
    ) -> tuple[str, Found]:
        """The good end as pip takes it, and what was found among the releases of pip's index.

        Those that do not install or do not build are passed over.
        """
        said = [*pip, *also]
        offered = releases(package, Path(sys.executable), pip)
        specs, end = candidates(offered, good, bad, package), spec_of(offered, good, package)
        reference = self.environment([end, *said])

        def measure(spec: str) -> Step:
            began = time.monotonic()
            try:
                environment = self.environment([spec, *said])
                (question,) = questions(asked, reference, environment, self.root)
                answer = self.answer(question)
            except (CreationError, SideError, NotAppliedError) as error:
                return Step(spec, UNUSABLE, reason=str(error), seconds=time.monotonic() - began)
            return _step(spec, answer, time.monotonic() - began)

        about = {
            "model": asked.model,
            "weights": asked.weights,
            "stages": ",".join(asked.stages),
            "also": " ".join(said),
        }
        about |= {"calls": str(asked.calls), "pairs": str(asked.most_pairs)}
        keep = self.root / FOLDER / f"bisect-{package}-{good}-{bad}-{asked.model}-{'-'.join(asked.stages)}.json"
        return end, search(specs, measure, keep, self.say, good=end, asked=about)

    def limit(self, answers: Sequence[Answer]) -> Calibration | None:
        """What this machine was found to see, for the report."""
        first = answers[0].experiment
        return calibrations.of_device(self.root, first.device.slug, first.stage)

    def answer(
        self, question: Question, policy: Policy | None = None, *, until: float = float("inf"), fresh: bool = False
    ) -> Answer:
        return ab.ask(
            question,
            policy or policy_of(question, self.root),
            self.root,
            self.source,
            progress=self.progress,
            say=self.say,
            until=until,
            fresh=fresh,
        )


def failing(answers: Sequence[Answer], *, strict: bool) -> bool:
    """VOID fails without strictness, too: who asked for a comparison and got none must not think that all is well."""
    verdicts = [one.verdict for answer in answers for one in answer.judgements]
    return any(fails(one, strict) or one.word == VOID for one in verdicts)


def _step(spec: str, answer: Answer, seconds: float) -> Step:
    verdict, experiment = answer.latency.verdict, answer.experiment
    found = verdict.estimate
    if found is None:
        return Step(spec, UNUSABLE, word=verdict.word, reason=verdict.reason, seconds=seconds)
    return Step(
        spec,
        MEASURED,
        word=verdict.word,
        ratio=found.ratio,
        low=found.low,
        high=found.high,
        reason=verdict.reason,
        difference=tuple(package_differences(experiment.old.packages, experiment.new.packages)),
        changes=tuple(differing(experiment)),
        seconds=seconds,
    )
