"""A run becomes a baseline only by `fastdiff accept`: whole, alone, logged, and with what spoke against it."""

import errno
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from test_record import DEVICE, a_run, a_stage, benchmarks_of

from fastdiff.cli.accept import accept_run as accept
from fastdiff.record import accept as accepting
from fastdiff.record import log
from fastdiff.record.accept import LOCK
from fastdiff.record.baselines import accepted, folder_of, newest
from fastdiff.record.errors import UserError
from fastdiff.record.files import read_baseline, read_benchmarks, write
from fastdiff.record.run import FAILED, SKIPPED, Baseline, Noise, Quality, Run, Sample, Trial
from fastdiff.report.listings import baselines_text

COMMAND = str(Path(sys.executable).with_name("fastdiff"))
NOISE = Noise(10, 0.028, 0.03, 0.1, {"shapes-fp32": (1.0,), "shapes-int8": (2.0,)})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project with a git identity of its own."""
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    for key, value in (("user.name", "Ada"), ("user.email", "ada@example.org")):
        subprocess.run(["git", "config", key, value], cwd=tmp_path, check=True)
    return tmp_path


@pytest.fixture
def said() -> list[str]:
    return []


def kept(root: Path, run: Run, name: str = "a") -> Path:
    """A session's run file, with the picture of its reference beside it."""
    path = root / "runs" / f"{name}.json"
    write(path, benchmarks_of(run), run)
    for picture in ("shapes-fp32.png", "shapes-fp32-1.png", "shapes-int8.png"):
        path.with_suffix("").mkdir(exist_ok=True)
        (path.with_suffix("") / picture).write_text(f"{picture} of {name}")
    return path


def baseline_of(root: Path) -> Baseline:
    found = newest(folder_of(root, DEVICE.slug))
    assert found is not None
    return found


def files_of(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in (root / "baselines").rglob("*") if path.is_file())


def with_noise(root: Path, noise: Noise = NOISE) -> None:
    """Puts a measured noise into the newest baseline."""
    path = accepted(folder_of(root, DEVICE.slug))[-1]
    whole = json.loads(path.read_text())
    whole["fastdiff"]["noise"] = asdict(noise)
    path.write_text(json.dumps(whole))


# -- what an acceptance leaves ----------------------------------------------------------------------------------------


def test_the_run_is_there_with_pictures_and_a_line_in_the_log(root: Path, said: list[str]) -> None:
    path = accept(kept(root, a_run()), "the first one", root=root, say=said.append)
    assert files_of(root) == [
        f"baselines/{DEVICE.slug}/0001_shapes.json",
        f"baselines/{DEVICE.slug}/0001_shapes/shapes-fp32-1.png",
        f"baselines/{DEVICE.slug}/0001_shapes/shapes-fp32.png",
        f"baselines/{DEVICE.slug}/log.jsonl",
    ]
    found = read_baseline(path)
    assert found.run == a_run()
    assert found.acceptance.by == "Ada <ada@example.org>"
    assert (found.acceptance.reason, found.acceptance.source) == ("the first one", "a.json")
    assert read_benchmarks(path) == benchmarks_of(a_run())
    assert said[-1] == f"accepted: {path}"


def test_the_log_keeps_who_when_why_old_and_new(root: Path, said: list[str]) -> None:
    accept(kept(root, a_run()), "one", root=root, say=said.append)
    accept(kept(root, a_run(a_stage("fp32", 2.0), a_stage(factor=1.5)), "b"), "two", root=root, say=said.append)
    first, second = log.entries(folder_of(root, DEVICE.slug))
    assert first["stages"]["shapes-int8"]["old"] is None
    assert second["stages"]["shapes-int8"] == {
        "old": {"s": {"median": 0.42, "low": 0.41, "high": 0.43}},
        "new": {"s": {"median": pytest.approx(0.63), "low": pytest.approx(0.615), "high": pytest.approx(0.645)}},
    }
    assert (second["by"], second["reason"], second["source"]) == ("Ada <ada@example.org>", "two", "b.json")
    assert (second["file"], second["only"], second["forced"]) == ("0002_shapes.json", [], [])
    assert second["when"] == baseline_of(root).acceptance.when


