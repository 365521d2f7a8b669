"""The gate as tables: what differs between a run and its baseline, and the verdict, sentence and command it gets."""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fastdiff.judge import noise, policy
from fastdiff.judge.gate import Judgement, comparisons_of, judge_run
from fastdiff.judge.looks import Looks
from fastdiff.judge.verdicts import Verdict, fails
from fastdiff.record import files
from fastdiff.record.run import Acceptance, Baseline, Components, Device, Memory, Round, Run, StageRecord

BOX, OTHER = Device("box", "cpu", "a box"), Device("other", "cpu", "another box")
ENVIRONMENT = {"versions": {"torch": "2.13.0", "diffusers": "0.42.1", "numpy": "2.4"}}
FACTS = {"flops": 1000, "breaks": 0, "recompiles": 0, "kernels": ["flash x 32", "gemm x 4"]}
ACCEPT = 'fastdiff accept {run} --reason "..."'
LOOK = "pytest perf_tests --benchmark-compare --fastdiff-model m --fastdiff-stage "
CANARY_S = 0.1


def timed(seconds: float, *, canary: float | None = CANARY_S, void: int = 0) -> tuple[Round, ...]:
    wobbles = (0.98, 0.99, 1.0, 1.0, 1.0, 1.01, 1.02)
    return tuple(Round(seconds * w, canary, void="steal 30 %" if n < void else "") for n, w in enumerate(wobbles))


def stage(name: str, follows: str | None, seconds: float) -> StageRecord:
    return StageRecord(
        "m",
        name,
        follows,
        recipe={"dtype": "bfloat16", "compile": {"flags": ("a", "b")}},
        request={"steps": 8, "size": 256},
        state="measured",
        first_call_s=2.0,
        cache="cold",
        rounds=timed(seconds),
        components=Components(0.02 * seconds, (0.08 * seconds,) * 10, 0.15 * seconds, 0.03 * seconds),
        memory=Memory(20_000_000, "denoising"),
        fingerprint=FACTS,
    )


BF16, SDPA = stage("bf16", None, 1.4), stage("sdpa", "bf16", 1.0)
RUN = Run(BOX, "tonight", ENVIRONMENT, "product", ("m-bf16", "m-sdpa"), (BF16, SDPA), complete=True)


def nights(run: Run, count: int = 10) -> list[Run]:
    """Runs that differ by 2.8 % in seconds, by 2 % beside the canary."""
    scatter = random.Random(7)

    def again(record: StageRecord, machine: float) -> StageRecord:
        own = math.exp(scatter.gauss(0, 0.02))
        rounds = tuple(replace(r, wall_s=r.wall_s * own * machine, canary_s=CANARY_S * machine) for r in record.rounds)
        return replace(record, rounds=rounds, first_call_s=2.0 * own)

    found = []
    for night in range(count):
        machine = math.exp(scatter.gauss(0, 0.02))
        found.append(replace(run, started=f"{night}", stages=tuple(again(one, machine) for one in run.stages)))
    return found


ACCEPTED = Baseline(RUN, Acceptance("me", "then", "first", "run.json"), noise.measured(nights(RUN)))


def tonight(run: Run = RUN, **changes: Any) -> Run:
    """The run with the stage sdpa changed."""
    return replace(run, stages=(BF16, replace(SDPA, **changes)))


def judge(run: Run, baseline: Baseline | None = ACCEPTED, **more: Any) -> dict[str, Verdict]:
    """Verdicts by `stage metric`."""
    judged = judge_run(run, baseline, lambda model, stage: policy.CPU, **more)
    found = {f"{one.stage.removeprefix('m-')} {one.metric}": one.verdict for one in judged}
    assert len(found) == len(judged)
    return found


def words(verdicts: dict[str, Verdict]) -> dict[str, str]:
    """Without what is the same."""
    return {name: verdict.word for name, verdict in verdicts.items() if verdict.word != "SAME"}


def test_a_clean_run_is_the_same_in_everything() -> None:
    found = judge(tonight())
    assert words(found) == {}
    metrics = ("fingerprint", "latency", "first_call", "memory")
    assert set(found) == {"sdpa ladder", *(f"{name} {metric}" for name in ("bf16", "sdpa") for metric in metrics)}
    assert not any(fails(verdict, strict=True) or verdict.next for verdict in found.values())


# -- one change, one table line: what it is, the verdicts, a part of the first one's sentence, its command ------------

