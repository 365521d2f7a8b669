"""Pairs of processes: a worker without torch stands for the real one, so that dying and hanging cost no minutes."""

from __future__ import annotations

import fcntl
import json
import math
import os
import random
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from here import HERE

from fastdiff.compare import pairs as judge_pairs
from fastdiff.compare.policy import default
from fastdiff.compare.verdicts import CHANGED, MORE, SAME, SLOW, UNSURE, VOID, Verdict
from fastdiff.experiments import ab
from fastdiff.experiments.ab import MOST_FAILURES, Answer, Question, ask
from fastdiff.experiments.pairs import NEW, OLD, PairRunner, Side, processes
from fastdiff.experiments.sessions import failing
from fastdiff.host import cores
from fastdiff.host.cores import PLACING
from fastdiff.models import CATALOGUE
from fastdiff.record import pairs as record
from fastdiff.record.errors import UserError
from fastdiff.report import sentences, steps
from fastdiff.report.pairs import first_calls
from fastdiff.report.progress import Progress
from fastdiff.report.steps import Shell
from fastdiff.sides.environment import Environment
from fastdiff.stages.published import LADDER
from fastdiff.trial import process as sides
from fastdiff.trial.fresh import FreshSide
from fastdiff.trial.process import Process
from fastdiff.trial.work import Work

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastdiff.compare.policy import Policy

WORKER = """
import json, os, random, sys, time
from pathlib import Path

said = json.loads(os.environ["SAID"])
chance = random.Random(os.getpid())
drift = chance.gauss(0, 0.002)
record = {"model": "shapes", "stage": said.get("stage", "sdpa"), "follows": "bf16", "load_s": 0.1}
record["first_call_s"] = said.get("first_call_s", 1.0)
record["recipe"] = said.get("recipe", {})
Path(os.environ["PIDS"], str(os.getpid())).touch()
if each := said.get("each"):
    number = len(list(Path(os.environ["PIDS"]).glob("turn-*")))
    Path(os.environ["PIDS"], f"turn-{number}").touch()
    said["seconds"] = each[number]
for line in sys.stdin:
    asked = json.loads(line)
    do = asked.pop("do")
    trouble = said.get(do)
    if trouble == "die":
        print("the last words of", do, file=sys.stderr)
        sys.exit(3)
    if trouble == "killed":
        os.kill(os.getpid(), 9)
    if trouble == "hang":
        time.sleep(600)
    if trouble == "once" and not Path(os.environ["PIDS"], "once").exists():
        Path(os.environ["PIDS"], "once").touch()
        sys.exit("only once")
    answer = {}
    if trouble == "memory" and int(Path(os.environ["PIDS"], "crowd").read_text() or 0) > 1:
        answer = {"error": "OutOfMemoryError: it is full", "memory": True}
    elif trouble == "refuse":
        answer = {"error": "UserError: not here"}
    elif do == "hello":
        answer = {"protocol": said.get("protocol", 4), "folders": said.get("folders", [])}
    elif do == "load":
        answer = {"recipe": said.get("reads", asked["recipe"])}
    elif do == "build":
        if asked["faults"].startswith("slow:"):
            put_in = float(asked["faults"][5:-1]) / 100
            said["slow"] = said.get("slow", 1.0) * (1 + put_in * said.get("seen", 1.0))
        applied = {"unapplied": said.get("unapplied", [])}
        answer = {"trial": record | applied, "environment": said.get("environment", {}),
                  "packages": said.get("packages", {})}
    elif do == "sample":
        time.sleep(said.get("sleep", 0))
        noisy = said.get("slow", 1.0) * 2.718281828 ** (drift + chance.gauss(0, 0.004))
        answer = {"sample": {"wall_s": said.get("seconds", noisy)}}
    elif do == "examine":
        import numpy as np
        picture = np.random.default_rng(0).random((1, 64, 64, 3)) * said.get("bright", 1.0)
        np.save(asked["pictures"], picture)
        memory = {"peak_bytes": said.get("bytes", 1000), "where": "decode"}
        counted = {"memory": memory, "fingerprint": said.get("fingerprint", {"graphs": 1})}
        answer = {"trial": record | counted | {"unapplied": said.get("without_effect", [])}}
    text = "this is no JSON" if trouble == "nonsense" else json.dumps(answer)
    sys.__stdout__.write(text + "\\n")
    sys.__stdout__.flush()
"""


