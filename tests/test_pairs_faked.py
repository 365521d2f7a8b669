"""Pairs on the fake runner: which steps the two sides take, in which order, and what comes of their times."""

from __future__ import annotations

import random
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fastdiff.compare import plan
from fastdiff.compare.pairs import comparisons_of, judge
from fastdiff.compare.policy import default
from fastdiff.compare.verdicts import SAME, SLOW, UNSURE
from fastdiff.experiments import ab
from fastdiff.experiments.ab import Question, ask, halves_for
from fastdiff.experiments.pairs import NEW, OLD, PairRunner, Seat, Side, side_by_side
from fastdiff.experiments.sessions import failing
from fastdiff.host import cores, pagecache
from fastdiff.host.cores import Halves
from fastdiff.models import CATALOGUE
from fastdiff.record import calibration
from fastdiff.record import pairs as record
from fastdiff.record.calibration import Calibration
from fastdiff.record.errors import UserError
from fastdiff.report import pairs as report
from fastdiff.report import sentences
from fastdiff.report.steps import Shell
from fastdiff.sides.environment import Environment
from fastdiff.stages.published import LADDER
from fastdiff.trial.fake import Fake, FakeStage
from fastdiff.trial.runner import SILENT
from fastdiff.trial.work import Work

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from fastdiff.compare.pairs import Answer
    from fastdiff.record.run import Sample
    from fastdiff.trial.fake import FakeSide
    from fastdiff.trial.runner import Wait

TWO_CORES = Halves((0,), (1,), 1)


def side(name: str, stage: str = "sdpa", device: str = "cpu", **variables: str) -> Side:
    model, asked = CATALOGUE[0], LADDER[stage]
    environment = Environment(name, Path(sys.executable), variables, name, words=(name,))
    return Side(environment, Path("cache"), Work(model, asked, asked, device, model.request))


class World:
    """Two sides whose calls take the seconds that a test gives them, on a machine of its choice."""

    def __init__(self, root: Path) -> None:
        self.root, self.log = root, list[str]()
        self.halves: Halves | None = TWO_CORES
        self.seconds: dict[str, Sequence[float]] = {OLD: (1.0,), NEW: (1.0,)}
        self.errors: dict[str, BaseException] = {}
        self.profiles: dict[str, record.Profile] = {}
        self.said: list[str] = []
        self.seats: dict[str, Seat | None] = {}
        self.slow_with_all_cores = 1.0

    def start(self, name: str, side: Side, seat: Seat | None) -> AbstractContextManager[FakeSide]:
        self.seats[name] = seat
        log = Log(name, self.log)
        errors = {side.work.id: self.errors[name]} if name in self.errors else {}
        slower = self.slow_with_all_cores if seat is None and name == NEW else 1.0
        seconds = [slower * one for one in self.seconds[name]]
        profiles = {side.work.id: self.profiles.get(name, record.Profile())}
        return Fake({side.work.id: seconds}, errors=errors, profiles=profiles, log=log).side(side.work)

    def runner(self, **changes: Any) -> PairRunner:
        sides = {OLD: side("1"), NEW: side("2")}
        whole = {"calls": 4, "halves": self.halves, "random": random.Random(3)} | changes
        return PairRunner(sides, start=self.start, folder=self.root, progress=SILENT, **whole)

    def ask(self, **changes: Any) -> Answer:
        question = Question(side("1"), side("2"), **{"calls": 8, "most_pairs": 5} | changes)
        return ask(
            question, default("cpu"), self.root, self.root, progress=SILENT, say=self.said.append, start=self.start
        )


class Log(list[str]):
    """One for both sides, in which each line begins with the side's name."""

    def __init__(self, name: str, of_both: list[str]) -> None:
        super().__init__()
        self.name, self.of_both = name, of_both

    def append(self, line: str) -> None:
        self.of_both.append(f"{self.name} {line.removesuffix(' shapes-sdpa')}")


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(tmp_path)
    monkeypatch.setattr(ab, "halves_for", lambda *_: made.halves)
    return made