FAULTS: dict[str, tuple[dict[str, Any], dict[str, str], str, str]] = {
    "slower by 50 %": (
        {"rounds": timed(1.5)},
        {"latency": "SLOW", "ladder": "SLOW"},
        "is beyond the band of ±15 % (in the canary's unit; +49.9 % in seconds)",
        LOOK + "sdpa --fastdiff-trials 4",
    ),
    "slower by 50 % with the machine": ({"rounds": timed(1.5, canary=1.5 * CANARY_S)}, {}, "", ""),
    "faster": ({"rounds": timed(0.6)}, {"latency": "FAST", "ladder": "FAST"}, "accept it, or explain it", ACCEPT),
    "at the edge of the band": (
        {"rounds": timed(1.15)},
        {"latency": "AMBIGUOUS", "ladder": "AMBIGUOUS"},
        "neither surely inside nor surely beyond the band of ±15 %; more than 20 further fresh processes on each side",
        LOOK + "sdpa --fastdiff-trials 4",
    ),
    "four of seven rounds disturbed": (
        {"rounds": timed(1.5, void=4)},
        {"latency": "VOID", "ladder": "VOID"},
        "4 of 7 rounds of m-sdpa were disturbed, mostly: steal 30 %",
        LOOK + "sdpa --fastdiff-trials 4",
    ),
    "three of seven rounds disturbed": ({"rounds": timed(1.0, void=3)}, {}, "", ""),
    "two rounds": (
        {"rounds": timed(1.0)[:2]},
        {"latency": "VOID", "ladder": "VOID"},
        "m-sdpa was timed 2 times; at least 3 rounds are needed",
        LOOK,
    ),
    "first call": (
        {"first_call_s": 12.0},
        {"first_call": "SLOW"},
        "is beyond the band of a factor of 2.5 (2 s -> 12 s, compile cache cold)",
        "pytest perf_tests --benchmark-compare --fastdiff-model m",
    ),
    "memory": (
        {"memory": Memory(24_000_000, "decode")},
        {"memory": "MORE"},
        "needs 20.0 % more memory (20.00 MB -> 24.00 MB, peak in decode, before in denoising); the band is ±1 %",
        LOOK,
    ),
    "less memory": ({"memory": Memory(19_000_000, "denoising")}, {"memory": "LESS"}, "needs 5.0 % less", ACCEPT),
    "a little memory": ({"memory": Memory(20_100_000, "denoising")}, {}, "", ""),
    "memory measured otherwise": (
        {"memory": Memory(20_000_000, "denoising", measure="cuda allocator")},
        {"memory": "NEW"},
        "the accepted run has no memory measured as cuda allocator",
        ACCEPT,
    ),
    "facts": (
        {"fingerprint": {**FACTS, "flops": 1001, "kernels": ["math x 32", "gemm x 4"]}},
        {"fingerprint": "CHANGED"},
        "flops: 1000 -> 1001, kernels: flash x 32 -> math x 32, with the same versions of the libraries",
        ACCEPT,
    ),
    "a fact more, a fact less": (
        {"fingerprint": {"graphs": 0, "breaks": 0, "recompiles": 0, "kernels": ("flash x 32", "gemm x 4")}},
        {"fingerprint": "CHANGED"},
        "flops: 1000 -> nothing, graphs: nothing -> 0, with",
        ACCEPT,
    ),
    "many facts": (
        {"fingerprint": FACTS | {f"fact{n}": 1 for n in range(7)}},
        {"fingerprint": "CHANGED"},
        "fact4: nothing -> 1 and 2 more, with",
        ACCEPT,
    ),
    "graph break": (
        {"fingerprint": FACTS | {"breaks": 2, "break_reasons": ["print", "item"]}},
        {"fingerprint": "CHANGED"},
        "m-sdpa is broken: the graph broke 2 times (print; item)",
        LOOK,
    ),
    "recompile": (
        {"fingerprint": FACTS | {"recompiles": 1}},
        {"fingerprint": "CHANGED"},
        "m-sdpa is broken: 1 graphs were compiled after the first call",
        LOOK,
    ),
    "unapplied": (
        {"unapplied": ("quantize: no layer.",), "fingerprint": {}},
        {"fingerprint": "CHANGED"},
        "m-sdpa is broken: quantize: no layer.",
        LOOK,
    ),
    "another request": (
        {"request": {"steps": 4, "size": 256}, "rounds": timed(9.0)},
        {"fingerprint": "NEW", "latency": "NEW", "first_call": "NEW", "memory": "NEW"},
        "the request is not the accepted one (steps: 8 -> 4)",
        ACCEPT,
    ),
    "another recipe": (
        {"recipe": {"dtype": "bfloat16", "compile": {"flags": ["a"]}}},
        {"fingerprint": "NEW", "latency": "NEW", "first_call": "NEW", "memory": "NEW"},
        "the recipe is not the accepted one (compile.flags: b -> nothing)",
        ACCEPT,
    ),
    "failed": (
        {"state": "failed", "reason": "out of memory", "rounds": ()},
        {"stage": "MISSING"},
        "m-sdpa is failed: out of memory",
        "pytest perf_tests --benchmark-compare --fastdiff-model m --fastdiff-stage sdpa",
    ),
    "not timed": ({"rounds": ()}, {"stage": "MISSING"}, "m-sdpa was not timed", "pytest perf_tests"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_change_of_one_stage(fault: str) -> None:
    changes, expected, sentence, command = FAULTS[fault]
    found = judge(tonight(**changes))
    assert words(found) == {f"sdpa {metric}": word for metric, word in expected.items()}
    for metric in [*expected][:1]:
        assert sentence in found[f"sdpa {metric}"].reason
        if sentence:
            assert found[f"sdpa {metric}"].next.startswith(command)


def test_every_verdict_that_is_not_same_has_a_command() -> None:
    for changes, *_ in FAULTS.values():
        for baseline in (ACCEPTED, None):
            for verdict in judge(tonight(**changes), baseline).values():
                assert bool(verdict.next) == (verdict.word != "SAME")


def test_a_file_of_json_changes_nothing() -> None:
    """There tuples have become lists."""
    plain = [replace(one, recipe=json.loads(json.dumps(one.recipe))) for one in RUN.stages]
    assert words(judge(RUN, replace(ACCEPTED, run=replace(RUN, stages=tuple(plain))))) == {}


# -- latency ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("canary", "of_round"), [("another product", CANARY_S), ("", CANARY_S), ("product", None)], ids=str
)
def test_without_the_same_canary_seconds_are_compared(canary: str, of_round: float | None) -> None:
    run = replace(tonight(rounds=timed(3.0, canary=of_round)), canary=canary)
    verdict = judge(run)["sdpa latency"]
    assert verdict.word == "SLOW"
    assert "(in seconds)" in verdict.reason
    # The canary says that the machine is slower as well, and nobody listens to it.
    along = replace(tonight(rounds=timed(3.0, canary=3 * CANARY_S)), canary=canary)
    assert (judge(along)["sdpa latency"].word == "SLOW") == (canary != "product")


def clocked(seconds: float, mhz: float) -> tuple[Round, ...]:
    return tuple(replace(one, canary_s=None, telemetry={"sm_clock_mhz": mhz}) for one in timed(seconds))


@pytest.mark.parametrize(
    ("seconds", "mhz", "word"),
    [
        (1.0, 1980.0, "SAME"),
        (1.5, 1320.0, "SAME"),  # the clock fell by a third, and nothing else did
        (1.5, 1980.0, "SLOW"),
        (1.0, 1320.0, "FAST"),  # the same time at a lower clock is less work
    ],
)
def test_on_a_gpu_the_clock_that_each_round_had_is_the_unit(seconds: float, mhz: float, word: str) -> None:
    """What the canary is on a CPU."""
    gpu = Device("gpu", "cuda", "GPU")
    known = replace(RUN, device=gpu, canary="", stages=(replace(SDPA, follows=None, rounds=clocked(1.0, 1980.0)),))
    accepted = Baseline(known, ACCEPTED.acceptance)
    run = replace(known, stages=(replace(known.stages[0], rounds=clocked(seconds, mhz)),), expected=("m-sdpa",))
    verdict = judge(run, accepted)["sdpa latency"]
    assert verdict.word == word, verdict.reason
    assert f"(in cycles of the GPU's clock; {100 * (seconds - 1):+.1f} % in seconds)" in verdict.reason


def test_a_round_without_its_clock_makes_it_seconds() -> None:
    gpu = Device("gpu", "cuda", "GPU")
    known = replace(RUN, device=gpu, canary="", stages=(replace(SDPA, follows=None, rounds=clocked(1.0, 1980.0)),))
    unknown = (*clocked(1.5, 1320.0)[:6], Round(1.5))
    run = replace(known, stages=(replace(known.stages[0], rounds=unknown),), expected=("m-sdpa",))
    verdict = judge(run, Baseline(known, ACCEPTED.acceptance))["sdpa latency"]
    assert (verdict.word, "(in seconds)" in verdict.reason) == ("SLOW", True)


def test_the_noise_of_a_gpu_is_measured_in_cycles() -> None:
    gpu = Device("gpu", "cuda", "GPU")

    def night(number: int) -> Run:
        """Clocks that differ by ten per cent, and work that does not."""
        mhz = 1800.0 + 100 * number
        return replace(
            RUN, device=gpu, canary="", started=str(number),
            stages=(replace(SDPA, follows=None, rounds=clocked(1800.0 / mhz, mhz)),), expected=("m-sdpa",),
        )  # fmt: skip

    found = noise.measured([night(number) for number in range(3)])
    assert found.latency_sd == pytest.approx(0, abs=1e-9)
    assert found.latency_raw_sd > 0.04
    assert set(found.centres) == {"m-sdpa"}


def test_the_accepted_trials_count_not_the_accepted_run_alone() -> None:
    lucky = replace(ACCEPTED, run=tonight(rounds=timed(0.5)))
    assert judge(RUN, lucky)["sdpa latency"].word == "SAME"
    assert ACCEPTED.noise is not None
    alone = replace(lucky, noise=replace(ACCEPTED.noise, centres={}, raw_centres={}))
    assert judge(RUN, alone)["sdpa latency"].word == "SLOW"


def test_declared_noise_is_named_where_it_is_too_wide() -> None:
    verdict = judge(tonight(rounds=timed(1.12)), replace(ACCEPTED, noise=None))["sdpa latency"]
    assert verdict.word == "AMBIGUOUS"
    assert "the noise is declared, not measured on this machine" in verdict.reason
    assert "declared" not in judge(tonight(rounds=timed(1.15)))["sdpa latency"].reason


def test_more_stages_need_a_clearer_case() -> None:
    run = tonight(rounds=timed(1.24))
    assert judge(run)["sdpa latency"].word == "SLOW"
    crowd = replace(run, expected=tuple(f"m-{n}" for n in range(300)))
    assert judge(crowd)["sdpa latency"].word == "AMBIGUOUS"
    assert comparisons_of(6) == 18


def test_first_calls_of_other_cache_states_are_not_compared() -> None:
    assert "sdpa first_call" not in judge(tonight(cache="warm", first_call_s=0.01))


def test_who_opens_a_process_is_not_compared_with_who_comes_later() -> None:
    def judged(before: tuple[str, ...] | None, now: tuple[str, ...]) -> str:
        old, new = (tonight(opening=opening, first_call_s=s) for opening, s in ((before, 2.0), (now, 12.0)))
        found = judge(new, replace(ACCEPTED, run=old)).get("sdpa first_call")
        return found.word if found else ""

    opened, later, both = ("compile",), (), ("compile", "compute")
    assert judged(opened, opened) == judged(later, later) == "SLOW"
    assert judged(later, opened) == judged(opened, later) == judged(both, opened) == ""
    assert judged(None, opened) == "SLOW", "an older file does not say it"


def test_a_busy_evening_is_no_slow_first_call() -> None:
    """Really measured: two evenings of one shared machine, the second baseline of this repository and the third."""
    folder = Path(__file__).parent.parent / "baselines" / "amd-epyc-2-cores-avx512"
    busy, quiet = (files.read_baseline(folder / f"{number}_shapes.json") for number in ("0002", "0003"))
    for noise_of in (quiet.noise, None):
        found = judge_run(busy.run, replace(quiet, noise=noise_of), lambda model, stage: policy.CPU)
        words = {one.stage: one.verdict.word for one in found if one.metric == "first_call"}
        assert len(words) == 6
        assert set(words.values()) <= {"SAME", "AMBIGUOUS"}


def beside(*canaries: float, slower: float = 1.3) -> Verdict:
    """`slower` in the canary's unit, in as many processes, each beside a canary that takes so much longer."""
    looks = [timed(slower * canary, canary=canary * CANARY_S) for canary in canaries]
    run = tonight(rounds=looks[0], further_rounds=tuple(looks[1:]))
    return judge(run, looks=Looks(4))["sdpa latency"]


def test_an_alarm_must_be_clear_of_what_a_mood_explains() -> None:
    same = (1.02, 0.98, 1.0, 1.01, 0.99)
    busy, quiet = [1.4 * one for one in same], [one / 1.4 for one in same]
    assert beside(*same, slower=1.2).word == beside(*busy, slower=1.35).word == "SLOW"
    assert beside(*same, slower=1 / 1.2).word == beside(*quiet, slower=1 / 1.35).word == "FAST"
    told = beside(*busy, slower=1.2)
    assert told.word == "AMBIGUOUS"
    assert (
        "is beyond the band of ±15 %, but the canary takes 40 % more time than when the run was accepted: the machine "
        "is in another mood, which may explain +3 %; measure again at another hour" in told.reason
    )
    assert told.next.startswith(LOOK + "sdpa --fastdiff-trials 4")
    assert told.details, "where the time went tells a mood from a cause"
    doubtful = beside(*busy, slower=1.145)
    assert doubtful.word == "AMBIGUOUS"
    assert "would settle it" in doubtful.reason, "whose interval is too wide anyway"
    for slower in (1.18, 1 / 1.18):
        between = beside(1.4 ** (-1 if slower > 1 else 1), slower=slower)
        assert between.word == "AMBIGUOUS"
        assert "would settle it" not in between.reason, "more processes of this hour end where it is"
        assert "neither surely inside nor surely beyond the band of ±15 %; the canary takes " in between.reason


def test_a_mood_explains_more_where_the_canary_overdoes_it() -> None:
    """A canary that was slowed down more than the call makes it look faster, and one that recovered more, slower."""
    same = (1.02, 0.98, 1.0, 1.01, 0.99)
    busy, quiet = [1.4 * one for one in same], [one / 1.4 for one in same]
    assert (beside(*quiet, slower=1.27).word, beside(*busy, slower=1.33).word) == ("AMBIGUOUS", "SLOW")
    assert (beside(*busy, slower=1 / 1.27).word, beside(*quiet, slower=1 / 1.33).word) == ("AMBIGUOUS", "FAST")
    assert "accept it, or explain it" not in beside(*busy, slower=1 / 1.27).reason
    low, high = noise.explained(-0.1)
    assert (low, high) == pytest.approx((-0.01, 0.03))
    assert noise.explained(0.0) == (0.0, 0.0)


def test_another_mood_takes_no_evidence_away_that_all_is_well() -> None:
    assert beside(*[1.2] * 5, slower=1.0).word == "SAME"


def test_a_mood_is_none_that_chance_explains() -> None:
    accepted = [0.1 * math.sin(n) for n in range(20)]
    assert noise.canary_shift([0.1], accepted) == 0.0
    assert noise.canary_shift([0.1] * 5, accepted) == pytest.approx(0.1, abs=0.02)
    assert noise.canary_shift([0.15], [0.0]) == 0.0, "one accepted process says little of how canaries scatter"
    assert noise.canary_shift([0.4], [0.0]) == pytest.approx(0.4)


# -- the ladder -------------------------------------------------------------------------------------------------------


def test_a_lost_gain_is_told_as_one() -> None:
    verdict = judge(tonight(rounds=timed(1.37)))["sdpa ladder"]
    assert verdict.word == "SLOW"
    assert verdict.reason.startswith("sdpa used to pay 1.40x over bf16 and now pays 1.02x (in the canary's unit): +37.")
    assert verdict.next == LOOK + "bf16,sdpa", "a second look is one at latencies"


def test_the_ladder_needs_no_canary_and_no_equal_speed() -> None:
    slower = tuple(replace(one, rounds=timed(3 * one.rounds[3].wall_s, canary=None)) for one in RUN.stages)
    assert judge(replace(RUN, stages=slower))["sdpa ladder"].word == "SAME"


def test_a_ladder_in_seconds_compares_with_one_of_canaries() -> None:
    """A ratio has no unit."""
    bare = tuple(replace(one, rounds=tuple(replace(r, canary_s=None) for r in one.rounds)) for one in RUN.stages)
    verdict = judge(replace(RUN, stages=bare))["sdpa ladder"]
    assert verdict.word == "SAME"
    assert "now pays 1.40x: " in verdict.reason


def test_without_the_stage_before_there_is_no_ladder() -> None:
    alone = replace(RUN, stages=(SDPA,), expected=("m-sdpa",))
    assert "sdpa ladder" not in judge(alone)
    assert words(judge(alone)) == {}


def test_parts_of_different_runs_have_no_accepted_gain() -> None:
    parts = (BF16, replace(SDPA, origin="later.json"))
    verdict = judge(RUN, replace(ACCEPTED, run=replace(RUN, stages=parts)))["sdpa ladder"]
    assert (verdict.word, verdict.reason) == ("NEW", "the accepted bf16 and sdpa come from different runs")


ELSEWHERE = replace(ACCEPTED, run=replace(RUN, device=OTHER))


def test_another_machines_ladder_raises_a_question_at_most() -> None:
    verdict = judge(tonight(rounds=timed(9.0)), None, elsewhere=[ELSEWHERE])["sdpa ladder"]
    assert verdict.word == "AMBIGUOUS"
    assert "used to pay 1.40x over bf16 on another box and pays 0.16x here" in verdict.reason
    assert not fails(verdict, strict=False)
    assert judge(tonight(rounds=timed(1.37)), None, elsewhere=[ELSEWHERE])["sdpa ladder"].word == "NEW"
    assert judge(tonight(rounds=timed(9.0)), ACCEPTED, elsewhere=[ELSEWHERE])["sdpa ladder"].word == "SLOW"


def test_of_other_machines_the_first_that_climbed_the_same_ladder_is_asked() -> None:
    """The newest may be one without bfloat16, which climbed in float32."""
    others = tuple(replace(one, recipe=one.recipe | {"dtype": "float32"}) for one in RUN.stages)
    elsehow = replace(ELSEWHERE, run=replace(ELSEWHERE.run, stages=others, device=Device("a third", "cpu", "third")))
    verdict = judge(tonight(rounds=timed(9.0)), None, elsewhere=[elsehow, ELSEWHERE])["sdpa ladder"]
    assert "over bf16 on another box" in verdict.reason
    assert "sdpa ladder" not in judge(tonight(rounds=timed(9.0)), None, elsewhere=[elsehow])


# -- without a baseline -----------------------------------------------------------------------------------------------


def test_without_a_baseline_everything_is_new_and_nothing_fails() -> None:
    found = judge(RUN, None)
    assert set(words(found).values()) == {"NEW"}
    assert len(found) == 8
    assert found["sdpa latency"].reason == "no run of a box was accepted yet"
    assert not any(fails(verdict, strict=False) for verdict in found.values())
    assert all(fails(verdict, strict=True) for verdict in found.values())


def test_a_broken_stage_needs_no_baseline_to_fail() -> None:
    verdict = judge(tonight(fingerprint=FACTS | {"breaks": 1}), None)["sdpa fingerprint"]
    assert verdict.word == "CHANGED"
    assert fails(verdict, strict=False)


def test_another_machine_of_the_model_needs_a_clearer_case() -> None:
    """Its folder is the same one, and 40 % is nothing that two machines could not differ by."""
    slow = tonight(rounds=timed(1.4))
    assert judge(slow)["sdpa latency"].word == "SLOW"
    here = replace(slow, environment=ENVIRONMENT | {"machine": "b"})
    there = replace(ACCEPTED, run=replace(RUN, environment=ENVIRONMENT | {"machine": "a"}))
    verdict = judge(here, there)["sdpa latency"]
    assert verdict.word == "AMBIGUOUS"
    assert "another machine of this model" in verdict.reason
    same = replace(there, run=replace(RUN, environment=ENVIRONMENT | {"machine": "b"}))
    assert judge(here, same)["sdpa latency"].word == "SLOW"
    assert judge(here)["sdpa latency"].word == "SLOW", "where nobody knows, it is the same one"


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("machine", "another machine"),
        ("processor", "another machine"),
        ("instructions", "other instructions"),
        ("boot", "perhaps on another host"),
        ("allocator", "something else with freed memory"),
    ],
)
def test_two_machines_that_share_a_name(what: str, told: str) -> None:
    """Two processors of one brand; a virtual machine that was started anew; the same one with another allocator."""
    slow = replace(tonight(rounds=timed(1.4)), environment=ENVIRONMENT | {what: "26/2/1"})
    there = replace(ACCEPTED, run=replace(RUN, environment=ENVIRONMENT | {what: "25/17/1"}))
    verdict = judge(slow, there)["sdpa latency"]
    assert verdict.word == "AMBIGUOUS"
    assert told in verdict.reason
    assert verdict.next == ACCEPT


