"""The suite as a user runs it: pytest in a process of its own, on the small twin of the embedded model."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import warm
from here import NATIVE

from fastdiff.record import files

if TYPE_CHECKING:
    from fastdiff.models import Model

SUITE = Path(__file__).parent.parent / "perf_tests"
EAGER = [name for name in ("fp32", "bf16", "sdpa") if name in NATIVE]

CONFTEST = """
from fastdiff.models import Model, Request

def pytest_fastdiff_models():
    request = Request("a small red ring", steps=2, size=64, guidance=3.0)
    return [
        Model("twin", "StableDiffusionXLPipeline", {folder!r}, request),
        Model("lost", "StableDiffusionXLPipeline", {nowhere!r}, request),
    ]
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, tiny: Model) -> Path:
    """A project of the user's own: the suite and a conftest that adds its models."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copytree(SUITE, folder / "perf_tests", ignore=shutil.ignore_patterns("__pycache__"))
    nowhere = folder / "nowhere"
    nowhere.mkdir()
    conftest = CONFTEST.format(folder=str(tiny.source), nowhere=str(nowhere))
    (folder / "conftest.py").write_text(conftest)
    (folder / "pytest.ini").write_text("[pytest]\nfastdiff_model = twin\nfastdiff_rounds = 2\n")
    return folder


SESSION = ("perf_tests", "-p", "no:cacheprovider")


def run(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return warm.pytest(*SESSION, *arguments, cwd=project, env=dict(os.environ))


def run_anew(project: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """With the import and all its noise."""
    command = [sys.executable, "-m", "pytest", *SESSION, *arguments]
    return subprocess.run(
        command, cwd=project, env=os.environ | environment, capture_output=True, text=True, timeout=600, check=False
    )


def with_conftest(project: Path, tmp_path: Path, more: str) -> Path:
    """The same project with something added to its conftest."""
    copy = tmp_path / "project"
    shutil.copytree(project, copy)
    conftest = copy / "conftest.py"
    conftest.write_text(conftest.read_text() + more)
    return copy


class TestEagerStages:
    @pytest.fixture(scope="class")
    @classmethod
    def result(cls, project: Path) -> subprocess.CompletedProcess[str]:
        return run_anew(
            project,
            f"--fastdiff-stage={','.join(EAGER)}",
            "--benchmark-json=runs.json",
            "--fastdiff-markdown=reports/ladder.md",
        )

    def test_everything_passes(self, result: subprocess.CompletedProcess[str]) -> None:
        assert result.returncode == 0, result.stdout
        assert f"{4 * len(EAGER)} passed" in result.stdout

    def test_no_stage_is_built_twice(self, result: subprocess.CompletedProcess[str]) -> None:
        built = [line.split(":")[0] for line in result.stdout.splitlines() if ": built in" in line]
        assert built == [f"twin-{name}" for name in EAGER]

    def test_ladder_is_shown_in_order_with_ratios(self, result: subprocess.CompletedProcess[str]) -> None:
        lines = result.stdout.splitlines()
        start = next(i for i, line in enumerate(lines) if line.startswith("stage "))
        rungs = [line.split() for line in lines[start + 2 : start + 2 + len(EAGER)]]
        assert [rung[0] for rung in rungs] == EAGER
        for before, rung in pairwise(rungs):
            # A time that the machine disturbed is compared with nothing: another test runs beside this one.
            assert "disturbed" in before + rung or "x" in "".join(rung[3:])

    def test_no_noise_of_other_libraries(self, result: subprocess.CompletedProcess[str]) -> None:
        assert "warnings summary" not in result.stdout, result.stdout
        assert result.stderr.strip() in ("", "Wrote benchmark data in: runs.json")

    def test_raw_samples_and_first_call_are_apart(
        self, project: Path, result: subprocess.CompletedProcess[str]
    ) -> None:
        benchmarks = json.loads((project / "runs.json").read_text())["benchmarks"]
        kept = files.read(project / "runs.json").stages
        assert len(benchmarks) == len(EAGER)
        for benchmark in benchmarks:
            facts = benchmark["extra_info"]["fastdiff"]
            timed, (stage,) = benchmark["stats"]["data"], [one for one in kept if one.id == facts["stage"]]
            assert timed == pytest.approx([one.wall_s for one in stage.samples], rel=0.05), "two clocks, one call"
            assert len(timed) == 2
            assert facts["first_call_s"] > 0
            assert facts["first_call_s"] not in benchmark["stats"]["data"]
            assert benchmark["params"] == {"stage": f"UNSERIALIZABLE[{facts['stage']}]"}, "no folder of this machine"
            assert benchmark["name"] == f"test_latency[{facts['stage']}]"

    def test_a_run_file_is_left(self, project: Path, result: subprocess.CompletedProcess[str]) -> None:
        told = next(line for line in result.stdout.splitlines() if line.startswith("run file: "))
        run = files.read(project / told.removeprefix("run file: "))
        assert run.complete
        assert run.outcome == "passed"
        assert [stage.id for stage in run.stages] == [f"twin-{name}" for name in EAGER]
        for stage in run.stages:
            assert stage.state == "measured"
            assert len(stage.samples) == 2
            assert stage.components is not None
            assert len(stage.components.steps_s) == 2
            assert stage.memory is not None
            assert stage.fingerprint["flops"] > 1e6
            assert stage.quality is not None
            assert stage.quality.passed
            assert (project / told.removeprefix("run file: ")).with_suffix("").joinpath(f"{stage.id}.png").is_file()

    def test_what_pytest_benchmark_writes_is_a_run_file_too(
        self, project: Path, result: subprocess.CompletedProcess[str]
    ) -> None:
        assert files.read(project / "runs.json").complete

    def test_markdown_is_written(self, project: Path, result: subprocess.CompletedProcess[str]) -> None:
        title, *_, table = (project / "reports/ladder.md").read_text().rstrip().split("\n\n")
        assert title.startswith("### twin on ")
        assert [line.split("|")[1].strip() for line in table.splitlines()[2:]] == EAGER


class TestTroubles:
    """Each stage goes wrong in a way of its own, in one session: all are told, and the others go on."""

    CONFTEST = """
