"""What is written can be read, also by pytest-benchmark; what strangers write is refused in one sentence."""

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastdiff.record import reading
from fastdiff.record.baselines import accepted, newest, next_path
from fastdiff.record.bounds import LARGEST
from fastdiff.record.errors import UserError
from fastdiff.record.files import next_run_path, read, read_baseline, read_benchmarks, runs, write, write_baseline
from fastdiff.record.run import (
    MEASURED,
    SCHEMA,
    Acceptance,
    Baseline,
    Components,
    Device,
    Memory,
    Noise,
    Quality,
    Run,
    Sample,
    State,
    Trial,
    WarmUp,
)
from fastdiff.report.columns import aligned
from fastdiff.report.listings import baselines_text, runs_text
from tools import schemas

DEVICE = Device("small-cpu-2-cores", "cpu", "Small CPU, 2 cores")
TIMES = (0.40, 0.41, 0.42, 0.43, 0.44)


def a_stage(name: str = "int8", factor: float = 1.0, **changed: Any) -> Trial:
    """A stage that may be accepted, `factor` times as slow as it was."""
    rounds = tuple(Sample(wall_s=time * factor, telemetry={"steal": 0.0}) for time in TIMES)
    measured: dict[str, Any] = {
        "follows": None if name == "fp32" else "fp32",
        "recipe": {"dtype": "bfloat16", "compile": None},
        "state": MEASURED,
        "first_call_s": 2.5,
        "warm_up": WarmUp(3, 1.2, True),
        "samples": rounds,
        "components": Components(0.01, (0.1, 0.1), 0.1, 0.0),
        "memory": Memory(50_640_000, "decode", {"decode": 50_640_000}),
        "fingerprint": {"graphs": 2, "kernels": ["mm", "conv"]},
        "quality": Quality("fp32", 0.999, 0.99, None, True),
    }
    return Trial("shapes", name, **(measured | changed))


def a_run(*stages: Trial, **changed: Any) -> Run:
    stages = stages or (a_stage("fp32", 2.0), a_stage())
    known: dict[str, Any] = {
        "environment": {"versions": {"torch": "2.13.0"}},
        "expected": tuple(stage.id for stage in stages),
        "stages": stages,
        "complete": True,
        "outcome": "passed",
        "made_by": "0.1",
    }
    return Run(DEVICE, "2026-11-20T15:52:23+00:00", **(known | changed))


def benchmarks_of(run: Run) -> dict[str, Any]:
    """pytest-benchmark's part of a run, with its every key."""
    return {
        "machine_info": {"node": "n", "machine": "x86_64", "cpu": {"brand_raw": "Small CPU"}},
        "commit_info": {"id": "unknown", "dirty": False, "project": "p", "branch": "main"},
        "benchmarks": [_benchmark(stage) for stage in run.stages],
        "datetime": "2026-11-20T15:52:23.000000+00:00",
        "version": "5.3.1",
    }