def test_a_part_is_compared_with_the_machine_of_its_own_acceptance() -> None:
    here = replace(tonight(rounds=timed(1.4)), environment=ENVIRONMENT | {"boot": "tuesday"})
    parts = (BF16, replace(SDPA, origin="b.json", where={"boot": "tuesday"}))
    there = replace(ACCEPTED, run=replace(RUN, environment=ENVIRONMENT | {"boot": "monday"}, stages=parts))
    found = judge(here, there)
    assert found["sdpa latency"].word == "SLOW"
    assert judge(here, replace(there, run=replace(there.run, stages=RUN.stages)))["sdpa latency"].word == "AMBIGUOUS"


def test_seconds_beside_another_canary_need_a_clearer_case() -> None:
    """Who changes NumPy loses the yardstick; the machine may be in another mood than when it was accepted."""
    slow = replace(tonight(rounds=timed(1.4)), canary="another product")
    verdict = judge(slow)["sdpa latency"]
    assert verdict.word == "AMBIGUOUS"
    assert "in seconds" in verdict.reason
    assert "says little, because the accepted run was timed beside another canary: accept a new one" in verdict.reason
    assert judge(replace(slow, stages=tonight(rounds=timed(3.0)).stages))["sdpa latency"].word == "SLOW"
    lost = replace(tonight(rounds=timed(1.37)), canary="another product")
    assert judge(lost)["sdpa ladder"].word == "SLOW", "two stages of one process need no canary"


