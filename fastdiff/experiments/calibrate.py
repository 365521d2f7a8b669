"""`fastdiff calibrate`: measures the same environment on both sides, for the scatter of pairs and the smallest slowdown
that they can detect."""

from __future__ import annotations

import math
from statistics import fmean, variance
from typing import TYPE_CHECKING

from fastdiff.compare import pairs as judge
from fastdiff.compare import plan
from fastdiff.compare.effect import of_pairs
from fastdiff.compare.one_pair import log_ratio, log_seconds
from fastdiff.compare.policy import FEWEST_PAIRS
from fastdiff.record.calibration import Calibration
from fastdiff.record.errors import UserError
from fastdiff.record.pairs import HALVES
from fastdiff.report.sentences import counted
from fastdiff.trial.faults import Fault

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastdiff.compare.effect import Effect
    from fastdiff.compare.policy import Policy
    from fastdiff.record.pairs import Experiment


KNOWN_WORK = Fault("slow", 0.05)
"""Added to one side, to find out how much of it the pairs measure."""


def calibration(
    experiment: Experiment, policy: Policy, shares: Mapping[str, float], *, most_pairs: int, stages: int
) -> Calibration:
    """From an experiment with two equal sides, and the measured share of the known work, by way of measuring."""
    pairs, seen = experiment.pairs, _seen(experiment)
    return Calibration(
        device=experiment.device.slug,
        stage=experiment.stage,
        work=experiment.work,
        request=experiment.request,
        when=experiment.started,
        pairs=len(pairs),
        calls=len(pairs[0].old.samples),
        way=experiment.way,
        paired_sd=seen.scatter,
        process_sd=process_sd(experiment),
        most_pairs=most_pairs,
        stages=stages,
        recovered=shares.get(experiment.way),
        recovered_in_halves=shares.get(HALVES),
        confidence=policy.paired_confidence,
        band=policy.paired,
        smallest=plan.smallest(
            plan.upper(seen.scatter, seen.dof),
            plan.looks(most_pairs),
            policy.paired,
            policy,
            judge.comparisons_of(stages),
        ),
    )


def recovered(experiment: Experiment, share: float) -> float:
    """The share of the known work that the pairs measured: 1 is all of it."""
    return _seen(experiment).mean / math.log1p(share)


def _seen(experiment: Experiment) -> Effect:
    """The effect that the pairs measured; an error if not all planned pairs were measured."""
    pairs = experiment.pairs
    if not experiment.complete or experiment.unapplied or len(pairs) < FEWEST_PAIRS:
        why = experiment.unapplied or next(reversed(experiment.failures), "nothing says why")
        needed = max(FEWEST_PAIRS, experiment.looks[-1])
        raise UserError("experiment", f"{counted(len(pairs))} measured, and this calibration needs {needed}: {why}")
    return of_pairs([log_ratio(pair) for pair in pairs])


def process_sd(experiment: Experiment) -> float:
    """The scatter of single processes, pooled over both sides: each process is a trial of the same code."""
    sides = [[getattr(pair, side) for pair in experiment.pairs] for side in ("old", "new")]
    centres = [[log_seconds(trial) for trial in side] for side in sides]
    return math.sqrt(fmean(variance(side) for side in centres))