def test_half_a_line_in_the_log_does_no_harm(root: Path, said: list[str]) -> None:
    accept(kept(root, a_run()), "one", root=root, say=said.append)
    path = folder_of(root, DEVICE.slug) / log.NAME
    path.write_bytes(path.read_bytes() + b'{"file": "0002_\xff')
    accept(kept(root, a_run()), "three", root=root, say=said.append)
    assert [entry["reason"] for entry in log.entries(path.parent)] == ["one", "three"]
    assert len(path.read_bytes().splitlines()) == 3


def test_what_changes_is_shown_in_columns(root: Path, said: list[str]) -> None:
    accept(kept(root, a_run()), "one", root=root, say=said.append)
    said.clear()
    changed = a_stage(
        factor=1.5,
        first_call_s=5.0,
        cache="cold",
        first_in_process=("compile",),
        fingerprint={"graphs": 3, "kernels": ["mm", "conv"]},
    )
    newer = replace(a_run(a_stage("fp32", 2.0), changed), environment={"versions": {"torch": "2.14.0", "numpy": "2"}})
    accept(kept(root, newer), "two", root=root, say=said.append)
    text = "\n".join(said)
    assert re.search(
        r"^shapes-int8 +latency +0.4200 s \(0.4100 \.\. 0.4300\) +0.6300 s \(0.6150 \.\. 0.6450\) +1.500x$", text, re.M
    )
    assert re.search(r"^ +first call +2.500 s +5.000 s \(cache cold, first in process\) +-$", text, re.M)
    assert re.search(r"^ +memory +50.6 MB +50.6 MB +1.000x$", text, re.M)
    assert "shapes-int8: fingerprint: graphs: 2 -> 3" in said
    assert {"version: torch: 2.13.0 -> 2.14.0", "version: numpy: none -> 2"} <= set(said)
    assert max(map(len, said[:-1])) <= 100
    table = said[: said.index("shapes-int8: fingerprint: graphs: 2 -> 3")]
    assert len({line.index(" s (") > 0 for line in table if "latency" in line}) == 1
    assert len({line.index("x", 60) for line in table if line.endswith("x")}) == 1


def test_void_rounds_do_not_count(root: Path, said: list[str]) -> None:
    rounds = (*a_stage().samples, Sample(9.0, void="throttled"), Sample(9.0, void="throttled"))
    accept(kept(root, a_run(a_stage(samples=rounds))), "one", root=root, say=said.append)
    (entry,) = log.entries(folder_of(root, DEVICE.slug))
    assert entry["stages"]["shapes-int8"]["new"]["s"]["high"] == 0.43


def test_no_stage_leaves_the_baseline_because_a_session_was_asked_for_less(root: Path, said: list[str]) -> None:
    accept(kept(root, a_run()), "one", root=root, say=said.append)
    part = kept(root, a_run(a_stage()), "b")
    sentence = "shapes-fp32 would leave the baseline, because this run has no such stage; --stage shapes-int8 keeps it"
    with pytest.raises(UserError, match=sentence):
        accept(part, "two", root=root, say=said.append)
    assert baseline_of(root).run == a_run()
    accept(part, "two", root=root, only=["shapes-int8"], say=said.append)
    assert [stage.id for stage in baseline_of(root).run.stages] == ["shapes-fp32", "shapes-int8"]
    accept(part, "three", root=root, force=True, say=said.append)
    assert baseline_of(root).acceptance.forced == (sentence,)
    assert "shapes-fp32: is removed from the baseline, because this run has no such stage" in said


def test_a_run_without_pictures_is_accepted_with_a_remark(root: Path, said: list[str]) -> None:
    path = kept(root, a_run())
    shutil.rmtree(path.with_suffix(""))
    accept(path, "one", root=root, say=said.append)
    assert [line for line in said if line.startswith("pictures: none are kept")]
    assert not (folder_of(root, DEVICE.slug) / "0001_shapes").exists()


def test_a_link_among_the_pictures_brings_in_nothing(root: Path, said: list[str]) -> None:
    path = kept(root, a_run())
    (root / "secret").write_text("secret")
    (path.with_suffix("") / "shapes-fp32-2.png").symlink_to(root / "secret")
    accept(path, "one", root=root, say=said.append)
    assert len(list((folder_of(root, DEVICE.slug) / "0001_shapes").iterdir())) == 2


