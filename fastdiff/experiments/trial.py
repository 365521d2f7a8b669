"""One trial: a fresh process that builds a stage, measures its latency, and prints a line of JSON.

`python -m fastdiff.experiments.trial --stage sdpa --rounds 5`; the caller reads standard output. Several
`--inject` measure the same stage once for each fault, in one process; an empty one is a clean measurement.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastdiff.faults import Fault
    from fastdiff.measure.live import LiveStage
    from fastdiff.record.run import StageRecord


def measure(model: str, stage: str, device: str, rounds: int, faults: tuple[Fault, ...] = ()) -> StageRecord:
    """Latency alone, as the suite takes it: first call, warm-up, and rounds with the canary between them."""
    from fastdiff.faults import put_in
    from fastdiff.host.processor import emulated
    from fastdiff.measure.live import LiveStage
    from fastdiff.models import CATALOGUE
    from fastdiff.recipes import LADDER

    entry = next(known for known in CATALOGUE if known.name == model)
    lacking = emulated(device)
    climbed = LADDER.native(lacking)[stage]
    climbed.recipe.on(device.partition(":")[0], emulated=lacking)
    live = LiveStage(entry, climbed, device, entry.request, rounds)
    try:
        put_in(faults, live)
        live.first_call()
        live.settle()
        return live.record(tuple(timed_call(live) for _ in range(rounds)))
    finally:
        live.close()


def timed_call(live: LiveStage) -> float:
    """Seconds of one call of the steady state, with a look at the machine before and after it."""
    from fastdiff.measure.latency import synchronised_clock

    live.before_round()
    began = synchronised_clock()
    live.generate()
    seconds = synchronised_clock() - began
    live.after_round()
    return seconds


def in_a_fresh_process(arguments: Sequence[str]) -> list[StageRecord]:
    """Runs this file with these arguments; a trial that fails ends the caller, with its last words."""
    from fastdiff.record.checks import shaped
    from fastdiff.record.run import StageRecord

    command = [sys.executable, "-m", "fastdiff.experiments.trial", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"a trial failed: {' '.join(command)}\n{done.stderr[-2000:].rstrip()}")
    return [
        shaped(StageRecord, json.loads(line), "a trial") for line in done.stdout.splitlines() if line.startswith("{")
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m fastdiff.experiments.trial", description=__doc__)
    parser.add_argument("--model", default="shapes")
    parser.add_argument("--stage", required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--inject", action="append", help="a fault; given several times, each is measured apart")
    options = parser.parse_args()

    from fastdiff.faults import parse
    from fastdiff.recipes import EmulatedError, RecipeError

    for text in options.inject or [""]:
        faults = parse(text) if text else ()
        try:
            record = measure(options.model, options.stage, options.device, options.rounds, faults)
        except EmulatedError:
            raise SystemExit(
                f"{options.stage} is only emulated by this CPU, which tells nothing; name another."
            ) from None
        except RecipeError as error:
            raise SystemExit(str(error)) from None
        print(json.dumps(asdict(record)), flush=True)


if __name__ == "__main__":
    main()