import numpy as np
import pytest
import fastdiff.stages
from fastdiff.stages.ladder import ladder, stage

def pytest_fastdiff_ladder(ladder, model):
    if model.name == "twin":
        ladder = ladder.extend("offloaded", "weights wait on the host", follows="sdpa", offload="model")
        ladder = ladder.extend("leaky", "nothing", follows="sdpa", dtype="bfloat16")
        ladder = ladder.extend("greedy", "nothing", follows="sdpa", dtype="float32")
        ladder = ladder.extend("black", "nothing", follows="sdpa", dtype="float32")
        ladder = ladder.extend("lazy", "nothing", follows="sdpa", dtype="float32", attention="vanilla")
    return ladder

def pytest_collection_finish(session):
    from fastdiff.trial import live
    from fastdiff.models.libraries import torch

    build, draw = live.build, live.LiveStage.draw
    before = []

    def build_badly(model, recipe, device, request):
        name = current.pop()
        if name == "greedy":
            raise torch.OutOfMemoryError("tried to allocate 1 PiB")
        built = build(model, recipe, device, request)
        if name == "leaky":
            torch.backends.cuda.enable_mem_efficient_sdp(False)
        if name == "black":
            torch.backends.cuda.enable_cudnn_sdp(False)
        if name == "lazy":
            from diffusers.models.attention_processor import AttnProcessor2_0
            built.denoiser.set_attn_processor(AttnProcessor2_0())
        return built

    def draw_badly(self):
        images = draw(self)
        return np.zeros_like(images) if self.stage.name == "black" else images

    current = []
    init = live.LiveStage.__init__

    def remember(self, model, stage, *rest):
        current.append(stage.name)
        init(self, model, stage, *rest)

    live.build, live.LiveStage.draw, live.LiveStage.__init__ = build_badly, draw_badly, remember