def said(verdict: Verdict) -> str:
    return sentences.reason(verdict)


def causes(verdict: Verdict) -> list[str]:
    return list(map(sentences.sentence, verdict.details))


def typed(verdict: Verdict) -> str:
    assert verdict.next is not None
    return steps.command(verdict.next, Shell())


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Stands for the folder that holds nothing but fastdiff."""
    folder = tmp_path / "source" / "fastdiff" / "trial"
    folder.mkdir(parents=True)
    for package in (folder, folder.parent):
        (package / "__init__.py").touch()
    (folder / "worker.py").write_text(WORKER)
    (tmp_path / "pids").mkdir()
    return folder.parent.parent


@pytest.fixture
def lines() -> list[str]:
    return []


class World:
    """Two environments that say what they are told to say."""

    def __init__(self, root: Path, source: Path, lines: list[str]) -> None:
        self.root, self.source, self.lines = root, source, lines

    def environment(self, name: str, said: dict[str, Any]) -> Environment:
        variables = {"SAID": json.dumps(said), "PIDS": str(self.root / "pids")}
        key = json.dumps(said, sort_keys=True)
        return Environment(name, Path(sys.executable), variables, key, words=(name,))

    def side(self, name: str, said: dict[str, Any], stage: str = "sdpa") -> Side:
        model = CATALOGUE[0]
        work = Work(model, LADDER[stage], LADDER[stage], "cpu", model.request)
        return Side(self.environment(name, said), self.root / "cache", work)

    def question(self, old: dict[str, Any], new: dict[str, Any], **changes: Any) -> Question:
        sides = self.side("torch==1", old), self.side(".", new)
        return Question(*sides, **{"calls": 8, "most_pairs": 8, "options": "--stage sdpa", **changes})

    def ask(
        self,
        old: dict[str, Any],
        new: dict[str, Any],
        until: float = math.inf,
        policy: Policy = default("cpu"),  # noqa: B008  (frozen)
        **changes: Any,
    ) -> Answer:
        question = self.question(old, new, **changes)
        return ask(question, policy, self.root, self.source, progress=Progress(), say=self.lines.append, until=until)

    @property
    def survivors(self) -> list[str]:
        """Workers that are still running, of all that were ever started."""
        pids = [path.name for path in (self.root / "pids").iterdir() if path.name.isdigit()]
        assert pids, "no worker was started"
        return [pid for pid in pids if is_running(pid)]


def is_running(pid: str) -> bool:
    status = Path("/proc") / pid / "stat"
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.fixture
def world(tmp_path: Path, source: Path, lines: list[str], monkeypatch: pytest.MonkeyPatch) -> World:
    """On any machine the sides take turns here, because the workers' times are made up."""
    monkeypatch.setattr(ab, "halves_for", lambda *_: None)
    return World(tmp_path, source, lines)


def words(answer: Answer) -> dict[str, str]:
    return {one.metric: one.verdict.word for one in answer.judgements}


# -- what an experiment says ------------------------------------------------------------------------------------------


def test_a_slower_environment_is_found_and_explained(world: World) -> None:
    old = {
        "packages": {"torch": "2.12.1", "numpy": "2.4.6"},
        "environment": {"threads": 2, "versions": {"torch": "2.12.1"}},
    }
    new = {
        "packages": {"torch": "2.13.0", "numpy": "2.4.6"},
        "environment": {"threads": 1, "versions": {"torch": "2.13.0"}},
    }
    answer = world.ask(old, new | {"slow": 1.1})
    assert words(answer)["latency"] == SLOW
    verdict = answer.latency.verdict
    assert verdict.estimate is not None
    assert verdict.estimate.ratio == pytest.approx(1.1, abs=0.01)
    assert "versions: torch: 2.12.1 -> 2.13.0" in causes(verdict)
    assert "environment: threads: 2 -> 1" in causes(verdict)
    assert typed(verdict) == "fastdiff bisect torch==1 . --stage sdpa --pairs 8"
    assert len(answer.experiment.pairs) < 8, "a clear case ends at an early look"
    assert answer.experiment.complete
    assert not world.survivors