def test_an_older_baseline_can_be_accepted_again(root: Path, said: list[str]) -> None:
    first = accept(kept(root, a_run()), "one", root=root, say=said.append)
    accept(kept(root, a_run(a_stage("fp32", 2.0), a_stage(factor=1.5))), "two", root=root, say=said.append)
    again = accept(first, "back to the first", root=root, say=said.append)
    assert baseline_of(root).run == a_run()
    assert (again.with_suffix("") / "shapes-fp32.png").exists()


def test_a_name_of_ones_own_becomes_a_file_name(root: Path, said: list[str]) -> None:
    path = accept(kept(root, a_run()), "one", root=root, name="../Torch 2.14!", say=said.append)
    assert path.name == "0001_torch-2-14.json"
    with pytest.raises(UserError, match="--name is '/'; give a name with letters or digits"):
        accept(kept(root, a_run()), "one", root=root, name="/", say=said.append)


# -- refusals ---------------------------------------------------------------------------------------------------------

BAD_STAGES = [
    ({"state": FAILED, "reason": "out of memory"}, "shapes-int8 is failed: out of memory"),
    ({"samples": ()}, "shapes-int8 has no timed round"),
    (
        {"samples": (Sample(0.4), Sample(0.4, void="throttled"), Sample(0.4, void="throttled"))},
        "shapes-int8 has 2 void samples of 3 (throttled)",
    ),
    ({"quality": None}, "shapes-int8 was not compared with the reference's pictures"),
    (
        {"quality": Quality("fp32", 0.5, 0.1, 12.0, False, "SSIM 0.5")},
        "shapes-int8 draws other pictures than the reference (SSIM 0.5)",
    ),
    ({"unapplied": ("no quantized layer",)}, "shapes-int8 was not applied: no quantized layer"),
    ({"leaks": ("TF32 is on",)}, "shapes-int8 left a global switch changed: TF32 is on"),
]
BAD_RUNS = [
    (a_run(complete=False, outcome="interrupted"), "the session did not come to its end (interrupted)"),
    (a_run(stages=(), expected=()), "it holds no stage"),
    (a_run(expected=("shapes-fp32", "shapes-sdpa")), "shapes-sdpa was expected and is missing"),
    *((a_run(a_stage("fp32", 2.0), a_stage(**changed)), sentence) for changed, sentence in BAD_STAGES),
]


@pytest.mark.parametrize(("run", "sentence"), BAD_RUNS, ids=[sentence for _, sentence in BAD_RUNS])
def test_an_ineligible_run_is_refused_unless_forced(root: Path, said: list[str], run: Run, sentence: str) -> None:
    path = kept(root, run)
    with pytest.raises(UserError, match=re.escape(f"a.json: {sentence}")):
        accept(path, "why", root=root, say=said.append)
    assert files_of(root) == []
    accept(path, "why", root=root, force=True, name="x", say=said.append)
    assert baseline_of(root).acceptance.forced == (f"a.json: {sentence}",)
    assert log.entries(folder_of(root, DEVICE.slug))[0]["forced"] == [f"a.json: {sentence}"]


def test_what_is_not_possible_here_is_accepted_with_the_rest(root: Path, said: list[str]) -> None:
    skipped = a_stage(state=SKIPPED, reason="emulated here", samples=(), quality=None)
    run = a_run(a_stage("fp32", 2.0), skipped)
    accept(kept(root, run), "one", root=root, say=said.append)
    accept(kept(root, run), "again", root=root, say=said.append)
    assert baseline_of(root).acceptance.forced == ()
    assert baseline_of(root).run.stage("shapes-int8") == skipped
    assert said.count("shapes-int8: skipped: emulated here") == 2
    listed = "\n".join(baselines_text(root))
    assert re.search(r"stages +shapes-fp32\n +skipped +shapes-int8\n", listed)


