"""`fastdiff ab`: is the new environment slower? Measures pairs until a planned look decides, or all are done."""

from __future__ import annotations

import hashlib
import json
import math
import os
import random
import time
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from fastdiff import __version__
from fastdiff.compare import pairs as judge
from fastdiff.compare import plan
from fastdiff.compare.facts import differences, listed
from fastdiff.compare.one_pair import log_ratio
from fastdiff.compare.pairs import Answer
from fastdiff.experiments.pairs import NEW, OLD, PairRunner, Side, processes
from fastdiff.host import cores
from fastdiff.host.environment import device_name, device_slug, two_gpus
from fastdiff.record import calibration
from fastdiff.record import pairs as record
from fastdiff.record.errors import UserError
from fastdiff.record.files import stamp
from fastdiff.record.pairs import APART, GPUS, HALVES, TURNS, Experiment, Pictures
from fastdiff.record.project import distribution
from fastdiff.record.run import Device
from fastdiff.record.writing import locked, write_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from fastdiff.compare.policy import Policy
    from fastdiff.experiments.pairs import Start
    from fastdiff.host.cores import Halves
    from fastdiff.record.pairs import Way
    from fastdiff.trial.runner import Progress

CALLS_ALL_CORES = 12
"""The most calls of each side in pairs with all cores, whose band is wide and whose start takes long."""
MOST_PAIRS = 12
"""24 pairs detect +2 % in 99 instead of 81 of 100 experiments, but take a quarter more pairs on average (simulated for
a suite of six: pairs scatter by 0.3 %, one in eight is an outlier). An UNSURE verdict gives the number that is
needed."""
MOST_FAILURES = 3
"""Failures in a row; more attempts do not help."""


@dataclass(frozen=True)
class Question:
    """Two sides, and how much may be spent on comparing them."""

    old: Side
    new: Side
    calls: int | None = None
    """Of each side in a pair. None: as many as take `plan.PAIR_S`."""
    most_pairs: int = MOST_PAIRS
    comparisons: int = 1
    """The number of stages of the whole suite, which share one allowed error."""
    options: str = ""
    """Options of the command that repeats this experiment."""
    code: str = ""
    """A hash of the project's files: a stopped experiment continues only with the same files."""
    band: float | None = None
    """A band for the latency that replaces the policy's."""
    all_cores: bool = True
    """Whether pairs with all cores are measured in addition to pairs on halves of the cores."""
    in_halves: bool | None = None
    """None: side by side if there are halves and no calibration found that they hide work."""
    to_the_end: bool = False
    """Whether to measure all pairs without an early look, for their scatter and not for a verdict."""
    attempts: int = MOST_FAILURES
    """The number of pairs in a row that may fail."""

    def __post_init__(self) -> None:
        if self.calls is not None and (self.calls < 1 or self.calls % record.WHOLE_BLOCKS):
            raise UserError(
                "recipe",
                f"{self.calls} calls a side do not make whole blocks; give a multiple of {record.WHOLE_BLOCKS}.",
            )
        plan.looks(self.most_pairs)  # refuses too few

    @property
    def id(self) -> str:
        return self.new.work.id

    @property
    def looks(self) -> tuple[int, ...]:
        return (self.most_pairs,) if self.to_the_end else plan.looks(self.most_pairs)

    @property
    def digest(self) -> str:
        """A hash of everything that is built: a stopped experiment continues only with the same weights, recipes and
        devices."""
        works = (self.old.work, self.new.work)
        built = [asdict(one) | {"request": None} for work in works for one in (work.model, work.stage)]
        whole = [*built, asdict(works[1].built), works[1].device, __version__, self.code]
        return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:16]


def ask(
    question: Question,
    policy: Policy,
    root: Path,
    source: Path,
    *,
    progress: Progress,
    say: Callable[[str], None],
    until: float = float("inf"),
    one_look: bool = False,
    fresh: bool = False,
    start: Start | None = None,
) -> Answer:
    """Continues a stopped experiment of the same question, unless `fresh`. After `until`, a reading of
    `time.monotonic`, no new pair starts. With `one_look` it pauses after the next look if that decides nothing.
    `start` replaces the usual way to start the sides' processes."""
    halves, gpus = halves_for(question, root), gpus_for(question)
    way: Way = HALVES if halves else GPUS if gpus else TURNS
    with _held(question, way, root, fresh=fresh) as (path, experiment):
        sides = {OLD: question.old, NEW: question.new}
        folder = path.with_suffix("")
        calls = question.calls or experiment.calls_made
        runner = PairRunner(sides, calls, start or processes(source), halves, folder, progress, random.Random(), gpus)
        return _ask(question, experiment, path, policy, runner, say, until, one_look=one_look)


def calls_all_cores(calls: int | None) -> int:
    """The calls of each side in a pair with all cores, if `calls` were asked for, or none were named."""
    return min(calls or CALLS_ALL_CORES, CALLS_ALL_CORES)


