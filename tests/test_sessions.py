"""`fastdiff ab`, `calibrate`, `bisect` and `--fastdiff-against`. Both sides of a pair are fakes in this process; in a
whole pytest session they are processes, as in test_pairs."""

from __future__ import annotations

import json
import math
import os
import random
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import warm
from test_pairs import source as source
from typer.testing import CliRunner

from fastdiff.cli import app
from fastdiff.compare.verdicts import SAME, SLOW, VOID
from fastdiff.experiments import ab, questions, sessions
from fastdiff.experiments.questions import AbOptions
from fastdiff.experiments.sessions import PairSession, failing
from fastdiff.record import calibration as calibrations
from fastdiff.record.bisection import FOLDER, Range
from fastdiff.record.errors import UserError
from fastdiff.record.pairs import HALVES, TURNS
from fastdiff.report import bisection, pairs
from fastdiff.report.progress import Progress
from fastdiff.report.steps import Shell
from fastdiff.sides import environment
from fastdiff.sides.environment import Environment
from fastdiff.sides.installed import asked as listing
from fastdiff.trial.fake import Fake
from fastdiff.trial.faults import parse

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from fastdiff.experiments.pairs import Seat, Side
    from fastdiff.models import Model
    from fastdiff.trial.fake import FakeSide

SUITE = Path(__file__).parent.parent / "perf_tests"
SDPA = AbOptions(stages=("sdpa",), calls=8, most_pairs=5)


def side(**said: Any) -> list[str]:
    """This environment, with the variable that says what the fake is like."""
    return [".", f"SAID={json.dumps(said)}"]


@cache
def listed(python: Path) -> tuple[str, dict[str, str]]:
    """Of an interpreter: asked once, as no test changes what is installed."""
    return listing(python, {})


def fakes(_source: Path) -> Any:
    """In place of processes: calls scatter by 0.4 %, and what begins anew by 0.2 %."""
    chance = random.Random(7)

    def start(name: str, side: Side, _seat: Seat | None) -> AbstractContextManager[FakeSide]:
        said, work = json.loads(side.environment.variables.get("SAID") or "{}"), side.work
        put_in = 1 + float(work.faults[5:-1]) / 100 if work.faults.startswith("slow:") else 1.0
        drift = said.get("slow", 1.0) * put_in * math.exp(chance.gauss(0, 0.002))
        seconds = [drift * math.exp(chance.gauss(0, 0.004)) for _ in range(50)]
        errors = {work.id: UserError("process", f"{name} ended: {said['dies']}")} if "dies" in said else {}
        return Fake({work.id: seconds}, errors=errors, packages=said.get("packages", {})).side(work)

    return start


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PairSession:
    monkeypatch.setattr(ab, "processes", fakes)
    monkeypatch.setattr(questions, "emulated", lambda _: ())  # a fake computes nothing
    monkeypatch.setattr(environment, "asked", lambda python, _: listed(python))
    return PairSession(tmp_path, say=[].append, progress=Progress())


# -- ab ---------------------------------------------------------------------------------------------------------------


def test_a_report_has_a_table_sentences_and_the_machines_limit(session: PairSession, tmp_path: Path) -> None:
    answers = session.compare(
        SDPA,
        side(packages={"torch": "2.12.1", "pytest-fastdiff": "1"}),
        side(packages={"torch": "2.13.0", "pytest-fastdiff": "1"}, slow=1.1),
    )
    assert failing(answers, strict=False)
    told = pairs.text(answers, session.limit(answers), ["runs/ab/x.json"], Shell())
    assert told[0].split() == ["stage", "latency", "old", "new", "change", "pairs", "memory", "fingerprint", "picture"]
    assert told[2].split()[:2] == ["shapes-sdpa", SLOW]
    text = "\n".join(told)
    assert "shapes-sdpa: latency is SLOW: " in text
    assert "environments: 1 package differs\n  torch: 2.12.1 -> 2.13.0" in text
    assert "kept in runs/ab/x.json" in text
    assert told[-1] == "smallest slowdown that this machine can detect: not measured; `fastdiff calibrate` measures it."
    markdown = "\n".join(pairs.markdown(answers, None, ["runs/ab/x.json"], Shell()))
    assert markdown.startswith("| stage | latency |")
    assert "latency is SLOW" in markdown