@pytest.mark.parametrize(
    ("packages", "variables", "only"),
    [
        ({"torch": "2.12.2"}, {}, "torch: 2.12.1 -> 2.12.2"),
        ({"torch": "2.12.1", "numpy": "2"}, {}, "numpy: nothing -> 2"),
        ({"torch": "2.12.1"}, {"OMP_NUM_THREADS": "1"}, "variables.OMP_NUM_THREADS: nothing -> 1"),
        ({"torch": "2.12.2"}, {"OMP_NUM_THREADS": "1"}, ""),
        ({"torch": "2.12.1", "pytest-fastdiff": "2"}, {}, None),
    ],
)
def test_where_one_step_differs_the_verdict_says_so_and_there_is_no_search(
    world: World, packages: dict[str, str], variables: dict[str, str], only: str | None
) -> None:
    old = {"packages": {"torch": "2.12.1"}, "environment": {"variables": {}}}
    new = {"packages": packages, "environment": {"variables": variables}, "slow": 1.1}
    verdict = world.ask(old, new).latency.verdict
    assert verdict.word == SLOW
    assert (f"the only difference between the software of the two sides: {only}" in causes(verdict)) == bool(only)
    assert (verdict.next is None) == (only != "")


def test_the_same_environment_twice_is_the_same(world: World) -> None:
    answer = world.ask({}, {})
    assert words(answer) == dict.fromkeys(("latency", "first_call", "memory", "fingerprint", "picture"), SAME)
    assert len(answer.experiment.pairs) in answer.experiment.looks


@pytest.mark.parametrize(
    ("packages", "band", "word"),
    [
        ({}, None, SLOW),
        ({"torch": "2.13.0"}, None, SAME),
        ({"torch": "2.13.0"}, 0.01, SLOW),
        ({"pytest-fastdiff": "2", "mine": "2"}, None, SLOW),
    ],
    ids=["one stack", "two stacks", "two stacks, one band for both", "other versions of what is compared"],
)
def test_another_build_may_take_a_little_longer(
    world: World, packages: dict[str, str], band: float | None, word: str
) -> None:
    (world.root / "pyproject.toml").write_text('[project]\nname = "Mine"\n')
    policy = default("cpu") if band is None else default("cpu").with_band(band)
    new = {"each": [1.014, 1.016, 1.015, 1.014, 1.016], "packages": {"torch": "2.12.1"} | packages}
    answer = world.ask({"seconds": 1.0, "packages": {"torch": "2.12.1"}}, new, policy=policy, most_pairs=5)
    assert words(answer)["latency"] == word


def test_every_other_difference_is_shown(world: World) -> None:
    answer = world.ask({}, {"bytes": 1300, "fingerprint": {"graphs": 2}, "bright": 0.2})
    found = words(answer)
    assert (found["memory"], found["fingerprint"], found["picture"]) == (MORE, CHANGED, CHANGED)
    assert found["latency"] == SAME
    assert (answer.path.with_suffix("") / "pictures.png").stat().st_size > 1000


def test_an_unsure_answer_says_how_many_more_pairs_would_settle_it(world: World) -> None:
    answer = world.ask({"seconds": 1.0}, {"each": [1.02, 1.01, 1.03, 1.015, 1.025]}, most_pairs=5)
    assert words(answer)["latency"] == UNSURE
    verdict = answer.latency.verdict
    told = re.search(r"about (\d+) pairs of processes would settle it", said(verdict))
    assert told, said(verdict)
    assert typed(verdict) == f"fastdiff ab --old torch==1 --new . --stage sdpa --pairs {told[1]}"


def test_a_change_at_the_edge_of_the_band_is_nothing_that_pairs_settle(world: World) -> None:
    answer = world.ask({"seconds": 1.0}, {"each": [1.01, 1.006, 1.014, 1.008, 1.012]}, most_pairs=5)
    verdict = answer.latency.verdict
    assert (verdict.word, verdict.next) == (UNSURE, None)
    assert "more than 100 pairs of processes would be needed to settle it" in said(verdict)


