"""The noise budget: what is computed from runs, and which runs are refused."""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import stdev
from typing import Any

import pytest

from fastdiff.compare import noise
from fastdiff.record.run import Device, Run, Sample, Trial

BOX = Device("box", "cpu", "a box")
SECONDS = {"fp32": (2.0, 2.2, 2.1, 1.9), "bf16": (1.0, 1.2, 1.0, 1.1)}


def stage(name: str, night: int, **changes: Any) -> Trial:
    taken = tuple(Sample(wall_s=SECONDS[name][night] * wobble) for wobble in (0.9, 1, 1.1))
    follows = {"fp32": None, "bf16": "fp32"}[name]
    record = Trial("m", name, follows, request={"steps": 8}, state="measured", samples=taken, first_call_s=3.0)
    return replace(record, **changes)


def run(night: int, **changes: Any) -> Run:
    stages = tuple(stage(name, night) for name in SECONDS)
    environment = {"versions": {"torch": "2.13.0"}}
    known = Run(BOX, f"night {night}", environment, ("m-fp32", "m-bf16"), stages, complete=True)
    return replace(known, **changes)


RUNS = [run(night) for night in range(4)]


def with_stage(night: int, **changes: Any) -> Run:
    """A run whose second stage differs."""
    return run(night, stages=(stage("fp32", night), stage("bf16", night, **changes)))


def pooled(*groups: list[float]) -> float:
    return math.sqrt(sum(stdev(group) ** 2 for group in groups) / len(groups))


def logs(name: str) -> list[float]:
    return [math.log(seconds) for seconds in SECONDS[name]]


def test_standard_deviations_are_pooled_over_stages() -> None:
    found = noise.measured(RUNS)
    assert found.trials == 4
    assert found.latency_sd == pytest.approx(pooled(logs("fp32"), logs("bf16")))
    assert found.centres["m-fp32"] == pytest.approx(logs("fp32"))
    gains = [old - new for old, new in zip(logs("fp32"), logs("bf16"), strict=True)]
    assert found.ladder_sd == pytest.approx(stdev(gains))
    assert noise.dof(found) == 6


@pytest.mark.parametrize("fact", [{"cache": "cold"}, {"first_in_process": ("compile",)}])
def test_first_calls_count_with_those_that_began_alike(fact: dict[str, Any]) -> None:
    """Cold ones take a hundred times as long, and that is no noise."""
    warm = {"cache": "warm", "first_in_process": ()}
    calls = [(warm | fact, 100.0), (warm, 1.0), (warm | fact, 110.0), (warm, 1.3)]
    runs = [with_stage(night, first_call_s=s, **begun) for night, (begun, s) in enumerate(calls)]
    apart = [stdev(map(math.log, pair)) ** 2 for pair in ((100.0, 110.0), (1.0, 1.3))]
    # fp32's four first calls are equal: three degrees of freedom without any scatter.
    assert noise.measured(runs).first_call_sd == pytest.approx(math.sqrt(sum(apart) / (1 + 1 + 3)))


def test_what_no_stage_shows_comes_from_the_declared_budget() -> None:
    runs = [run(n, stages=(stage("fp32", n, first_call_s=None),)) for n in range(3)]
    found, wide = noise.measured(runs), noise.declared("cpu")
    assert found.ladder_sd == wide.ladder_sd
    assert found.first_call_sd == wide.first_call_sd
    assert found.latency_sd != wide.latency_sd


@pytest.mark.parametrize(
    "spoiled",
    [
        {"state": "failed"},
        {"state": "incomplete"},
        {"samples": (Sample(1.0, void="steal"),)},
        {"samples": ()},
        {"injected": "slow:30%"},
    ],
)
def test_a_stage_that_one_run_did_not_measure_is_left_out(spoiled: dict[str, Any]) -> None:
    found = noise.measured([*RUNS[:3], with_stage(3, **spoiled)])
    assert set(found.centres) == {"m-fp32"}
    assert found.latency_sd == pytest.approx(stdev(logs("fp32")))


def test_a_stage_that_is_absent_from_one_run_is_left_out() -> None:
    for order in ([run(0, stages=(stage("fp32", 0),)), *RUNS[1:]], [*RUNS[:3], run(3, stages=(stage("fp32", 3),))]):
        assert set(noise.measured(order).centres) == {"m-fp32"}


REFUSED = [
    (RUNS[:2], "2 runs were given; noise needs at least 3"),
    ([RUNS[0], RUNS[1], RUNS[0]], "the run of night 0 is given twice"),
    ([*RUNS[:3], run(3, device=replace(BOX, slug="other"))], "device of the run of night 3: other, of the first one"),
    ([run(n, environment={"machine": "ab"[n == 2]}) for n in range(3)], "machine of the run of night 2: b, of the"),
    ([*RUNS[:3], run(3, environment={"versions": {"torch": "2.14.0"}})], "versions of the run of night 3"),
    ([*RUNS[:3], run(3, expected=("m-fp32",))], "stages of the run of night 3"),
    ([*RUNS[:3], with_stage(3, request={"steps": 9})], "m-bf16 has another request or recipe"),
    ([*RUNS[:3], with_stage(3, recipe={"dtype": "float16"})], "m-bf16 has another request or recipe"),
    ([run(night, stages=()) for night in range(3)], "no stage was measured undisturbed in all of these runs"),
]


@pytest.mark.parametrize(("runs", "sentence"), REFUSED, ids=[sentence for _, sentence in REFUSED])
def test_runs_that_are_not_alike_are_refused(runs: list[Run], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        noise.measured(runs)


def test_the_declared_budget_is_wider_than_what_was_measured() -> None:
    cpu = noise.declared("cpu")
    assert cpu.latency_sd > 0.10
    assert noise.dof(cpu) == math.inf
    with pytest.raises(ValueError, match="no kind of device is called 'cud'; did you mean 'cuda'"):
        noise.declared("cud")


def test_the_degrees_of_freedom_are_those_of_the_measurement() -> None:
    """An accepted part brings its deviations, and not the trials of the stages that stayed."""
    found = noise.measured(RUNS)
    assert noise.dof(replace(found, centres={})) == noise.dof(found) == 6
    assert noise.dof(replace(found, centres={f"m-{n}": (0.0,) * 10 for n in range(6)})) == 6
    assert noise.dof(replace(found, centres={}, dof=0)) == 3, "where nothing says it, the trials do"


def test_a_stage_is_judged_by_its_own_trials() -> None:
    """Where there are enough of them; otherwise by what all stages have in common."""
    budget = replace(noise.declared("cpu"), trials=10)
    wild = [0.0, 0.3, -0.3, 0.2, -0.2]
    assert noise.spread(wild, 0.03, budget) == (pytest.approx(0.2550, abs=1e-4), 4)
    assert noise.spread(wild[:4], 0.03, budget) == (0.03, noise.dof(budget))