def halves_for(question: Question, root: Path) -> Halves | None:
    """The halves of the cores; None on a GPU, if the processor has no halves or they hide work, or if the user sets
    a variable about threads."""
    sides = (question.old, question.new)
    on_cpu = all(side.work.device == "cpu" for side in sides)
    own = [name for side in sides for name in side.environment.variables]
    wanted = question.in_halves
    if wanted is None:
        wanted = not calibration.hides_work(root, device_slug(question.new.work.device))
    return cores.halves() if wanted and on_cpu and not cores.decided(os.environ, own) else None


def gpus_for(question: Question) -> tuple[str, str] | None:
    """Two GPUs of one kind; None if the sides take turns on one: there is no other, or the user names one, by its
    number or by a variable of a side."""
    sides = (question.old, question.new)
    named = any(name.endswith("_VISIBLE_DEVICES") for side in sides for name in side.environment.variables)
    return two_gpus() if all(side.work.device == "cuda" for side in sides) and not named else None


def _ask(
    question: Question,
    experiment: Experiment,
    path: Path,
    policy: Policy,
    runner: PairRunner,
    say: Callable[[str], None],
    until: float,
    *,
    one_look: bool,
) -> Answer:
    comparisons = judge.comparisons_of(experiment.comparisons)
    if experiment.pairs:
        say(f"{experiment.stage}: continues {path.name}, which has {_pairs(len(experiment.pairs))}")
        # With another band it may be decided already.
        experiment = replace(experiment, complete=_is_over(experiment, policy, comparisons, question))
    # Its processes have other numbers of threads, so they are not compared with what was seen of the others.
    in_turns = replace(runner, halves=None, calls=calls_all_cores(question.calls), seen={})

    most = experiment.looks[-1]
    pause = next((one for one in experiment.looks if one > len(experiment.pairs)), most) if one_look else most
    failed = 0
    while not experiment.complete and time.monotonic() < until and failed < question.attempts:
        beside = judge.is_decided(experiment, policy, comparisons)
        if not beside and len(experiment.pairs) >= pause:
            break
        number = len(experiment.all_cores if beside else experiment.pairs) + 1
        try:
            if beside:
                pair = in_turns.pair(number, TURNS, whole=False)
                experiment = replace(experiment, all_cores=(*experiment.all_cores, pair))
            else:
                pair = runner.pair(number, experiment.way, whole=number == 1)
                pictures = _compare(runner, question) if number == 1 else experiment.pictures
                experiment = _with_facts(experiment, runner, path)
                experiment = replace(experiment, pairs=(*experiment.pairs, pair), pictures=pictures)
        except UserError as error:
            if error.code == "not-applied":
                experiment = replace(experiment, unapplied=str(error), complete=True)
                break
            if error.code not in ("process", "memory"):
                raise
            # Where a pair fitted already it was a passing guest, and pairs of two kinds do not mix.
            if error.code == "memory" and experiment.way != APART and not experiment.pairs:
                runner.calls = question.calls  # as many calls as suit the new way
                if experiment.way == GPUS:
                    say(f"{experiment.stage}: it does not fit on one of the two GPUs, so the sides take turns on one.")
                    experiment = replace(experiment, way=TURNS)
                    continue
                say(f"{experiment.stage}: two copies do not fit on the device, so one process runs after the other.")
                experiment = replace(experiment, way=APART)
                continue
            failed += 1
            experiment = replace(experiment, failures=(*experiment.failures, str(error)))
            record.write(path, experiment)
            say(f"{experiment.stage}: pair {number} ended early: {error}")
            continue
        failed = 0
        experiment = replace(experiment, complete=_is_over(experiment, policy, comparisons, question))
        record.write(path, experiment)
        say(_seen(experiment, pair, beside=beside))
    judgements = judge.judge(experiment, policy, comparisons)
    experiment = replace(experiment, judgements=tuple(one.as_dict() for one in judgements))
    record.write(path, experiment)
    return Answer(experiment, judgements, path)