def test_another_device_is_never_compared() -> None:
    found = judge(tonight(rounds=timed(9.0)), ELSEWHERE)
    assert set(words(found).values()) == {"NEW"}
    assert found["sdpa latency"].reason == "the accepted run is of another box, this one of a box"


def test_what_was_asked_for_and_is_not_there_is_missing() -> None:
    found = judge(replace(RUN, expected=("m-bf16", "m-sdpa", "m-int8")))
    assert words(found) == {"int8 stage": "MISSING"}
    assert found["int8 stage"].reason == "m-int8 was asked for and not measured"
    assert found["int8 stage"].next == "pytest perf_tests --benchmark-compare -k m-int8"
    narrowed = replace(RUN, expected=("m-bf16",), stages=(BF16,))
    assert words(judge(narrowed)) == {}, "what was not asked for is not missing"


SKIPPED = StageRecord("m", "int8", "sdpa", request=SDPA.request, state="skipped", reason="emulated here")
WITHOUT = replace(RUN, expected=("m-bf16", "m-sdpa", "m-int8"), stages=(*RUN.stages, SKIPPED))


def test_what_is_not_possible_here_is_missing_until_that_is_accepted() -> None:
    found = judge(WITHOUT)
    assert words(found) == {"int8 stage": "MISSING"}
    assert found["int8 stage"].reason == "m-int8 is skipped: emulated here"
    assert found["int8 stage"].next == 'fastdiff accept {run} --only m-int8 --reason "..."', "beside what is accepted"
    assert judge(WITHOUT, None)["int8 stage"].next == 'fastdiff accept {run} --reason "..."', "with the rest"
    alone = replace(WITHOUT, expected=("m-int8",), stages=(SKIPPED,))
    assert judge(alone, None)["int8 stage"].next == LOOK + "int8 --fastdiff-emulate", "nothing was measured to accept"
    nowhere = replace(alone, stages=(replace(SKIPPED, reason="not possible here"),))
    assert judge(nowhere, None)["int8 stage"].next == ""
    assert words(judge(WITHOUT, replace(ACCEPTED, run=WITHOUT))) == {}
    for another in (replace(SKIPPED, reason="not possible here"), replace(SKIPPED, state="failed")):
        changed = replace(WITHOUT, stages=(*RUN.stages, another))
        assert words(judge(changed, replace(ACCEPTED, run=WITHOUT))) == {"int8 stage": "MISSING"}