def test_a_run_that_measured_nothing_is_no_baseline(root: Path, said: list[str]) -> None:
    skipped = a_stage(state=SKIPPED, reason="emulated here", samples=(), quality=None)
    with pytest.raises(UserError, match="none of its stages was measured"):
        accept(kept(root, a_run(skipped)), "one", root=root, say=said.append)


def test_what_was_measured_and_is_skipped_now_is_not(root: Path, said: list[str]) -> None:
    accept(kept(root, a_run()), "one", root=root, say=said.append)
    skipped = a_stage(state=SKIPPED, reason="not possible here", samples=(), quality=None)
    with pytest.raises(UserError, match=r"shapes-int8 is skipped: not possible here"):
        accept(kept(root, a_run(a_stage("fp32", 2.0), skipped)), "two", root=root, say=said.append)


def test_half_of_the_rounds_may_be_void(root: Path, said: list[str]) -> None:
    rounds = (Sample(0.4), Sample(0.4, void="throttled"))
    accept(kept(root, a_run(a_stage(samples=rounds))), "why", root=root, say=said.append)


def test_all_objections_are_listed_at_once(root: Path, said: list[str]) -> None:
    run = a_run(a_stage(quality=None, leaks=("TF32 is on",)), complete=False)
    with pytest.raises(UserError) as error:
        accept(kept(root, run), "why", root=root, say=said.append)
    assert len(str(error.value).splitlines()) == 1 + 3


def test_an_injected_fault_is_never_accepted(root: Path, said: list[str]) -> None:
    path = kept(root, a_run(a_stage("fp32"), a_stage(injected="slow:5%")))
    with pytest.raises(UserError, match=r"never accepted, not by force .*\n .*shapes-int8 .* injected fault slow:5%"):
        accept(path, "why", root=root, force=True, say=said.append)
    assert files_of(root) == []


def test_a_reason_is_needed(root: Path, said: list[str]) -> None:
    with pytest.raises(UserError, match="needs a reason"):
        accept(kept(root, a_run()), "  ", root=root, force=True, say=said.append)


# -- a part -----------------------------------------------------------------------------------------------------------


def test_only_a_part_is_replaced(root: Path, said: list[str]) -> None:
    accept(kept(root, a_run()), "one", root=root, say=said.append)
    with_noise(root)
    # What is wrong with the other stage, and with the session's end, is no matter of this one.
    newer = a_run(a_stage("fp32", 9.0, leaks=("TF32 is on",)), a_stage(factor=1.5), complete=False)
    accept(kept(root, newer, "b"), "two", root=root, only=["int8"], say=said.append)

    found = baseline_of(root)
    assert found.acceptance.only == ("shapes-int8",)
    assert found.run == replace(a_run(), stages=(a_stage("fp32", 2.0), a_stage(factor=1.5, origin="b.json")))
    assert found.noise == replace(NOISE, centres={"shapes-fp32": (1.0,)})
    folder = folder_of(root, DEVICE.slug)
    medians = {
        entry["param"]: entry["stats"]["data"][0] for entry in read_benchmarks(folder / found.name)["benchmarks"]
    }
    assert medians == {"shapes-fp32": 0.8, "shapes-int8": pytest.approx(0.6)}
    assert (folder / "0002_shapes" / "shapes-fp32.png").read_text() == "shapes-fp32.png of a"
    assert list(log.entries(folder)[1]["stages"]) == ["shapes-int8"]


def test_a_part_says_on_which_machine_it_was_measured(root: Path, said: list[str]) -> None:
    """Else every later run would be compared with the machine of the older parts."""
    accept(kept(root, on("a", "monday")), "one", root=root, say=said.append)
    accept(kept(root, on("a", "tuesday"), "b"), "two", root=root, only=["int8"], say=said.append)
    run = baseline_of(root).run
    assert run.environment["boot"] == "monday"
    assert [stage.where for stage in run.stages] == [{}, {"machine": "a", "boot": "tuesday"}]


def test_noise_of_another_machine_is_not_carried_over(root: Path, said: list[str]) -> None:
    accept(kept(root, on("a", "monday")), "one", root=root, say=said.append)
    with_noise(root)
    accept(kept(root, on("a", "tuesday")), "two", root=root, say=said.append)
    assert baseline_of(root).noise is not None, "the same machine, started anew"
    accept(kept(root, on("b", "tuesday")), "three", root=root, say=said.append)
    assert baseline_of(root).noise is None
    assert [line for line in said if "is from another machine" in line]