def test_two_recipes_differ_because_they_were_asked_for(world: World) -> None:
    answer = world.ask({"recipe": {"kernels": "math"}}, {"recipe": {"kernels": "any"}, "fingerprint": {"graphs": 2}})
    found = next(one.verdict for one in answer.judgements if one.metric == "fingerprint")
    assert (found.word, found.excused, found.next) == (CHANGED, True, None)
    assert not failing([answer], strict=False)


def test_first_calls_are_shown_even_if_too_few_are_cold_for_a_verdict(world: World) -> None:
    answer = world.ask({}, {}, most_pairs=5)
    assert first_calls(answer.experiment) == ["first calls of the first pairs: 1 s -> 1 s, 1 s -> 1 s, 1 s -> 1 s"]


def test_first_calls_that_took_turns_are_judged_by_a_band_of_their_own(world: World) -> None:
    """Twice as long is within what evenings of a shared CPU differ by, and not within what two turns do."""
    assert default("cpu").first_call > 1
    assert words(world.ask({}, {"first_call_s": 2.0}))["first_call"] == SLOW


def test_turns_are_taken_in_whole_blocks_and_begun_by_chance(world: World) -> None:
    pairs = world.ask({}, {"slow": 1.5}, calls=40, most_pairs=5).experiment.pairs
    assert all(len(pair.old.samples) == len(pair.new.samples) == 40 for pair in pairs)
    assert {(pair.way, len(pair.starts)) for pair in pairs} == {("turns", 20)}
    assert set("".join(pair.starts for pair in pairs)) == {"o", "n"}
    with pytest.raises(UserError, match="6 calls a side do not make whole blocks; give a multiple of 4"):
        world.question({}, {}, calls=6)


def test_what_was_kept_reads_back(world: World) -> None:
    answer = world.ask({}, {}, most_pairs=5)
    assert record.read(answer.path) == answer.experiment


# -- what goes wrong --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trouble", "sentence"),
    [
        ({"build": "die"}, r"new \(\.\) ended with 3 during 'build'; its last output: .*the last words of build"),
        ({"sample": "killed"}, r"new \(\.\) was killed by SIGKILL during 'sample'"),
        ({"settle": "nonsense"}, r"new \(\.\): invalid reply to 'settle': 'this is no JSON'"),
        ({"examine": "refuse"}, r"new \(\.\): examine failed: UserError: not here"),
        ({"seconds": -1.0}, r"new \(\.\): invalid sample: sample\.wall_s is -1\.0; expected float > 0"),
        ({"seconds": "fast"}, r'new \(\.\): invalid sample: sample\.wall_s is "fast"; expected float'),
        (
            {"reads": {}},
            r"new \(\.\): its fastdiff cannot build shapes-sdpa: it reads the recipe \{.*\} as \{\}\. Accept",
        ),
        ({"protocol": 0}, r"new \(\.\) speaks protocol 0 of fastdiff's worker and this process 4; install the same"),
        ({"stage": 7}, r"new \(\.\): invalid trial: trial\.stage is 7"),
    ],
)
def test_trouble_ends_a_pair_with_its_sentence_and_leaves_nothing_running(
    world: World, trouble: dict[str, Any], sentence: str
) -> None:
    answer = world.ask({}, trouble)
    assert len(answer.experiment.failures) == MOST_FAILURES
    assert not answer.experiment.pairs
    assert words(answer) == {"latency": VOID}
    assert re.search(sentence, answer.experiment.failures[0], re.DOTALL), answer.experiment.failures[0]
    assert answer.experiment.failures[0] in said(answer.latency.verdict)
    assert not world.survivors


def test_a_side_that_hangs_is_ended(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sides.PATIENCE_S, "sample", 0.3)
    answer = world.ask({"sample": "hang"}, {})
    assert "old (torch==1) hung: no reply to 'sample' in 0 s" in answer.experiment.failures[0]
    assert not world.survivors


