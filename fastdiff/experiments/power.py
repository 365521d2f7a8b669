"""How often is each rule right? `python -m fastdiff.experiments.power`, one table of false alarms and detections.

Fresh processes measure one stage clean, and slowed down by known amounts. The same samples are given to three rules:
fastdiff's gate (with its second looks, and without), `--benchmark-compare-fail=mean:5%`, and a Mann-Whitney test of
two runs. A second look is given other candidates with the same amount, so what is found in one is found in several.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING

from scipy.stats import mannwhitneyu

from fastdiff.experiments.trial import in_a_fresh_process
from fastdiff.judge import gate
from fastdiff.judge.looks import NO_SECOND_LOOK, TRIALS, Looks
from fastdiff.judge.noise import measured
from fastdiff.judge.policy import default
from fastdiff.judge.verdicts import FAST, SAME, SLOW, Verdict
from fastdiff.measure.canary import identity
from fastdiff.measure.environment import device_kind, device_name, device_slug, environment
from fastdiff.record.checks import shaped
from fastdiff.record.run import MEASURED, Acceptance, Baseline, Device, Run, StageRecord

if TYPE_CHECKING:
    from collections.abc import Callable

    Rule = Callable[[list[StageRecord], int], str]

AMOUNTS = (3, 5, 10, 20, 30)
"""Per cent that are put into every call."""
SUITE_STAGES = 6
"""The confidence of the gate is shared by a whole suite, as in `pytest perf_tests`, although one stage is measured."""
SHIPPED = Looks(TRIALS)
"""As in a session whose options say nothing of it."""


@dataclass(frozen=True)
class Trial:
    """The same stage, measured in one fresh process: clean, and with each amount."""

    clean: StageRecord
    faulty: dict[int, StageRecord]


def collect(
    stage: str, rounds: int, baseline: int, candidates: int, injected: int, device: str, keep: Path | None
) -> list[Trial]:
    """First `baseline` clean trials, then `candidates`, of which the first `injected` are slowed down as well.

    What was measured is kept after each, and gone on from.
    """
    found = _kept(keep, stage, rounds)
    while len(found) < baseline + candidates:
        amounts = AMOUNTS if baseline <= len(found) < baseline + injected else ()
        arguments = ["--stage", stage, "--rounds", str(rounds), "--device", device, "--inject", ""]
        for amount in amounts:
            arguments += ["--inject", f"slow:{amount}%"]
        clean, *faulty = in_a_fresh_process(arguments)
        found.append(Trial(clean, dict(zip(amounts, faulty, strict=True))))
        if keep:
            with keep.open("a") as file:
                whole = {"clean": asdict(clean), "faulty": {k: asdict(v) for k, v in found[-1].faulty.items()}}
                file.write(json.dumps(whole) + "\n")
        print(f"trial {len(found)} of {baseline + candidates}", flush=True)
    return found


def _kept(keep: Path | None, stage: str, rounds: int) -> list[Trial]:
    if keep is None or not keep.exists():
        return []
    lines = [json.loads(line) for line in keep.read_text().splitlines()]
    kept = [
        Trial(
            shaped(StageRecord, line["clean"], str(keep)),
            {int(k): shaped(StageRecord, v, str(keep)) for k, v in line["faulty"].items()},
        )
        for line in lines
    ]
    for trial in kept:
        if (trial.clean.stage, len(trial.clean.rounds)) != (stage, rounds):
            raise SystemExit(f"{keep} holds trials of another stage or number of rounds; name another file.")
    return kept


def run_of(record: StageRecord, device: str) -> Run:
    """As if a session of this one stage had measured it."""
    return replace(
        _empty_run(device), expected=(record.id,), stages=(replace(record, state=MEASURED, injected=""),), complete=True
    )


@cache
def _empty_run(device: str) -> Run:
    whose = Device(device_slug(device), device, device_name(device))
    started = datetime.now(UTC).isoformat(timespec="seconds")
    return Run(whose, started, environment=environment(device), canary=identity() if device == "cpu" else "")


def rules(trials: list[Trial], device: str) -> dict[str, Rule]:
    """Each says SLOW, FAST or something else about the record at a place among the candidates' records.

    Whoever looks a second time is given the candidates that come after it: fresh processes with the same amount.
    """
    runs = [run_of(trial.clean, device) for trial in trials]
    noise = measured(runs)
    baseline = Baseline(runs[0], Acceptance("", "", "", ""), noise)
    policy = default(runs[0].device.kind)

    def judged(record: StageRecord, looks: Looks) -> Verdict:
        run = run_of(record, device)
        found = gate.judge_stage(
            run.stages[0],
            None,
            baseline,
            policy,
            gate.comparisons_of(SUITE_STAGES, looks),
            run.device,
            run.canary,
            run.environment,
            looks=looks,
        )
        return next(judgement.verdict for judgement in found if judgement.metric == "latency")

    def first_look(records: list[StageRecord], place: int) -> str:
        return judged(records[place], NO_SECOND_LOOK).word

    def ours(records: list[StageRecord], place: int) -> str:
        verdict = judged(records[place], SHIPPED)
        if SHIPPED.wanted(verdict, policy.latency):
            others = [records[(place + 1 + number) % len(records)] for number in range(SHIPPED.trials)]
            further = tuple(one.rounds for one in others)
            verdict = judged(replace(records[place], further_rounds=further), SHIPPED)
        return verdict.word

    # A rule of two runs meets another earlier run every night.
    def of_two(rule: Callable[[list[float], list[float]], str]) -> Rule:
        return lambda records, place: rule(times(records[place]), times(trials[place % len(trials)].clean))

    own = {"fastdiff": ours, "fastdiff, no second look": first_look}
    return own | {name: of_two(rule) for name, rule in OF_TWO_RUNS.items()}


def times(record: StageRecord) -> list[float]:
    return [round_.wall_s for round_ in record.rounds]


def mean_5(now: list[float], before: list[float]) -> str:
    return SLOW if fmean(now) / fmean(before) > 1.05 else SAME


def mann_whitney(now: list[float], before: list[float]) -> str:
    if mannwhitneyu(now, before).pvalue >= 0.05:
        return SAME
    return SLOW if median(now) > median(before) else FAST


OF_TWO_RUNS = {"mean:5%": mean_5, "Mann-Whitney": mann_whitney}
"""What else people use: rules that are given the seconds of one run's calls, and of an earlier one's."""


def table(trials: list[Trial], baseline: int, device: str) -> list[str]:
    accepted, candidates = trials[:baseline], trials[baseline:]
    faulty = [trial for trial in candidates if trial.faulty]
    columns = ["clean: SLOW or FAST", *(f"+{amount} %: SLOW" for amount in AMOUNTS)]
    lines = ["| rule | " + " | ".join(columns) + " |", "| --- | " + " | ".join("---:" for _ in columns) + " |"]
    for name, rule in rules(accepted, device).items():
        clean = [candidate.clean for candidate in candidates]
        alarms = sum(rule(clean, place) in (SLOW, FAST) for place in range(len(clean)))
        cells = [f"{alarms} of {len(clean)}"]
        for amount in AMOUNTS:
            slowed = [candidate.faulty[amount] for candidate in faulty]
            hits = sum(rule(slowed, place) == SLOW for place in range(len(slowed)))
            cells.append(f"{hits} of {len(slowed)}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m fastdiff.experiments.power", description=__doc__)
    parser.add_argument("--stage", default="sdpa")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--baseline", type=int, default=10, help="clean trials that make the baseline and its noise")
    parser.add_argument("--candidates", type=int, default=20, help="trials that are compared with it")
    parser.add_argument("--injected", type=int, default=10, help="of these, how many are measured slowed down as well")
    parser.add_argument("--keep", type=Path, help="file for the samples; a second call goes on from it")
    options = parser.parse_args()
    if min(options.injected, options.candidates) <= SHIPPED.trials:
        parser.error(f"--injected and --candidates: a second look needs {SHIPPED.trials} others; give more than that")
    device = device_kind()
    trials = collect(
        options.stage, options.rounds, options.baseline, options.candidates, options.injected, device, options.keep
    )
    noise = measured([run_of(trial.clean, device) for trial in trials[: options.baseline]])
    print(f"\n{device_name(device)}, stage {options.stage}, {options.rounds} rounds a trial")
    print(
        f"between {noise.trials} clean trials: latency ±{noise.latency_sd:.1%} in the canary's unit, "
        f"±{noise.latency_raw_sd:.1%} in seconds\n"
    )
    print("\n".join(table(trials, options.baseline, device)))


if __name__ == "__main__":
    main()
