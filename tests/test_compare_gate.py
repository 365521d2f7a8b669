"""The gate as tables: what differs between a run and its baseline, and the verdict, sentence and command it gets."""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace
from typing import Any

import pytest

from fastdiff.compare import noise, policy
from fastdiff.compare.gate import Judgement, comparisons_of, judge_alone, judge_run
from fastdiff.compare.metrics import JUDGES
from fastdiff.compare.reasons import because
from fastdiff.compare.verdicts import METRICS, Verdict, fails
from fastdiff.record.run import Acceptance, Baseline, Components, Device, Memory, Run, Sample, Trial
from fastdiff.record.software import Project, Software
from fastdiff.report import sentences, steps
from fastdiff.report.steps import Shell

POLICY = replace(policy.CPU, latency=0.15, ladder=0.15)
"""Narrower than the shipped one, so that small numbers show what it does."""
BOX, OTHER = Device("box", "cpu", "a box"), Device("other", "cpu", "another box")
ENVIRONMENT = {"versions": {"torch": "2.13.0", "diffusers": "0.42.1", "numpy": "2.4"}}
FACTS = {"flops": 1000, "breaks": 0, "recompiles": 0, "kernels": ["flash x 32", "gemm x 4"]}
ACCEPT = 'fastdiff accept {run} --reason "..."'
LOOK = "pytest perf_tests --benchmark-compare --fastdiff-model m --fastdiff-stage "


def typed(verdict: Verdict) -> str:
    """What to type next; empty where there is nothing."""
    return steps.command(verdict.next, Shell(run_file="{run}")) if verdict.next else ""


def said(verdict: Verdict) -> str:
    return sentences.reason_of(Judgement("m-sdpa", "latency", verdict))


def causes(verdict: Verdict) -> tuple[str, ...]:
    return tuple(map(sentences.sentence, verdict.details))


def timed(seconds: float, *, void: int = 0) -> tuple[Sample, ...]:
    wobbles = (0.98, 0.99, 1.0, 1.0, 1.0, 1.01, 1.02)
    return tuple(Sample(seconds * w, void="steal 30 %" if n < void else "") for n, w in enumerate(wobbles))


def stage(name: str, follows: str | None, seconds: float) -> Trial:
    return Trial(
        "m",
        name,
        follows,
        recipe={"dtype": "bfloat16", "compile": {"flags": ("a", "b")}},
        request={"steps": 8, "size": 256},
        state="measured",
        first_call_s=2.0,
        cache="cold",
        samples=timed(seconds),
        components=Components(0.02 * seconds, (0.08 * seconds,) * 10, 0.15 * seconds, 0.03 * seconds),
        memory=Memory(20_000_000, "denoising"),
        fingerprint=FACTS,
    )


BF16, SDPA = stage("bf16", None, 1.4), stage("sdpa", "bf16", 1.0)
RUN = Run(BOX, "tonight", ENVIRONMENT, ("m-bf16", "m-sdpa"), (BF16, SDPA), complete=True)


def nights(run: Run, count: int = 10) -> list[Run]:
    """Runs that differ by 2.2 %: 2 % of each stage's own, and 1 % of the whole machine."""
    scatter = random.Random(7)

    def again(record: Trial, machine: float) -> Trial:
        own = math.exp(scatter.gauss(0, 0.02))
        rounds = tuple(replace(r, wall_s=r.wall_s * own * machine) for r in record.samples)
        return replace(record, samples=rounds, first_call_s=2.0 * own)

    found = []
    for night in range(count):
        machine = math.exp(scatter.gauss(0, 0.01))
        found.append(replace(run, started=f"{night}", stages=tuple(again(one, machine) for one in run.stages)))
    return found


ACCEPTED = Baseline(RUN, Acceptance("me", "then", "first", "run.json"), noise.measured(nights(RUN)))


def tonight(run: Run = RUN, **changes: Any) -> Run:
    """The run with the stage sdpa changed."""
    return replace(run, stages=(BF16, replace(SDPA, **changes)))


def judge(run: Run, baseline: Baseline | None = ACCEPTED, **more: Any) -> dict[str, Verdict]:
    """Verdicts by `stage metric`."""
    judged = judge_run(run, baseline, lambda model, stage: POLICY, **more)
    found = {f"{one.stage.removeprefix('m-')} {one.metric}": one.verdict for one in judged}
    assert len(found) == len(judged)
    return found