def _benchmark(stage: Trial) -> dict[str, Any]:
    data = [r.wall_s for r in stage.samples] or [0.4]
    numbers = dict.fromkeys(("min", "max", "mean", "median", "q1", "q3", "ld15iqr", "hd15iqr"), data[0])
    counts = {"stddev": 0.01, "iqr": 0.02, "iqr_outliers": 0, "stddev_outliers": 1, "outliers": "1;0", "ops": 2.4}
    name = f"test_latency[{stage.id}]"
    return {
        "group": stage.model,
        "name": name,
        "fullname": f"perf_tests/test_latency.py::{name}",
        "params": {"stage": "UNSERIALIZABLE[...]"},
        "param": stage.id,
        "extra_info": {},
        "options": {"timer": "perf_counter"},
        "stats": {**numbers, **counts, "total": sum(data), "rounds": len(data), "iterations": 1, "data": data},
    }


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A run file as a session leaves it."""
    path = tmp_path / "runs" / "20261120T155223Z.json"
    write(path, benchmarks_of(a_run()), a_run())
    return path


def refused(path: Path, reader: Callable[[Path], object] = read) -> str:
    """The sentence, after a look at what all of them have."""
    with pytest.raises(UserError) as error:
        reader(path)
    said = str(error.value)
    assert str(path) in said
    assert "\n" not in said
    return said


# -- round trip -------------------------------------------------------------------------------------------------------

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,20}", fullmatch=True)
COUNTS = st.integers(0, LARGEST)
NUMBERS = st.floats(-LARGEST, LARGEST)
TIMES_S = st.floats(0, 1e6)
WORK_S = st.floats(0, 1e6, exclude_min=True)
TEXTS = st.text(max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-LARGEST, LARGEST) | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)
TABLES = st.dictionaries(TEXTS, JSON, max_size=3)
FACTS = st.dictionaries(
    TEXTS,
    st.none() | st.booleans() | st.integers(-LARGEST, LARGEST) | NUMBERS | TEXTS | st.lists(TEXTS, max_size=2),
    max_size=3,
)


def tuples(entries: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(entries, max_size=3).map(tuple)


ROUNDS = st.builds(Sample, WORK_S, st.none() | TIMES_S, TEXTS, st.dictionaries(TEXTS, NUMBERS, max_size=2))
STAGES = st.builds(
    Trial,
    model=NAMES,
    stage=NAMES,
    follows=st.none() | NAMES,
    recipe=TABLES,
    request=FACTS,
    state=st.sampled_from(get_args(State)),
    reason=TEXTS,
    load_s=st.none() | TIMES_S,
    first_call_s=st.none() | WORK_S,
    cache=TEXTS,
    first_in_process=st.none() | tuples(TEXTS),
    warm_up=st.none() | st.builds(WarmUp, COUNTS, TIMES_S, st.booleans()),
    samples=tuples(ROUNDS),
    components=st.none() | st.builds(Components, TIMES_S, tuples(TIMES_S), TIMES_S, TIMES_S),
    memory=st.none()
    | st.builds(Memory, COUNTS, TEXTS, st.dictionaries(TEXTS, COUNTS, max_size=2), TEXTS, st.none() | COUNTS),
    fingerprint=FACTS,
    quality=st.none() | st.builds(Quality, NAMES, NUMBERS, NUMBERS, st.none() | NUMBERS, st.booleans(), TEXTS),
    unapplied=tuples(TEXTS),
    leaks=tuples(TEXTS),
    injected=TEXTS,
    origin=TEXTS,
)
RUNS = st.builds(
    Run,
    device=st.builds(Device, NAMES, TEXTS, TEXTS),
    started=TEXTS,
    environment=TABLES,
    expected=tuples(TEXTS),
    stages=st.lists(STAGES, max_size=3, unique_by=lambda stage: stage.id).map(tuple),
    complete=st.booleans(),
    outcome=TEXTS,
    judgements=tuples(TABLES),
    made_by=TEXTS,
    schema=st.just(SCHEMA),
)


@settings(max_examples=60, deadline=None)
@given(run=RUNS)
def test_every_run_comes_back_as_it_was(run: Run, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("runs") / "run.json"
    write(path, {}, run)
    assert read(path) == run


def test_a_baseline_comes_back_as_it_was(tmp_path: Path) -> None:
    acceptance = Acceptance("A <a@b>", "2026-11-20T16:00:00+00:00", "first", "r.json", ("shapes-int8",), ("a leak",))
    noise = Noise(10, 0.028, 0.03, 0.1, {"shapes-int8": (-0.9, -0.8)}, 9)
    for found in (noise, None):
        baseline = Baseline(a_run(), acceptance, found, f"{found is None}.json")
        write_baseline(tmp_path / baseline.name, benchmarks_of(a_run()), baseline)
        assert read_baseline(tmp_path / baseline.name) == baseline
        assert read(tmp_path / baseline.name) == baseline.run


def test_pytest_benchmarks_part_comes_back_as_it_was(path: Path) -> None:
    assert read_benchmarks(path) == benchmarks_of(a_run())


def test_pytest_benchmark_can_compare_the_files(path: Path) -> None:
    other = path.with_name("other.json")
    write(other, benchmarks_of(a_run()), a_run())
    command = [str(Path(sys.executable).with_name("pytest-benchmark")), "compare", str(path), str(other)]
    done = subprocess.run(command, cwd=path.parent, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "Failed to load" not in done.stdout + done.stderr
    assert done.stdout.count("test_latency[shapes-int8]") == 2


def test_the_parameters_of_a_test_may_be_any_objects(tmp_path: Path) -> None:
    write(tmp_path / "run.json", {"benchmarks": [_benchmark(a_stage()) | {"params": {"stage": DEVICE}}]}, a_run())
    assert "Small CPU" in read_benchmarks(tmp_path / "run.json")["benchmarks"][0]["params"]["stage"]


# -- writing ----------------------------------------------------------------------------------------------------------


def test_a_full_disk_leaves_the_old_file_whole(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"cannot be written \(No space left on device\); the file that was .* whole"):
        write(path, {}, a_run(outcome="slow"))
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_an_interruption_leaves_nothing_half_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(path.with_name("new.json"), {}, a_run())
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file where the folder should be")
    with pytest.raises(UserError, match=r"runs/run\.json cannot be written .*; no part of it was left behind"):
        write(tmp_path / "runs" / "run.json", {}, a_run())


def test_a_baseline_is_never_overwritten(tmp_path: Path) -> None:
    baseline = Baseline(a_run(), Acceptance("a", "now", "why", "r.json"))
    write_baseline(tmp_path / "0001_x.json", {}, baseline)
    with pytest.raises(UserError, match="File exists"):
        write_baseline(tmp_path / "0001_x.json", {}, baseline)
    assert [entry.name for entry in tmp_path.iterdir()] == ["0001_x.json"]


def test_what_could_not_be_read_is_not_written(tmp_path: Path) -> None:
    broken = a_run(a_stage(quality=Quality("fp32", float("nan"), 0.9, None, False)))
    with pytest.raises(UserError, match=r"fastdiff\.stages\[0\]\.quality\.ssim is NaN; expected a number of at most"):
        write(tmp_path / "run.json", {}, broken)
    with pytest.raises(UserError, match=r"pytest-benchmark's part is no JSON: .*nan"):
        write(tmp_path / "run.json", {"extra": float("nan")}, a_run())
    assert list(tmp_path.iterdir()) == []


def test_every_session_has_a_file_of_its_own(tmp_path: Path) -> None:
    names = []
    for _ in range(3):
        path = next_run_path(tmp_path, "2026-11-20T16:52:23+01:00")
        write(path, {}, a_run())
        names.append(path.relative_to(tmp_path).as_posix())
    assert names == [f"runs/20261120T155223Z{count}.json" for count in ("", "-2", "-3")]
    assert [path.name for path in runs(tmp_path)] == [Path(name).name for name in names]


def test_two_sessions_of_one_second_have_two_files(tmp_path: Path) -> None:
    """Neither has written anything yet when the other one begins."""
    names = {next_run_path(tmp_path, "2026-11-20T16:52:23+01:00").name for _ in range(3)}
    assert names == {"20261120T155223Z.json", "20261120T155223Z-2.json", "20261120T155223Z-3.json"}


def test_a_part_of_a_larger_measurement_has_its_files_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTDIFF_RUNS_APART", "parts")
    write(next_run_path(tmp_path, "2026-11-20T16:52:23+01:00"), {}, a_run())
    assert len(list((tmp_path / "runs" / "parts").glob("*.json"))) == 1
    assert runs(tmp_path) == []


# -- strangers' files -------------------------------------------------------------------------------------------------

ROUND = ("stages", 1, "samples", 0)
BROKEN = [
    ((*ROUND, "wall_s"), "fast", 'samples[0].wall_s is "fast"; expected float'),
    ((*ROUND, "wall_s"), True, "samples[0].wall_s is true; expected float"),
    ((*ROUND, "wall_s"), float("nan"), "this is not whole JSON"),
    ((*ROUND, "wall_s"), float("inf"), "this is not whole JSON"),
    ((*ROUND, "wall_s"), 10**400, "wall_s is 1000"),
    ((*ROUND, "wall_s"), 1e300, "wall_s is 1e+300; expected a number of at most 1e+18"),
    ((*ROUND, "wall_s"), 1e9, "wall_s is 1000000000.0; expected float <= 1"),
    ((*ROUND, "wall_s"), 0.0, "samples[0].wall_s is 0.0; expected float > 0"),
    ((*ROUND, "wall_s"), -0.4, "samples[0].wall_s is -0.4; expected float > 0"),
    ((*ROUND, "telemetry", "steal"), None, "samples[0].telemetry[...]: expected float"),
    (("stages", 1, "first_call_s"), 0, "first_call_s is 0; expected float > 0"),
    (("stages", 1, "load_s"), -1, "load_s is -1; expected float >= 0"),
    (("stages", 1, "components", "steps_s", 1), -1, "steps_s[1] is -1; expected float >= 0"),
    (("stages", 1, "warm_up", "calls"), -1, "calls is -1; expected int >= 0"),
    (("stages", 1, "warm_up", "settled"), "yes", 'settled is "yes"; expected bool'),
    (("stages", 1, "memory", "peak_bytes"), 1.5, "peak_bytes is 1.5; expected int"),
    (("stages", 1, "memory", "peaks", "decode"), -1, "memory.peaks[...]: expected int >= 0"),
    (("stages", 1, "fingerprint", "flops"), 10**400, "stages[1].fingerprint.flops is 1000"),
    (("stages", 1, "fingerprint", "flops"), [[0]], "stages[1].fingerprint[...][0]: expected str"),
    (("stages", 1, "fingerprint"), [], "stages[1].fingerprint is []; expected object"),
    (("stages", 1, "state"), "done", "state is \"done\"; invalid enum value 'done'"),
    (("stages", 1, "stage"), "fp32", "fastdiff.stages holds shapes-fp32 more than once"),
    (("stages", 1, "stage"), "../../etc", 'stages[1].stage is "../../etc"; expected a name of letters'),
    (("stages", 1, "stage"), "int8\n", "expected a name of letters"),
    (("stages", 1, "stage"), "int8\0", "expected a name of letters"),
    (("stages", 1, "model"), "", 'model is ""; expected a name of letters'),
    (("stages", 1, "quality", "reference"), "/etc/passwd", "expected a name of letters"),
    (("device", "slug"), "..", 'device.slug is ".."; expected a name of letters'),
    (("device",), "an H200", 'fastdiff.device is "an H200"; expected object'),
    (("outcome",), 1, "fastdiff.outcome is 1; expected str"),
    (("stages", 1, "model"), "x" * 101, "expected a name of letters"),
    (("stages",), {"a": 1}, "fastdiff.stages is {"),
    (("stages",), "x" * 1000, 'fastdiff.stages is "xxxxx'),
    (("schema",), SCHEMA + 1, f"schema {SCHEMA + 1}, and this fastdiff reads schema {SCHEMA}; upgrade fastdiff"),
    (
        ("schema",),
        1,
        f"schema 1, and this fastdiff reads schema {SCHEMA} (its latencies are too long); remove the file",
    ),
    (("schema",), "new", 'fastdiff.schema is "new"; expected int'),
]


@pytest.mark.parametrize(("keys", "value", "sentence"), BROKEN)
def test_a_wrong_value_is_named_with_its_place(path: Path, keys: tuple[Any, ...], value: object, sentence: str) -> None:
    whole = json.loads(path.read_text())
    place = whole["fastdiff"]
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    path.write_text(json.dumps(whole))
    said = refused(path)
    assert sentence in said
    assert len(said) < 300


CONTENTS = [
    (b"", "this is not whole JSON"),
    (b'{"fastdiff": {"devi', "this is not whole JSON"),
    (b"[]", "the file is []; expected an object"),
    (b'{"benchmarks": []}', "is a pytest-benchmark file without fastdiff's key"),
    (b'{"fastdiff": {}}', "made with schema 0, and this fastdiff reads"),
    (b'{"fastdiff": null}', "fastdiff is null; expected object"),
    (b'{"fastdiff": ' + b"[" * 100_000, "nested too deeply"),
    (b'{"fastdiff": ' + b"9" * 5000 + b"}", "this is not whole JSON"),
    ('{"fastdiff": 1}'.encode("utf-16"), "this is not UTF-8 text"),
    (b"\xff\xfe\x00", "this is not UTF-8 text"),
]


@pytest.mark.parametrize(("content", "sentence"), CONTENTS)
def test_a_file_of_another_kind_is_one_sentence(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "run.json"
    path.write_bytes(content)
    assert sentence in refused(path)


def test_a_huge_file_is_not_even_opened(path: Path) -> None:
    os.truncate(path, reading.LARGEST_BYTES + 1)  # takes no room on the disk
    assert "67,108,865 bytes; expected at most 67,108,864" in refused(path)


def half(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def test_half_a_run_is_measured_again(path: Path) -> None:
    half(path)
    assert refused(path).endswith("Remove this file, and measure again: pytest perf_tests --benchmark-compare")
    assert refused(path, read_benchmarks).endswith("measure again: pytest perf_tests --benchmark-compare")


def test_half_a_baseline_is_restored(tmp_path: Path) -> None:
    keep(tmp_path, "0001_a b.json")
    half(tmp_path / "0001_a b.json")
    mend = f"Restore it (git checkout -- '{tmp_path}/0001_a b.json'), or remove it and accept a run."
    assert refused(tmp_path / "0001_a b.json", read_baseline).endswith(mend)


def test_what_pytest_benchmark_reads_of_a_baseline_is_checked_too(tmp_path: Path) -> None:
    keep(tmp_path, "0001_a.json")
    whole = json.loads((tmp_path / "0001_a.json").read_text())
    (tmp_path / "0001_a.json").write_text(json.dumps(whole | {"benchmarks": [{"name": 5}]}))
    assert "benchmarks[0].name is 5; expected str. Restore it" in refused(tmp_path / "0001_a.json", read_baseline)


def test_folders_pipes_and_closed_files_are_named(path: Path) -> None:
    assert "is a folder or a device" in refused(path.parent)
    os.mkfifo(path.with_name("pipe"))
    assert "is a folder or a device" in refused(path.with_name("pipe"))


def test_a_missing_file_is_answered_with_the_nearest(path: Path) -> None:
    assert refused(path.with_name("20261120T155224Z.json")).endswith(f"did you mean {path}?")
    assert "`fastdiff runs` lists" in refused(path.parent / "nowhere" / "x.json")


def test_unknown_keys_are_a_newer_fastdiffs(path: Path) -> None:
    whole = json.loads(path.read_text())
    whole["fastdiff"]["colour"] = whole["fastdiff"]["stages"][0]["colour"] = "good"
    path.write_text(json.dumps(whole))
    assert read(path) == a_run()


def test_a_run_is_no_baseline(path: Path) -> None:
    assert "is a run that was not accepted; do: fastdiff accept" in refused(path, read_baseline)


STATS = _benchmark(a_stage())["stats"]


@pytest.mark.parametrize(
    ("part", "sentence"),
    [
        ({"benchmarks": {}}, "benchmarks is {}; expected array"),
        ({"benchmarks": [1]}, "benchmarks[0] is 1; expected object"),
        ({"benchmarks": [{}]}, "benchmarks[0].name is missing"),
        ({"benchmarks": [{"name": "a", "stats": STATS}]}, "benchmarks[0].fullname is missing"),
        ({"benchmarks": [{"name": "a", "fullname": "b", "stats": STATS | {"min": "1"}}]}, 'stats.min is "1"; expected'),
        ({"benchmarks": [], "x": [float("nan")]}, "this is not whole JSON"),
    ],
)
def test_pytest_benchmarks_part_is_checked_too(path: Path, part: dict[str, Any], sentence: str) -> None:
    path.write_text(json.dumps(part))
    assert sentence in refused(path, read_benchmarks)


# -- baselines --------------------------------------------------------------------------------------------------------


def keep(folder: Path, name: str, when: str = "now", run: Run | None = None) -> None:
    write_baseline(folder / name, {}, Baseline(run or a_run(), Acceptance("a", when, name, "r.json")))


def test_the_highest_number_is_the_newest(tmp_path: Path) -> None:
    assert newest(tmp_path / "nowhere") is None
    for name in ("9999_a.json", "10000_b.json", "0002_c.json"):
        keep(tmp_path, name)
    for stranger in ("0003.json", "x_y.json", "99999_z.txt", "-001_a.json", "log.jsonl"):
        (tmp_path / stranger).write_text("not a baseline")
    (tmp_path / "20000_folder.json").mkdir()
    assert [path.name for path in accepted(tmp_path)] == ["0002_c.json", "9999_a.json", "10000_b.json"]
    baseline = newest(tmp_path)
    assert baseline is not None
    assert (baseline.name, baseline.acceptance.reason) == ("10000_b.json", "10000_b.json")
    assert next_path(tmp_path, "d").name == "20001_d.json"


def test_a_baseline_of_the_old_kind_is_to_be_removed_not_restored(tmp_path: Path) -> None:
    keep(tmp_path, "0001_a.json")
    whole = json.loads((tmp_path / "0001_a.json").read_text())
    whole["fastdiff"]["schema"] = 1
    (tmp_path / "0001_a.json").write_text(json.dumps(whole))
    with pytest.raises(UserError, match=r"0001_a\.json: made with schema 1, .* remove the file and measure again\.$"):
        newest(tmp_path)


def test_no_older_baseline_stands_in_for_a_broken_one(tmp_path: Path) -> None:
    keep(tmp_path, "0001_a.json")
    (tmp_path / "0002_b.json").write_text("{")
    with pytest.raises(UserError, match=r"0002_b\.json: this is not whole JSON"):
        newest(tmp_path)


# -- lists ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("listed", [runs_text, baselines_text])
def test_a_folder_that_is_not_there_has_no_list(tmp_path: Path, listed: Callable[[Path], list[str]]) -> None:
    (tmp_path / "file").write_text("")
    for root in (tmp_path / "nowhere", tmp_path / "file"):
        with pytest.raises(UserError, match=rf"there is no folder {root}; .+ --root FOLDER"):
            listed(root)
    (said,) = listed(tmp_path)
    assert "; run: " in said, "a project without runs is no mistake"


ROWS = [("stage", "latency", "remark"), ("int8", "1.5 s", ""), ("x", "12.5 s", "slow")]


def test_words_stand_to_the_left() -> None:
    assert aligned(ROWS) == ["stage  latency  remark", "int8   1.5 s", "x      12.5 s   slow"]


def test_numbers_stand_to_the_right_and_headings_above_a_rule() -> None:
    assert aligned(ROWS, {1}, ruled=True) == [
        "stage  latency  remark",
        "-----  -------  ------",
        "int8     1.5 s",
        "x       12.5 s  slow",
    ]


# -- the schema of the documents --------------------------------------------------------------------------------------


@pytest.mark.pinned
@pytest.mark.parametrize("name", schemas.SCHEMAS)
def test_the_published_schema_is_that_of_the_types(name: str) -> None:
    """Where it is not: `python -m tools.schemas` writes it anew."""
    assert (schemas.FOLDER / f"{name}.json").read_text() == schemas.text(schemas.SCHEMAS[name])


def test_a_run_file_obeys_the_published_schema(path: Path) -> None:
    schema = str(schemas.FOLDER / "run.json")
    subprocess.run([sys.executable, "-m", "check_jsonschema", "--schemafile", schema, str(path)], check=True)


# -- noise ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["latency_sd", "ladder_sd", "first_call_sd"])
def test_noise_that_would_let_everything_pass_is_refused(tmp_path: Path, name: str) -> None:
    wide = Noise(**{"trials": 5, "latency_sd": 0.1, "ladder_sd": 0.1, "first_call_sd": 0.1, name: 50.0})
    write_baseline(tmp_path / "0001_x.json", {}, Baseline(a_run(), Acceptance("a", "now", "x", "r.json"), wide))
    with pytest.raises(UserError, match=rf"fastdiff\.noise\.{name} is 50\.0; expected float <= 5"):
        read_baseline(tmp_path / "0001_x.json")
