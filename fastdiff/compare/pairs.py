"""Judges two sides that were measured in pairs: how much slower the new one is, what else differs, and the next step.

The pair of processes is the unit of replication.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING

from fastdiff.compare import metrics
from fastdiff.compare.comparison import Comparison
from fastdiff.compare.effect import Effect, estimate, of_pairs
from fastdiff.compare.explanation import causes, where
from fastdiff.compare.facts import across_stacks, breakages, differences, package_differences, releases_between
from fastdiff.compare.gate import Judgement
from fastdiff.compare.kernels import inside
from fastdiff.compare.one_pair import log_ratio, of_slow_calls, void_share
from fastdiff.compare.plan import MOST_PAIRS, errors, pairs_needed
from fastdiff.compare.policy import FEWEST_PAIRS
from fastdiff.compare.reasons import because
from fastdiff.compare.steps import Bisect, MorePairs
from fastdiff.compare.verdicts import CHANGED, FAST, SAME, SLOW, UNSURE, VOID, Verdict, decide
from fastdiff.record.pairs import ACCEPTED, HALVES, TURNS
from fastdiff.record.run import Acceptance, Baseline, Run

if TYPE_CHECKING:
    from pathlib import Path

    from fastdiff.compare.policy import Policy
    from fastdiff.compare.reasons import Reason
    from fastdiff.compare.steps import Step
    from fastdiff.record.pairs import Experiment, Pictures
    from fastdiff.record.run import Trial

ALL_CORES = FEWEST_PAIRS
"""Additional pairs in turns with all cores: enough to detect that a kernel is no longer parallel."""
ENVIRONMENT = (
    "torch_git",
    "cuda",
    "hip",
    "driver",
    "processor",
    "instructions",
    "threads",
    "capability",
    "allocator",
    "variables",
)
"""Facts of an environment that affect speed; packages are compared separately."""
INTERVAL_METRICS = ("latency", "latency_slow_calls", "latency_all_cores", "first_call")
"""Metrics with noise. Each metric of each stage is one comparison of the suite."""
EXPLAINED = ("latency", "latency_all_cores", "fingerprint", "picture")
"""The first of these metrics that differs gets the list of what the two sides ran; the list would be the same for
all."""


@dataclass(frozen=True)
class Answer:
    experiment: Experiment
    judgements: list[Judgement]
    path: Path

    @property
    def latency(self) -> Judgement:
        return next(one for one in self.judgements if one.metric == "latency")


def comparisons_of(stages: int) -> int:
    """The number of comparisons that share the error of a suite with `stages` stages."""
    return stages * len(INTERVAL_METRICS)


# -- what is decided --------------------------------------------------------------------------------------------------


def judge(experiment: Experiment, policy: Policy, comparisons: int) -> list[Judgement]:
    """Judges all metrics of one stage's two sides; `comparisons` is the number in the whole suite."""
    found: dict[str, Verdict | None] = {"latency": latency(experiment, policy, comparisons)}
    if experiment.unapplied:
        found["fingerprint"] = Verdict(CHANGED, because("not-applied", why=experiment.unapplied))
    if experiment.pairs:
        old, new = experiment.pairs[0].old, experiment.pairs[0].new
        comparison = _comparison(experiment, old, new, policy, comparisons)
        found["latency_slow_calls"] = slow_calls(experiment, policy, comparisons)
        found["first_call"] = first_call(experiment, policy, comparisons)
        found["memory"] = metrics.memory(comparison)
        found["fingerprint"] = found.get("fingerprint") or fingerprint(comparison)
        found["latency_all_cores"] = all_cores(experiment, policy, comparisons)
    if experiment.pictures is not None:
        found["picture"] = picture(experiment.pictures)
    explained = next((name for name in EXPLAINED if (one := found.get(name)) and one.word in (SLOW, FAST, CHANGED)), "")
    if (verdict := found.get(explained)) and experiment.pairs and not experiment.unapplied:
        pairs = experiment.all_cores if explained == "latency_all_cores" else experiment.pairs
        ratio = math.exp(median(map(log_ratio, pairs)))
        details = (*verdict.details, *inside(pairs[0], ratio))
        found[explained] = replace(verdict, details=details)
    return [
        Judgement(experiment.stage, metric, replace(verdict, next=verdict.next or _next(experiment, metric, verdict)))
        for metric, verdict in found.items()
        if verdict
    ]


def looked_at(experiment: Experiment) -> int:
    """The number of pairs that count: those up to the last planned look. 0 before the first look."""
    return max((one for one in experiment.looks if one <= len(experiment.pairs)), default=0)


