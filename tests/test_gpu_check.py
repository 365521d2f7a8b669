"""The GPU check: limits, resuming, claims that can fail, what travels. Steps are small programs; no GPU is needed."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from packaging.version import Version

from fastdiff.record import files
from fastdiff.record.run import FAILED, MEASURED, SKIPPED, Device, Memory, Quality, Run, Sample, Trial
from tools.gpu_check import reading, report, wheels
from tools.gpu_check.__main__ import ROOT, TRAVELLING, Check
from tools.gpu_check.probes import Sampler
from tools.gpu_check.reading import Claim, Found, Outcome
from tools.gpu_check.steps import GPU, PART_S, REHEARSAL, STEPS, Step

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tools.gpu_check.steps import Scale

ON_GPU = replace(REHEARSAL, device="cuda")
"""For what is read only: nothing is run on it."""


def step(name: str, program: str = "", claims: tuple[Claim, ...] = (), **changes: Any) -> Step:
    def read(_: Scale, outcome: Outcome) -> Found:
        return Found({"seen": sorted(outcome.before)}, claims)

    plain = Step(name, 1, 60.0, f"the step {name}", lambda *_: [sys.executable, "-c", program], read)
    return replace(plain, **changes)


@pytest.fixture
def check(tmp_path: Path) -> Callable[..., Check]:
    def make(**changes: Any) -> Check:
        return Check(tmp_path / "results", REHEARSAL, say=said.append, **changes)

    said: list[str] = []
    make.said = said  # type: ignore[attr-defined]
    return make


def kept(check: Check) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((check.folder / "results.json").read_text())
    return read


# -- the steps --------------------------------------------------------------------------------------------------------


def test_each_part_fits_into_its_limit() -> None:
    for part in (1, 2):
        assert sum(one.limit_s for one in STEPS if one.part == part) <= PART_S
    assert len(TRAVELLING) <= 8


def test_every_step_is_described_in_the_docs_with_its_limit() -> None:
    text = (ROOT / "docs" / "guides" / "gpu-check.md").read_text()
    for one in STEPS:
        assert f"| {one.part} | `{one.name}` | {one.limit_s:.0f} s |" in text


@pytest.mark.nightly
def test_every_session_names_stages_that_exist(tmp_path: Path) -> None:
    for one in STEPS:
        command = one.command(GPU, tmp_path / "file.json")
        if "pytest" in command:
            # Collecting needs no torch and no GPU.
            told = [*command, "--collect-only", "-q"]
            done = subprocess.run(told, cwd=ROOT, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
            wanted = next(word for word in command if word.startswith("--fastdiff-stage")).partition("=")[2]
            for stage in wanted.split(","):
                assert f"-{stage}]" in done.stdout


# -- running them -----------------------------------------------------------------------------------------------------


def test_results_are_written_after_every_step(check: Callable[..., Check], tmp_path: Path) -> None:
    home = tmp_path / "home"
    one = check(copy_to=home)
    look = "import json, sys; print(sorted(json.load(open(sys.argv[1]))['steps']))"
    program = f"import sys; sys.argv.append({str(one.folder / 'results.json')!r}); {look}"
    assert one.run([step("first"), step("second", program)]) == 0
    assert "['first']" in (one.folder / "log.txt").read_text()
    assert kept(one)["steps"]["second"]["numbers"] == {"seen": ["first"]}
    assert {"results.json", "report.md", "log.txt"} <= {path.name for path in home.iterdir()}


def test_a_step_that_has_its_result_is_not_repeated(check: Callable[..., Check], tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    program = f"open({str(mark)!r}, 'a').write('x')"
    assert check().run([step("only", program)]) == 0
    assert check().run([step("only", program)]) == 0
    assert mark.read_text() == "x"
    assert "only: already measured" in check.said  # type: ignore[attr-defined]


def test_what_was_not_measured_is_tried_again(check: Callable[..., Check], tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    program = f"open({str(mark)!r}, 'a').write('x')"
    failing = step("only", program, read=reading.ceilings)
    for count in (1, 2):
        assert check().run([failing]) == 1
        assert mark.read_text() == count * "x"
    assert check().run([step("only", needs="a_package_that_is_not_there")]) == 0
    assert check().run([step("only", program)]) == 0
    assert kept(check())["steps"]["only"]["state"] == report.MEASURED


def test_what_a_step_leaves_of_its_limit_goes_to_the_next(check: Callable[..., Check]) -> None:
    one = check()
    one.run([step("quick", limit_s=30.0), step("slow", limit_s=10.0)], seconds=100.0)
    limits = [int(line.rpartition("at most ")[2].split()[0]) for line in check.said if "at most" in line]  # type: ignore[attr-defined]
    assert limits[0] == 90, "all that the later one does not need"
    assert 90 <= limits[1] <= 100


@pytest.mark.parametrize(("code", "failed"), [(0, False), (1, False), (2, True), (-11, True)])
def test_a_process_that_died_has_failed(check: Callable[..., Check], code: int, failed: bool) -> None:
    """Although it left something to read. 1 is a session with a failed test, whose numbers are true."""
    program = f"import os, signal; os.kill(os.getpid(), {-code}) if {code} < 0 else os._exit({code})"
    one = check()
    assert one.run([step("dies", program)]) == int(failed)
    result = kept(one)["steps"]["dies"]
    assert (result["state"], bool(result["reason"])) == (report.FAILED if failed else report.MEASURED, failed)


def test_an_error_in_reading_costs_one_step(check: Callable[..., Check]) -> None:
    def read(*_: object) -> Found:
        raise TypeError("a bug of ours")

    one = check()
    assert one.run([step("wrong", read=read), step("next")]) == 1
    assert kept(one)["steps"]["wrong"]["reason"].startswith("a bug of ours; its output is in log.txt")
    assert "TypeError: a bug of ours" in (one.folder / "log.txt").read_text()
    assert kept(one)["steps"]["next"]["state"] == report.MEASURED


def test_a_step_that_hangs_is_ended_at_its_limit(
    check: Callable[..., Check], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it ignores the interrupt, and what it has started ends with it."""
    monkeypatch.setattr("tools.gpu_check.__main__.GRACE_S", 1.0)
    monkeypatch.setattr("tools.gpu_check.__main__.LEAST_S", 0.0)
    mark = tmp_path / "mark"
    child = f"import time\nwhile True:\n    open({str(mark)!r}, 'w').write('x'); time.sleep(0.05)"
    program = (
        "import signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        f"subprocess.Popen([sys.executable, '-c', {child!r}])\n"
        "time.sleep(600)"
    )
    one = check()
    began = time.monotonic()
    assert one.run([step("hangs", program, limit_s=2.0), step("next", limit_s=PART_S)]) == 1
    assert time.monotonic() - began < 20
    assert kept(one)["steps"]["hangs"]["state"] == report.STOPPED
    assert kept(one)["steps"]["next"]["state"] == report.MEASURED
    mark.unlink(missing_ok=True)
    time.sleep(0.3)
    assert not mark.exists()