def on(machine: str, boot: str) -> Run:
    return a_run(environment=a_run().environment | {"machine": machine, "boot": boot})


def test_a_replaced_reference_brings_its_pictures(root: Path, said: list[str]) -> None:
    accept(kept(root, a_run()), "one", root=root, say=said.append)
    accept(kept(root, a_run(), "b"), "two", root=root, only=["shapes-fp32"], say=said.append)
    picture = folder_of(root, DEVICE.slug) / "0002_shapes" / "shapes-fp32.png"
    assert picture.read_text() == "shapes-fp32.png of b"


def test_a_new_stage_joins_the_baseline(root: Path, said: list[str]) -> None:
    accept(kept(root, a_run()), "one", root=root, say=said.append)
    accept(kept(root, a_run(a_stage("sdpa"))), "two", root=root, only=["sdpa"], say=said.append)
    found = baseline_of(root).run
    assert [stage.id for stage in found.stages] == list(found.expected) == ["shapes-fp32", "shapes-int8", "shapes-sdpa"]


def test_another_models_stages_stay(root: Path, said: list[str]) -> None:
    """A night measures one model after the other, each in a session of its own."""
    accept(kept(root, a_run()), "one", root=root, say=said.append)
    other = replace(a_stage("fp32"), model="sdxl")
    accept(kept(root, a_run(other), "b"), "two", root=root, say=said.append)
    assert [stage.id for stage in baseline_of(root).run.stages] == ["shapes-fp32", "shapes-int8", "sdxl-fp32"]
    unfinished = a_run(other, complete=False)
    with pytest.raises(UserError, match="did not come to its end"):
        accept(kept(root, unfinished, "c"), "three", root=root, say=said.append)


@pytest.mark.parametrize(
    ("newer", "only", "sentence"),
    [
        (a_run(), "int4", "no stage of this run is called 'int4'; did you mean 'int8'?"),
        (a_run(a_stage(quality=None)), "int8", "was not compared"),
    ],
)
def test_parts_that_do_not_fit_are_refused(root: Path, said: list[str], newer: Run, only: str, sentence: str) -> None:
    accept(kept(root, a_run()), "one", root=root, say=said.append)
    before = files_of(root)
    with pytest.raises(UserError, match=sentence):
        accept(kept(root, newer), "two", root=root, only=[only], say=said.append)
    assert files_of(root) == before


def test_there_is_no_part_of_nothing(root: Path, said: list[str]) -> None:
    with pytest.raises(UserError, match=r"there is no baseline in .* drop --stage"):
        accept(kept(root, a_run()), "one", root=root, only=["int8"], say=said.append)


# -- noise ------------------------------------------------------------------------------------------------------------


def trial(root: Path, name: str, *stages: Trial, **changed: Any) -> Path:
    """The run of another process."""
    return kept(root, replace(a_run(*stages, **changed), started=name), name)


def test_noise_is_measured_over_the_run_and_the_others(root: Path, said: list[str]) -> None:
    paths = [trial(root, str(factor), a_stage(factor=factor)) for factor in (1.0, 1.1, 1.2)]
    accept(paths[0], "one", root=root, noise_of=paths, say=said.append)  # the run itself counts once
    noise = baseline_of(root).noise
    assert noise is not None
    assert (noise.trials, noise.latency_sd) == (3, pytest.approx(0.0912, abs=1e-4))
    assert "noise: measured over 3 processes, latency ±9.1%" in said


def test_noise_of_a_part_leaves_the_other_stages_trials(root: Path, said: list[str]) -> None:
    accept(kept(root, a_run()), "one", root=root, say=said.append)
    with_noise(root)
    paths = [trial(root, name) for name in "abc"]
    accept(paths[0], "two", root=root, only=["int8"], noise_of=paths, say=said.append)
    noise = baseline_of(root).noise
    assert noise is not None
    assert noise.centres == {"shapes-fp32": (1.0,), "shapes-int8": (pytest.approx(math.log(0.42)),) * 3}


