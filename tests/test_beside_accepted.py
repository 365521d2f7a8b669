"""`--benchmark-compare` beside the accepted run's software: what differs decides what stored seconds are worth."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from faked import Faked, words
from faked import faked as faked

import fastdiff.models.libraries  # noqa: F401  (torch stays loaded between the runs inside this process)
from fastdiff.compare import software
from fastdiff.experiments import ab
from fastdiff.experiments.pairs import NEW
from fastdiff.experiments.sessions import PairSession
from fastdiff.host import cores
from fastdiff.host.cores import Halves
from fastdiff.plugin.state import SessionState
from fastdiff.record.errors import UserError
from fastdiff.record.run import Device, Run
from fastdiff.record.software import Distribution, Project, Software
from fastdiff.sides.environment import Environment
from fastdiff.trial.fake import Fake

CODE = Project("0" * 40, dirty=False, entries={"mine": "a"})
SOFTWARE = Software("3.11.7", (Distribution("torch", "2.12.1"), Distribution("numpy", "2.0")), CODE)
UPGRADED = replace(SOFTWARE, distributions=(Distribution("torch", "2.13.0"), Distribution("numpy", "2.0")))


class Machine:
    """What a session finds: its software, and what happens when the accepted one is made again."""

    def __init__(self) -> None:
        self.software: Software | None = SOFTWARE
        self.environment: dict[str, Any] = {}
        self.trouble: UserError | None = None
        self.made = 0
        self.new_s = 1.0
        self.started: list[str] = []
        """The stages of all processes that pairs started, in their order."""
        self.pairs: dict[str, list[tuple[float, float]]] = {}
        """By stage, the seconds of each pair's two sides; the last ones are repeated. Other stages: 1.0 and `new_s`."""
        self.seated: list[str] = []
        """Those of the processes that ran side by side, on halves."""
        self.own: Path | None = None
        self.differs: tuple[str, ...] = ()

    def side(self, *_: Any, own: Path | None) -> Environment:
        self.made += 1
        self.own = own
        if self.trouble:
            raise self.trouble
        return Environment("accepted", Path(sys.executable), {}, "key", ("accepted",), differs=self.differs)

    def start(self, _: Any) -> Any:
        def started(name: str, side: Any, seat: Any) -> Any:
            id_ = side.work.id
            given = self.pairs.get(id_, [(1.0, self.new_s)])
            pair = given[min(self.seated.count(id_) // 2, len(given) - 1)]
            self.started.append(id_)
            self.seated += [id_] if seat else []
            return Fake({id_: [pair[name == NEW]]}).side(side.work)

        return started

    @property
    def turns(self) -> list[str]:
        """The stages of the pairs side by side, in their order."""
        return self.seated[::2]

    @property
    def order(self) -> list[str]:
        """Of the stages that were measured in pairs."""
        return list(dict.fromkeys(self.started))


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    found, run = Machine(), SessionState.run

    def described(state: SessionState) -> Run:
        whole = run(state)
        return replace(whole, software=found.software, environment=whole.environment | found.environment)

    monkeypatch.setattr(SessionState, "run", described)
    monkeypatch.setattr(PairSession, "accepted", found.side)
    monkeypatch.setattr(ab, "processes", found.start)
    monkeypatch.setattr(cores, "halves", lambda: Halves((0,), (1,), 1))
    monkeypatch.setattr(cores, "decided", lambda *_: False)
    return found


@pytest.fixture
def accepted(faked: Faked, machine: Machine) -> Faked:
    faked.takes(fp32=1.0, other=1.0)
    assert faked.session("--benchmark-compare").ret == 0
    faked.accept("--no-side")
    return faked


def latency(faked: Faked) -> str:
    return words(faked)["shapes-fp32", "latency"]


# -- no software differs ----------------------------------------------------------------------------------------------


def test_where_no_software_differs_nothing_got_slower(accepted: Faked, machine: Machine) -> None:
    accepted.takes(fp32=3.0, other=1.0)
    result = accepted.session("--benchmark-compare")
    assert result.ret == 0
    assert latency(accepted) == "MACHINE"
    assert words(accepted)["shapes-other", "latency"] == "SAME"
    result.stdout.fnmatch_lines(["MACHINE *shapes-fp32 latency: no software differs from the accepted run*change"])
    assert machine.made == 0
    assert accepted.session("--benchmark-compare", "--fastdiff-strict").ret == 1


def test_a_doubt_about_nothing_is_none(accepted: Faked) -> None:
    """The middle lies inside the band, and its interval crosses it: with the same software it is the same."""
    accepted.takes(fp32=1.3, other=1.3)
    accepted.session("--benchmark-compare", "--fastdiff-confirm=none")
    assert latency(accepted) == "UNSURE"
    accepted.session("--benchmark-compare")
    assert latency(accepted) == "SAME"


def test_a_driver_cannot_be_made_again_and_few_runs_do_not_know_the_noise(accepted: Faked, machine: Machine) -> None:
    accepted.takes(fp32=3.0, other=1.0)
    machine.environment = {"driver": "600.1"}
    result = accepted.session("--benchmark-compare")
    assert (result.ret, latency(accepted)) == (0, "UNSURE")
    result.stdout.fnmatch_lines(["*driver: nothing -> 600.1 cannot be recreated*need a noise measured over 5*"])


def test_code_that_is_not_known_is_not_the_same_code(accepted: Faked, machine: Machine) -> None:
    """Outside of git a regression of the code would be the machine's."""
    machine.software = replace(SOFTWARE, project=None)
    accepted.takes(fp32=3.0, other=1.0)
    assert accepted.session("--benchmark-compare").ret == 1
    assert latency(accepted) == "SLOW"


@pytest.mark.parametrize(
    "changed",
    [
        replace(SOFTWARE, python="3.11.9"),
        replace(SOFTWARE, distributions=(Distribution("torch", "2.12.1", files="b"), SOFTWARE.distributions[1])),
    ],
    ids=["another Python", "a build of one's own"],
)
def test_what_has_the_same_version_and_is_not_the_same_is_no_machine(
    accepted: Faked, machine: Machine, changed: Software
) -> None:
    machine.software = changed
    accepted.takes(fp32=3.0, other=1.0)
    accepted.session("--benchmark-compare")
    assert latency(accepted) == "UNSURE"


# -- some software differs --------------------------------------------------------------------------------------------


def test_after_an_upgrade_pairs_decide_and_not_the_stored_seconds(accepted: Faked, machine: Machine) -> None:
    machine.software = UPGRADED
    accepted.takes(fp32=3.0, other=1.0)
    result = accepted.session("--benchmark-compare")
    assert result.ret == 0
    assert latency(accepted) == "SAME"
    assert words(accepted)["shapes-fp32", "latency_all_cores"] == "SAME"
    assert machine.made == 1, "once for all stages"
    result.stdout.fnmatch_lines(["what differs from the accepted run: torch: 2.12.1 -> 2.13.0; *at most 15 minutes*"])
    result.stdout.fnmatch_lines(["latency in pairs: both sides at once, each with half of the cores*"])
    assert machine.started


def test_a_loss_that_stored_seconds_do_not_see_is_found(accepted: Faked, machine: Machine) -> None:
    machine.software, machine.new_s = UPGRADED, 1.05
    result = accepted.session("--benchmark-compare")
    assert (result.ret, latency(accepted)) == (1, "SLOW")
    assert ("shapes-other", "ladder") not in words(accepted), "seconds of another hour are in it"
    result.stdout.fnmatch_lines(["FAILED *test_not_slower?shapes-fp32? - *latency is SLOW*"])
    result.stdout.fnmatch_lines(["next: fastdiff bisect accepted . --stage fp32 *"])


@pytest.mark.parametrize(("new_s", "word"), [(1.0, "UNSURE"), (1.05, "SLOW")])
def test_no_loss_in_pairs_shows_nothing_where_both_sides_have_what_changed(
    accepted: Faked, machine: Machine, new_s: float, word: str
) -> None:
    machine.software, machine.new_s, machine.environment = UPGRADED, new_s, {"driver": "600.1"}
    result = accepted.session("--benchmark-compare")
    assert latency(accepted) == word
    if word == "UNSURE":
        result.stdout.fnmatch_lines(
            ["*they cannot show the effect of driver: nothing -> 600.1: both sides have today's*"]
        )


def test_an_injected_fault_is_a_change_of_software(accepted: Faked, machine: Machine) -> None:
    accepted.session("--benchmark-compare", "--fastdiff-inject=nan@fp32")
    assert machine.made == 1
    assert words(accepted)["shapes-other", "latency"] == "SAME"


def test_all_asks_for_pairs_where_nothing_differs_and_none_for_none(accepted: Faked, machine: Machine) -> None:
    machine.new_s = 1.05
    assert accepted.session("--benchmark-compare", "--fastdiff-confirm=all").ret == 1
    machine.software = UPGRADED
    made = machine.made
    assert accepted.session("--benchmark-compare", "--fastdiff-confirm=none").ret == 0
    assert machine.made == made


def test_another_device_s_accepted_run_gives_the_side(accepted: Faked, machine: Machine) -> None:
    folder = accepted.baseline.parent
    folder = folder.rename(folder.with_name("another-machine"))
    (run,) = folder.glob("0001_*.json")
    run.write_text(re.sub('"slug": "[^"]+"', '"slug": "another-machine"', run.read_text()))
    machine.new_s = 1.05
    result = accepted.session("--benchmark-compare")
    assert (result.ret, latency(accepted)) == (1, "SLOW")
    machine.new_s, machine.environment = 1.0, {"driver": "600.1"}
    accepted.session("--benchmark-compare")
    assert latency(accepted) == "SAME"
    result.stdout.fnmatch_lines(["no accepted run of *: compared in pairs with the software of another-machine/0001_*"])


# -- no pairs could tell ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["side-no-package", "side-changed-files", "environment"])
def test_a_side_that_cannot_be_made_again_decides_nothing(accepted: Faked, machine: Machine, code: Any) -> None:
    machine.software, machine.trouble = UPGRADED, UserError(code, "torch 2.12.1 is nowhere; look there.")
    accepted.takes(fp32=3.0, other=1.0)
    result = accepted.session("--benchmark-compare")
    assert (result.ret, latency(accepted), machine.made) == (0, "UNSURE", 1)
    result.stdout.fnmatch_lines(["*software differs, and pairs gave no verdict: torch 2.12.1 is nowhere; look there.*"])
    assert accepted.session("--benchmark-compare", "--fastdiff-strict").ret == 1


def test_a_stage_that_was_not_reached_is_named(
    accepted: Faked, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fastdiff.plugin import pairs

    clock = iter([0.0, 0.0, 0.0])
    monkeypatch.setattr(pairs.time, "monotonic", lambda: next(clock, 1e6))
    machine.software = UPGRADED
    result = accepted.session("--benchmark-compare", "--fastdiff-max-time=5")
    assert result.ret == 0
    assert words(accepted)["shapes-other", "latency"] == "UNSURE"
    result.stdout.fnmatch_lines(["*the 5 minutes of --fastdiff-max-time were over*"])


# -- in which order, and which ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fp32", "other", "order"),
    [
        (1.0, 1.0, ["shapes-fp32", "shapes-other"]),
        (1.1, 1.3, ["shapes-other", "shapes-fp32"]),
        (1.1, 0.7, ["shapes-other", "shapes-fp32"]),
        (1.3, 1.1, ["shapes-fp32", "shapes-other"]),
    ],
)
def test_the_stage_that_seems_to_have_changed_most_is_measured_first(
    accepted: Faked, machine: Machine, fp32: float, other: float, order: list[str]
) -> None:
    machine.software = UPGRADED
    accepted.takes(fp32=fp32, other=other)
    result = accepted.session("--benchmark-compare")
    assert result.ret == 0
    assert machine.order == order
    assert {words(accepted)[id_, "latency"] for id_ in order} == {"SAME"}
    shown = [f"{id_} [0-9]* min" for id_ in order]
    result.stdout.fnmatch_lines(
        [f"pairs take about: {shown[0]}, {shown[1]}, together *; no new pair starts after 15 min"]
    )


UNDECIDED = [(1.0, new_s) for new_s in (1.03, 0.97, 1.03, 0.97, 1.03, 0.97, 1.03, 0.97)]


def test_stages_take_turns_until_each_is_decided(accepted: Faked, machine: Machine) -> None:
    """A stage whose pairs scatter does not take the time in which another one could have shown a loss."""
    machine.software = UPGRADED
    machine.pairs = {"shapes-other": UNDECIDED, "shapes-fp32": [(1.0, 1.05)]}
    accepted.takes(fp32=1.1, other=1.3)
    result = accepted.session("--benchmark-compare")
    assert (result.ret, latency(accepted)) == (1, "SLOW")
    assert words(accepted)["shapes-other", "latency"] == "UNSURE"
    assert machine.turns == ["shapes-other"] * 5 + ["shapes-fp32"] * 5 + ["shapes-other"] * 7
    assert len(list((accepted.root / "runs" / "ab").glob("*.json"))) == 2, "each goes on with its own"


def test_of_stages_with_one_look_the_one_goes_on_first_whose_pairs_differ_most(
    accepted: Faked, machine: Machine
) -> None:
    machine.software = UPGRADED
    worse = [(1.0, 0.03 + each) for _, each in UNDECIDED]
    machine.pairs = {"shapes-other": UNDECIDED, "shapes-fp32": worse}
    accepted.takes(fp32=1.1, other=1.3)
    accepted.session("--benchmark-compare")
    fp32, other = "shapes-fp32", "shapes-other"
    assert machine.turns[:16] == [*[other] * 5, *[fp32] * 8, *[other] * 3]


def test_when_the_time_is_over_what_a_look_has_shown_is_kept(
    accepted: Faked, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fastdiff.plugin import pairs

    machine.software = UPGRADED
    machine.pairs = {"shapes-other": UNDECIDED, "shapes-fp32": UNDECIDED}
    accepted.takes(fp32=1.1, other=1.3)
    monkeypatch.setattr(pairs.time, "monotonic", lambda: 1e6 if len(machine.turns) >= 7 else 0.0)
    result = accepted.session("--benchmark-compare")
    assert (result.ret, machine.turns) == (0, [*["shapes-other"] * 5, *["shapes-fp32"] * 2])
    result.stdout.fnmatch_lines(
        [
            "UNSURE *shapes-fp32 latency and 1 more: *--fastdiff-max-time were over after 2 pairs",
            "UNSURE *shapes-other latency: +0.6 % *(5 pairs of processes*",
        ]
    )


def test_each_stage_s_outcome_is_its_own_test_s(accepted: Faked, machine: Machine) -> None:
    """Also of one that was measured in another one's test, and whose own test is not in the session."""
    machine.software, machine.new_s = UPGRADED, 1.05
    accepted.takes(fp32=1.1, other=1.3)
    result = accepted.session("--benchmark-compare")
    result.stdout.fnmatch_lines(
        [
            "FAILED *test_not_slower?shapes-fp32? - *fp32: latency is SLOW*",
            "FAILED *test_not_slower?shapes-other? - *other: latency is SLOW*",
        ]
    )
    machine.started.clear()
    only = accepted.session("--benchmark-compare", "--deselect=perf_tests/test_suite.py::test_not_slower[shapes-other]")
    assert only.ret == 1
    assert machine.order == ["shapes-other", "shapes-fp32"]
    assert words(accepted)["shapes-other", "latency"] == "SLOW"


def test_pairs_that_fail_fail_their_own_stage_alone(
    accepted: Faked, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = PairSession.answer

    def failing(session: PairSession, question: ab.Question, *rest: Any, **more: Any) -> Any:
        if question.id == "shapes-other":
            raise UserError("file", "no room for pairs")
        return answer(session, question, *rest, **more)

    monkeypatch.setattr(PairSession, "answer", failing)
    machine.software = UPGRADED
    accepted.takes(fp32=1.1, other=1.3)
    result = accepted.session("--benchmark-compare")
    result.stdout.fnmatch_lines(["FAILED *test_not_slower?shapes-other? - *no room for pairs*"])
    result.stdout.no_fnmatch_line("FAILED *shapes-fp32*")
    assert latency(accepted) == "SAME"
    without = accepted.session(
        "--benchmark-compare", "--deselect=perf_tests/test_suite.py::test_not_slower[shapes-other]"
    )
    assert without.ret == 1
    without.stdout.fnmatch_lines(["shapes-other was not compared: no room for pairs*"])


def test_what_the_time_may_not_reach_is_said_before(accepted: Faked, machine: Machine) -> None:
    machine.software = UPGRADED
    accepted.takes(fp32=20.0, other=30.0)
    result = accepted.session("--benchmark-compare")
    result.stdout.fnmatch_lines(
        ["may not be reached: shapes-other, shapes-fp32; --fastdiff-max-time=[0-9]* is enough for all"]
    )


@pytest.fixture
def on_a_gpu(faked: Faked, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Faked:
    monkeypatch.setenv("PYTEST_ADDOPTS", "--fastdiff-device=cuda")
    faked.takes(fp32=1.0, other=1.0)
    assert faked.session("--benchmark-compare").ret == 0
    faked.accept("--no-side")
    machine.software = UPGRADED
    return faked


def test_on_a_gpu_only_what_changed_and_the_last_stage_are_measured(on_a_gpu: Faked, machine: Machine) -> None:
    result = on_a_gpu.session("--benchmark-compare")
    assert (result.ret, machine.order) == (0, ["shapes-other"])
    assert words(on_a_gpu)["shapes-other", "latency"] == "SAME"
    assert words(on_a_gpu)["shapes-fp32", "latency"] == "UNSURE"
    result.stdout.fnmatch_lines(
        ["*shapes-fp32*on a GPU pairs are measured only for the last stage*", "*--fastdiff-confirm all*"]
    )
    assert len(machine.started) == 2 * 5, "at most 5 pairs of a stage"
    on_a_gpu.takes(fp32=1.6, other=1.0)
    machine.started.clear()
    on_a_gpu.session("--benchmark-compare")
    assert machine.order == ["shapes-fp32", "shapes-other"], "beyond the band"


@pytest.mark.parametrize("option", ["--fastdiff-confirm=all", "--fastdiff-strict"])
def test_on_a_gpu_all_are_measured_where_that_is_asked_for(on_a_gpu: Faked, machine: Machine, option: str) -> None:
    on_a_gpu.session("--benchmark-compare", option)
    assert machine.order == ["shapes-fp32", "shapes-other"]


# -- an environment that was kept -------------------------------------------------------------------------------------


def test_an_environment_that_was_named_takes_the_side_s_place_and_its_packages_are_named(
    accepted: Faked, machine: Machine
) -> None:
    machine.software, machine.differs = UPGRADED, ("torch: 2.12.1 -> 2.12.0",)
    result = accepted.session("--benchmark-compare", "--fastdiff-accepted-python=kept/bin/python")
    assert (result.ret, latency(accepted), machine.own) == (0, "SAME", Path("kept/bin/python"))
    (found,) = [
        one for one in accepted.run["judgements"] if (one["stage"], one["metric"]) == ("shapes-fp32", "latency")
    ]
    assert "other-packages" in str(found)
    machine.new_s = 1.05
    result = accepted.session("--benchmark-compare", "--fastdiff-accepted-python=kept")
    result.stdout.fnmatch_lines(["*SLOW*the given environment has other packages*torch: 2.12.1 -> 2.12.0*"])


# -- an accepted run of before ----------------------------------------------------------------------------------------


def test_an_accepted_run_of_an_older_fastdiff_is_judged_by_its_seconds(accepted: Faked, machine: Machine) -> None:
    machine.software = None
    accepted.takes(fp32=3.0, other=1.0)
    assert accepted.session("--benchmark-compare").ret == 1


@pytest.mark.parametrize("name", ["pytest-fastdiff", "fastdiff"])
@pytest.mark.parametrize(("own", "found"), [(True, []), (False, ["fastdiff"])])
def test_a_change_of_fastdiff_itself_shows_only_where_the_accepted_side_has_its_own(
    own: bool, found: list[str], name: str
) -> None:
    then, now = (with_fastdiff(one, editable=".") for one in (name, "pytest-fastdiff"))
    now = replace(now, software=replace(now.software, project=replace(CODE, entries={"fastdiff": "b"})))
    assert software.lasting(then, now, own_fastdiff=own) == found


def test_another_name_of_the_distribution_is_no_difference() -> None:
    then, now = with_fastdiff("fastdiff"), with_fastdiff("pytest-fastdiff")
    assert software.changes(then, now) == software.lasting(then, now, own_fastdiff=False) == []
    later = with_fastdiff("pytest-fastdiff", version="0.2")
    assert software.changes(then, later) == []
    assert software.lasting(then, later, own_fastdiff=False) == ["fastdiff: 0.1 -> 0.2"]


def with_fastdiff(name: str, version: str = "0.1", editable: str = "") -> Run:
    ran = replace(SOFTWARE, distributions=(Distribution(name, version, editable=editable),))
    return Run(Device("box", "cpu", "box"), "then", software=ran)