def latency(experiment: Experiment, policy: Policy, comparisons: int) -> Verdict:
    looked = looked_at(experiment)
    count = len(experiment.pairs)
    if experiment.unapplied:
        return Verdict(VOID, because("pair-not-applied", pairs=count, why=experiment.unapplied))
    if not looked:
        why = experiment.failures[-1] if experiment.failures else ""
        return Verdict(VOID, because("before-the-first-look", pairs=count, first=experiment.looks[0], why=why))
    effect = of_pairs([log_ratio(pair) for pair in experiment.pairs[:looked]])
    verdict = _decided(effect, experiment, policy, comparisons, band_of(experiment, policy))
    details = tuple(differing(experiment)) if verdict.word == SLOW else ()
    if verdict.word == SLOW and (only := _only_difference(experiment)):
        details = (*details, because("only-difference", what=only))
    void = void_share(experiment.pairs[:looked])
    note = because("pairs", count=looked, sd=effect.scatter, **({"void": void} if void else {}))
    return replace(verdict, notes=(note,), details=details)


def slow_calls(experiment: Experiment, policy: Policy, comparisons: int) -> Verdict | None:
    """The verdict on what the latency does not show, because only some calls take longer. None if they do not, as far
    as the pairs show: their middle lies inside the band."""
    looked = looked_at(experiment)
    if experiment.unapplied or not looked:
        return None
    effect = of_pairs([of_slow_calls(pair) for pair in experiment.pairs[:looked]])
    band = max(band_of(experiment, policy), policy.paired_slow_calls)
    if abs(effect.mean) <= math.log1p(band):
        return None
    verdict = _decided(effect, experiment, policy, comparisons, band)
    details = tuple(unlike(experiment)) if verdict.word == SLOW else ()
    return replace(verdict, about=(because("slower-half"),), details=details)


def all_cores(experiment: Experiment, policy: Policy, comparisons: int) -> Verdict | None:
    """The verdict of the additional pairs with all cores: halves do not show effects that need all threads. None if
    these pairs are not wanted or not due yet."""
    if experiment.way != HALVES:
        return None
    if (measured := len(experiment.all_cores)) < ALL_CORES:
        stopped = not experiment.complete and is_decided(experiment, policy, comparisons)
        return Verdict(UNSURE, because("all-cores-unfinished", pairs=measured, of=ALL_CORES)) if stopped else None
    alone = replace(experiment, pairs=experiment.all_cores, way=TURNS, looks=(ALL_CORES,), complete=True)
    wide = policy.with_band(max(band_of(experiment, policy), policy.paired_all_cores))
    return replace(latency(alone, wide, comparisons), next=None)  # their number is fixed


def is_decided(experiment: Experiment, policy: Policy, comparisons: int) -> bool:
    """Whether the pairs so far give a verdict, or the last planned look is reached."""
    if len(experiment.pairs) >= experiment.looks[-1]:
        return True
    return latency(experiment, policy, comparisons).word not in (UNSURE, VOID)


def band_of(experiment: Experiment, policy: Policy) -> float:
    """The band of the latency; wider if packages differ, because another build of the same code differs slightly."""
    old, new = experiment.old.packages, experiment.new.packages
    return policy.of_pairs(across=across_stacks(old, new, experiment.project))


def _decided(effect: Effect, experiment: Experiment, policy: Policy, comparisons: int, band: float) -> Verdict:
    found = estimate(effect, errors(policy, comparisons, experiment.looks, effect.trials))
    needed = pairs_needed(effect, band, policy, comparisons)
    settling = because("more-pairs", pairs=needed) if needed else because("too-many-pairs", pairs=MOST_PAIRS)
    verdict = decide(found, band, acceptable=False, settling=settling)
    if verdict.word != UNSURE:
        return verdict
    if not experiment.complete:
        return replace(verdict, next=_ask(experiment, experiment.looks[-1]))  # goes on with the pairs that are there
    return replace(verdict, next=_ask(experiment, needed)) if needed else verdict


def fingerprint(comparison: Comparison) -> Verdict | None:
    """The verdict on facts, without an offer to accept. If the recipes differ on purpose, a change is excused."""
    verdict = metrics.fingerprint(comparison)
    if verdict is None:
        return None
    meant = (
        comparison.base is not None
        and comparison.base.recipe != comparison.trial.recipe
        and not breakages(comparison.trial, comparison.base)
    )
    return replace(verdict, next=None, excused=verdict.excused or meant)