def test_what_was_measured_and_is_skipped_now_is_to_be_measured_and_not_accepted() -> None:
    whole = replace(WITHOUT, stages=(*RUN.stages, stage("int8", "sdpa", 0.9)))
    found = judge(WITHOUT, replace(ACCEPTED, run=whole))
    assert words(found) == {"int8 stage": "MISSING"}
    assert found["int8 stage"].next == LOOK + "int8 --fastdiff-emulate", "or it would be skipped again"


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
    assert (f"{library}: {ENVIRONMENT['versions'].get(library, 'nothing')} -> 9.9" in verdict.reason) == excused


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
    run = replace(tonight(rounds=timed(1.5)), environment={"versions": versions | now})
    found = judge(run, base)["sdpa latency"]
    pairs = f"pytest perf_tests --fastdiff-model m --fastdiff-stage sdpa --fastdiff-against {against}"
    assert found.next == (pairs if against else LOOK + "sdpa --fastdiff-trials 4")
    calm = replace(run, stages=(BF16, SDPA))
    assert not judge(calm, base)["sdpa latency"].next


def test_who_accepted_a_part_did_not_say_beside_which_libraries() -> None:
    part = replace(ACCEPTED, run=replace(ACCEPTED.run, stages=(BF16, replace(SDPA, origin="later.json"))))
    run = replace(tonight(rounds=timed(1.5)), environment={"versions": ENVIRONMENT["versions"] | {"torch": "9.9"}})
    assert "against" in judge(run)["sdpa latency"].next
    assert judge(run, part)["sdpa latency"].next == LOOK + "sdpa --fastdiff-trials 4"