def test_a_part_ends_at_its_limit(check: Callable[..., Check]) -> None:
    one = check()
    one.run([step("late")], seconds=1.0)
    assert kept(one)["steps"]["late"]["reason"] == "no time left in this part"


def test_a_step_without_a_result_has_failed(check: Callable[..., Check]) -> None:
    one = check()
    code = one.run([step("empty", read=reading.eager), step("no probe", read=reading.ceilings)])
    assert code == 1
    assert {result["state"] for result in kept(one)["steps"].values()} == {report.FAILED}


def test_what_needs_a_gpu_or_a_package_is_named_and_not_run(check: Callable[..., Check]) -> None:
    one = check()
    without = [step("gpu", needs_gpu="there is none"), step("package", needs="a_package_that_is_not_there")]
    assert one.run(without) == 0
    reasons = [result["reason"] for result in kept(one)["steps"].values()]
    assert reasons == ["there is none on cpu", "a_package_that_is_not_there is not installed"]
    assert "there is none on cpu" in (one.folder / "report.md").read_text()


def test_a_claim_that_does_not_hold_fails_the_check(check: Callable[..., Check]) -> None:
    one = check()
    assert one.run([step("wrong", claims=(Claim("water is dry", False, "wet"),))]) == 1
    assert "- **water is dry** (wrong): wet" in (one.folder / "report.md").read_text()


def test_results_of_another_size_are_not_continued(check: Callable[..., Check]) -> None:
    check().run([step("first")])
    with pytest.raises(SystemExit, match="results of another scale"):
        Check(check().folder, replace(REHEARSAL, size=256))


def test_half_a_results_file_is_refused(check: Callable[..., Check]) -> None:
    one = check()
    (one.folder / "results.json").write_text('{"steps": {')
    with pytest.raises(SystemExit, match=r"results\.json is no JSON .* remove it"):
        check()


