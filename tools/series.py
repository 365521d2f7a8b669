"""`python -m tools.series --stage sdpa`: what verdicts of pairs are worth on this machine.

Compares today's environment with the accepted run's software again and again: as it is, and with a fault put into
today's side. Every experiment adds a line to a file, so a series can be spread over days; lines of other devices are
left out. Beside the verdicts stands what two usual rules say of the first pair's samples.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING

from scipy.stats import mannwhitneyu

from fastdiff.experiments.questions import AbOptions, questions
from fastdiff.experiments.sessions import PairSession
from fastdiff.host.environment import device_kind, device_slug
from fastdiff.record.writing import append_line
from fastdiff.trial.faults import parse
from fastdiff.trial.runner import SILENT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastdiff.compare.pairs import Answer
    from fastdiff.record.pairs import Pair

KEPT = Path("runs/series.jsonl")
SUITE = 3
"""Stages that share the error: 12 comparisons."""
MEAN_FAIL = 1.05
ERROR = 0.05


@dataclass(frozen=True)
class Outcome:
    """Of one experiment."""

    device: str
    stage: str
    steps: int
    most_pairs: int
    fault: str
    """Empty where nothing was put in."""
    word: str
    all_cores: str
    ratio: float | None
    pairs: int
    seconds: float
    by_mean: bool
    """Whether the rule `mean:5%` calls today's side slower, by the first pair's samples."""
    by_test: bool
    """Whether a Mann-Whitney test of them does."""
    file: str


def outcome(answer: Answer, asked: AbOptions, fault: str, seconds: float) -> Outcome:
    experiment, verdict = answer.experiment, answer.latency.verdict
    words = {one.metric: one.verdict.word for one in answer.judgements}
    by_mean, by_test = usual_rules(experiment.pairs[0]) if experiment.pairs else (False, False)
    return Outcome(
        experiment.device.slug,
        experiment.stage,
        asked.steps or 0,
        asked.most_pairs,
        fault,
        verdict.word,
        words.get("latency_all_cores", ""),
        verdict.estimate.ratio if verdict.estimate else None,
        len(experiment.pairs),
        seconds,
        by_mean,
        by_test,
        answer.path.name,
    )


def usual_rules(pair: Pair) -> tuple[bool, bool]:
    old, new = ([one.wall_s for one in side.samples] for side in (pair.old, pair.new))
    return fmean(new) > MEAN_FAIL * fmean(old), float(mannwhitneyu(new, old, alternative="greater").pvalue) < ERROR


def known(path: Path, device: str) -> list[Outcome]:
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [one for line in lines if (one := Outcome(**json.loads(line))).device == device]


def summary(outcomes: Sequence[Outcome]) -> list[str]:
    """A line for each stage and fault, and for each way of asking."""
    lines = []
    for key in sorted({_key(one) for one in outcomes}):
        these = [one for one in outcomes if _key(one) == key]
        stage, steps, most, fault = key
        words, beside = (Counter(words) for words in ([one.word for one in these], [one.all_cores for one in these]))
        changes = sorted(100 * (one.ratio - 1) for one in these if one.ratio)
        lines.append(
            f"{stage}, {steps} steps, at most {most} pairs, {fault or 'nothing put in'}: {len(these)} experiments: "
            f"{_counted(words)}; with all cores {_counted(beside)}; read {_range(changes)}; "
            f"median {median(one.pairs for one in these):g} pairs (at most {max(one.pairs for one in these)}), "
            f"{median(one.seconds for one in these) / 60:.1f} min (at most "
            f"{max(one.seconds for one in these) / 60:.1f}); mean:5% alarms {sum(one.by_mean for one in these)} times, "
            f"Mann-Whitney {sum(one.by_test for one in these)} times"
        )
    return lines


def _key(one: Outcome) -> tuple[str, int, int, str]:
    return one.stage, one.steps, one.most_pairs, one.fault


def _range(changes: Sequence[float]) -> str:
    if not changes:
        return "no ratio"
    return f"{changes[0]:+.2f} to {changes[-1]:+.2f} %, median {median(changes):+.2f} %"


def _counted(words: Counter[str]) -> str:
    return ", ".join(f"{count} {word or 'not measured'}" for word, count in words.most_common())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.series", description=__doc__)
    parser.add_argument("--stage", default="sdpa")
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--fault", default="slow:2%", help="what is put into every second experiment")
    parser.add_argument("--count", type=int, default=12, help="experiments of each of the two kinds")
    parser.add_argument("--pairs", type=int, default=24, help="the most of an experiment")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no experiment after these")
    parser.add_argument("--keep", type=Path, default=KEPT)
    asked = parser.parse_args()
    until = time.monotonic() + 60 * asked.minutes

    session = PairSession(Path(), say=lambda line: print(line, file=sys.stderr), progress=SILENT)
    device = device_slug(device_kind())
    old, new = (session.environment([words]) for words in ("accepted", "."))
    while True:
        stage = f"shapes-{asked.stage}"
        keys = [_key(one) for one in known(asked.keep, device)]
        counts = {fault: keys.count((stage, asked.steps, asked.pairs, fault)) for fault in ("", asked.fault)}
        fault = min(counts, key=lambda one: counts[one])
        if counts[fault] >= asked.count or time.monotonic() > until:
            break
        faults = parse(fault) if fault else ()
        options = AbOptions(stages=(asked.stage,), steps=asked.steps, most_pairs=asked.pairs, faults=faults)
        (question,) = questions(options, old, new, Path())
        began = time.monotonic()
        answer = session.answer(replace(question, comparisons=SUITE), fresh=True)
        append_line(asked.keep, json.dumps(asdict(outcome(answer, options, fault, time.monotonic() - began))))
        print(f"{stage} {fault or 'clean'}: {known(asked.keep, device)[-1]}", flush=True)
    print("\n".join(summary(known(asked.keep, device))))


if __name__ == "__main__":
    main()
