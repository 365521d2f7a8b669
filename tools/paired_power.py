"""How often are pairs right? `python -m tools.paired_power`, one table of false alarms and detections.

In each pair of fresh processes the same environment is measured against itself, as `fastdiff ab` does it here: clean,
and then with known amounts of slowness put into the new side. Whole experiments of `fastdiff ab`, with their planned
looks, are then drawn again and again from the measured pairs, without putting any back: an experiment never has the
same pair twice. The pairs are measured, and how many there are limits what the table knows. Two rules that compare one
run with an earlier one are given the same samples: the old side of one pair, and the new side of another.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean, median, stdev
from typing import TYPE_CHECKING

from scipy.stats import mannwhitneyu

from fastdiff.compare import pairs as judge
from fastdiff.compare import plan
from fastdiff.compare.effect import estimate, of_pairs
from fastdiff.compare.one_pair import log_ratio
from fastdiff.compare.policy import FEWEST_PAIRS, Policy, default
from fastdiff.compare.verdicts import FAST, SAME, SLOW, UNSURE, decide
from fastdiff.experiments.ab import MOST_FAILURES, MOST_PAIRS, Question, halves_for
from fastdiff.experiments.pairs import NEW, OLD, PairRunner, blank, processes
from fastdiff.experiments.questions import AbOptions, questions
from fastdiff.host.environment import device_kind, device_name
from fastdiff.record.errors import UserError
from fastdiff.record.pairs import HALVES, TURNS, Pair
from fastdiff.record.reading import convert
from fastdiff.record.run import Sample
from fastdiff.sides.environment import Environment
from fastdiff.sides.source import source_path
from fastdiff.trial.runner import SILENT

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastdiff.record.pairs import Way

CLEAN = 0
AMOUNTS = (1, 2, 3, 5, 10)
"""Per cent that are put into every call of the new side."""
EXPERIMENTS = 1000
"""Drawn for each cell of the table: then the drawing adds little to the chance in the pairs themselves."""


def mean_5(now: list[float], before: list[float]) -> str:
    return SLOW if fmean(now) / fmean(before) > 1.05 else SAME


def mann_whitney(now: list[float], before: list[float]) -> str:
    if mannwhitneyu(now, before).pvalue >= 0.05:
        return SAME
    return SLOW if median(now) > median(before) else FAST


OF_TWO_RUNS = {"mean:5%": mean_5, "Mann-Whitney": mann_whitney}
"""Rules that other tools use, given the seconds of one run's calls and of an earlier one's."""


@dataclass(frozen=True)
class Measured:
    """One pair of processes, by the amount that was put in; 0 is clean."""

    amounts: dict[int, Pair]
    seconds: float


def collect(asked: AbOptions, count: int, folder: Path, keep: Path | None) -> list[Measured]:
    """What was measured is kept after each pair, and gone on from."""
    here = Environment("here", Path(sys.executable), {}, key="here")
    (question,) = questions(asked, here, here, folder)
    halves = halves_for(question, folder)
    runner = PairRunner(
        {OLD: question.old, NEW: question.new},
        question.calls,
        processes(source_path(folder / ".fastdiff")),
        halves,
        folder,
        SILENT,
        random.Random(),
    )
    way: Way = HALVES if halves else TURNS
    found, failed = _kept(keep, question, way), 0
    while len(found) < count:
        began = time.monotonic()
        try:
            amounts = _pair(runner, way)
        except UserError as error:
            failed += 1
            print(f"pair {len(found) + 1} ended early: {error}", flush=True)
            if failed == MOST_FAILURES:
                raise SystemExit("so often in a row is no accident; look at the last words above.") from None
            continue
        failed = 0
        found.append(Measured(amounts, time.monotonic() - began))
        if keep:
            kept = asdict(found[-1]) | {"question": _words(question, way)}
            with keep.open("a") as file:
                file.write(json.dumps(kept) + "\n")
        print(f"pair {len(found)} of {count}: {found[-1].seconds:.0f} s", flush=True)
    return found[:count]


def _pair(runner: PairRunner, way: Way) -> dict[int, Pair]:
    """One pair of processes that is measured once for each amount."""
    pairs = {}
    with runner.together(1, way) as opened:
        for amount in (CLEAN, *random.sample(AMOUNTS, len(AMOUNTS))):
            if amount:
                opened[NEW].inject(f"slow:{amount}%")()
            starts, samples = runner.measured(opened, way)
            old, new = (
                replace(blank(opened[name].trial()), samples=tuple(Sample(one.wall_s) for one in samples[name]))
                for name in (OLD, NEW)
            )
            pairs[amount] = Pair(old, new, way, starts, 0.0)
    return pairs


def _words(question: Question, way: Way) -> dict[str, str]:
    """What tells the pairs of one question from those of another."""
    return {
        "work": question.digest,
        "request": str(asdict(question.new.work.request)),
        "calls": str(question.calls),
        "way": way,
    }


def _kept(keep: Path | None, question: Question, way: Way) -> list[Measured]:
    if keep is None or not keep.exists():
        return []
    found = []
    for line in keep.read_text().splitlines():
        try:
            whole = json.loads(line)
            pairs = {int(amount): convert(pair, Pair, str(keep)) for amount, pair in whole["amounts"].items()}
        except (ValueError, KeyError, UserError):
            raise SystemExit(f"{keep} is no file of whole pairs; remove it (rm {keep}), or name another one.") from None
        if whole.get("question") != _words(question, way):
            raise SystemExit(f"{keep} holds pairs of another question; name another file.")
        found.append(Measured(pairs, whole["seconds"]))
    return found


def word(ratios: list[float], looks: tuple[int, ...], comparisons: int, policy: Policy) -> str:
    """At which an experiment of these pairs, in this order, ends."""
    said = UNSURE
    for look in looks:
        found = estimate(of_pairs(ratios[:look]), plan.errors(policy, comparisons, looks, look))
        said = decide(found, policy.paired).word
        if said != UNSURE:
            break
    return said


def table(measured: list[Measured], most: int, stages: int) -> list[str]:
    looks, chance = plan.looks(most), random.Random(0)
    policy, comparisons = default(device_kind()), judge.comparisons_of(stages)
    columns = ["clean: SLOW or FAST", *(f"+{amount} %: SLOW" for amount in AMOUNTS)]

    def ours(amount: int) -> str:
        ratios = [log_ratio(one.amounts[amount]) for one in chance.sample(measured, most)]
        # Without a change, old and new are names only, and which is which is thrown anew.
        signs = (1, -1) if amount == CLEAN else (1,)
        return word([chance.choice(signs) * one for one in ratios], looks, comparisons, policy)

    def of_two_runs(rule: Callable[[list[float], list[float]], str]) -> Callable[[int], str]:
        def of_one_night(amount: int) -> str:
            before, now = chance.sample(measured, 2)
            sides = (now.amounts[amount].new, before.amounts[CLEAN].old)
            return rule(*([one.wall_s for one in side.samples] for side in sides))

        return of_one_night

    rules: dict[str, Callable[[int], str]] = {f"fastdiff ab, at most {most} pairs": ours}
    rules |= {f"{name}, two runs": of_two_runs(rule) for name, rule in OF_TWO_RUNS.items()}
    said = {
        name: {amount: [rule(amount) for _ in range(EXPERIMENTS)] for amount in (CLEAN, *AMOUNTS)}
        for name, rule in rules.items()
    }
    same = next(iter(said.values()))[CLEAN].count(SAME) / EXPERIMENTS
    return [
        "| rule | " + " | ".join(columns) + " |",
        "| --- | " + " | ".join("---:" for _ in columns) + " |",
        *(
            f"| {name} | " + " | ".join(_share(words, amount) for amount, words in of.items()) + " |"
            for name, of in said.items()
        ),
        "",
        f"Of the clean experiments with pairs {100 * same:.1f} % ended with SAME.",
    ]


def _share(words: list[str], amount: int) -> str:
    wanted = (SLOW,) if amount else (SLOW, FAST)
    return f"{100 * sum(one in wanted for one in words) / len(words):.1f} %"


def read(measured: list[Measured]) -> list[str]:
    """What the pairs read for each amount."""
    lines = ["| put in | mean of the pairs | scatter of the pairs |", "| --- | ---: | ---: |"]
    for amount in (CLEAN, *AMOUNTS):
        ratios = [log_ratio(one.amounts[amount]) for one in measured]
        mean = 100 * math.expm1(sum(ratios) / len(ratios))
        lines.append(f"| {f'+{amount} %' if amount else 'nothing'} | {mean:+.2f} % | {100 * stdev(ratios):.2f} % |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.paired_power", description=__doc__)
    parser.add_argument("--stage", default="sdpa")
    parser.add_argument("--steps", type=int, help="denoising steps of a call (default: the model's own)")
    parser.add_argument("--calls", type=int, default=24, help="of each side, for each amount")
    parser.add_argument("--pairs", type=int, default=2 * MOST_PAIRS, help="pairs of processes that are measured")
    parser.add_argument("--most", type=int, default=MOST_PAIRS, help="pairs of an experiment that is drawn from them")
    parser.add_argument("--stages", type=int, default=1, help="of the suite that shares the error")
    parser.add_argument("--keep", type=Path, help="file for the samples; a second call goes on from it")
    options = parser.parse_args()
    if not FEWEST_PAIRS <= options.most <= options.pairs:
        parser.error(f"--most is {options.most}; give {FEWEST_PAIRS} to {options.pairs}, the number of --pairs.")
    asked = AbOptions(stages=(options.stage,), steps=options.steps, calls=options.calls)
    try:
        measured = collect(asked, options.pairs, Path.cwd(), options.keep)
    except UserError as error:
        raise SystemExit(str(error)) from None
    print(
        f"\n{device_name(device_kind())}, stage {options.stage}, {len(measured)} pairs, {options.calls} calls a side\n"
    )
    print("\n".join([*read(measured), "", *table(measured, options.most, options.stages)]))


if __name__ == "__main__":
    main()
