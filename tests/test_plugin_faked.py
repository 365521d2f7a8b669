"""What a session measures, skips, draws and says, on the fake runner."""

from __future__ import annotations

import signal
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from faked import accepted as accepted
from faked import faked as faked

from fastdiff.host import processor, system
from fastdiff.record import distribution
from fastdiff.report.listings import runs_text
from fastdiff.trial import fake

if TYPE_CHECKING:
    from pathlib import Path

    from faked import Faked

    from fastdiff.record.run import Trial
    from fastdiff.trial.work import Work


def old_cpu(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    (folder / "cpuinfo").write_text("model name: Old CPU\nflags: avx2 fma\n")
    monkeypatch.setattr(processor, "CPUINFO", folder / "cpuinfo")


def built(faked: Faked) -> list[str]:
    return [line.removeprefix("build shapes-") for line in faked.log if line.startswith("build ")]


def test_a_session_goes_stage_by_stage(faked: Faked) -> None:
    faked.session().assert_outcomes(passed=8, deselected=2)
    calls = [f"{what} shapes-{stage}" for stage in ("fp32", "other") for what in ("build", "settle", "close")]
    assert [line for line in faked.log if line in calls] == calls, "one pipeline at a time"
    assert faked.log.count("sample shapes-fp32") == 3
    assert {one["state"] for one in faked.run["stages"]} == {"measured"}
    assert (faked.run["outcome"], faked.run["complete"]) == ("passed", True)


def test_times_that_a_test_takes_by_itself_are_samples_too(faked: Faked) -> None:
    suite = faked.root / "perf_tests" / "test_suite.py"
    suite.write_text(suite.read_text().replace("stage.measure(benchmark)", "benchmark.pedantic(sum, ([1],), rounds=4)"))
    assert faked.session("-k", "latency").ret == 0
    samples = faked.run["stages"][0]["samples"]
    assert len(samples) == 4
    assert all(0 < one["wall_s"] < 0.1 for one in samples)


# -- what this processor cannot do ------------------------------------------------------------------------------------


def test_a_cpu_without_instructions_skips_what_needs_them(faked: Faked, monkeypatch: pytest.MonkeyPatch) -> None:
    old_cpu(monkeypatch, faked.root)
    result = faked.session("--fastdiff-device=cpu", "--fastdiff-stage=fp32,bf16,sdpa,int8", "-k", "applied or parity")
    result.assert_outcomes(passed=4, skipped=4, deselected=12)
    result.stdout.fnmatch_lines_random(
        [
            "*shapes-bf16: this CPU has no instructions for bfloat16*",
            "*shapes-int8: this CPU has no instructions for int8*",
        ]
    )
    text = result.stdout.str()
    assert text.count("stages stay in float32, and bf16 and int8 are skipped") == 2, "above and beside the table"
    run = faked.run
    assert run["device"]["name"].startswith("Old CPU, ")
    assert run["device"]["name"].endswith(", AVX2")
    states = {stage["stage"]: (stage["state"], stage["reason"], stage["follows"]) for stage in run["stages"]}
    assert states["bf16"] == ("skipped", "emulated here", "fp32")
    assert states["int8"][:2] == ("skipped", "emulated here")
    assert states["sdpa"] == ("measured", "", "fp32")
    (sdpa,) = [stage for stage in run["stages"] if stage["stage"] == "sdpa"]
    assert "dtype" not in sdpa["recipe"], "float32 is the default"


def test_no_reference_is_drawn_for_what_is_skipped(faked: Faked, monkeypatch: pytest.MonkeyPatch) -> None:
    old_cpu(monkeypatch, faked.root)
    faked.session("--fastdiff-device=cpu", "--fastdiff-stage=int8").assert_outcomes(skipped=4, deselected=1)
    assert built(faked) == []


def test_no_reference_is_drawn_for_what_the_architecture_has_no_place_for(faked: Faked) -> None:
    result = faked.session("--fastdiff-model=sdxl", "--fastdiff-stage=first-block-cache")
    result.assert_outcomes(skipped=4, deselected=1)
    result.stdout.fnmatch_lines(["*the architecture of 'sdxl' has no place for cache; leave it out.*"])
    assert built(faked) == []


def test_emulation_that_is_asked_for_is_measured(faked: Faked, monkeypatch: pytest.MonkeyPatch) -> None:
    old_cpu(monkeypatch, faked.root)
    result = faked.session("--fastdiff-device=cpu", "--fastdiff-stage=bf16", "--fastdiff-emulate", "-k", "applied")
    result.assert_outcomes(passed=1, deselected=4)
    result.stdout.no_fnmatch_line("*instructions*")
    assert built(faked) == ["bf16"]


def test_windows_is_refused_where_a_test_needs_a_stage(faked: Faked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "PLATFORM", "win32")
    result = faked.session()
    assert result.ret == 4
    result.stderr.fnmatch_lines(["ERROR: fastdiff does not run on Windows; run it in WSL*"])
    (faked.root / "perf_tests" / "test_suite.py").write_text("def test_theirs(): pass")
    assert faked.session().ret == 0


def test_another_project_called_fastdiff_is_named(
    faked: Faked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distribution, "BESIDE", tmp_path)
    (tmp_path / "fastdiff-0.3.0.dist-info").mkdir()
    sentence = [f"ERROR: another project called fastdiff is installed in {tmp_path}, *pip uninstall -y fastdiff*"]
    result = faked.session()
    assert result.ret == 4
    result.stderr.fnmatch_lines(sentence)
    (faked.root / "perf_tests" / "test_suite.py").write_text("def test_theirs(): pass")
    assert faked.session().ret == 0, "a suite without a stage has no part in it"


# -- the reference ----------------------------------------------------------------------------------------------------


def test_the_reference_is_drawn_for_a_stage_that_runs_alone(faked: Faked) -> None:
    faked.session("-k", "other").assert_outcomes(passed=4, deselected=6)
    assert built(faked) == ["fp32", "other"]


def test_no_reference_is_drawn_for_timings_alone(faked: Faked) -> None:
    faked.session("-k", "other and latency").assert_outcomes(passed=1, deselected=9)
    assert built(faked) == ["other"]


# -- what goes wrong around the measurement ---------------------------------------------------------------------------


def test_an_interrupt_before_the_first_sample_leaves_a_run_file(faked: Faked) -> None:
    """pytest-benchmark cannot tell of a benchmark without a sample."""
    with (faked.root / "conftest.py").open("a") as conftest:
        conftest.write(
            "\ndef stop(self):\n    raise KeyboardInterrupt\n"
            "from fastdiff.trial.fake import FakeStage\nFakeStage._timed = stop\n"
        )
    result = faked.session(interrupted=True)
    result.stdout.no_fnmatch_line("*INTERNALERROR*")
    run = faked.run
    assert (run["outcome"], run["complete"], run["stages"][0]["samples"]) == ("interrupted", False, [])
    assert run["stages"][0]["first_call_s"]


def test_a_stage_that_ends_the_process_takes_no_other_stage_with_it(faked: Faked) -> None:
    """What was measured before is in the run file, which also names the stage in which the process ended."""
    with (faked.root / "conftest.py").open("a") as conftest:
        conftest.write(
            "\nimport os, signal\nfrom fastdiff.trial.fake import FakeStage\nplain = FakeStage.__init__\n"
            "def init(self, runner, work, given):\n    plain(self, runner, work, given)\n"
            "    if work.stage.name == 'other':\n        os.kill(os.getpid(), signal.SIGSEGV)\n"
            "FakeStage.__init__ = init\n"
        )
    assert faked.session(interrupted=True).ret == -signal.SIGSEGV
    first, second = faked.run["stages"]
    assert (first["stage"], first["state"], len(first["samples"])) == ("fp32", "measured", 3)
    assert (second["stage"], second["state"], second["samples"]) == ("other", "incomplete", [])
    (line,) = (line for line in runs_text(faked.root) if "measured" in line)
    assert "the process ended in shapes-other (incomplete)" in line
    assert "1 measured, 1 incomplete" in line


@pytest.mark.parametrize("options", [(), ("--benchmark-compare",)])
def test_a_wait_for_the_gpu_in_every_step_fails_the_first_run_once(
    faked: Faked, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    plain = fake.plain

    def waiting(work: Work) -> Trial:
        trial = plain(work)
        return replace(trial, fingerprint=trial.fingerprint | {"syncs_in_a_step": 2 * (work.stage.name == "other")})

    monkeypatch.setattr(fake, "plain", waiting)
    result = faked.session(*options)
    waits = [line for line in result.outlines if "FAILED" in line]
    assert len(waits) == 1
    assert "shapes-other" in waits[0]
    assert "the host waits for the GPU 2 times in a denoising step" in waits[0]
    assert [one["samples"] != [] for one in faked.run["stages"]] == [True, True]


def test_a_name_that_is_no_file_name_is_refused(faked: Faked) -> None:
    with (faked.root / "conftest.py").open("a") as conftest:
        conftest.write("\ndef pytest_fastdiff_models():\n    return [replace(CATALOGUE[0], name='a/b')]\n")
        conftest.write("from dataclasses import replace\nfrom fastdiff.models import CATALOGUE\n")
    result = faked.session()
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*'a/b' is no name for a model or a stage*"])


def test_a_table_that_cannot_be_written_is_named_after_everything_else(faked: Faked) -> None:
    (faked.root / "file").write_text("no folder")
    result = faked.session("--fastdiff-markdown=file/table.md", "-k", "applied")
    result.assert_outcomes(passed=2, deselected=8)
    result.stdout.fnmatch_lines(["--fastdiff-markdown file/table.md cannot be written*"])
    result.stdout.no_fnmatch_line("*Traceback*")


def test_a_link_in_the_folder_of_runs_is_not_followed(faked: Faked) -> None:
    (faked.root / "runs").mkdir()
    (faked.root / "runs" / ".gitignore").symlink_to(faked.root / "victim")
    faked.session("-k", "applied").assert_outcomes(passed=2, deselected=8)
    assert not (faked.root / "victim").exists()
    assert (faked.root / "runs" / ".gitignore").read_text() == "*\n"


@pytest.mark.parametrize("option", ["--benchmark-compare", "--benchmark-compare=0001"])
def test_a_session_compares_with_nothing_behind_a_link(accepted: Faked, option: str) -> None:
    folder = accepted.baseline.parent
    folder.rename(accepted.root.parent / f"outside-{accepted.root.name}")
    folder.symlink_to(accepted.root.parent / f"outside-{accepted.root.name}")
    result = accepted.session(option)
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*is a link that leads out of*"])


def test_a_cache_folder_that_cannot_be_made_is_one_sentence(faked: Faked) -> None:
    (faked.root / "file").write_text("no folder")
    result = faked.session("--fastdiff-cache=file/cache", "-k", "applied")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*name another folder."])
    result.stdout.no_fnmatch_line("*Traceback*")


def test_the_next_command_repeats_the_options(faked: Faked) -> None:
    asked = ("--fastdiff-steps=3", "--fastdiff-batch=2", "--benchmark-compare", "--fastdiff-strict")
    lines = [line for line in faked.session(*asked, "-k", "latency and fp32").outlines if "next: pytest" in line]
    assert lines
    for line in lines:
        assert "--fastdiff-steps=3" in line
        assert "--fastdiff-batch=2" in line
