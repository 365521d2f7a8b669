"""How often are pairs right? `python -m fastdiff.experiments.paired_power`, one table of false alarms and detections.

In each pair of fresh processes the same environment takes turns with itself: clean, and then with known amounts of
slowness put into the new side. Whole experiments of `fastdiff ab`, with their planned looks, are then drawn again and
again from the measured pairs, each pair put back: the pairs are measured, the experiments are a bootstrap of them.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import stdev

from fastdiff.experiments.ab import CALLS, MOST_PAIRS
from fastdiff.experiments.environments import Environment, source_path
from fastdiff.experiments.pairs import NEW, OLD, take_turns
from fastdiff.experiments.questions import Asked, questions
from fastdiff.judge import pairs as judge
from fastdiff.judge.policy import default
from fastdiff.judge.verdicts import AMBIGUOUS, FAST, SAME, SLOW, decide
from fastdiff.measure.environment import device_kind, device_name
from fastdiff.record.checks import shaped
from fastdiff.record.pairs import Pair
from fastdiff.record.run import Round, StageRecord

CLEAN = 0
AMOUNTS = (1, 2, 3, 5, 10)
"""Per cent that are put into every call of the new side."""
EXPERIMENTS = 1000
"""Drawn for each cell of the table: enough that chance moves it by a per cent or two."""


@dataclass(frozen=True)
class Measured:
    """One pair of processes, by the amount that was put in; 0 is clean."""

    amounts: dict[int, Pair]
    seconds: float


def collect(asked: Asked, count: int, folder: Path, keep: Path | None) -> list[Measured]:
    """What was measured is kept after each pair, and gone on from."""
    here = Environment("here", Path(sys.executable), {}, key="here")
    (question,) = questions(asked, here, here, folder)
    source = source_path(folder / ".fastdiff/environments")
    found = _kept(keep, asked)
    while len(found) < count:
        began = time.monotonic()
        with ExitStack() as alive:
            works = {OLD: question.old, NEW: question.new}
            sides = {name: alive.enter_context(work.start(name, source)) for name, work in works.items()}
            built = {name: work.build(sides[name]) for name, work in works.items()}
            for side in sides.values():
                side.ask("warm_up")
            pairs = {}
            for amount in (CLEAN, *random.sample(AMOUNTS, len(AMOUNTS))):
                if amount:
                    sides[NEW].ask("inject", faults=f"slow:{amount}%")
                starts, times = take_turns(sides, asked.calls, random.Random())
                records = {
                    name: StageRecord(
                        built[name].record.model,
                        built[name].record.stage,
                        built[name].record.follows,
                        rounds=tuple(map(Round, times[name])),
                    )
                    for name in (OLD, NEW)
                }
                pairs[amount] = Pair(records[OLD], records[NEW], starts, 0.0)
        found.append(Measured(pairs, time.monotonic() - began))
        if keep:
            with keep.open("a") as file:
                file.write(json.dumps(asdict(found[-1])) + "\n")
        print(f"pair {len(found)} of {count}: {found[-1].seconds:.0f} s", flush=True)
    return found


def _kept(keep: Path | None, asked: Asked) -> list[Measured]:
    if keep is None or not keep.exists():
        return []
    found = []
    for line in keep.read_text().splitlines():
        whole = json.loads(line)
        pairs = {int(amount): shaped(Pair, pair, str(keep)) for amount, pair in whole["amounts"].items()}
        one = pairs[CLEAN].new
        if ((one.stage,), len(one.rounds)) != (asked.stages, asked.calls):
            raise SystemExit(f"{keep} holds pairs of another stage or number of calls; name another file.")
        found.append(Measured(pairs, whole["seconds"]))
    return found


def word(ratios: list[float], looks: tuple[int, ...], comparisons: int) -> str:
    """At which an experiment of these pairs, in this order, ends."""
    policy = default(device_kind())
    said = AMBIGUOUS
    for look in looks:
        found = judge.estimate(ratios[:look], looks, confidence=policy.paired_confidence, comparisons=comparisons)
        said = decide(found, policy.paired).word
        if said != AMBIGUOUS:
            break
    return said


def table(measured: list[Measured], most: int, comparisons: int) -> list[str]:
    looks, chance = judge.plan(most), random.Random(0)
    columns = ["clean: SLOW or FAST", *(f"+{amount} %: SLOW" for amount in AMOUNTS)]
    cells = []
    for amount in (CLEAN, *AMOUNTS):
        ratios = [judge.ratio_of(one.amounts[amount]) for one in measured]
        said = [word(chance.choices(ratios, k=most), looks, comparisons) for _ in range(EXPERIMENTS)]
        wanted = (SLOW,) if amount else (SLOW, FAST)
        cells.append(f"{100 * sum(one in wanted for one in said) / EXPERIMENTS:.1f} %")
        if not amount:
            same = said.count(SAME) / EXPERIMENTS
    return [
        "| rule | " + " | ".join(columns) + " |",
        "| --- | " + " | ".join("---:" for _ in columns) + " |",
        f"| fastdiff ab, at most {most} pairs | " + " | ".join(cells) + " |",
        "",
        f"Of the clean experiments {100 * same:.1f} % ended with SAME.",
    ]


def read(measured: list[Measured]) -> list[str]:
    """What the pairs read for each amount."""
    lines = ["| put in | mean of the pairs | scatter of the pairs |", "| --- | ---: | ---: |"]
    for amount in (CLEAN, *AMOUNTS):
        ratios = [judge.ratio_of(one.amounts[amount]) for one in measured]
        mean = 100 * math.expm1(sum(ratios) / len(ratios))
        lines.append(f"| {f'+{amount} %' if amount else 'nothing'} | {mean:+.2f} % | {100 * stdev(ratios):.2f} % |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m fastdiff.experiments.paired_power", description=__doc__)
    parser.add_argument("--stage", default="sdpa")
    parser.add_argument("--steps", type=int, help="denoising steps of a call (default: the model's own)")
    parser.add_argument("--calls", type=int, default=CALLS, help="of each side, for each amount")
    parser.add_argument("--pairs", type=int, default=2 * MOST_PAIRS, help="pairs of processes that are measured")
    parser.add_argument("--most", type=int, default=MOST_PAIRS, help="pairs of an experiment that is drawn from them")
    parser.add_argument("--stages", type=int, default=1, help="of the suite that shares the error")
    parser.add_argument("--keep", type=Path, help="file for the samples; a second call goes on from it")
    options = parser.parse_args()
    asked = Asked(stages=(options.stage,), steps=options.steps, calls=options.calls)
    measured = collect(asked, options.pairs, Path.cwd(), options.keep)
    print(
        f"\n{device_name(device_kind())}, stage {options.stage}, {len(measured)} pairs, {options.calls} calls a side\n"
    )
    print("\n".join([*read(measured), "", *table(measured, options.most, options.stages)]))


if __name__ == "__main__":
    main()
