"""`python -m tools.overhead`: runs both checks and exits with 1 where fastdiff adds more to a call than it may."""

from __future__ import annotations

import argparse
import sys

from tools.overhead import blocks, processes
from tools.overhead.interval import FEWEST, interval

WITHIN = 0.01
"""One process: the interval of the ratio lies inside ±1 %."""
BELOW = 0.03
"""Fresh processes: the interval contains 1.00 and ends below +3 %."""


def one_process(stages: list[str], count: int, steps: int, *, disturb: bool) -> bool:
    print(f"one process, blocks of 8 calls of {steps} steps in turn: a session's calls / bare calls")
    good = True
    for stage in stages:
        found = interval(blocks.ratios(stage, count, steps, disturb=disturb))
        held = found.low >= 1 - WITHIN and found.high <= 1 + WITHIN
        good = good and held
        print(f"  {stage:<10} {found}  {'within' if held else 'NOT within'} ±{WITHIN:.0%}", flush=True)
    return good


def fresh_processes(stage: str, count: int, steps: int, *, disturb: bool) -> bool:
    print(f"fresh processes in turn, {processes.CALLS} calls of {steps} steps: a session / a script without fastdiff")
    turns = []
    for place in range(count):
        turns.append(processes.turn(stage, steps, place, disturb=disturb))
        last = turns[-1]
        print(f"  {place + 1:>2}: {last.session_s:.3f} / {last.script_s:.3f} s", flush=True)
    found = interval([one.session_s / one.script_s for one in turns])
    held = found.low <= 1 <= found.high < 1 + BELOW
    print(f"  {stage:<10} {found}  {'contains' if held else 'does NOT contain'} 1.00 and ends below +{BELOW:.0%}")
    worth = interval([one.plain_s / one.script_s for one in turns])
    print(f"  the allocator setting: the script without it takes {worth} times as long")
    return held


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.overhead", description=__doc__)
    parser.add_argument("--stage", default="fp32,sdpa,compile", help="stages of the first check, separated by commas")
    parser.add_argument(
        "--blocks", type=int, default=60, help="pairs of blocks of each stage (0 leaves this check out)"
    )
    parser.add_argument("--pairs", type=int, default=24, help="pairs of processes, of sdpa (0 leaves this check out)")
    parser.add_argument("--steps", type=int, default=2, help="denoising steps of a call: short calls show more")
    parser.add_argument("--disturb", action="store_true", help="disturb on purpose: both checks must fail")
    asked = parser.parse_args()
    for name in ("blocks", "pairs"):
        if 0 < getattr(asked, name) < FEWEST:
            parser.error(f"--{name} is {getattr(asked, name)}; give at least {FEWEST}, or 0.")
    good = True
    if asked.blocks:
        good = one_process(asked.stage.split(","), asked.blocks, asked.steps, disturb=asked.disturb)
    if asked.pairs:
        good = fresh_processes("sdpa", asked.pairs, asked.steps, disturb=asked.disturb) and good
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