@contextmanager
def _held(question: Question, way: Way, root: Path, *, fresh: bool) -> Iterator[tuple[Path, Experiment]]:
    """An experiment that no other process is working on: a stopped one of the same question, or a new one."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    asked = question.new.work
    device = asked.device
    new = Experiment(
        device=Device(device_slug(device), device.partition(":")[0], device_name(device)),
        started=now,
        old=question.old.facts({}),
        new=question.new.facts({}),
        project=distribution(root),
        stage=question.id,
        old_stage=question.old.work.id,
        request=asked.request.as_kept(),
        work=question.digest,
        options=question.options,
        comparisons=question.comparisons,
        calls=question.calls,
        way=way,
        looks=question.looks,
        injected=asked.faults,
        made_by=f"fastdiff {__version__}",
    )
    folder = root / record.FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / ".gitignore", "*\n")  # which follows no link
    with ExitStack() as held:
        for path in sorted(folder.glob(f"*-{new.stage}.json"), reverse=True):
            known = _stopped(path, new)
            if known is None or not _lock(path.with_suffix(""), held):
                continue
            known = _stopped(path, new)  # the process that held the lock may have ended it
            if known is None:
                continue
            if not fresh:
                # One stage of a suite that is measured on, because it looked odd, is still one of the suite.
                suite = max(known.comparisons, new.comparisons)
                yield path, replace(known, options=new.options, comparisons=suite)
                return
            record.write(path, replace(known, complete=True))  # given up: it is not resumed later
        path, count = folder / f"{stamp(now)}-{new.stage}.json", 1
        # Of two that begin within one second, one finds the folder taken.
        while not _lock(path.with_suffix(""), held, made=True):
            count += 1
            path = folder / f"{stamp(now)}-{count}-{new.stage}.json"
        yield path, new


def _stopped(path: Path, new: Experiment) -> Experiment | None:
    """The experiment in this file, if it is unfinished and has the same question."""
    try:
        known = record.read(path)
    except UserError:
        return None  # it cannot be resumed; it stays for the user to look at
    narrower: list[Way] = [TURNS, APART] if new.way == GPUS else [APART]  # what did not fit then does not now
    questions = [new.question, *(replace(new, way=way).question for way in narrower)]
    return known if not known.complete and known.question in questions else None


def _lock(folder: Path, held: ExitStack, *, made: bool = False) -> bool:
    """Whether this process has locked the folder; with `made`, the folder must be new."""
    try:
        folder.mkdir(exist_ok=not made)
    except FileExistsError:
        return False
    return held.enter_context(locked(folder / ".lock"))


def _with_facts(experiment: Experiment, runner: PairRunner, path: Path) -> Experiment:
    """Stores the facts that the sides report; if an environment changed during the experiment, that is an error."""
    for name, before in ((OLD, experiment.old), (NEW, experiment.new)):
        now = runner.seen[name]
        facts = [{fact: side.environment.get(fact) for fact in judge.ENVIRONMENT} for side in (before, now)]
        changed = [*differences(before.packages, now.packages), *differences(*facts)]
        if experiment.pairs and changed:
            raise UserError(
                "file",
                f"{name} ({before.name}) changed since this experiment began ({listed(changed)}); "
                f"add --fresh to begin a new one; {path} stays.",
            )
    return replace(experiment, old=runner.seen[OLD], new=runner.seen[NEW])


def _compare(runner: PairRunner, question: Question) -> Pictures | None:
    """Compares the pictures of old and new, in numbers and as a picture file; or their tensors, in numbers."""
    import numpy as np

    from fastdiff.quality.metrics import Likeness
    from fastdiff.quality.parity import compared, unsound
    from fastdiff.record.outputs import read_whole
    from fastdiff.record.pictures import side_by_side

    paths = [runner.pictures(name) for name in (OLD, NEW)]
    old, new = (read_whole(path) for path in paths)
    for path in paths:
        path.unlink()
    worst = None
    if isinstance(old, np.ndarray) and isinstance(new, np.ndarray):
        side_by_side(runner.folder / "pictures.png", old, new)
        worst = 0.0
    for name, images in ((OLD, old), (NEW, new)):
        if wrong := unsound(images):
            return Pictures(worst, worst, f"{name}: {wrong}")
    if isinstance(old, np.ndarray) != isinstance(new, np.ndarray):
        return Pictures(worst, worst, "one side draws pictures and the other one answers tensors")
    if isinstance(old, np.ndarray) and isinstance(new, np.ndarray) and old.shape != new.shape:
        return Pictures(worst, worst, f"one side draws {old.shape} and the other one {new.shape}")
    work = question.new.work
    found = compared(new, old, work.model.close, work.stage.recipe, work.stage.budget)
    shortfall = found.shortfall(work.stage.budget) or ""
    if isinstance(found, Likeness):
        return Pictures(found.ssim, found.worst_tile, shortfall)
    return Pictures(None, None, shortfall, **found.numbers)


def _is_over(experiment: Experiment, policy: Policy, comparisons: int, question: Question) -> bool:
    beside = experiment.way == HALVES and question.all_cores and len(experiment.all_cores) < judge.ALL_CORES
    return not beside and judge.is_decided(experiment, policy, comparisons)


def _seen(experiment: Experiment, pair: record.Pair, *, beside: bool) -> str:
    """A line of progress. Its number is that of this pair alone and decides nothing."""
    count, most = len(experiment.pairs), experiment.looks[-1]
    next_look = next((one for one in experiment.looks if one >= count), most)
    what, which = "", f"pair {count} of at most {most}"
    if beside:
        which = f"pair {len(experiment.all_cores)} of {judge.ALL_CORES} in turns with all cores"
    elif not experiment.complete and next_look > count:
        what = f", next look after {next_look}"
    change = 100 * math.expm1(log_ratio(pair))
    return f"{experiment.stage}: {which}: new is {change:+.2f} % ({pair.seconds:.0f} s{what})"


def _pairs(count: int) -> str:
    return f"{count} pair" if count == 1 else f"{count} pairs"