def test_every_stage_of_the_ladder_is_asked_where_none_is_named(session: PairSession, tmp_path: Path) -> None:
    answers = session.compare(AbOptions(calls=4, most_pairs=5), side(), side())
    assert [answer.experiment.stage.removeprefix("shapes-") for answer in answers] == [
        "fp32", "bf16", "sdpa", "compile", "fused-qkv", "int8",
    ]  # fmt: skip
    assert len(pairs.text(answers, None, ["x"] * 6, Shell())) > 8


def test_what_is_emulated_is_left_out_and_refused_where_it_is_named(
    session: PairSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(questions, "emulated", lambda _: ("bfloat16", "int8"))
    few, heard = AbOptions(calls=4, most_pairs=5), []
    monkeypatch.setattr(session, "say", heard.append)
    answers = session.compare(few, side(), side())
    told = "stages stay in float32, and bf16 and int8 are skipped (--emulate measures as written)"
    assert [told in line for line in heard].count(True) == 1
    climbed = [answer.experiment.stage.removeprefix("shapes-") for answer in answers]
    assert climbed == ["fp32", "sdpa", "compile", "fused-qkv"]
    for asked in (replace(few, stages=("sdpa", "bf16")), replace(few, stages=("sdpa",), old_stage="bf16")):
        with pytest.raises(UserError, match=r"^bf16: this CPU has no instructions for bfloat16 .* --fastdiff-emulate"):
            session.compare(asked, side(), side())
    emulating = replace(few, stages=("bf16",), emulate=True)
    (answer,) = session.compare(emulating, side(), side())
    assert answer.experiment.stage == "shapes-bf16"
    assert emulating.options("bf16").endswith(" --emulate"), "the next command asks for it again"


def test_a_comparison_that_measured_nothing_fails(session: PairSession, tmp_path: Path) -> None:
    answers = session.compare(SDPA, side(dies="its last words"), side())
    assert failing(answers, strict=False)
    text = "\n".join(pairs.text(answers, None, ["x"], Shell()))
    assert "VOID" in text
    assert "its last words" in text


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (AbOptions(model="shape"), "did you mean 'shapes'"),
        (AbOptions(stages=("sdpaa",)), "did you mean 'sdpa'"),
        (
            AbOptions(stages=("bf16", "sdpa"), old_stage="fp32"),
            "--old-stage fp32 is compared with one stage, and 2 were",
        ),
        (AbOptions(stages=("sdpa",), faults=parse("slow:30%@spda")), "--inject slow:30%@spda: .*did you mean 'sdpa'"),
        (AbOptions(size=100), "--size is 100; give a multiple of 64"),
        (AbOptions(device="gpu"), "gpu"),
        (AbOptions(stages=("sdpa-cudnn",), device="cpu"), "cudnn"),
        (AbOptions(most_pairs=4), "--pairs is 4; give 5 or more: fewer pairs decide nothing"),
        (AbOptions(calls=6), "6 calls a side do not make whole blocks"),
    ],
)
def test_what_cannot_be_asked_is_one_sentence(session: PairSession, asked: AbOptions, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        session.compare(asked, ["."], ["."])


def test_the_same_command_goes_on_where_it_stopped_and_throws_no_dice_again(
    session: PairSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = AbOptions(stages=("bf16", "sdpa"), calls=4, most_pairs=5)
    answer = PairSession.answer

    def interrupted(self: PairSession, question: Any, *arguments: Any, **options: Any) -> Any:
        if question.new.work.stage.name == "sdpa":
            raise KeyboardInterrupt
        return answer(self, question, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(PairSession, "answer", interrupted)
        for other in (asked, replace(asked, steps=2)):
            with pytest.raises(KeyboardInterrupt):
                session.compare(other, side(), side())
    # Other steps are another command. Of two that began within one second the names do not tell which was first.
    first, _ = sorted((tmp_path / "runs" / "ab").glob("*-bf16.json"), key=os.path.getmtime)
    again = session.compare(asked, side(), side())
    assert [one.path for one in again] == [first, again[1].path]
    third = session.compare(asked, side(), side())
    assert third[0].path != first, "what was answered whole is asked anew"


@pytest.mark.parametrize(
    ("slow", "options", "code"), [(1.0, (), 0), (1.1, (), 1), (0.9, (), 0), (0.9, ("--strict",), 1)]
)
def test_the_exit_status_is_the_verdicts(
    session: PairSession, tmp_path: Path, slow: float, options: tuple[str, ...], code: int
) -> None:
    words = ["ab", "--stage=sdpa", "--calls=8", "--pairs=5", f"--root={session.root}", *options]
    for name, said in (("old", {}), ("new", {"slow": slow})):
        words += [f"--{name}={word}" for word in side(**said)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == code, done.output


@pytest.mark.parametrize(("band", "word"), [(None, SLOW), (0.15, SAME)])
def test_one_question_may_have_a_band_of_its_own(
    session: PairSession, tmp_path: Path, band: float | None, word: str
) -> None:
    asked = replace(SDPA, most_pairs=6, band=band)
    (answer,) = session.compare(asked, side(), side(slow=1.05))
    assert answer.latency.verdict.word == word
    assert asked.options("sdpa") == "--stage sdpa --calls 8" + (" --band 15%" if band else "")


def test_what_cannot_be_asked_makes_no_environment(
    session: PairSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made(*_: Any) -> Environment:
        raise AssertionError("gigabytes were installed for a misspelt stage")

    monkeypatch.setattr(sessions, "ready", made)
    with pytest.raises(UserError, match="did you mean 'sdpa'"):
        session.compare(AbOptions(stages=("sdpaa",)), ["torch==2.12.1"], ["."])


def test_a_command_is_over_when_all_of_it_is_answered(session: PairSession, tmp_path: Path) -> None:
    """Not when its time is over: what was answered is given again, until the rest is."""
    asked = AbOptions(stages=("bf16", "sdpa"), calls=4, most_pairs=5)
    sides = side(), side()
    first = session.compare(asked, *sides, minutes=1e-9)
    assert [one.experiment.complete for one in first] == [False, False]
    second = session.compare(asked, *sides)
    assert [one.path for one in second] == [one.path for one in first]
    assert all(one.experiment.complete for one in second)
    assert not list((tmp_path / "runs" / "ab").glob(".*.command"))


# -- calibrate --------------------------------------------------------------------------------------------------------


def test_a_calibration_is_kept_and_repeated_in_every_report(session: PairSession, tmp_path: Path) -> None:
    (found,) = session.calibrate(AbOptions(stages=("sdpa",), calls=8, most_pairs=6), most_pairs=12)
    assert found.pairs == 6, "a scatter is wanted, and no early decision"
    assert 0 < found.paired_sd < 0.02
    assert 0.01 < found.smallest < 0.05
    assert 0.8 < (found.recovered or 0) < 1.2, "of the work that was put into one side"
    assert calibrations.read(tmp_path) == [found]
    answers = session.compare(SDPA, side(), side())
    assert (
        f"can detect: {100 * found.smallest:+.1f} % for shapes-sdpa (256 px, 8 steps) with 12 pairs of 8"
        in pairs.text(answers, session.limit(answers), ["x"], Shell())[-1]
    )


@pytest.mark.parametrize(("seen", "way"), [(0.97, HALVES), (0.6, TURNS)])
def test_halves_that_hide_work_are_not_used(
    seen: float, way: str, session: PairSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On any machine the stand-ins take turns, and say that they were in halves."""
    answer = PairSession.answer

    def named(self: PairSession, question: Any, *arguments: Any, **options: Any) -> Any:
        found = answer(self, question, *arguments, **options)
        return replace(found, experiment=replace(found.experiment, way=HALVES if question.in_halves else TURNS))

    monkeypatch.setattr(ab, "halves_for", lambda *_: None)
    monkeypatch.setattr(PairSession, "answer", named)
    monkeypatch.setattr(sessions, "recovered", lambda experiment, _: seen if experiment.way == HALVES else 1.01)
    (found,) = session.calibrate(replace(SDPA, most_pairs=5), most_pairs=5)
    assert (found.way, found.recovered_in_halves) == (way, seen)
    assert found.recovered == (seen if way == HALVES else 1.01)
    assert calibrations.hides_work(tmp_path, found.device) == (way == TURNS)
    assert not calibrations.hides_work(tmp_path, "another-device")
    told = pairs.limit(found)
    assert (" in turns scattered" in told, "(side by side only 60 %)" in told) == (way == TURNS, way == TURNS)


def test_a_stopped_calibration_goes_on_and_a_finished_one_begins_anew(
    session: PairSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer, asked = PairSession.answer, replace(SDPA, most_pairs=5)
    measured: list[str] = []

    def counted(self: PairSession, question: Any, *arguments: Any, **options: Any) -> Any:
        measured.append(question.new.work.faults)
        if len(measured) == 2:
            raise KeyboardInterrupt
        return answer(self, question, *arguments, **options)

    monkeypatch.setattr(ab, "halves_for", lambda *_: None)
    monkeypatch.setattr(PairSession, "answer", counted)
    with pytest.raises(KeyboardInterrupt):
        session.calibrate(asked, most_pairs=5)
    session.calibrate(asked, most_pairs=5)
    assert measured == ["slow:5%", "", ""], "the known work is not measured twice by one command"
    session.calibrate(asked, most_pairs=5)
    assert measured[3:] == ["slow:5%", ""]
    assert not list((tmp_path / "runs" / "ab").glob(".*.command"))


def test_half_a_calibration_promises_nothing(
    session: PairSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = PairSession.answer

    def stopped(self: PairSession, question: Any, *arguments: Any, **options: Any) -> Any:
        found = answer(self, question, *arguments, **options)
        return replace(found, experiment=replace(found.experiment, complete=False, failures=("new died",)))

    monkeypatch.setattr(PairSession, "answer", stopped)
    with pytest.raises(UserError, match="5 pairs were measured, and this calibration needs 5: new died"):
        session.calibrate(replace(SDPA, most_pairs=5), most_pairs=5)
    assert not (tmp_path / calibrations.FILE).exists()


def test_a_machine_that_favours_a_side_is_not_calibrated(
    session: PairSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = PairSession.answer

    def tilted(self: PairSession, question: Any, *arguments: Any, **options: Any) -> Any:
        found = answer(self, question, *arguments, **options)
        tilt = replace(found.latency, verdict=replace(found.latency.verdict, word=SLOW))
        return replace(found, judgements=[tilt])

    monkeypatch.setattr(PairSession, "answer", tilted)
    with pytest.raises(UserError, match="the same environment twice is SLOW"):
        session.calibrate(replace(SDPA, most_pairs=5), most_pairs=5)
    assert not (tmp_path / calibrations.FILE).exists()


def test_what_opens_an_index_is_in_no_report(session: PairSession) -> None:
    words = session.environment([".", "PIP_INDEX_URL=https://me:secret@host/simple"]).words
    assert words == (".", "PIP_INDEX_URL=https://****@host/simple")


def test_a_broken_calibration_is_a_missing_one(session: PairSession, tmp_path: Path) -> None:
    file = tmp_path / calibrations.FILE
    file.parent.mkdir(exist_ok=True)
    file.write_text('{"calibrations": [')
    assert calibrations.of_device(tmp_path, "x", "y") is None


# -- bisect -----------------------------------------------------------------------------------------------------------


class Index:
    """Releases of a package; those from `slow_from` on are slower, and some cannot be installed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: list[str] = []
        self.broken, self.slow_from = (), 4
        monkeypatch.setattr(sessions, "releases", lambda *_: [f"1.{minor}" for minor in range(6)])
        monkeypatch.setattr(PairSession, "environment", self.environment)

    def environment(self, words: Sequence[str], device: str = "auto") -> Environment:
        (spec,) = words
        minor = int(spec.rpartition(".")[2])
        self.made.append(spec)
        if minor in self.broken:
            raise UserError("environment", f"{spec} does not install: no wheel")
        said = {"slow": 1.2 if minor >= self.slow_from else 1.0, "packages": {"thing": f"1.{minor}"}}
        variables = {"SAID": json.dumps(said)}
        return Environment(spec, Path(sys.executable), variables, key=spec, words=(spec,))


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Index:
    return Index(monkeypatch)


ENDS = (["thing==1.0"], ["thing==1.5"])


def test_the_first_slow_release_is_found(session: PairSession, index: Index) -> None:
    found = session.bisect(SDPA, *ENDS)
    assert found.range == Range("releases", "thing==1.4", "thing==1.3")
    text = "\n".join(bisection.text(found, "--stage sdpa", 5, Shell()))
    assert "the cause is thing 1.0 -> 1.5" in text
    assert "the first slow release is thing==1.4, and the last good one thing==1.3" in text
    assert "thing: 1.0 -> 1.4" in text
    assert "next: fastdiff ab --old thing==1.3 --new thing==1.4 --stage sdpa" in text


def test_a_release_that_does_not_install_is_passed_over(session: PairSession, index: Index) -> None:
    index.broken = (3,)
    assert session.bisect(SDPA, *ENDS).range == Range("releases", "thing==1.4", "thing==1.2", ("thing==1.3",))


def test_a_search_goes_on_and_measures_nothing_twice(session: PairSession, index: Index) -> None:
    first = session.bisect(SDPA, *ENDS)
    (file,) = (session.root / FOLDER).iterdir()
    assert len(json.loads(file.read_text())["steps"]) == len(first.steps)
    index.made.clear()
    assert session.bisect(SDPA, *ENDS) == first
    assert index.made == ["thing==1.0"]


def test_an_end_that_is_no_release_is_one_sentence(session: PairSession, index: Index) -> None:
    with pytest.raises(UserError, match=r"thing has no release 0\.9"):
        session.bisect(SDPA, ["thing==0.9"], ["thing==1.5"])


def test_of_two_variables_the_slow_one_is_found(session: PairSession, tmp_path: Path) -> None:
    new = [*side(slow=1.2), "EXTRA=1"]
    found = session.bisect(SDPA, side(), new)
    assert [step.candidate for step in found.steps] == ["the new side", "EXTRA", "SAID"]
    assert [member.name for member in found.guilty] == ["SAID"]
    lines = bisection.text(found, "--stage sdpa", 5, Shell())
    assert 'the cause is SAID {} -> {"slow": 1.2}: ' in "\n".join(lines)
    assert lines[-1].startswith("next: fastdiff ab --old . --old 'SAID={}' --new ")
    assert f"--new {sys.executable} " in lines[-1]


# -- the commands as a person types them ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["ab", "--old", "torch=2.12.1"], "did you mean torch==2.12.1"),
        (["ab", "--stage", "sdpaa"], "no stage is called 'sdpaa'; did you mean 'sdpa'"),
        (["ab", "--inject", "slowly"], "no fault is called 'slowly'; did you mean 'slow'"),
        (["calibrate", "--model", "sdxxl"], "no model is called 'sdxxl'; did you mean 'sdxl'"),
    ],
)
def test_a_mistyped_word_is_one_sentence(tmp_path: Path, arguments: list[str], sentence: str) -> None:
    command = [str(Path(sys.executable).with_name("fastdiff")), *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert "Traceback" not in done.stderr


# -- the pytest way ---------------------------------------------------------------------------------------------------

CONFTEST = """
from pathlib import Path
from fastdiff.models import Model, Request

def pytest_configure():
    from fastdiff.experiments.sessions import PairSession
    PairSession.source = Path({source!r})

def pytest_fastdiff_models():
    request = Request("a small red ring", steps=2, size=64, guidance=3.0)
    return [Model("tiny", "StableDiffusionXLPipeline", {folder!r}, request)]
"""


@pytest.mark.parametrize(
    ("said", "code", "word"),
    [
        pytest.param({}, 0, SAME, id="same", marks=pytest.mark.nightly),
        pytest.param({"slow": 2.0}, 1, SLOW, id="slow"),
        pytest.param({"build": "die"}, 1, VOID, id="dead", marks=pytest.mark.nightly),
    ],
)
def test_the_suite_is_judged_by_pairs(
    tmp_path: Path, source: Path, tiny: Model, said: dict[str, Any], code: int, word: str
) -> None:
    shutil.copytree(SUITE, tmp_path / "perf_tests", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "conftest.py").write_text(CONFTEST.format(source=str(source), folder=str(tiny.source)))
    # Five pairs know their own scatter badly, so the band is wide: what is tested is who judges, not how sharply.
    (tmp_path / "pyproject.toml").write_text(
        "[tool.pytest.ini_options]\nfastdiff_model = 'tiny'\n[tool.fastdiff.policy]\npaired = '20%'\n"
    )
    # The old side gets its words from the command line, the new one is this environment as it is.
    old = shlex.join([f"SAID={json.dumps({})}"])
    asked = ["perf_tests", "-p", "no:cacheprovider", "-rA", "--fastdiff-rounds=3"]
    asked += ["--fastdiff-stage=sdpa", f"--fastdiff-against={old}", "--fastdiff-pairs=5", "--fastdiff-calls=8"]
    variables = os.environ | {"SAID": json.dumps(said), "PIDS": str(tmp_path / "pids"), "COLUMNS": "300"}
    done = warm.pytest(*asked, cwd=tmp_path, env=variables, timeout=300)
    assert done.returncode == code, done.stdout + done.stderr
    assert "measured in pairs with this environment" in done.stdout
    assert "smallest slowdown that this machine can detect: not measured" in done.stdout
    (file,) = (tmp_path / "runs").glob("*.json")
    judged = {one["metric"]: one["word"] for one in json.loads(file.read_text())["fastdiff"]["judgements"]}
    assert judged["latency"] == word
    assert "ladder" not in judged
    assert "pairs: runs/ab/" in done.stdout
    if code:
        failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
        assert len(failed) == 1
        assert f"tiny-sdpa: latency is {word}: " in failed[0]