def words(verdicts: dict[str, Verdict]) -> dict[str, str]:
    """Without what is the same."""
    return {name: verdict.word for name, verdict in verdicts.items() if verdict.word != "SAME"}


def test_every_metric_has_its_place_in_the_table() -> None:
    assert {*JUDGES, "picture", "latency_slow_calls", "latency_all_cores"} == set(METRICS)


def test_a_clean_run_is_the_same_in_everything() -> None:
    found = judge(tonight())
    assert words(found) == {}
    metrics = ("fingerprint", "latency", "first_call", "memory")
    assert set(found) == {"sdpa ladder", *(f"{name} {metric}" for name in ("bf16", "sdpa") for metric in metrics)}
    assert not any(fails(verdict, strict=True) or typed(verdict) for verdict in found.values())


# -- one change, one table line: what it is, the verdicts, the code of the first one's reason, its command ------------

FAULTS: dict[str, tuple[dict[str, Any], dict[str, str], str, str]] = {
    "slower by 50 %": (
        {"samples": timed(1.5)},
        {"latency": "SLOW", "ladder": "SLOW"},
        "beyond-band",
        LOOK + "sdpa",
    ),
    "faster": ({"samples": timed(0.6)}, {"latency": "FAST", "ladder": "FAST"}, "beyond-band", ACCEPT),
    "at the edge of the band": (
        {"samples": timed(1.15)},
        {"latency": "UNSURE", "ladder": "UNSURE"},
        "crosses-band",
        LOOK + "sdpa",
    ),
    "four of seven rounds disturbed": (
        {"samples": timed(1.5, void=4)},
        {"latency": "VOID", "ladder": "VOID"},
        "samples-disturbed",
        LOOK + "sdpa",
    ),
    "three of seven rounds disturbed": ({"samples": timed(1.0, void=3)}, {}, "", ""),
    "two rounds": (
        {"samples": timed(1.0)[:2]},
        {"latency": "VOID", "ladder": "VOID"},
        "too-few-samples",
        LOOK,
    ),
    "first call": (
        {"first_call_s": 12.0},
        {"first_call": "SLOW"},
        "beyond-band",
        "pytest perf_tests --benchmark-compare --fastdiff-model m",
    ),
    "memory": (
        {"memory": Memory(24_000_000, "decode")},
        {"memory": "MORE"},
        "memory-changed",
        LOOK,
    ),
    "less memory": ({"memory": Memory(19_000_000, "denoising")}, {"memory": "LESS"}, "memory-changed", ACCEPT),
    "a little memory": ({"memory": Memory(20_100_000, "denoising")}, {}, "", ""),
    "memory measured otherwise": (
        {"memory": Memory(20_000_000, "denoising", measure="cuda allocator")},
        {"memory": "NEW"},
        "no-accepted-memory",
        ACCEPT,
    ),
    "facts": (
        {"fingerprint": {**FACTS, "flops": 1001, "kernels": ["math x 32", "gemm x 4"]}},
        {"fingerprint": "CHANGED"},
        "facts-changed",
        ACCEPT,
    ),
    "a fact more, a fact less": (
        {"fingerprint": {"graphs": 0, "breaks": 0, "recompiles": 0, "kernels": ("flash x 32", "gemm x 4")}},
        {"fingerprint": "CHANGED"},
        "facts-changed",
        ACCEPT,
    ),
    "many facts": (
        {"fingerprint": FACTS | {f"fact{n}": 1 for n in range(7)}},
        {"fingerprint": "CHANGED"},
        "facts-changed",
        ACCEPT,
    ),
    "graph break": (
        {"fingerprint": FACTS | {"breaks": 2, "break_reasons": ["print", "item"]}},
        {"fingerprint": "CHANGED"},
        "stage-broken",
        LOOK,
    ),
    "recompile": (
        {"fingerprint": FACTS | {"recompiles": 1}},
        {"fingerprint": "CHANGED"},
        "stage-broken",
        LOOK,
    ),
    "wait in every step": (
        {"fingerprint": FACTS | {"syncs_in_a_step": 1}},
        {"fingerprint": "CHANGED"},
        "stage-broken",
        LOOK,
    ),
    "unapplied": (
        {"unapplied": ("quantize: no layer.",), "fingerprint": {}},
        {"fingerprint": "CHANGED"},
        "stage-broken",
        LOOK,
    ),
    "another request": (
        {"request": {"steps": 4, "size": 256}, "samples": timed(9.0)},
        {"fingerprint": "NEW", "latency": "NEW", "first_call": "NEW", "memory": "NEW"},
        "other-work",
        ACCEPT,
    ),
    "another recipe": (
        {"recipe": {"dtype": "bfloat16", "compile": {"flags": ["a"]}}},
        {"fingerprint": "NEW", "latency": "NEW", "first_call": "NEW", "memory": "NEW"},
        "other-work",
        ACCEPT,
    ),
    "failed": (
        {"state": "failed", "reason": "out of memory", "samples": ()},
        {"stage": "MISSING"},
        "stage-is",
        "pytest perf_tests --benchmark-compare --fastdiff-model m --fastdiff-stage sdpa",
    ),
    "not timed": ({"samples": ()}, {"stage": "MISSING"}, "not-timed", "pytest perf_tests"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_change_of_one_stage(fault: str) -> None:
    changes, expected, code, command = FAULTS[fault]
    found = judge(tonight(**changes))
    assert words(found) == {f"sdpa {metric}": word for metric, word in expected.items()}
    for metric in [*expected][:1]:
        assert found[f"sdpa {metric}"].reason.code == code
        if code:
            assert typed(found[f"sdpa {metric}"]).startswith(command)


WAITING = {"fingerprint": FACTS | {"syncs_in_a_step": 2}}


def test_waits_for_the_gpu_are_broken_without_an_accepted_run_and_may_be_accepted() -> None:
    assert judge(tonight(**WAITING), None)["sdpa fingerprint"].word == "CHANGED"
    accepted = replace(ACCEPTED, run=tonight(**WAITING))
    assert judge(tonight(**WAITING), accepted)["sdpa fingerprint"].word == "SAME"
    more = judge(tonight(fingerprint=FACTS | {"syncs_in_a_step": 3}), accepted)["sdpa fingerprint"]
    assert (more.word, more.reason.code) == ("CHANGED", "facts-changed")


def test_a_session_that_compares_with_nothing_judges_waits_all_the_same() -> None:
    (found,) = judge_alone(replace(SDPA, **WAITING))
    assert (found.metric, found.verdict.word) == ("fingerprint", "CHANGED")
    assert typed(found.verdict).startswith(LOOK)
    assert judge_alone(SDPA) == []


@pytest.mark.parametrize("idea", [{"offload": "model"}, {"cache": "first-block"}])
def test_ideas_that_cannot_do_without_waiting_may_wait(idea: dict[str, str]) -> None:
    assert judge_alone(replace(SDPA, recipe=SDPA.recipe | idea, **WAITING)) == []


def test_every_verdict_that_is_not_same_has_a_command() -> None:
    for changes, *_ in FAULTS.values():
        for baseline in (ACCEPTED, None):
            for verdict in judge(tonight(**changes), baseline).values():
                assert bool(typed(verdict)) == (verdict.word != "SAME")


def test_a_file_of_json_changes_nothing() -> None:
    """There tuples have become lists."""
    plain = [replace(one, recipe=json.loads(json.dumps(one.recipe))) for one in RUN.stages]
    assert words(judge(RUN, replace(ACCEPTED, run=replace(RUN, stages=tuple(plain))))) == {}


# -- latency ----------------------------------------------------------------------------------------------------------


def test_clocks_explain_and_seconds_decide() -> None:
    """On a GPU too: a clock that fell makes a call longer, and that is what a user waits for."""
    gpu = Device("gpu", "cuda", "GPU")

    def clocked(seconds: float, mhz: float) -> Trial:
        rounds = tuple(replace(one, telemetry={"sm_clock_mhz": mhz}) for one in timed(seconds))
        return replace(SDPA, follows=None, samples=rounds)

    known = replace(RUN, device=gpu, stages=(clocked(1.0, 1980.0),), expected=("m-sdpa",))
    for seconds, mhz, word in ((1.0, 1320.0, "SAME"), (1.5, 1320.0, "SLOW"), (1.5, 1980.0, "SLOW")):
        run = replace(known, stages=(clocked(seconds, mhz),))
        assert judge(run, Baseline(known, ACCEPTED.acceptance))["sdpa latency"].word == word


def test_the_shipped_bands_are_wide() -> None:
    """Two evenings of one shared machine differed by 44 %."""
    found = judge_run(tonight(samples=timed(1.4)), ACCEPTED, lambda model, stage: policy.CPU)
    assert {one.verdict.word for one in found} == {"SAME"}


def test_the_accepted_trials_count_not_the_accepted_run_alone() -> None:
    lucky = replace(ACCEPTED, run=tonight(samples=timed(0.5)))
    assert judge(RUN, lucky)["sdpa latency"].word == "SAME"
    assert ACCEPTED.noise is not None
    alone = replace(lucky, noise=replace(ACCEPTED.noise, centres={}))
    assert judge(RUN, alone)["sdpa latency"].word == "SLOW"


def test_more_stages_need_a_clearer_case() -> None:
    run = tonight(samples=timed(1.24))
    assert judge(run)["sdpa latency"].word == "SLOW"
    crowd = replace(run, expected=tuple(f"m-{n}" for n in range(300)))
    assert judge(crowd)["sdpa latency"].word == "UNSURE"
    assert comparisons_of(6) == 18


def test_first_calls_of_other_cache_states_are_not_compared() -> None:
    assert "sdpa first_call" not in judge(tonight(cache="warm", first_call_s=0.01))


def test_who_opens_a_process_is_not_compared_with_who_comes_later() -> None:
    def judged(before: tuple[str, ...] | None, now: tuple[str, ...]) -> str:
        old, new = (tonight(first_in_process=one, first_call_s=s) for one, s in ((before, 2.0), (now, 12.0)))
        found = judge(new, replace(ACCEPTED, run=old)).get("sdpa first_call")
        return found.word if found else ""

    opened, later, both = ("compile",), (), ("compile", "compute")
    assert judged(opened, opened) == judged(later, later) == "SLOW"
    assert judged(later, opened) == judged(opened, later) == judged(both, opened) == ""
    assert judged(None, opened) == "SLOW", "an older file does not say it"


# -- the ladder -------------------------------------------------------------------------------------------------------


def test_a_lost_gain_is_reported_as_one() -> None:
    verdict = judge(tonight(samples=timed(1.37)))["sdpa ladder"]
    assert verdict.word == "SLOW"
    assert said(verdict).startswith("speedup of sdpa over bf16: 1.40x -> 1.02x: +37.")
    assert typed(verdict) == LOOK + "bf16,sdpa"


def test_the_ladder_needs_no_equal_speed() -> None:
    slower = tuple(replace(one, samples=timed(3 * one.samples[3].wall_s)) for one in RUN.stages)
    assert judge(replace(RUN, stages=slower))["sdpa ladder"].word == "SAME"


def test_without_the_stage_before_there_is_no_ladder() -> None:
    alone = replace(RUN, stages=(SDPA,), expected=("m-sdpa",))
    assert "sdpa ladder" not in judge(alone)
    assert words(judge(alone)) == {}


def test_parts_of_different_runs_have_no_accepted_gain() -> None:
    parts = (BF16, replace(SDPA, origin="later.json"))
    verdict = judge(RUN, replace(ACCEPTED, run=replace(RUN, stages=parts)))["sdpa ladder"]
    assert (verdict.word, said(verdict)) == ("NEW", "bf16 and sdpa come from different runs in the baseline")


ELSEWHERE = replace(ACCEPTED, run=replace(RUN, device=OTHER))


# -- without a baseline -----------------------------------------------------------------------------------------------


def test_without_a_baseline_everything_is_new_and_nothing_fails() -> None:
    found = judge(RUN, None)
    assert set(words(found).values()) == {"NEW"}
    assert len(found) == 8
    assert found["sdpa latency"].reason == because("no-accepted-run", device="a box")
    assert not any(fails(verdict, strict=False) for verdict in found.values())
    assert all(fails(verdict, strict=True) for verdict in found.values())


def test_a_broken_stage_needs_no_baseline_to_fail() -> None:
    verdict = judge(tonight(fingerprint=FACTS | {"breaks": 1}), None)["sdpa fingerprint"]
    assert verdict.word == "CHANGED"
    assert fails(verdict, strict=False)


@pytest.mark.parametrize("fact", ["machine", "processor", "instructions", "boot", "allocator"])
def test_a_machine_that_differs_is_named_and_changes_no_number(fact: str) -> None:
    differs = because("machine-differs", fact=fact)
    slow = replace(tonight(samples=timed(1.4)), environment=ENVIRONMENT | {fact: "26/2/1"})
    there = replace(ACCEPTED, run=replace(RUN, environment=ENVIRONMENT | {fact: "25/17/1"}))
    same = replace(ACCEPTED, run=replace(RUN, environment=ENVIRONMENT | {fact: "26/2/1"}))
    here, elsewhere = judge(slow, same)["sdpa latency"], judge(slow, there)["sdpa latency"]
    assert (here.word, here.estimate) == (elsewhere.word, elsewhere.estimate)
    assert differs not in here.notes
    assert differs in elsewhere.notes
    calm = judge(replace(slow, stages=RUN.stages), there)["sdpa latency"]
    assert differs not in calm.notes, "SAME needs no excuse"


def test_a_part_is_compared_with_the_machine_of_its_own_acceptance() -> None:
    here = replace(tonight(samples=timed(1.4)), environment=ENVIRONMENT | {"boot": "tuesday"})
    parts = (BF16, replace(SDPA, origin="b.json", where={"boot": "tuesday"}))
    there = replace(ACCEPTED, run=replace(RUN, environment=ENVIRONMENT | {"boot": "monday"}, stages=parts))
    assert "last reboot" not in said(judge(here, there)["sdpa latency"])
    whole = replace(there, run=replace(there.run, stages=RUN.stages))
    assert "last reboot" in said(judge(here, whole)["sdpa latency"])


def test_another_device_is_never_compared() -> None:
    found = judge(tonight(samples=timed(9.0)), replace(ACCEPTED, run=replace(RUN, device=OTHER)))
    assert set(words(found).values()) == {"NEW"}
    assert found["sdpa latency"].reason.code == "accepted-elsewhere"


def test_what_was_asked_for_and_is_not_there_is_missing() -> None:
    found = judge(replace(RUN, expected=("m-bf16", "m-sdpa", "m-int8")))
    assert words(found) == {"int8 stage": "MISSING"}
    assert found["int8 stage"].reason.code == "not-measured"
    assert typed(found["int8 stage"]) == "pytest perf_tests --benchmark-compare -k m-int8"
    narrowed = replace(RUN, expected=("m-bf16",), stages=(BF16,))
    assert words(judge(narrowed)) == {}, "what was not asked for is not missing"


SKIPPED = Trial("m", "int8", "sdpa", request=SDPA.request, state="skipped", reason="emulated here")
WITHOUT = replace(RUN, expected=("m-bf16", "m-sdpa", "m-int8"), stages=(*RUN.stages, SKIPPED))


def test_what_is_not_possible_here_is_missing_until_that_is_accepted() -> None:
    found = judge(WITHOUT)
    assert words(found) == {"int8 stage": "MISSING"}
    assert said(found["int8 stage"]) == "m-int8 was skipped: emulated here"
    assert typed(found["int8 stage"]) == 'fastdiff accept {run} --stage m-int8 --reason "..."', (
        "beside what is accepted"
    )
    assert typed(judge(WITHOUT, None)["int8 stage"]) == 'fastdiff accept {run} --reason "..."', "with the rest"
    alone = replace(WITHOUT, expected=("m-int8",), stages=(SKIPPED,))
    assert typed(judge(alone, None)["int8 stage"]) == LOOK + "int8 --fastdiff-emulate", "nothing was measured to accept"
    nowhere = replace(alone, stages=(replace(SKIPPED, reason="not possible here"),))
    assert typed(judge(nowhere, None)["int8 stage"]) == ""
    assert words(judge(WITHOUT, replace(ACCEPTED, run=WITHOUT))) == {}
    for another in (replace(SKIPPED, reason="not possible here"), replace(SKIPPED, state="failed")):
        changed = replace(WITHOUT, stages=(*RUN.stages, another))
        assert words(judge(changed, replace(ACCEPTED, run=WITHOUT))) == {"int8 stage": "MISSING"}


def test_what_was_measured_and_is_skipped_now_is_to_be_measured_and_not_accepted() -> None:
    whole = replace(WITHOUT, stages=(*RUN.stages, stage("int8", "sdpa", 0.9)))
    found = judge(WITHOUT, replace(ACCEPTED, run=whole))
    assert words(found) == {"int8 stage": "MISSING"}
    assert typed(found["int8 stage"]) == LOOK + "int8 --fastdiff-emulate", "or it would be skipped again"


def test_a_stage_that_was_accepted_as_impossible_is_new_once_it_is_there() -> None:
    whole = replace(WITHOUT, stages=(*RUN.stages, stage("int8", "sdpa", 0.9)))
    found = words(judge(whole, replace(ACCEPTED, run=WITHOUT)))
    assert found == {f"int8 {metric}": "NEW" for metric in ("fingerprint", "latency", "first_call", "memory")}


# -- versions and failing ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("library", "excused"), [("torch", True), ("triton", True), ("numpy", False)])
def test_other_versions_excuse_other_facts(library: str, excused: bool) -> None:
    versions = {**ENVIRONMENT["versions"], library: "9.9"}
    run = replace(tonight(fingerprint=FACTS | {"flops": 1001}), environment={"versions": versions})
    verdict = judge(run)["sdpa fingerprint"]
    assert verdict.word == "CHANGED"
    assert fails(verdict, strict=False) != excused
    assert fails(verdict, strict=True)
    assert (f"{library}: {ENVIRONMENT['versions'].get(library, 'nothing')} -> 9.9" in said(verdict)) == excused


def test_other_versions_excuse_no_graph_break() -> None:
    run = replace(tonight(fingerprint=FACTS | {"breaks": 1}), environment={"versions": {"torch": "9.9"}})
    assert fails(judge(run)["sdpa fingerprint"], strict=False)


INDEX = "--extra-index-url=https://download.pytorch.org/whl/"


@pytest.mark.parametrize(
    ("before", "now", "against"),
    [
        ({"torch": "2.12.1"}, {"torch": "2.13.0"}, "torch==2.12.1"),
        (
            {"torch": "2.12.1+cu130", "triton": "3.6"},
            {"torch": "2.13.0+cu130", "triton": "3.7"},
            f"'torch==2.12.1+cu130 {INDEX}cu130'",
        ),
        ({"torch": "2.13.0+cpu"}, {"torch": "2.13.0+cu130"}, f"'torch==2.13.0+cpu {INDEX}cpu'"),
        ({"torch": "2.12.1", "diffusers": "0.40.0"}, {"torch": "2.13.0"}, "'torch==2.12.1 diffusers==0.40.0'"),
        ({"torch": "2.14.0.dev20261101", "diffusers": "0.40.0"}, {"torch": "2.13.0"}, ""),
        ({"torch": "2.14.0a0+gitabc"}, {"torch": "2.13.0"}, ""),
        ({"torch": "2.12.1+mine"}, {"torch": "2.13.0"}, ""),
        ({"numpy": "2.3"}, {}, ""),
    ],
    ids=["one", "local version", "another build", "two", "a nightly", "from source", "his own", "no structural one"],
)
def test_slow_with_other_libraries_is_told_from_the_machine_by_pairs(
    before: dict[str, str], now: dict[str, str], against: str
) -> None:
    versions = ENVIRONMENT["versions"]
    base = replace(ACCEPTED, run=replace(ACCEPTED.run, environment={"versions": versions | before}))
    run = replace(tonight(samples=timed(1.5)), environment={"versions": versions | now})
    found = judge(run, base)["sdpa latency"]
    pairs = f"pytest perf_tests --fastdiff-model m --fastdiff-stage sdpa --fastdiff-against {against}"
    assert typed(found) == (pairs if against else LOOK + "sdpa")
    calm = replace(run, stages=(BF16, SDPA))
    assert not typed(judge(calm, base)["sdpa latency"])


def test_who_accepted_a_part_did_not_say_beside_which_libraries() -> None:
    part = replace(ACCEPTED, run=replace(ACCEPTED.run, stages=(BF16, replace(SDPA, origin="later.json"))))
    run = replace(tonight(samples=timed(1.5)), environment={"versions": ENVIRONMENT["versions"] | {"torch": "9.9"}})
    assert "against" in typed(judge(run)["sdpa latency"])
    assert typed(judge(run, part)["sdpa latency"]) == LOOK + "sdpa"


def test_a_doubt_wants_pairs_with_what_the_accepted_run_says_of_its_software() -> None:
    other = {"versions": {**ENVIRONMENT["versions"], "torch": "2.99.0"}}
    software = Software("3.11.9")
    without_code = replace(ACCEPTED, run=replace(ACCEPTED.run, software=software))
    known = replace(ACCEPTED, run=replace(ACCEPTED.run, software=replace(software, project=Project("a" * 40, False))))
    for accepted, environment, command in (
        (ACCEPTED, ENVIRONMENT, LOOK + "sdpa"),
        (ACCEPTED, other, "--fastdiff-against torch==2.13.0"),
        (known, other, LOOK + "sdpa --fastdiff-confirm all"),
        (without_code, ENVIRONMENT, LOOK + "sdpa"),  # such pairs would not be measured
    ):
        for seconds, word in ((1.15, "UNSURE"), (1.5, "SLOW")):
            found = judge(replace(tonight(samples=timed(seconds)), environment=environment), accepted)["sdpa latency"]
            assert found.word == word
            assert typed(found).endswith(command)


FAILING = {"SAME": "", "FAST": "strict", "LESS": "strict", "UNSURE": "strict", "VOID": "strict"}
FAILING |= {"MISSING": "strict", "NEW": "strict", "SLOW": "always", "MORE": "always", "CHANGED": "always"}


@pytest.mark.parametrize(("word", "when"), FAILING.items())
def test_which_words_fail(word: str, when: str) -> None:
    assert fails(Verdict(word, because("not-measured")), strict=True) == (when != "")
    assert fails(Verdict(word, because("not-measured")), strict=False) == (when == "always")


# -- the explanation --------------------------------------------------------------------------------------------------


def test_a_slow_verdict_says_where_and_what_else_changed() -> None:
    slower = replace(SDPA.components, decode_s=0.22, rest_s=0.45)  # type: ignore[type-var]
    run = replace(
        tonight(samples=timed(1.5), components=slower, first_call_s=2.4, fingerprint=FACTS | {"flops": 1001}),
        environment={"versions": {**ENVIRONMENT["versions"], "numpy": "2.5"}},
    )
    verdict = judge(run)["sdpa latency"]
    assert said(verdict).endswith("; rest 0.03 s -> 0.45 s: 86 % of the growth")
    assert causes(verdict) == (
        "rest 0.03 s -> 0.45 s: 86 % of the growth",
        "decode 0.15 s -> 0.22 s: 14 % of the growth",
        "steady state 1 s -> 1.5 s, first call 2 s -> 2.4 s",
        "fingerprint: flops: 1000 -> 1001",
        "versions: numpy: 2.4 -> 2.5",
    )


def test_the_median_step_stands_for_all_steps() -> None:
    slower = replace(SDPA.components, steps_s=(0.12,) * 9 + (9.0,))  # type: ignore[type-var]
    reason = said(judge(tonight(samples=timed(1.5), components=slower))["sdpa latency"])
    assert reason.endswith("denoising 0.8 s -> 1.2 s: 100 % of the growth")


def test_a_gpus_verdict_tells_host_from_device() -> None:
    def on_gpu(wall: float) -> tuple[Sample, ...]:
        return tuple(replace(one, device_s=0.8) for one in timed(wall))

    accepted = replace(ACCEPTED, run=tonight(samples=on_gpu(1.0)), noise=None)
    verdict = judge(tonight(samples=on_gpu(1.9)), accepted)["sdpa latency"]
    assert "GPU work 0.8 s -> 0.8 s, host gap 0.2 s -> 1.1 s" in causes(verdict)


def test_a_judgement_is_ready_for_json() -> None:
    slow = tonight(samples=timed(1.5))
    for one in judge_run(slow, ACCEPTED, lambda model, stage: POLICY):
        written = one.as_dict()
        assert json.loads(json.dumps(written, allow_nan=False)) == written
        assert (written["stage"], written["metric"], written["word"]) == (one.stage, one.metric, one.verdict.word)
    assert Judgement("m-a", "stage", Verdict("MISSING", because("not-measured", id="a"))).as_dict()["estimate"] is None