"""

    @pytest.fixture(scope="class")
    @classmethod
    def result(cls, project: Path, tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
        troubled = with_conftest(project, tmp_path_factory.mktemp("troubled"), cls.CONFTEST)
        return run(
            troubled,
            "--fastdiff-model=twin,lost",
            "--fastdiff-stage=fp32,offloaded,leaky,greedy,black,lazy",
            "--fastdiff-rounds=1",
            "-rA",
        )

    def outcomes(self, result: subprocess.CompletedProcess[str], word: str, stage: str) -> list[str]:
        return [line for line in result.stdout.splitlines() if line.startswith(word) and f"[{stage}]" in line]

    def test_session_fails(self, result: subprocess.CompletedProcess[str]) -> None:
        assert result.returncode == 1, result.stdout

    def test_sound_stage_goes_on(self, result: subprocess.CompletedProcess[str]) -> None:
        assert len(self.outcomes(result, "PASSED", "twin-fp32")) == 4

    def test_missing_weights_are_named(self, result: subprocess.CompletedProcess[str]) -> None:
        assert len(self.outcomes(result, "ERROR", "lost-fp32")) == 4
        assert "it has no model_index.json" in result.stdout

    def test_device_that_cannot_is_skipped_with_the_reason(self, result: subprocess.CompletedProcess[str]) -> None:
        assert "model offload moves weights to the CPU, and the pipeline is there already" in result.stdout
        assert not self.outcomes(result, "PASSED", "twin-offloaded")

    def test_leak_is_named_and_put_back(self, result: subprocess.CompletedProcess[str]) -> None:
        assert "twin-leaky left global switches changed" in result.stdout
        assert len(self.outcomes(result, "ERROR", "twin-leaky")) == 1, "the leak belongs to the stage that leaked"
        leak = "sdpa.memory_efficient was True and is False"
        assert 1 <= result.stdout.count(leak) <= 2, "the next stage did not see the leak as well"

    def test_leak_of_a_stage_whose_last_test_failed_is_named_too(
        self, result: subprocess.CompletedProcess[str]
    ) -> None:
        assert "twin-black left global switches changed (they were put back): sdpa.cudnn was True" in result.stdout

    def test_out_of_memory_fails_its_stage_alone(self, result: subprocess.CompletedProcess[str]) -> None:
        assert "twin-greedy does not fit into memory" in result.stdout
        assert "--fastdiff-size" in result.stdout

    def test_black_picture_is_caught(self, result: subprocess.CompletedProcess[str]) -> None:
        assert "picture 1 of 1 is black" in result.stdout
        assert len(self.outcomes(result, "FAILED", "twin-black")) == 1

    def test_unapplied_stage_is_never_timed(self, result: subprocess.CompletedProcess[str]) -> None:
        assert "attention: vanilla was not applied" in result.stdout
        assert "not measured, because twin-lazy was not applied" in result.stdout
        assert len(self.outcomes(result, "FAILED", "twin-lazy")) == 3
        table = [line for line in result.stdout.splitlines() if line.startswith("lazy ")]
        assert " ms " not in table[0].replace("first", "").split("x")[0][:30]


@pytest.mark.compile
def test_compiled_stage_says_cold_then_warm(project: Path, tmp_path: Path) -> None:
    cache = f"--fastdiff-cache={tmp_path / 'cache'}"
    environment = {name: value for name, value in os.environ.items() if name != "TORCHINDUCTOR_CACHE_DIR"}
    for state in ("cold", "warm"):
        command = [sys.executable, "-m", "pytest", "perf_tests/test_applied.py", "--fastdiff-stage=compile-decoder"]
        command += [cache, "-p", "no:cacheprovider"]
        result = subprocess.run(
            command, cwd=project, env=environment, capture_output=True, text=True, timeout=900, check=False
        )
        assert result.returncode == 0, result.stdout
        assert f"compile cache: {state} (1 compiled stage" in result.stdout
        assert str(tmp_path / "cache") in result.stdout


@pytest.mark.compile
def test_disabled_compilation_is_a_failure(project: Path) -> None:
    result = run_anew(project, "-k", "compile", TORCHDYNAMO_DISABLE="1")
    assert result.returncode == 1
    assert "0 of 2 parts were compiled" in result.stdout
    assert "TORCHDYNAMO_DISABLE" in result.stdout


@pytest.mark.nightly
def test_interrupt_leaves_what_was_measured(project: Path, tmp_path: Path) -> None:
    """Ctrl-C reaches the whole group of processes; here after the third round, however slow the machine is."""
    interrupted = with_conftest(
        project,
        tmp_path,
        "import os, signal\n"
        "from fastdiff.instruments import telemetry\n"
        "after, seen = telemetry.Watch.after, []\n"
        "def stop(self):\n"
        "    seen.append(1)\n"
        "    if len(seen) == 4:\n"
        "        os.killpg(os.getpgrp(), signal.SIGINT)\n"
        "    return after(self)\n"
        "def pytest_collection_finish(session):\n    telemetry.Watch.after = stop\n",
    )
    command = [sys.executable, "-u", "-m", "pytest", "perf_tests", "--fastdiff-stage=fp32,sdpa"]
    command += ["--fastdiff-rounds=100000", "-k", "applied or parity or latency"]
    process = subprocess.Popen(
        command, cwd=interrupted, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 2, output
    assert "KeyboardInterrupt" in output
    assert "fastdiff: the ladder of twin" in output
    run = files.read(max((interrupted / "runs").glob("*.json"), key=lambda path: path.stat().st_mtime))
    assert not run.complete
    assert run.outcome == "interrupted"
    assert run.stages[0].samples, "what was timed before the interrupt is kept"
    assert output.count("\x1b[2K") == 0, "a pipe must not receive a terminal's codes"


def test_a_session_without_stages_never_notices(tmp_path: Path) -> None:
    (tmp_path / "test_plain.py").write_text("import sys\n\ndef test_plain():\n    assert 'torch' not in sys.modules\n")
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", str(tmp_path)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout
    assert "fastdiff" not in result.stdout


# -- what goes wrong around the measurement ------------------------------------------------------------------------


def test_workers_measure_nothing_and_say_why(project: Path) -> None:
    result = run(project, "-n", "2", "--fastdiff-stage=fp32", "-k", "applied")
    assert result.returncode == 1
    assert "INTERNALERROR" not in result.stdout
    assert "parallel workers disturb each other: drop -n." in result.stdout
