"""`python -m tools.overhead`: runs both checks. Exit code 0: both held; 1: one failed; 2: one was inconclusive."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from tools.overhead import blocks, processes
from tools.overhead.interval import FEWEST, interval
from tools.overhead.processes import Turn

if TYPE_CHECKING:
    from collections.abc import Callable

    from tools.overhead.interval import Interval

WITHIN = 0.01
"""One process: the interval of the ratio lies inside ±1 %."""
BELOW = 0.03
"""Fresh processes: the interval contains 1.00 and ends below +3 %."""
HELD, FAILED, INCONCLUSIVE = 0, 1, 2


def judged_blocks(found: Interval) -> int:
    """Inconclusive where the interval crosses a limit: it is too wide to say which side the truth is on."""
    if found.low >= 1 - WITHIN and found.high <= 1 + WITHIN:
        return HELD
    return FAILED if found.low > 1 + WITHIN or found.high < 1 - WITHIN else INCONCLUSIVE


def judged_processes(found: Interval) -> int:
    if not found.low <= 1 <= found.high:
        return FAILED
    return HELD if found.high < 1 + BELOW else INCONCLUSIVE


def shown(code: int, limit: str) -> str:
    return {
        HELD: f"held: {limit}",
        FAILED: f"FAILED: not {limit}",
        INCONCLUSIVE: f"inconclusive: more pairs or a quieter machine would tell whether it is {limit}",
    }[code]


class Kept:
    """Measurements of earlier calls, one JSON object a line: a noisy machine needs more pairs than one hour has."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        lines = path.read_text().splitlines() if path and path.exists() else []
        self._entries: list[dict[str, Any]] = [json.loads(line) for line in lines]

    def of(self, key: dict[str, Any]) -> list[Any]:
        return [one["measured"] for one in self._entries if one["key"] == key]

    def add(self, key: dict[str, Any], measured: Any) -> None:
        entry = {"key": key, "measured": measured}
        self._entries.append(entry)
        if self._path:
            with self._path.open("a") as file:
                file.write(json.dumps(entry) + "\n")


def one_process(stages: list[str], count: int, steps: int, kept: Kept, *, disturb: bool) -> int:
    print(f"one process, blocks of 2 calls of {steps} steps in turn: a session's calls / bare calls")
    codes = []
    for stage in stages:
        key = {"check": "blocks", "stage": stage, "steps": steps, "size": blocks.SIZE, "disturb": disturb}
        for ratio in blocks.ratios(stage, count, steps, disturb=disturb):
            kept.add(key, ratio)
        found = interval(kept.of(key))
        codes.append(judged_blocks(found))
        print(f"  {stage:<10} {found}  {shown(codes[-1], f'within ±{WITHIN:.0%}')}", flush=True)
    return worst(codes)


def fresh_processes(stage: str, count: int, steps: int, kept: Kept, *, disturb: bool) -> int:
    print(f"fresh processes in turn, {processes.CALLS} calls of {steps} steps: a session / a script without fastdiff")
    key = {"check": "processes", "stage": stage, "steps": steps, "disturb": disturb}
    for _ in range(count):
        place = len(kept.of(key))
        last = processes.turn(stage, steps, place, disturb=disturb)
        kept.add(key, asdict(last))
        print(f"  {place + 1:>2}: {median(last.session):.3f} / {median(last.script):.3f} s", flush=True)
    turns = [Turn(**one) for one in kept.of(key)]
    found = interval([one.cost for one in turns])
    code = judged_processes(found)
    print(f"  {stage:<10} {found}  {shown(code, f'1.00 and below +{BELOW:.0%}')}")
    worth = interval([one.worth_of_the_allocator for one in turns])
    print(f"  allocator setting: script without it / with it = {worth}")
    return code


def worst(codes: list[int]) -> int:
    return FAILED if FAILED in codes else max(codes, default=HELD)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.overhead", description=__doc__)
    parser.add_argument("--stage", default="fp32,sdpa,compile", help="stages of the first check, separated by commas")
    parser.add_argument("--blocks", type=int, default=400, help="pairs of blocks of each stage (0 skips this check)")
    parser.add_argument("--pairs", type=int, default=24, help="pairs of processes, of sdpa (0 skips this check)")
    parser.add_argument("--steps", type=int, default=1, help="denoising steps of a call: short calls show more")
    parser.add_argument("--keep", type=Path, help="file that keeps every pair; a later call adds to them")
    parser.add_argument("--disturb", action="store_true", help="disturb on purpose: both checks must fail")
    options = parser.parse_args()
    for name in ("blocks", "pairs"):
        if 0 < getattr(options, name) < FEWEST:
            parser.error(f"--{name} is {getattr(options, name)}; give at least {FEWEST}, or 0.")
    kept, disturb = Kept(options.keep), options.disturb
    checks: list[Callable[[], int]] = []
    if options.blocks:
        stages = options.stage.split(",")
        checks.append(lambda: one_process(stages, options.blocks, options.steps, kept, disturb=disturb))
    if options.pairs:
        checks.append(lambda: fresh_processes("sdpa", options.pairs, options.steps, kept, disturb=disturb))
    sys.exit(worst([check() for check in checks]))


if __name__ == "__main__":
    main()
