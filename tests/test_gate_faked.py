"""What the gate decides, on the fake runner."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from faked import accepted as accepted
from faked import faked as faked
from faked import words

from fastdiff.experiments.sessions import PairSession
from fastdiff.record.errors import UserError
from fastdiff.trial.fake import FakeStage

if TYPE_CHECKING:
    from faked import Faked

    from fastdiff.record.run import Sample


def rerun(faked: Faked) -> None:
    """As pytest-rerunfailures does: each failed test once more."""
    (faked.root / "perf_tests" / "conftest.py").write_text(
        "from _pytest.runner import runtestprotocol\n"
        "def pytest_runtest_protocol(item, nextitem):\n"
        "    for _ in range(2):\n"
        "        reports = runtestprotocol(item, nextitem=nextitem, log=False)\n"
        "        if not any(report.failed for report in reports):\n"
        "            break\n"
        "    for report in reports:\n"
        "        item.ihook.pytest_runtest_logreport(report=report)\n"
        "    return True\n"
    )


# -- what is new, and what is missing ---------------------------------------------------------------------------------


def test_a_first_run_is_new_and_passes(faked: Faked) -> None:
    result = faked.session("--benchmark-compare")
    assert result.ret == 0
    assert set(words(faked).values()) == {"NEW"}
    result.stdout.fnmatch_lines(["*fastdiff accept runs/*"])
    result.stdout.no_fnmatch_line("*No benchmark files*")


def test_strict_fails_on_what_is_new(faked: Faked) -> None:
    result = faked.session("--benchmark-compare", "--fastdiff-strict")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["FAILED *test_not_slower?shapes-fp32? - *latency is NEW*"])


def test_a_clean_run_is_the_same(accepted: Faked) -> None:
    assert accepted.session("--benchmark-compare", "--fastdiff-strict").ret == 0
    assert set(words(accepted).values()) == {"SAME"}


def test_strict_is_not_green_when_nothing_was_timed(accepted: Faked) -> None:
    arguments = ("--benchmark-compare", "--benchmark-skip", "-k", "latency")
    assert accepted.session(*arguments).ret == 0
    assert accepted.session(*arguments, "--fastdiff-strict").ret == 1
    assert "MISSING" in words(accepted).values()


def test_strict_notices_a_test_that_was_taken_away(accepted: Faked) -> None:
    """A stage without the test of its pictures would pass for ever."""
    arguments = ("--benchmark-compare", "-k", "not parity")
    assert accepted.session(*arguments).ret == 0
    assert "tests-deselected" not in [one["reason"]["code"] for one in accepted.run["judgements"]]
    assert accepted.session(*arguments, "--fastdiff-strict").ret == 1
    assert "tests-deselected" in [one["reason"]["code"] for one in accepted.run["judgements"]]
    assert "missing" in accepted.run["outcome"]


def test_a_stage_that_cannot_be_built_is_an_error_and_the_others_go_on(accepted: Faked) -> None:
    accepted.takes(errors={"shapes-other": "no weights here."})
    result = accepted.session("--benchmark-compare")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["ERROR *shapes-other? - *no weights here."])
    assert words(accepted)["shapes-fp32", "latency"] == "SAME"
    assert ("shapes-other", "latency") not in words(accepted)


def test_weights_that_cannot_be_loaded_are_tried_once(faked: Faked) -> None:
    """A hub that does not answer is asked for two minutes."""
    faked.takes(errors={"shapes-fp32": "nothing is there."})
    for options in (("-k", "not parity"), ("--fastdiff-stage=other",)):  # its reference is drawn before it
        result = faked.session(*options)
        result.stdout.fnmatch_lines(["ERROR *shapes-other? - *nothing is there."])
        assert not any("other" in line for line in faked.log)


def test_why_a_stage_is_not_possible_stands_below_the_ladder(faked: Faked) -> None:
    faked.takes(errors={"shapes-other": "name what is to be compiled."}, code="recipe")
    result = faked.session()
    assert result.ret == 0
    result.stdout.fnmatch_lines(["other * not possible here", "other: name what is to be compiled."])


def test_a_session_that_began_too_far_down_is_told_where_the_accepted_runs_are(accepted: Faked) -> None:
    below = accepted.root / "perf_tests"
    (below / "pytest.ini").write_text("[pytest]\nfastdiff_stage = fp32\n")
    (below / "fake.json").write_text((accepted.root / "fake.json").read_text())
    result = accepted.session(
        "--benchmark-compare", suite=(str(below), "-c", "perf_tests/pytest.ini", f"--confcutdir={accepted.root}")
    )
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [f"no accepted run of *; {accepted.root} has accepted runs, so perhaps start pytest there"]
    )


# -- slower -----------------------------------------------------------------------------------------------------------


def test_a_slow_stage_fails_the_test_that_says_so(accepted: Faked) -> None:
    accepted.takes(other=4.0)
    result = accepted.session("--benchmark-compare")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["FAILED *test_not_slower?shapes-other? - *latency is SLOW*"])
    result.stdout.fnmatch_lines(["PASSED *test_latency?shapes-other?"])
    assert accepted.run["outcome"] == "slow"


def test_a_slow_run_may_be_accepted(accepted: Faked) -> None:
    """Its verdict failed a test, but what it measured is whole."""
    accepted.takes(other=4.0)
    accepted.session("--benchmark-compare")
    accepted.accept("--stage", "other")
    assert accepted.session("--benchmark-compare").ret == 0


def test_a_session_without_the_last_tests_compares_all_the_same(accepted: Faked) -> None:
    accepted.takes(other=4.0)
    result = accepted.session("--benchmark-compare", "-k", "latency")
    assert result.ret == 1, "no test failed, but the session does"
    result.stdout.fnmatch_lines(["SLOW  shapes-other latency: *", "PASSED *test_latency?shapes-other?"])
    assert words(accepted)["shapes-fp32", "latency"] == "SAME"


def test_benchmarks_alone_are_a_whole_session(accepted: Faked) -> None:
    assert accepted.session("--benchmark-compare", "--benchmark-only").ret == 0
    assert {one["state"] for one in accepted.run["stages"]} == {"measured"}
    assert "MISSING" not in words(accepted).values()


def test_regressions_come_last_and_only_where_something_is_compared(faked: Faked) -> None:
    suite = faked.root / "perf_tests" / "test_suite.py"
    others, name, body = suite.read_text().partition("def test_not_slower")
    suite.write_text(f"{name}{body}\n{others}")  # first in its file
    shown = faked.session("--benchmark-compare", "--collect-only", "-q").outlines
    tests = [line.partition("::")[2] for line in shown if "::" in line]
    assert tests[-2:] == ["test_not_slower[shapes-fp32]", "test_not_slower[shapes-other]"]
    assert len(tests) == 10
    without = faked.session("--collect-only", "-q")
    without.stdout.no_fnmatch_line("*slower*")
    without.stdout.fnmatch_lines(["8/10 tests collected (2 deselected)*"])


def test_a_stage_that_was_not_timed_is_not_compared(accepted: Faked) -> None:
    result = accepted.session("--benchmark-compare", "-k", "applied or slower")
    result.stdout.fnmatch_lines(["SKIPPED *shapes-fp32 was not timed in this session."])


def test_the_installed_suite_needs_no_file(faked: Faked) -> None:
    """Collected alone: its tests ask for more than a fake stage has."""
    result = faked.session("--fastdiff-stage=fp32", "--collect-only", "-q", suite=("--pyargs", "fastdiff.suite"))
    assert [line.rpartition("::")[2] for line in result.outlines if "::" in line] == [
        f"test_{name}[shapes-fp32]" for name in ("applied", "latency", "memory", "parity")
    ]


def test_a_comparison_without_its_stage_does_not_pass(accepted: Faked) -> None:
    """As with --last-failed, after a verdict has failed."""
    result = accepted.session("--benchmark-compare", "-k", "slower")
    result.assert_outcomes(failed=2, deselected=8)
    result.stdout.fnmatch_lines(
        ["FAILED *shapes-fp32 was not measured, because its own tests are not in this session;*"]
    )


def test_a_strict_session_that_measures_nothing_is_not_green(accepted: Faked) -> None:
    result = accepted.session("--benchmark-compare", "--fastdiff-strict", "-k", "slower")
    assert result.ret == 1
    assert set(words(accepted).values()) == {"MISSING"}


def test_a_whole_run_that_the_first_verdict_stops_is_complete(accepted: Faked) -> None:
    """With -x: every stage was measured, and the run may be accepted."""
    accepted.takes(fp32=4.0, other=4.0)
    assert accepted.session("--benchmark-compare", "-x").ret == 1
    assert accepted.run["complete"]
    assert (
        accepted.session("--benchmark-compare", "-x", "-k", "applied", "--maxfail=1", "--fastdiff-stage=fp32").ret == 0
    )


def test_ctrl_c_in_a_comparison_after_the_last_test_leaves_the_run(accepted: Faked) -> None:
    with (accepted.root / "conftest.py").open("a") as conftest:
        conftest.write(
            "\nfrom fastdiff.plugin.pairs import Pairs\n"
            "def stops(*_):\n    raise KeyboardInterrupt\n"
            "Pairs.against = stops\n"
        )
    result = accepted.session("--fastdiff-against=.", "-k", "latency", interrupted=True)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*2 passed*"])
    result.stdout.no_fnmatch_line("*Traceback*")
    assert accepted.run["outcome"] == "interrupted"
    assert all(one["samples"] for one in accepted.run["stages"])


# -- another environment ----------------------------------------------------------------------------------------------

NOWHERE = "--fastdiff-against=torch==0"


@pytest.fixture
def tries(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """How often an environment was to be made; it never is."""
    found: list[object] = []

    def refuse(_: PairSession, words: object, device: str) -> None:
        found.append(words)
        raise UserError("process", "torch==0 cannot be installed.")

    monkeypatch.setattr(PairSession, "environment", refuse)
    return found


def test_a_comparison_that_is_impossible_fails_however_often_it_is_asked(accepted: Faked, tries: list[object]) -> None:
    rerun(accepted)
    result = accepted.session(NOWHERE)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["FAILED *test_not_slower?shapes-fp32? - *--fastdiff-against: *"])
    result.stdout.fnmatch_lines(["no verdict: shapes-fp32, shapes-other could not be measured or compared;*"])
    assert accepted.run["outcome"] == "not compared"
    assert len(tries) == 2, "once for each stage"


@pytest.mark.usefixtures("tries")
def test_a_comparison_that_is_impossible_fails_a_session_without_the_last_tests(accepted: Faked) -> None:
    result = accepted.session(NOWHERE, "-k", "latency")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["shapes-fp32 was not compared: --fastdiff-against: *"])
    result.stdout.fnmatch_lines(["*2 passed*"])
    assert accepted.run["complete"]


# -- fixtures of other suites -----------------------------------------------------------------------------------------


def test_fixtures_of_these_names_may_be_another_suite_s(faked: Faked) -> None:
    (faked.root / "perf_tests" / "test_suite.py").write_text(
        "import pytest\n"
        "@pytest.fixture\ndef stage():\n    return 'theirs'\n"
        "@pytest.fixture(params=[1, 2])\ndef regression(request):\n    return request.param\n"
        "def test_theirs(stage, regression):\n    assert (stage, regression > 0) == ('theirs', True)\n"
    )
    faked.session().assert_outcomes(passed=2)
    assert not (faked.root / "runs").exists()


def test_a_fixture_around_ours_is_ours(faked: Faked) -> None:
    with (faked.root / "perf_tests" / "test_suite.py").open("a") as suite:
        suite.write("\nimport pytest\n@pytest.fixture(scope='session')\ndef stage(stage):\n    return stage\n")
    faked.session().assert_outcomes(passed=8, deselected=2)


def test_a_stage_and_a_comparison_in_one_test_are_refused(faked: Faked) -> None:
    with (faked.root / "perf_tests" / "test_suite.py").open("a") as suite:
        suite.write("\ndef test_both(stage, regression):\n    pass\n")
    result = faked.session("--benchmark-compare")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*test_both has `stage` and `regression` among its arguments; take one of them:*"])


# -- files ------------------------------------------------------------------------------------------------------------


def test_an_unknown_number_of_a_baseline_is_an_error(accepted: Faked) -> None:
    result = accepted.session("--benchmark-compare=0815")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*names no accepted run; there are: 0001_shapes.json."])


def test_a_project_that_cannot_be_written_still_measures(faked: Faked) -> None:
    (faked.root / "runs").write_text("no folder")
    result = faked.session()
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*cannot be written*"])
    result.stdout.no_fnmatch_line("run file: *")
    assert faked.session("--fastdiff-strict").ret == 1, "strict mode needs the run, too"


def test_another_device_is_an_error_before_anything_is_built(accepted: Faked) -> None:
    whole = json.loads(accepted.baseline.read_text())
    whole["fastdiff"]["device"]["slug"] = "another-machine"
    accepted.baseline.write_text(json.dumps(whole))
    result = accepted.session("--benchmark-compare")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*times of two devices do not compare*"])
    assert accepted.log == [""]


# -- a test that is run again -----------------------------------------------------------------------------------------


def test_the_last_test_of_a_stage_may_be_run_again(faked: Faked) -> None:
    """The stage is still alive then."""
    rerun(faked)
    suite = faked.root / "perf_tests" / "test_suite.py"
    fails_once = "    tries.append(stage.id)\n    assert tries.count(stage.id) == 2\n    stage.sample()\n"
    suite.write_text("tries = []\n" + suite.read_text().replace("    stage.likeness_to(reference)\n", fails_once))
    faked.session().assert_outcomes(passed=8, deselected=2)
    ends = [line for line in faked.log if line.startswith(("sample", "close")) and line.endswith("fp32")]
    assert ends == [*["sample shapes-fp32"] * 4, "close shapes-fp32"]


def test_a_stage_ends_when_its_last_test_has_failed(faked: Faked) -> None:
    suite = faked.root / "perf_tests" / "test_suite.py"
    suite.write_text(suite.read_text().replace("stage.likeness_to(reference)", "raise AssertionError"))
    faked.session().assert_outcomes(passed=6, failed=2, deselected=2)
    assert faked.log.index("close shapes-fp32") < faked.log.index("build shapes-other")


def test_a_verdict_does_not_pass_because_its_test_is_run_again(accepted: Faked) -> None:
    """As pytest-rerunfailures does."""
    accepted.takes(other=4.0)
    rerun(accepted)
    result = accepted.session("--benchmark-compare")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["FAILED *test_not_slower?shapes-other? - *latency is SLOW*"])


def test_what_accept_would_refuse_is_to_be_measured_again(faked: Faked, monkeypatch: pytest.MonkeyPatch) -> None:
    keep = FakeStage._keep

    def disturbed(stage: FakeStage) -> Sample:
        stage.samples[-1:] = [replace(keep(stage), void="a busy neighbour")]
        return stage.samples[-1]

    monkeypatch.setattr(FakeStage, "_keep", disturbed)
    result = faked.session("--benchmark-compare")
    assert result.ret == 0
    assert "fastdiff accept" not in str(result.stdout)
    result.stdout.fnmatch_lines(
        [
            "next: pytest perf_tests --benchmark-compare",
            "This run cannot be accepted: shapes-fp32 has 3 void samples of 3 (a busy neighbour), shapes-other has *",
        ]
    )