@pytest.mark.parametrize(
    ("trouble", "why"),
    [
        ("refuse", r"new \(\.\): profile failed: UserError: not here"),
        ("die", r"new \(\.\) ended with 3 during 'profile'; its last output: .*the last words of profile"),
        ("killed", r"new \(\.\) was killed by SIGKILL during 'profile'"),
        ("", r"new \(\.\): invalid profile: profile is null; expected object\."),
    ],
)
def test_a_side_without_a_profile_loses_no_pair(world: World, trouble: str, why: str) -> None:
    """An older fastdiff has none, and a profiler may end its process."""
    answer = world.ask({}, {"profile": trouble, "slow": 1.1}, most_pairs=5)
    first = answer.experiment.pairs[0]
    assert first.new_profile is not None
    assert re.fullmatch(why, first.new_profile.why_not, re.DOTALL), first.new_profile.why_not
    assert not answer.experiment.failures
    assert f"the operators that each side ran are not known: {first.new_profile.why_not}" in causes(
        answer.latency.verdict
    )
    assert record.read(answer.path) == answer.experiment


def test_one_bad_pair_does_not_end_an_experiment(world: World) -> None:
    answer = world.ask({"sample": "once"}, {}, most_pairs=5)
    assert len(answer.experiment.pairs) == 5
    assert len(answer.experiment.failures) == 1
    assert "only once" in answer.experiment.failures[0]


def test_a_stage_that_was_not_applied_is_not_timed(world: World) -> None:
    answer = world.ask({}, {"unapplied": ["attention: none of 4"]})
    assert words(answer) == {"latency": VOID, "fingerprint": CHANGED}
    assert "new (.): shapes-sdpa was not applied: attention: none of 4" in said(answer.judgements[1].verdict)
    assert answer.experiment.complete
    assert not world.survivors


def test_a_stage_without_the_effect_that_was_counted_is_not_compared(world: World) -> None:
    answer = world.ask({}, {"without_effect": ["cache: none of 8 steps"]})
    assert words(answer) == {"latency": VOID, "fingerprint": CHANGED}
    assert "new (.): shapes-sdpa was not applied: cache: none of 8 steps" in said(answer.judgements[1].verdict)


def test_a_stage_that_stops_being_applied_is_broken_and_not_timed(world: World) -> None:
    """Whatever five pairs said before."""
    whole = world.ask({}, {}, most_pairs=5).experiment
    broken = replace(whole, unapplied="new: it was compiled again", looks=(5, 8))
    found = {one.metric: one.verdict for one in judge_pairs.judge(broken, default("cpu"), 2)}
    assert (found["latency"].word, found["fingerprint"].word) == (VOID, CHANGED)
    assert said(found["latency"]) == "5 pairs were measured, then new: it was compiled again"
    assert found["latency"].next is None, "the same command would end in the same way"