def first_call(experiment: Experiment, policy: Policy, comparisons: int) -> Verdict | None:
    """From the pairs whose two compile caches were in the same state, at the same looks as the latency."""
    looked = looked_at(experiment)
    alike = [pair for pair in experiment.pairs[:looked] if pair.old.cache == pair.new.cache]
    states = [pair.old.cache for pair in alike]
    state = max(sorted(set(states)), key=states.count, default="")
    calls = [
        (pair.old.first_call_s, pair.new.first_call_s)
        for pair in alike
        if pair.old.cache == state and pair.old.first_call_s and pair.new.first_call_s
    ]
    if len(calls) < FEWEST_PAIRS:
        return None
    effect = of_pairs([math.log(new / old) for old, new in calls])
    verdict = _decided(effect, experiment, policy, comparisons, policy.paired_first_call)
    if verdict.word == UNSURE and looked < experiment.looks[-1]:
        return None  # the latency ended the experiment; the report lists the first calls anyway
    old, new = (median(side) for side in zip(*calls, strict=True))
    return replace(verdict, notes=(because("first-calls", before=old, after=new, cache=state),))


def picture(found: Pictures) -> Verdict:
    tensors = found.ssim is None
    if found.shortfall:
        return Verdict(CHANGED, because("tensors-differ" if tensors else "pictures-differ", why=found.shortfall))
    if tensors:
        distance = {"relative_l2": found.relative_l2, "largest_error": found.largest_error}
        return Verdict(SAME, because("tensors-alike", **distance))
    return Verdict(SAME, because("pictures-alike", ssim=found.ssim, worst_tile=found.worst_tile))


def differing(experiment: Experiment) -> list[Reason]:
    """Where the time was lost, the largest share first; then what differs between the two sides."""
    if not experiment.pairs:
        return []
    first = experiment.pairs[0]
    return [*where(first.new, first.old), *unlike(experiment)]


def unlike(experiment: Experiment) -> list[Reason]:
    """Everything that differs between the two sides, whether it matters or not."""
    if not experiment.pairs:
        return []
    first, old, new = experiment.pairs[0], experiment.old.environment, experiment.new.environment
    found = list(causes(first.new, first.old, new, old))
    facts = [
        {name: environment[name] for name in ENVIRONMENT if environment.get(name) is not None}
        for environment in (old, new)
    ]
    if changed := differences(*facts):
        found.append(because("environment-differs", changed=changed))
    if changed := differences(first.old.recipe, first.new.recipe):
        found.append(because("recipe-differs", changed=changed))
    return found + ([because("fault-injected", faults=experiment.injected)] if experiment.injected else [])


def _next(experiment: Experiment, metric: str, verdict: Verdict) -> Step | None:
    """The next step; None if there is none. A bisection decides by the latency alone."""
    if verdict.word == VOID and not experiment.unapplied:
        return _ask(experiment, experiment.looks[-1])
    plain = not experiment.injected and experiment.old_stage == experiment.stage
    if metric == "latency" and verdict.word == SLOW and plain and _searchable(experiment):
        return Bisect(experiment.old.words, experiment.new.words, experiment.options, experiment.looks[-1])
    return None


def _searchable(experiment: Experiment) -> bool:
    """Whether a bisection can find more. If a side is `accepted` its code may differ, which processes do not report."""
    found = software_differences(experiment)
    if len(found) != 1:
        return bool(found) or ACCEPTED in (*experiment.old.words, *experiment.new.words)
    return not _only_difference(experiment)


def _only_difference(experiment: Experiment) -> str:
    """The only difference, if a bisection could not narrow it down: a variable, or a package without a release between
    the two versions."""
    found = software_differences(experiment)
    if len(found) != 1 or ACCEPTED in (*experiment.old.words, *experiment.new.words):
        return ""
    name = found[0].partition(":")[0]
    ends = [side.packages.get(name, "") for side in (experiment.old, experiment.new)]
    return "" if releases_between(*ends) else found[0]


def software_differences(experiment: Experiment) -> list[str]:
    """Differences of packages and variables, as reported by the processes of both sides."""
    sides = (experiment.old, experiment.new)
    variables = differences(*({"variables": side.environment.get("variables", {})} for side in sides))
    return package_differences(*(side.packages for side in sides)) + variables


def _ask(experiment: Experiment, most: int) -> MorePairs:
    return MorePairs(experiment.stage, experiment.old.words, experiment.new.words, experiment.options, most)


def _comparison(experiment: Experiment, old: Trial, new: Trial, policy: Policy, comparisons: int) -> Comparison:
    """A comparison in which the old side takes the place of the baseline."""
    run = Run(experiment.device, experiment.started, environment=experiment.old.environment, stages=(old,))
    return Comparison(
        trial=new,
        previous=None,
        base=old,
        new=None,
        baseline=Baseline(run, Acceptance("", "", "", "")),
        policy=policy,
        among=comparisons,
        kind=experiment.device.kind,
        environment=experiment.new.environment,
    )