def test_what_nothing_shows_is_named_and_fails_in_strict_mode(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    same = world.ask()
    assert not failing([same], strict=True)
    trial = FakeStage.trial
    monkeypatch.setattr(FakeStage, "trial", lambda stage: replace(trial(stage), unproven=("attention: none.",)))
    answer = world.ask(code="another")
    assert (failing([answer], strict=False), failing([answer], strict=True)) == (False, True)
    assert "shapes-sdpa: not proven: attention: none." in report.text([answer], None, ["x"], Shell())


def twos(all_: list[Any]) -> list[list[Any]]:
    return [all_[place : place + 2] for place in range(0, len(all_), 2)]


def steps(log: list[str]) -> list[str]:
    """What both sides did next to each other, without the sides' names."""
    both = [[line.partition(" ") for line in two] for two in twos(log)]
    assert all({name for name, _, _ in two} == {OLD, NEW} for two in both), log
    return [" and ".join(dict.fromkeys(what for _, _, what in two)) for two in both]


# -- side by side -----------------------------------------------------------------------------------------------------


def test_both_sides_take_every_step_at_the_same_time_and_swap_halves_after_two_calls(world: World) -> None:
    pair = world.runner().pair(1, record.HALVES, whole=False)
    assert (pair.way, len(pair.starts), len(pair.old.samples), len(pair.new.samples)) == ("halves", 1, 4, 4)
    began = steps(world.log)[:-1]
    assert began[:3] == ["load", "build", "settle"]
    assert began[4:6] == began[7:9] == ["sample", "sample"]
    first, second = began[3], began[6]
    assert {first, second} == {"move to (0,) and move to (1,)"}
    moves = [line for line in world.log if " move to " in line]
    assert len(set(moves)) == 4, "each side was on each half"


def test_what_the_machine_took_from_one_side_is_void_and_shown(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    keep = FakeStage._keep

    def disturbed(self: FakeStage) -> Sample:
        found = keep(self)
        if isinstance(self.runner.log, Log) and self.runner.log.name == NEW and len(self.samples) <= 8:
            self.samples[-1] = found = replace(found, wall_s=5.0, void="the hypervisor took 9 % of the machine")
        return found

    monkeypatch.setattr(FakeStage, "_keep", disturbed)
    answer = world.ask(calls=16, all_cores=False)
    assert answer.latency.verdict.word == SAME
    kept = record.read(answer.path).pairs[0]
    assert [bool(one.void) for one in kept.new.samples] == [True] * 8 + [False] * 8
    line = sentences.headline(answer.latency)
    assert "50 % of their blocks left out, because the machine disturbed only one side" in line


def test_a_block_names_the_side_that_began_on_the_first_half(world: World) -> None:
    pair = world.runner(calls=80).pair(1, record.HALVES, whole=False)
    moves = [line for line in world.log if line.endswith("move to (0,)")]
    assert pair.starts == "".join(line[0] for line in moves[::2])
    assert set(pair.starts) == {"o", "n"}, "chance decides"


def test_each_side_starts_on_its_half_with_its_threads(world: World) -> None:
    world.halves = Halves((0, 4, 1, 5), (2, 6, 3, 7), 2)
    world.runner().pair(1, record.HALVES, whole=False)
    seats = [seat for seat in world.seats.values() if seat]
    assert sorted(seat.cores for seat in seats) == [(0, 4, 1, 5), (2, 6, 3, 7)]
    assert all(seat.variables["OMP_NUM_THREADS"] == "2" for seat in seats)
    fresh = side("x").runner(NEW, Path("source"), seats[0])
    assert fresh.cores == seats[0].cores
    assert fresh.variables["MKL_NUM_THREADS"] == "2"
    assert side("x").runner(NEW, Path("source")).cores == ()


def test_two_gpus_of_one_kind_are_used_and_exchanged(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second GPU takes a tenth longer, which no verdict may notice."""
    world.halves = None
    monkeypatch.setattr(ab, "two_gpus", lambda: ("cuda:0", "cuda:3"))
    seated: list[tuple[str, str]] = []

    def start(name: str, side: Side, seat: Seat | None) -> AbstractContextManager[FakeSide]:
        assert seat is None
        seated.append((name, side.work.device))
        seconds = [1.1 if side.work.device == "cuda:3" else 1.0]
        return Fake({side.work.id: seconds}, log=Log(name, world.log)).side(side.work)

    monkeypatch.setattr(world, "start", start)
    question = Question(side("1", device="cuda"), side("2", device="cuda"), calls=8, most_pairs=5)
    answer = ask(question, default("cuda"), world.root, world.root, progress=SILENT, say=world.said.append, start=start)
    assert (answer.latency.verdict.word, answer.experiment.way) == (SAME, "gpus")
    assert answer.latency.verdict.estimate is not None
    assert answer.latency.verdict.estimate.ratio == pytest.approx(1)
    assert record.read(answer.path) == answer.experiment
    places = {"cuda:0", "cuda:3"}
    assert len(seated) == 4 * 5
    for first, second in zip(twos(seated)[::2], twos(seated)[1::2], strict=True):
        assert {gpu for _, gpu in first} == {gpu for _, gpu in second} == places
        assert set(first) | set(second) == {(name, gpu) for name in (OLD, NEW) for gpu in places}, "exchanged"
    kept = answer.experiment.pairs[0]
    assert sorted({kept.starts[:4], kept.starts[4:]}) == ["nnnn", "oooo"]
    assert steps(world.log[:14]) == ["load", "build", "settle", *["sample"] * 4], "at the same time"


@pytest.mark.parametrize(
    ("device", "variables", "found"),
    [
        ("cuda", {}, ("cuda:0", "cuda:1")),
        ("cuda:0", {}, None),
        ("cpu", {}, None),
        ("cuda", {"CUDA_VISIBLE_DEVICES": "1"}, None),
    ],
)
def test_a_gpu_that_is_named_is_the_only_one(
    monkeypatch: pytest.MonkeyPatch, device: str, variables: dict[str, str], found: tuple[str, str] | None
) -> None:
    monkeypatch.setattr(ab, "two_gpus", lambda: ("cuda:0", "cuda:1"))
    question = Question(side("1", device=device), side("2", device=device, **variables), calls=8, most_pairs=5)
    assert ab.gpus_for(question) == found


def test_both_calls_begin_at_one_instant_that_lies_ahead() -> None:
    begun: list[tuple[str, float]] = []

    class Watched:
        def __init__(self, name: str) -> None:
            self.name = name

        def move(self, _: Sequence[int]) -> Callable[[], None]:
            return lambda: None

        def sample(self, at: float) -> Callable[[], Any]:
            begun.append((self.name, at))
            return lambda: record.Pictures(0, 0)  # anything

    clock = iter(float(tick) for tick in range(100))
    sides: Any = {OLD: Watched(OLD), NEW: Watched(NEW)}
    side_by_side(sides, 8, TWO_CORES, random.Random(), lambda: next(clock))
    assert len(begun) == 16
    for number, two in enumerate(twos(begun)):
        assert {name for name, _ in two} == {OLD, NEW}
        assert len({at for _, at in two}) == 1
        assert number < two[0][1] < number + 1


def test_a_slower_side_is_found_side_by_side(world: World) -> None:
    world.seconds = {OLD: (1.0, 1.01, 0.99), NEW: (1.05, 1.06, 1.04)}
    answer = world.ask()
    assert answer.latency.verdict.word == SLOW
    assert {pair.way for pair in answer.experiment.pairs} == {answer.experiment.way} == {"halves"}
    assert record.read(answer.path) == answer.experiment


# -- how many calls, and which of them are slow -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call_s", "in_halves", "in_turns"),
    [(0.25, 40, 20), (0.02, 96, 96), (30.0, 12, 12)],
    ids=["usual", "short", "long"],
)
def test_without_a_number_the_calls_of_a_pair_take_ten_seconds(
    world: World, call_s: float, in_halves: int, in_turns: int
) -> None:
    """Within limits. A disturbed call before them changes nothing."""
    world.seconds = {name: (9 * call_s, *[call_s] * 500) for name in (OLD, NEW)}
    answer = world.ask(calls=None)
    assert {len(pair.old.samples) for pair in answer.experiment.pairs} == {in_halves}
    assert {len(pair.new.samples) for pair in answer.experiment.all_cores} == {12}
    assert f"{in_halves} calls a side in a pair" in "\n".join(report.text([answer], None, ["file"], Shell()))
    world.halves = None
    assert len(world.ask(calls=None, code="in turns").experiment.pairs[0].old.samples) == in_turns


def test_what_was_stopped_goes_on_with_as_many_calls_as_it_began_with(world: World) -> None:
    world.seconds = dict.fromkeys((OLD, NEW), (0.5,))
    whole = world.ask(calls=None)
    record.write(whole.path, replace(whole.experiment, pairs=whole.experiment.pairs[:2], all_cores=(), complete=False))
    world.seconds = dict.fromkeys((OLD, NEW), (1.0,))
    answer = world.ask(calls=None)
    assert answer.path == whole.path
    assert [len(pair.old.samples) for pair in answer.experiment.pairs] == [20] * 5


def test_a_side_that_makes_some_of_its_calls_longer_is_slow_although_its_faster_calls_are_the_same(
    world: World,
) -> None:
    world.seconds[NEW] = (1.0, 1.0, 1.0, 2.0)
    answer = world.ask(calls=16)
    found = {one.metric: one.verdict for one in answer.judgements}
    assert (found["latency"].word, found["latency_slow_calls"].word) == (SAME, SLOW)
    assert failing([answer], strict=False)
    lines = "\n".join(report.text([answer], None, ["file"], Shell()))
    assert "shapes-sdpa: latency slow calls is SLOW: only some calls changed; the slower half of them" in lines
    wide = {one.metric for one in judge(answer.experiment, default("cpu").with_band(0.5), comparisons_of(1))}
    world.seconds[NEW] = (1.3,)
    every = {one.metric for one in world.ask(calls=16, code="every").judgements}
    assert "latency_slow_calls" not in wide | every


@pytest.mark.parametrize(("seconds", "metric"), [((1.0, 2.0), "latency_slow_calls"), ((2.0,), "latency")])
def test_a_bisection_is_offered_for_the_latency_alone_and_causes_are_listed_once(
    world: World, seconds: tuple[float, ...], metric: str
) -> None:
    world.seconds[NEW] = seconds
    measured = world.ask(calls=16, all_cores=False).experiment
    old, new = ({"torch": one, "numpy": one} for one in ("1", "2"))
    environments = ({"threads": 1}, {"threads": 2})
    sides = {
        "old": replace(measured.old, packages=old, environment=environments[0]),
        "new": replace(measured.new, packages=new, environment=environments[1]),
    }
    found = replace(measured, **sides)
    judgements = judge(found, default("cpu"), comparisons_of(1))
    slow = {one.metric: one.verdict for one in judgements if one.verdict.word == SLOW}
    assert slow.keys() == {metric}
    assert (slow[metric].next is not None) is (metric == "latency")
    found = replace(found, judgements=tuple(one.as_dict() for one in judgements))
    lines = report.text(
        [replace(world.ask(calls=16, all_cores=False), experiment=found, judgements=judgements)],
        None,
        ["file"],
        Shell(),
    )
    assert sum("threads: 1 -> 2" in line for line in lines) == 1


def test_the_table_has_the_seconds_that_were_judged(world: World) -> None:
    """Every second call is twice as long, of which the median of all would show half."""
    world.seconds[NEW] = (1.0, 2.0)
    lines = report.text([world.ask(calls=16)], None, ["file"], Shell())
    row = next(line for line in lines if line.startswith("shapes-sdpa "))
    assert row.split()[:7] == ["shapes-sdpa", "SAME", "1", "s", "1", "s", "+0.0"]


def test_longer_calls_that_the_pairs_cannot_judge_are_unsure(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every pair reads another amount, and their middle is beyond the band."""
    slower = iter([1.0, 1.1, 1.5, 1.2, 1.9] * 2)
    start = world.start

    def started(name: str, side: Side, seat: Seat | None) -> AbstractContextManager[FakeSide]:
        world.seconds[NEW] = (1.0, 1.0, 1.0, next(slower)) if name == NEW else world.seconds[NEW]
        return start(name, side, seat)

    monkeypatch.setattr(world, "start", started)
    found = {one.metric: one.verdict for one in world.ask(calls=16, all_cores=False).judgements}
    assert (found["latency"].word, found["latency_slow_calls"].word) == (SAME, UNSURE)


# -- beside it: all cores ---------------------------------------------------------------------------------------------


def test_five_pairs_in_turns_with_all_cores_stand_beside_those_in_halves(world: World) -> None:
    """Their verdict has a band of its own, and fails by itself."""
    world.slow_with_all_cores = 1.4
    world.profiles = dict.fromkeys((OLD, NEW), record.Profile(why_not="of a call in halves"))
    answer = world.ask()
    found = {one.metric: one.verdict for one in answer.judgements}
    assert (found["latency"].word, found["latency_all_cores"].word) == (SAME, SLOW)
    causes = [one.code for one in found["latency_all_cores"].details]
    assert "no-profile" not in causes, "what a call in halves ran explains nothing here"
    assert failing([answer], strict=False)
    assert [pair.way for pair in answer.experiment.all_cores] == ["turns"] * 5
    assert answer.experiment.complete
    assert record.read(answer.path) == answer.experiment
    lines = "\n".join(report.text([answer], None, ["file"], Shell()))
    assert "shapes-sdpa: latency all cores is SLOW: +40.0 %" in lines
    assert "side by side on halves of the cores" in lines
    assert world.said[-1].startswith("shapes-sdpa: pair 5 of 5 in turns with all cores: new is +40.00 % (")


def test_a_few_per_cent_with_all_cores_are_within_their_band(world: World) -> None:
    world.slow_with_all_cores = 1.03
    found = {one.metric: one.verdict for one in world.ask().judgements}
    assert (found["latency"].word, found["latency_all_cores"].word) == (SAME, SAME)


@pytest.mark.parametrize(("torch", "word"), [("1", SLOW), ("2", SAME)])
def test_across_stacks_their_band_is_no_narrower_than_that_of_halves(world: World, torch: str, word: str) -> None:
    world.slow_with_all_cores = 1.4
    measured = world.ask().experiment
    stacks = {
        "old": replace(measured.old, packages={"torch": "1"}),
        "new": replace(measured.new, packages={"torch": torch}),
    }
    wide = replace(default("cpu"), paired_across_stacks=0.5)
    found = {one.metric: one.verdict.word for one in judge(replace(measured, **stacks), wide, comparisons_of(1))}
    assert found["latency_all_cores"] == word


def test_a_scatter_of_halves_and_turns_have_nothing_beside_them(world: World) -> None:
    assert not world.ask(all_cores=False).experiment.all_cores
    world.halves = None
    answer = world.ask()
    assert not answer.experiment.all_cores
    assert "latency_all_cores" not in {one.metric for one in answer.judgements}


def test_a_stop_among_the_pairs_with_all_cores_is_gone_on_with(world: World) -> None:
    whole = world.ask()
    half = replace(whole.experiment, all_cores=whole.experiment.all_cores[:2], complete=False)
    record.write(whole.path, half)
    world.log.clear()
    answer = world.ask()
    assert answer.path == whole.path
    assert len(answer.experiment.pairs) == len(whole.experiment.pairs)
    assert len(answer.experiment.all_cores) == 5
    assert world.log.count("old build") == 3


@pytest.mark.parametrize("measured", [0, 2])
def test_where_pairs_with_all_cores_are_missing_the_halves_do_not_speak_for_them(world: World, measured: int) -> None:
    whole = world.ask().experiment
    stopped = replace(whole, all_cores=whole.all_cores[:measured], complete=False)
    found = {one.metric: one.verdict for one in judge(stopped, default("cpu"), comparisons_of(stopped.comparisons))}
    assert (found["latency"].word, found["latency_all_cores"].word) == (SAME, UNSURE)
    assert f"only {measured} of 5 pairs with all cores" in sentences.sentence(found["latency_all_cores"].reason)
    assert "latency_all_cores" not in {
        one.metric
        for one in judge(replace(stopped, complete=True), default("cpu"), comparisons_of(stopped.comparisons))
    }, "not wanted"


# -- in turns ---------------------------------------------------------------------------------------------------------


def test_where_there_are_no_halves_the_sides_take_turns_with_the_whole_machine(world: World) -> None:
    world.halves = None
    answer = world.ask()
    assert answer.latency.verdict.word == SAME
    assert {pair.way for pair in answer.experiment.pairs} == {answer.experiment.way} == {"turns"}
    assert not any("move" in line for line in world.log)
    assert set(world.seats.values()) == {None}


def test_turns_are_old_new_new_old_or_the_other_way_round(world: World) -> None:
    pair = world.runner(halves=None, calls=40).pair(1, record.TURNS, whole=False)
    assert [line.partition(" ")[0] for line in world.log[:2]] in ([OLD, NEW], [NEW, OLD])
    assert steps(world.log[:6]) == ["load", "build", "settle"]
    calls = "".join(line[0] for line in world.log if line.endswith("sample"))
    assert calls == "".join({"o": "onno", "n": "noon"}[letter] for letter in pair.starts)


@pytest.mark.parametrize(
    ("way", "order"),
    [
        (record.TURNS, ["begun", "over"] * 2),
        (record.HALVES, ["begun"] * 2 + ["over"] * 2),
        (record.GPUS, (["begun"] * 2 + ["over"] * 2) * 2),
    ],
)
@pytest.mark.parametrize("step", ["build", "settle"])
def test_in_turns_one_side_is_built_and_warmed_up_after_the_other(
    world: World, way: record.Way, order: list[str], step: str
) -> None:
    waited: list[str] = []

    def start(name: str, side: Side, seat: Seat | None) -> AbstractContextManager[FakeSide]:
        opening = world.start(name, side, seat)

        @contextmanager
        def opened() -> Iterator[FakeSide]:
            with opening as one:
                begin = getattr(one, step)

                def begun() -> Wait[None]:
                    waited.append("begun")
                    begin()
                    return lambda: waited.append("over")

                setattr(one, step, begun)
                yield one

        return opened()

    runner = world.runner(gpus=("cuda:0", "cuda:1"))
    runner.start = start
    runner.pair(1, way, whole=False)
    assert waited == order


def test_what_does_not_fit_twice_runs_one_after_the_other(world: World) -> None:
    world.errors = {NEW: UserError("memory", "new: it is full")}
    trouble = world.start

    def start(name: str, side: Side, seat: Seat | None) -> AbstractContextManager[FakeSide]:
        if seat is None:
            world.errors = {}
        return trouble(name, side, seat)

    world.start = start  # type: ignore[method-assign]
    answer = world.ask()
    assert any("two copies do not fit on the device" in line for line in world.said)
    assert {(pair.way, pair.starts) for pair in answer.experiment.pairs} == {("apart", "")}
    assert answer.latency.verdict.word == SAME


def test_what_does_not_fit_in_a_later_call_gets_the_calls_of_its_new_way(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one second each: side by side 20 of each side, one after the other 12."""
    monkeypatch.setattr(plan, "PAIR_S", 20.0)
    keep = FakeStage._keep

    def full(self: FakeStage) -> Sample:
        if len(self.samples) == 9 and all(world.seats.values()):
            raise UserError("memory", "new: it is full")
        return keep(self)

    monkeypatch.setattr(FakeStage, "_keep", full)
    answer = world.ask(calls=None)
    assert {(pair.way, len(pair.old.samples)) for pair in answer.experiment.pairs} == {("apart", 12)}


# -- which of them ----------------------------------------------------------------------------------------------------


def test_the_two_ways_never_mix_in_one_file(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    write = record.write

    def interrupted(path: Path, experiment: record.Experiment) -> None:
        write(path, experiment)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(record, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            world.ask()
    (stopped,) = (world.root / record.FOLDER).glob("*.json")
    world.halves = None
    other = world.ask()
    assert other.path != stopped
    assert len(record.read(stopped).pairs) == 1
    world.halves = TWO_CORES
    assert world.ask().path == stopped
    assert {pair.way for pair in record.read(stopped).pairs} == {"halves"}


def test_what_did_not_fit_before_a_stop_is_gone_on_with(world: World) -> None:
    """Though the plan was another one."""
    first = world.ask()
    half = replace(first.experiment, way="apart", complete=False, pairs=(), judgements=())
    record.write(first.path, half)
    assert world.ask().path == first.path
    assert {pair.way for pair in record.read(first.path).pairs} == {"apart"}


@pytest.mark.parametrize(
    ("old", "new", "variable", "found"),
    [
        ({}, {}, "", TWO_CORES),
        ({"device": "cuda"}, {"device": "cuda"}, "", None),
        ({}, {"OMP_NUM_THREADS": "1"}, "", None),
        ({"ONEDNN_MAX_CPU_ISA": "AVX2"}, {}, "", TWO_CORES),
        ({}, {}, "OMP_NUM_THREADS", None),
    ],
)
def test_sides_on_a_gpu_and_questions_about_threads_take_turns(
    old: dict[str, str],
    new: dict[str, str],
    variable: str,
    found: Halves | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in cores.PLACING:
        monkeypatch.delenv(name, raising=False)
    if variable:
        monkeypatch.setenv(variable, "2")
    monkeypatch.setattr(cores, "halves", lambda: TWO_CORES)
    assert halves_for(Question(side("1", **old), side("2", **new)), tmp_path) == found


@pytest.mark.parametrize(
    ("asked", "hidden", "found"),
    [(None, 0.97, TWO_CORES), (None, 0.6, None), (None, None, TWO_CORES), (True, 0.6, TWO_CORES), (False, 0.97, None)],
)
def test_where_halves_hide_work_the_sides_take_turns(
    asked: bool | None, hidden: float | None, found: Halves | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in cores.PLACING:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(cores, "halves", lambda: TWO_CORES)
    known = Calibration("cpu-x", "shapes-sdpa", "", {}, "", 5, 8, record.TURNS, 0.01, 0.02, 12, 1, 0.99, 0.02)
    monkeypatch.setattr(ab, "device_slug", lambda _: "cpu-x")
    for newer in (0.1, hidden) if hidden else ():
        calibration.write(tmp_path, replace(known, work=f"work {newer}", recovered_in_halves=newer))
    calibration.write(tmp_path, replace(known, device="another", recovered_in_halves=0.1))
    assert halves_for(Question(side("1"), side("2"), in_halves=asked), tmp_path) == found


# -- shared libraries -------------------------------------------------------------------------------------------------


def test_libraries_of_one_side_alone_are_dropped_before_every_pair(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = {name: tmp_path / name for name in (OLD, NEW)}
    for folder in folders.values():
        (folder / "torch").mkdir(parents=True)
        (folder / "torch" / "own.so.1").write_text("x")
        (folder / "torch" / "python.py").touch()
    (folders[OLD] / "shared.so").write_text("x")
    (folders[NEW] / "shared.so").hardlink_to(folders[OLD] / "shared.so")
    (folders[NEW] / "new.so").write_text("x")
    start = world.start

    def started(name: str, side: Side, seat: Seat | None) -> AbstractContextManager[FakeSide]:
        found = start(name, side, seat)
        monkeypatch.setattr("fastdiff.trial.fake.FakeSide.folders", property(lambda one: (folders[one.work.faults],)))
        return found

    dropped: list[list[str]] = []
    monkeypatch.setattr(
        pagecache, "drop", lambda files: dropped.append(sorted(str(one.relative_to(tmp_path)) for one in files))
    )
    monkeypatch.setattr(world, "start", started)
    runner = world.runner()
    runner.sides = {name: replace(one, work=replace(one.work, faults=name)) for name, one in runner.sides.items()}
    for number in (1, 2):
        runner.pair(number, record.HALVES, whole=False)
    assert dropped == [["new/new.so", "new/torch/own.so.1", "old/torch/own.so.1"]] * 2


def test_two_times_the_same_environment_has_nothing_to_drop(tmp_path: Path) -> None:
    (tmp_path / "one.so").touch()
    assert pagecache.unshared([tmp_path], [tmp_path]) == []


def test_a_library_that_another_one_hides_is_not_loaded(tmp_path: Path) -> None:
    """An overlay comes before the environment that it changes."""
    overlay, base = tmp_path / "overlay", tmp_path / "base"
    for folder in (overlay, base):
        folder.mkdir()
        (folder / "torch.so").touch()
    (base / "numpy.so").touch()
    assert pagecache.unshared([base], [overlay, base]) == [base / "torch.so", overlay / "torch.so"]


def test_dropping_reads_nothing_and_bears_missing_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "there.so").write_bytes(b"x" * 10000)
    pagecache.drop([tmp_path / "there.so", tmp_path / "gone.so"])
    monkeypatch.delattr("os.posix_fadvise", raising=False)
    pagecache.drop([tmp_path / "there.so"])