def test_noise_is_not_measured_over_a_bad_trial(root: Path, said: list[str]) -> None:
    paths = [trial(root, "a"), trial(root, "b", complete=False)]
    with pytest.raises(UserError, match=r"b\.json: the session did not come to its end"):
        accept(paths[0], "one", root=root, noise_of=paths, say=said.append)
    with pytest.raises(UserError, match="the noise cannot be measured: 2 runs were given"):
        accept(paths[0], "one", root=root, noise_of=paths, force=True, say=said.append)
    assert files_of(root) == []


def test_noise_is_carried_over_without_the_trials(root: Path, said: list[str]) -> None:
    accept(kept(root, a_run()), "one", root=root, say=said.append)
    assert baseline_of(root).noise is None
    with_noise(root)
    accept(kept(root, a_run()), "two", root=root, say=said.append)
    assert baseline_of(root).noise == replace(NOISE, centres={})
    assert "noise: carried over from 0001_shapes.json, measured over 10 processes" in said


# -- trouble ----------------------------------------------------------------------------------------------------------


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(("fault", "error"), [(interrupted, KeyboardInterrupt), (full, UserError)])
@pytest.mark.parametrize("where", [(os, "fsync"), (os, "link"), (accepting, "read_bytes")])
def test_trouble_leaves_nothing_half_written(
    root: Path,
    said: list[str],
    monkeypatch: pytest.MonkeyPatch,
    where: tuple[Any, str],
    fault: Callable[..., None],
    error: type[BaseException],
) -> None:
    path = kept(root, a_run())
    with monkeypatch.context() as patch:
        patch.setattr(*where, fault)
        with pytest.raises(error):
            accept(path, "one", root=root, say=said.append)
    assert files_of(root) == []
    assert accept(path, "one", root=root, say=said.append).name == "0001_shapes.json"