def test_what_a_second_look_confirmed_is_for_a_person_to_decide() -> None:
    found = judge(tonight(rounds=timed(1.5), further_rounds=(timed(1.5),) * 4))["sdpa latency"]
    assert found.word == "SLOW"
    assert found.next == 'fastdiff accept {run} --only m-sdpa --reason "..."'
    put_in = tonight(rounds=timed(1.5), further_rounds=(timed(1.5),) * 4, injected="slow:50%")
    assert judge(put_in)["sdpa latency"].next == LOOK + "sdpa --fastdiff-trials 8", "what is injected is never accepted"


def test_disturbed_processes_of_a_second_look_do_not_count() -> None:
    further = (timed(1.5), timed(9.0, void=4), timed(1.5), timed(9.0, void=7))
    reason = judge(tonight(rounds=timed(1.5), further_rounds=further))["sdpa latency"].reason
    assert "mean of 3 fresh processes: +50.1 %, +50.1 %, +50.1 %; 2 more were disturbed" in reason


def test_only_what_may_have_a_second_look_pays_for_it() -> None:
    once, twice = judge(RUN), judge(RUN, looks=Looks(4, at_doubts=True))
    for name, verdict in once.items():
        wider = verdict.estimate and twice[name].estimate.high > verdict.estimate.high
        assert bool(wider) == name.endswith("latency"), name