def test_where_two_copies_do_not_fit_whole_processes_take_turns(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    alive: list[int] = []
    enter, leave = Process.__enter__, Process.__exit__
    crowd = world.root / "pids" / "crowd"

    def count(change: int) -> None:
        alive.append(change)
        crowd.write_text(str(sum(alive)))

    def entered(side: Process) -> Process:
        count(1)
        return enter(side)

    def left(side: Process, *arguments: object) -> None:
        leave(side, *arguments)
        count(-1)

    monkeypatch.setattr(Process, "__enter__", entered)
    monkeypatch.setattr(Process, "__exit__", left)
    answer = world.ask({"build": "memory"}, {"build": "memory", "slow": 1.2}, most_pairs=5)
    assert any("two copies do not fit on the device" in line for line in world.lines)
    assert {(pair.way, pair.starts) for pair in answer.experiment.pairs} == {("apart", "")}
    assert words(answer)["latency"] == SLOW
    assert not world.survivors


def test_an_interpreter_that_is_none_is_one_sentence(world: World) -> None:
    with pytest.raises(UserError, match=r"old: .*/nothing cannot be started \(No such file or directory\)"):
        Process("old", world.root / "nothing", {})


# -- stopping and going on --------------------------------------------------------------------------------------------


@pytest.fixture
def stopped_after(world: World, monkeypatch: pytest.MonkeyPatch) -> Callable[..., record.Experiment]:
    """Ctrl-C after so many pairs."""
    write = record.write

    def stopped(pairs: int, **changes: Any) -> record.Experiment:
        def interrupted(path: Path, experiment: record.Experiment) -> None:
            write(path, experiment)
            if len(experiment.pairs) == pairs:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(record, "write", interrupted)
            with pytest.raises(KeyboardInterrupt):
                world.ask({}, {}, **changes)
        (path,) = (world.root / "runs" / "ab").glob("*.json")
        return record.read(path)

    return stopped


def test_one_stage_of_a_suite_that_is_resumed_still_shares_its_error(
    world: World, stopped_after: Callable[..., record.Experiment]
) -> None:
    assert stopped_after(2, most_pairs=5, comparisons=6).comparisons == 6
    answer = world.ask({}, {}, most_pairs=5, options="--stage sdpa --band 5%")
    assert answer.experiment.comparisons == 6
    assert answer.experiment.options == "--stage sdpa --band 5%"
    assert world.ask({}, {}, most_pairs=5).experiment.comparisons == 1, "a new question"


def test_a_wider_band_may_be_decided_by_the_pairs_that_are_there(
    world: World, stopped_after: Callable[..., record.Experiment]
) -> None:
    stopped = stopped_after(6, most_pairs=12, policy=replace(default("cpu"), paired=0.0001))
    assert not stopped.complete
    answer = world.ask({}, {}, most_pairs=12, policy=replace(default("cpu"), paired=0.9))
    assert len(answer.experiment.pairs) == 6
    assert words(answer)["latency"] == SAME


def test_a_stopped_experiment_goes_on(world: World, stopped_after: Callable[..., record.Experiment]) -> None:
    stopped = stopped_after(2, most_pairs=5)
    assert not world.survivors
    (path,) = (world.root / "runs" / "ab").glob("*.json")
    assert (len(stopped.pairs), stopped.complete) == (2, False)
    answer = world.ask({}, {}, most_pairs=5)
    assert answer.path == path
    assert answer.experiment.pairs[:2] == stopped.pairs
    assert any("continues" in line and "2 pairs" in line for line in world.lines)
    again = world.ask({}, {}, most_pairs=5)
    assert again.path != path, "what is over is not gone on with"


def test_what_was_given_up_is_not_gone_on_with(world: World) -> None:
    stopped = world.ask({}, {}, until=0)
    assert not stopped.experiment.complete
    fresh = ask(
        world.question({}, {}), default("cpu"), world.root, world.source,
        progress=Progress(), say=world.lines.append, fresh=True,
    )  # fmt: skip
    assert record.read(stopped.path).complete
    assert world.ask({}, {}).path not in (stopped.path, fresh.path)


def test_another_question_begins_another_experiment(world: World) -> None:
    first = world.ask({}, {}, until=0.0)
    assert not first.experiment.pairs
    assert world.ask({}, {"slow": 1.3}, until=0.0).path != first.path
    assert world.ask({}, {}, until=0.0).path == first.path


def test_other_weights_and_recipes_are_other_questions(world: World) -> None:
    """Pairs of two models must never stand in one estimate."""
    first = world.ask({}, {}, until=0.0)
    question = world.question({}, {})

    def path_of(**changes: Any) -> Path:
        new = replace(question.new, work=replace(question.new.work, **changes))
        changed = replace(question, new=new)
        return ask(changed, default("cpu"), world.root, world.source, progress=Progress(), say=print, until=0.0).path

    assert path_of() == first.path
    assert path_of(model=replace(question.new.work.model, weights="/elsewhere")) != first.path
    assert path_of(stage=replace(LADDER["sdpa"], recipe=LADDER["bf16"].recipe)) != first.path
    assert path_of(device="cuda:1") != first.path


def test_an_experiment_in_use_is_left_alone(world: World) -> None:
    """Two terminals with one question would write over each other's pairs."""
    first = world.ask({}, {}, until=0.0)
    lock = (first.path.with_suffix("") / ".lock").open("w")
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert world.ask({}, {}, until=0.0).path != first.path
    assert world.ask({}, {}, until=0.0).path.exists()


def test_a_stop_between_two_looks_is_no_look(world: World) -> None:
    """The error was shared among the planned ones."""
    answer = world.ask({}, {"slow": 1.5}, most_pairs=40)
    assert answer.latency.verdict.word == SLOW
    between = replace(answer.experiment, pairs=answer.experiment.pairs[:4], complete=False)
    assert judge_pairs.latency(between, default("cpu"), 1).word == VOID
    assert "the first verdict needs 5" in said(judge_pairs.latency(between, default("cpu"), 1))


def test_a_broken_old_picture_is_reported_and_nothing_is_lost(world: World) -> None:
    answer = world.ask({"bright": 0.0}, {}, most_pairs=5)
    assert words(answer)["picture"] == CHANGED
    assert "old: " in next(said(one.verdict) for one in answer.judgements if one.metric == "picture")
    assert len(answer.experiment.pairs) == 5


def test_an_environment_that_changed_in_the_middle_is_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = world.ask({"packages": {"torch": "1"}}, {}, most_pairs=5)
    path = answer.path
    stopped = replace(answer.experiment, pairs=answer.experiment.pairs[:1], complete=False)
    record.write(path, replace(stopped, old=replace(stopped.old, packages={"torch": "0"})))
    with pytest.raises(UserError, match=r"old \(torch==1\) changed .* \(torch: 0 -> 1\); add --fresh to begin"):
        world.ask({"packages": {"torch": "1"}}, {}, most_pairs=5)


@pytest.mark.alone  # a worker of xdist hears no signals
@pytest.mark.parametrize("blow", [signal.SIGINT, signal.SIGKILL], ids=lambda one: one.name)
def test_nothing_is_left_running_when_the_parent_is_ended(world: World, blow: signal.Signals) -> None:
    """Not even where it had no time to clean up."""
    script = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from test_pairs import World
World(Path({str(world.root)!r}), Path({str(world.source)!r}), []).ask({{"sleep": 0.2}}, {{"sleep": 0.2}})
"""
    controller = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while len(list((world.root / "pids").iterdir())) < 2 and time.monotonic() < until:
        time.sleep(0.05)
    assert len(world.survivors) == 2
    controller.send_signal(blow)
    assert controller.wait(timeout=30) != 0
    until = time.monotonic() + 10
    while world.survivors and time.monotonic() < until:
        time.sleep(0.05)
    assert not world.survivors


# -- files of strangers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda ours: ours.update(schema=99), "schema 99, and this fastdiff reads schema"),
        (lambda ours: ours["pairs"][0].update(starts="ox"), "other samples than its 2 blocks need"),
        (lambda ours: ours["pairs"][0].update(way="halves"), "way is halves; expected turns"),
        (lambda ours: ours["pairs"][0].update(way="guessed"), r"way is .guessed."),
        (
            lambda ours: (ours.update(way="halves"), [one.update(way="halves") for one in ours["pairs"]]),
            "other samples than its 4 blocks need",
        ),
        (
            lambda ours: (ours.update(way="apart"), [one.update(way="apart") for one in ours["pairs"]]),
            "other samples than its 4 blocks need",
        ),
        (lambda ours: ours["pairs"][0]["old"]["samples"][0].update(wall_s=0.0), r"wall_s is 0.0"),
        (lambda ours: ours.update(looks="often"), "looks is .often."),
        (lambda ours: ours.pop("old"), "old is missing"),
    ],
)
def test_a_strange_file_is_one_sentence(world: World, change: Any, sentence: str) -> None:
    path = world.ask({}, {}, most_pairs=5).path
    whole = json.loads(path.read_text())
    change(whole[record.KEY])
    path.write_text(json.dumps(whole))
    with pytest.raises(UserError, match=sentence):
        record.read(path)


def test_half_a_file_and_a_run_are_distinguished(tmp_path: Path) -> None:
    path = tmp_path / "half.json"
    path.write_text('{"fastdiff-ab": {"dev')
    with pytest.raises(UserError, match=r"not whole JSON.* measure its pairs again: fastdiff ab --old SPEC --new"):
        record.read(path)
    path.write_text('{"fastdiff": {}}')
    with pytest.raises(UserError, match="is no paired experiment"):
        record.read(path)


def test_a_link_in_the_folder_of_experiments_is_not_followed(world: World) -> None:
    (world.root / "victim").write_text("precious")
    (world.root / record.FOLDER).mkdir(parents=True)
    (world.root / record.FOLDER / ".gitignore").symlink_to(world.root / "victim")
    world.ask({}, {}, most_pairs=5)
    assert (world.root / "victim").read_text() == "precious"


def test_a_full_disk_is_named(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(record, "write_text", full)
    with pytest.raises(UserError, match=r"cannot be written \(No space left on device\); make room"):
        world.ask({}, {})
    assert not world.survivors


# -- the real worker --------------------------------------------------------------------------------------------------


@pytest.mark.compile
@pytest.mark.alone  # it compares processes' times
def test_the_real_worker_builds_draws_and_ends(tmp_path: Path, lines: list[str]) -> None:
    """The embedded model, small; what libraries print never reaches the answers."""
    here = Environment("here", Path(sys.executable), {}, key="here")
    model = CATALOGUE[0]
    request = model.request.changed(steps=2, size=64)
    one = Side(here, tmp_path / "cache", Work(model, HERE["sdpa"], HERE["sdpa"], "cpu", request))
    slow = replace(one, work=replace(one.work, stage=HERE["fp32"], built=HERE["fp32"], faults="slow:400%"))
    import fastdiff

    source = Path(fastdiff.__file__).parent.parent
    question = Question(one, slow, calls=4, most_pairs=5, all_cores=False)
    answer = ask(question, default("cpu"), tmp_path, source, progress=Progress(), say=lines.append)
    assert words(answer)["latency"] == SLOW, (lines, said(answer.latency.verdict))
    assert words(answer)["picture"] == SAME
    details = "\n".join(causes(answer.latency.verdict))
    assert "injected on purpose: slow:400%" in details
    assert "recipe: attention: sdpa -> eager" in details or "attention" in details
    assert answer.experiment.pairs[0].new.fingerprint
    assert answer.experiment.new.packages["torch"]


@pytest.mark.compile
def test_real_workers_are_measured_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With one step and 64 px, and wherever this machine has two halves."""
    for name in PLACING:
        monkeypatch.delenv(name, raising=False)
    halves = cores.halves()
    if halves is None:
        pytest.skip("this machine has no two halves")
    import fastdiff

    model = CATALOGUE[0]
    work = Work(model, HERE["sdpa"], HERE["sdpa"], "cpu", model.request.changed(steps=1, size=64))
    here = Environment("here", Path(sys.executable), {}, key="here")
    both = {name: Side(here, tmp_path / "cache", work) for name in (OLD, NEW)}
    start = processes(Path(fastdiff.__file__).parent.parent)
    runner = PairRunner(both, 4, start, halves, tmp_path, Progress(), random.Random())
    with runner.together(1, record.HALVES) as opened:
        starts, samples = runner.measured(opened, record.HALVES)
        assert [len(one) for one in samples.values()] == [4, 4]
        sides = [one for one in opened.values() if isinstance(one, FreshSide)]
        places = [
            {frozenset(os.sched_getaffinity(int(thread.name))) for thread in Path(f"/proc/{one.pid}/task").iterdir()}
            for one in sides
        ]
        assert all(any((folder / "torch").is_dir() for folder in one.folders) for one in sides)
    assert [len(one) for one in places] == [1, 1], "all threads of a process were moved"
    assert set.union(*places) == {frozenset(halves.first), frozenset(halves.second)}
    assert len(starts) == 1
    facts = [runner.seen[name].environment for name in (OLD, NEW)]
    assert [one["threads"] for one in facts] == [halves.threads] * 2
    assert facts[0]["allocator"] == facts[1]["allocator"]


@pytest.mark.parametrize("ours", [True, False], ids=["this interpreter", "another one"])
def test_libraries_of_pythonpath_stay_with_this_environment(
    ours: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where packages lie in a folder of their own, a worker without it would not find diffusers."""
    monkeypatch.setenv("PYTHONPATH", "/site")
    python = Path(sys.executable) if ours else tmp_path / "bin" / "python"
    model, stage = CATALOGUE[0], LADDER["sdpa"]
    side = Side(Environment("x", python, {}, "key"), tmp_path, Work(model, stage, stage, "cpu", model.request))
    variables = side.runner("old", tmp_path / "source").variables
    wanted = [str(tmp_path / "source"), *(["/site"] if ours else [])]
    assert variables["PYTHONPATH"] == os.pathsep.join(wanted)