@pytest.mark.alone  # a worker of xdist hears no signals
@pytest.mark.parametrize("helpers", [0, 1], ids=["alone", "beside-a-thread"])
def test_an_interruption_waits_for_the_end_of_the_writing(
    root: Path, said: list[str], monkeypatch: pytest.MonkeyPatch, helpers: int
) -> None:
    """Libraries start threads, and the system gives the signal to any thread that takes it."""
    link = os.link
    over = threading.Event()
    threads = [threading.Thread(target=over.wait) for _ in range(helpers)]
    for thread in threads:
        thread.start()

    def interrupted_link(*args: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        link(*args)

    monkeypatch.setattr(os, "link", interrupted_link)
    try:
        with pytest.raises(KeyboardInterrupt):
            accept(kept(root, a_run()), "one", root=root, say=said.append)
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert len(files_of(root)) == 4
    assert [entry["reason"] for entry in log.entries(folder_of(root, DEVICE.slug))] == ["one"]


def test_pictures_of_a_killed_acceptance_stay_alone(root: Path, said: list[str]) -> None:
    (folder_of(root, DEVICE.slug) / "0001_shapes").mkdir(parents=True)
    assert accept(kept(root, a_run()), "one", root=root, say=said.append).name == "0002_shapes.json"


def test_after_a_long_wait_the_error_names_the_lock(
    root: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    monkeypatch.setattr(accepting, "PATIENCE_S", 0.1)
    (root / LOCK).parent.mkdir()
    with (root / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(UserError, match=r"another `fastdiff accept` holds .*; end it, and accept again"):
            accept(kept(root, a_run()), "one", root=root, say=said.append)
    accept(kept(root, a_run()), "one", root=root, say=said.append)


# -- the commands -----------------------------------------------------------------------------------------------------


def fastdiff(root: Path, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([COMMAND, *args], cwd=root, capture_output=True, text=True, timeout=120)


SLOWLY = """
import sys, time
from fastdiff.record import accept
from fastdiff.cli import app
next_path = accept.next_path
accept.next_path = lambda *args: time.sleep(0.5) or next_path(*args)
app(sys.argv[1:])
"""
"""The command with a pause between reading the old baseline and writing the new one: so that all four meet there."""


def test_accepts_at_once_lose_nothing(root: Path, said: list[str]) -> None:
    """Each replaces another stage: a process that did not see the one before would undo it."""
    names = ("fp32", "bf16", "sdpa", "int8")
    accept(kept(root, a_run(*(a_stage(name) for name in names)), "old"), "old", root=root, say=said.append)
    for name in names:
        kept(root, a_run(a_stage(name, 1.5)), name)
    commands = [[sys.executable, "-c", SLOWLY, "accept", f"runs/{n}.json", "--reason", n, "--stage", n] for n in names]
    processes = [subprocess.Popen(c, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for c in commands]
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, outputs

    assert [path.name[:4] for path in accepted(folder_of(root, DEVICE.slug))] == [
        "0001",
        "0002",
        "0003",
        "0004",
        "0005",
    ]
    assert {stage.stage: stage.origin for stage in baseline_of(root).run.stages} == {n: f"{n}.json" for n in names}
    assert sorted(entry["reason"] for entry in log.entries(folder_of(root, DEVICE.slug))) == sorted(["old", *names])


def test_half_characters_can_be_shown(root: Path) -> None:
    kept(root, a_run(outcome="\ud800"))
    done = fastdiff(root, "runs")
    assert (done.returncode, done.stderr) == (0, "")
    assert "?" in done.stdout


def test_the_commands_from_run_to_list(root: Path) -> None:
    kept(root, a_run(), "20261120T155223Z")
    kept(root, a_run(a_stage(state=FAILED)), "20261120T155224Z")
    (root / "runs" / "20261120T155225Z.json").write_text("{")
    done = fastdiff(root, "runs")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert re.match(rf"20261120T155223Z.json  passed +{DEVICE.slug} +2 measured$", lines[1])
    assert lines[2].endswith("1 failed")
    assert lines[3].startswith("unreadable: runs/20261120T155225Z.json: this is not whole JSON")

    done = fastdiff(root, "accept", "runs/20261120T155223Z.json", "--reason", "the first one")
    assert (done.returncode, done.stderr) == (0, "")
    done = fastdiff(root, "baselines")
    assert done.returncode == 0
    lines = [line.strip() for line in done.stdout.splitlines()]
    assert lines[:3] == [DEVICE.slug, "0001_shapes.json", "stages    shapes-fp32 shapes-int8"]
    assert re.fullmatch(r"accepted  20\d\d-.* by Ada <ada@example.org>", lines[3])
    assert lines[4:] == ["reason    the first one", "noise     declared"]


@pytest.mark.parametrize(
    ("args", "code", "sentence"),
    [
        (("runs/b.json", "--reason", "x"), 2, "there is no runs/b.json; did you mean runs/a.json?"),
        (("runs", "--reason", "x"), 2, "runs is a folder or a device; give a file."),
        (("runs/a.json", "--reason", ""), 2, "an acceptance needs a reason"),
        (("runs/a.json", "--reason", "x", "--stage", "int9"), 2, "no stage of this run is called 'int9'"),
        (("runs/a.json", "--reason", "x", "--noise-of", "none/*.json"), 2, "there is no none/*.json"),
        (("runs/a.json", "--reason", "x", "--root", "runs/a.json"), 2, "runs/a.json/.fastdiff: Not a directory"),
        (("runs/a.json", "--reason", "x", "--root", "typo"), 2, "typo/.fastdiff: No such file or directory"),
        (("runs/a.json",), 2, "Missing option '--reason'"),
    ],
)
def test_errors_are_sentences(root: Path, args: tuple[str, ...], code: int, sentence: str) -> None:
    kept(root, a_run())
    done = fastdiff(root, "accept", *args)
    assert done.returncode == code
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert "Usage: " in done.stderr or len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("command", ["runs", "baselines"])
def test_a_mistyped_folder_has_no_lists(root: Path, command: str) -> None:
    done = fastdiff(root, command, "--root", "typo")
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"there is no folder typo; .+ --root FOLDER\n", done.stderr)


def test_without_anything_the_lists_say_what_to_do(root: Path) -> None:
    assert fastdiff(root, "runs").stdout == "runs holds no run file; run: pytest perf_tests --benchmark-compare\n"
    assert "fastdiff accept RUN --reason" in fastdiff(root, "baselines").stdout