def test_a_doubt_that_stays_wants_pairs_or_more_processes() -> None:
    doubtful, further = timed(1.15), (timed(1.15),) * 4
    other = {"versions": {**ENVIRONMENT["versions"], "torch": "2.99.0"}}
    for environment, looks, command in (
        (ENVIRONMENT, (), "--fastdiff-trials 4"),
        (ENVIRONMENT, further, "--fastdiff-trials 8"),
        (other, (), "--fastdiff-trials 4"),
        (other, further, "--fastdiff-against torch==2.13.0"),
    ):
        run = replace(tonight(rounds=doubtful, further_rounds=looks), environment=environment)
        found = judge(run)["sdpa latency"]
        assert found.word == "AMBIGUOUS"
        assert found.next.endswith(command)


FAILING = {"SAME": "", "FAST": "strict", "LESS": "strict", "AMBIGUOUS": "strict", "VOID": "strict"}
FAILING |= {"MISSING": "strict", "NEW": "strict", "SLOW": "always", "MORE": "always", "CHANGED": "always"}


@pytest.mark.parametrize(("word", "when"), FAILING.items())
def test_which_words_fail(word: str, when: str) -> None:
    assert fails(Verdict(word, ""), strict=True) == (when != "")
    assert fails(Verdict(word, ""), strict=False) == (when == "always")