def test_a_run_travels_with_its_references_pictures(
    check: Callable[..., Check], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which are what an acceptance takes; full-size pictures of every stage would be too large."""
    one = check()
    root = one.folder.parent / "project"
    monkeypatch.setattr("tools.gpu_check.__main__.ROOT", root)
    run = Run(Device("a-gpu", "cuda", "A GPU"), "2026-12-01T10:00:00+00:00", stages=(record("fp32"), record("sdpa")))

    def session(*_: object) -> list[str]:
        files.write(root / "runs" / "a.json", {}, run)
        return [sys.executable, "-c", "pass"]

    def measure(step_: Step, command: list[str], limit_s: float) -> int:
        (root / "runs" / "a").mkdir(parents=True)
        for name in ("fp32", "sdpa"):
            (root / "runs" / "a" / f"sdxl-{name}.png").write_text("")
        session()
        return 0

    monkeypatch.setattr(one, "_execute", measure)
    one.run([step("session")])
    with tarfile.open(one.folder / "runs.tar.gz") as tar:
        names = {name for name in tar.getnames() if "." in name}
    assert names == {"runs/a.json", "runs/a/sdxl-fp32.png"}


# -- what is read -----------------------------------------------------------------------------------------------------


def record(stage: str = "sdpa", **changes: Any) -> Trial:
    samples = tuple(Sample(wall_s=2.0, device_s=1.9, telemetry={"sm_clock_mhz": 1900.0}) for _ in range(3))
    plain = Trial(
        "sdxl",
        stage,
        None,
        recipe={"dtype": "bfloat16"},
        state=MEASURED,
        first_call_s=3.0,
        samples=samples,
        memory=Memory(10, "decode"),
        fingerprint={"flops": 100 * 10**12, "syncs_in_loop": 0},
        quality=Quality("fp32", 0.99, 0.98, 50.0, passed=True),
    )
    return replace(plain, **changes)


@pytest.fixture
def outcome(tmp_path: Path) -> Callable[..., Outcome]:
    def make(*stages: Trial, expected: tuple[str, ...] = (), **before: Any) -> Outcome:
        run = Run(Device("a-gpu", "cuda", "A GPU"), "2026-12-01T10:00:00+00:00", expected=expected, stages=stages)
        files.write(tmp_path / "run.json", {}, run)
        return Outcome(tmp_path / "run.json", None, before)

    return make


def not_held(found: Found) -> list[str]:
    return [claim.sentence for claim in found.claims if not claim.held]


def test_the_share_of_the_roofline(outcome: Callable[..., Outcome]) -> None:
    found = reading.full_size(ON_GPU, outcome(record(), ceilings={"bf16_tflop_per_s": 500.0}))
    assert found.numbers["stages"]["sdpa"]["share_of_bf16_rate"] == pytest.approx(0.1)
    assert found.numbers["stages"]["sdpa"]["host_only_s"] == pytest.approx(0.1)
    assert not_held(found) == []


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"unapplied": ("attention: sdpa was not applied",)}, "sdxl-sdpa was built, proven and measured"),
        ({"state": FAILED, "reason": "out of memory"}, "sdxl-sdpa was built, proven and measured"),
        ({"samples": (Sample(1.0, void="heat"),)}, "no call of sdxl-sdpa was disturbed"),
        ({"quality": Quality("fp32", 0.5, 0.1, 9.0, passed=False)}, "sdxl-sdpa draws the reference's picture"),
        ({"fingerprint": {"syncs_in_loop": 2}}, "sdxl-sdpa never waits for the GPU inside the loop"),
    ],
)
def test_an_eager_stage_that_is_wrong_is_named(
    outcome: Callable[..., Outcome], changes: dict[str, Any], sentence: str
) -> None:
    assert sentence in not_held(reading.eager(ON_GPU, outcome(record(**changes))))


def test_a_stage_that_took_its_process_along_is_named(outcome: Callable[..., Outcome]) -> None:
    found = reading.eager(ON_GPU, outcome(record("fp32"), expected=("sdxl-fp32", "sdxl-sdpa")))
    assert not_held(found) == ["sdxl-sdpa was measured"]


def test_what_a_stage_measured_before_it_failed_is_kept(outcome: Callable[..., Outcome]) -> None:
    found = reading.eager(ON_GPU, outcome(record(state=FAILED, reason="test_parity failed")))
    assert found.numbers["stages"]["sdpa"]["latency_s"] == 2.0


def test_what_was_skipped_is_named(outcome: Callable[..., Outcome]) -> None:
    found = reading.eager(ON_GPU, outcome(Trial("sdxl", "bf16", "fp32", state=SKIPPED, reason="emulated here")))
    assert found.unmeasured == ("sdxl-bf16: emulated here",)
    assert found.claims == ()


def test_a_technique_that_saves_nothing_is_named(outcome: Callable[..., Outcome]) -> None:
    stages = [record("default"), record("default+vae-slicing", memory=Memory(10, "decode"))]
    found = reading.techniques(ON_GPU, outcome(record("unoptimized", recipe={"dtype": "float32"}), *stages))
    assert not_held(found) == [
        "default+vae-slicing needs less memory than default",
        "default needs less memory than unoptimized",
    ]


@pytest.mark.parametrize(("with_graphs", "without", "wrong"), [(3, 0, 0), (0, 0, 1), (3, 3, 1), (3, None, 1)])
def test_cuda_graphs_are_counted(
    outcome: Callable[..., Outcome], with_graphs: int, without: int | None, wrong: int
) -> None:
    stages = [
        record("denoiser-untuned", fingerprint={"cuda_graphs": without}),
        record("denoiser-untuned-graphs", fingerprint={"cuda_graphs": with_graphs}),
    ]
    assert len(not_held(reading.compiled(ON_GPU, outcome(*stages)))) == wrong


@pytest.mark.parametrize(("counted", "held"), [(8, True), (0, False), (None, False)])
def test_an_injected_wait_must_be_counted(outcome: Callable[..., Outcome], counted: int | None, held: bool) -> None:
    facts = {} if counted is None else {"syncs_in_loop": counted}
    found = reading.sync(ON_GPU, outcome(record(fingerprint=facts)))
    assert found.claims[0].held is held


def test_telemetry_that_stands_still_is_named(tmp_path: Path) -> None:
    phases = [{"name": name, "from_s": at, "to_s": at + 1.0} for at, name in enumerate(("idle before", "busy"))]
    rows = [{"t_s": t / 50, "sm_clock_mhz": 345.0, "power_w": 80.0 if t < 50 else 600.0} for t in range(100)]
    path = tmp_path / "telemetry.json"

    def read(rows: list[dict[str, float]]) -> list[str]:
        path.write_text(json.dumps({"gpu": "A", "driver": "1", "hertz": 50, "phases": phases, "rows": rows}))
        return not_held(reading.telemetry(GPU, Outcome(probed=path)))

    assert read(rows) == ["sm_clock_mhz is higher under load than idle"]
    assert "NVML answers 50 times a second" in read(rows[::4])


def test_the_sampler_leaves_out_what_the_driver_does_not_answer() -> None:
    class Nvml:
        NVMLError = ValueError
        NVML_CLOCK_SM, NVML_CLOCK_MEM, NVML_TEMPERATURE_GPU = 1, 2, 0

        def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
            return index

        def nvmlDeviceGetClockInfo(self, _: int, clock: int) -> int:
            return 1000 * clock

        def __getattr__(self, name: str) -> Any:
            raise ValueError(name)

    sampler = Sampler(Nvml())
    sampler.start()
    time.sleep(0.2)
    sampler.stop()
    assert len(sampler.rows) >= 5
    assert {name for row in sampler.rows for name in row} == {"t_s", "sm_clock_mhz", "memory_clock_mhz"}


# -- what travels -----------------------------------------------------------------------------------------------------


def test_a_missing_wheel_is_named() -> None:
    there = {"numpy": Version("2.5.2"), "rich": wheels.UNKNOWN}
    needs = {
        "a": [
            "numpy>=3",
            "rich>=99",
            "absent; python_version < '3.13'",
            "other; extra == 'gpu'",
            "old; python_version < '3'",
        ]
    }
    assert list(wheels.unmet(needs, there)) == [
        "a needs numpy>=3, and the version would be 2.5.2: carry another one.",
        'a needs absent; python_version < "3.13", which is neither there nor carried: add it to wheels.txt.',
    ]


def test_the_machine_meets_the_floors_of_fastdiff() -> None:
    there = wheels.listed(wheels.HERE / "machine.txt") | wheels.listed(wheels.HERE / "wheels.txt")
    assert list(wheels.unmet({"fastdiff": wheels.own_needs()}, there)) == []