# -- the explanation --------------------------------------------------------------------------------------------------


def test_a_slow_verdict_says_where_and_what_else_changed() -> None:
    slower = replace(SDPA.components, decode_s=0.22, rest_s=0.45)  # type: ignore[type-var]
    run = replace(
        tonight(rounds=timed(1.5), components=slower, first_call_s=2.4, fingerprint=FACTS | {"flops": 1001}),
        environment={"versions": {**ENVIRONMENT["versions"], "numpy": "2.5"}},
    )
    verdict = judge(run)["sdpa latency"]
    assert verdict.reason.endswith("; rest 0.03 s -> 0.45 s: 86 % of the growth")
    assert verdict.details == (
        "rest 0.03 s -> 0.45 s: 86 % of the growth",
        "decode 0.15 s -> 0.22 s: 14 % of the growth",
        "steady state 1 s -> 1.5 s, first call 2 s -> 2.4 s",
        "fingerprint: flops: 1000 -> 1001",
        "versions: numpy: 2.4 -> 2.5",
    )


def test_the_median_step_stands_for_all_steps() -> None:
    slower = replace(SDPA.components, steps_s=(0.12,) * 9 + (9.0,))  # type: ignore[type-var]
    reason = judge(tonight(rounds=timed(1.5), components=slower))["sdpa latency"].reason
    assert reason.endswith("denoising 0.8 s -> 1.2 s: 100 % of the growth")


def test_a_gpus_verdict_tells_host_from_device() -> None:
    def on_gpu(wall: float) -> tuple[Round, ...]:
        return tuple(replace(one, device_s=0.8) for one in timed(wall, canary=None))

    accepted = replace(ACCEPTED, run=tonight(rounds=on_gpu(1.0)), noise=None)
    verdict = judge(tonight(rounds=on_gpu(1.9)), accepted)["sdpa latency"]
    assert "the GPU's work 0.8 s -> 0.8 s, the host gap 0.2 s -> 1.1 s" in verdict.details


def test_a_judgement_is_ready_for_json() -> None:
    slow = tonight(rounds=timed(1.5))
    for one in judge_run(slow, ACCEPTED, lambda model, stage: policy.CPU):
        written = one.as_dict()
        assert json.loads(json.dumps(written, allow_nan=False)) == written
        assert (written["stage"], written["metric"], written["word"]) == (one.stage, one.metric, one.verdict.word)
    assert Judgement("m-a", "stage", Verdict("MISSING", "why")).as_dict()["estimate"] is None
