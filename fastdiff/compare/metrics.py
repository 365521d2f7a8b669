"""The verdict of each metric of a stage; None where there is nothing to judge."""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import fmean
from typing import TYPE_CHECKING

from fastdiff.compare.comparison import comparable, disturbance, undisturbed
from fastdiff.compare.effect import centre, exact, logarithm
from fastdiff.compare.explanation import causes, explain
from fastdiff.compare.facts import STRUCTURAL, breakages, changed_versions, differences
from fastdiff.compare.noise import gains_of
from fastdiff.compare.reasons import Reason, because
from fastdiff.compare.steps import Accept
from fastdiff.compare.verdicts import CHANGED, LESS, MORE, NEW, SAME, SLOW, UNSURE, Verdict, decide

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from fastdiff.compare.comparison import Comparison
    from fastdiff.compare.effect import Estimate
    from fastdiff.record.run import Baseline, Trial

PAIRS_TELL_MORE = because("pairs-tell-more")


def fingerprint(comparison: Comparison) -> Verdict | None:
    trial = comparison.trial
    if broken := breakages(trial, comparison.base):
        return Verdict(CHANGED, because("stage-broken", id=trial.id, how=broken), details=tuple(broken))
    if not trial.fingerprint:
        return None
    if comparison.base is None:
        return comparison.incomparable
    changed = differences(comparison.base.fingerprint, trial.fingerprint)
    if not changed:
        return Verdict(SAME, because("facts-equal", count=len(trial.fingerprint)))
    versions = changed_versions(comparison.base_environment, comparison.environment, STRUCTURAL)
    reason = because("facts-changed", changed=changed, versions=versions)
    details = tuple(because("fact-differs", fact=fact) for fact in changed)
    return Verdict(CHANGED, reason, next=Accept(), details=details, excused=bool(versions))


def latency(comparison: Comparison) -> Verdict | None:
    trial, base = comparison.trial, comparison.base
    if not trial.samples:
        return None
    if void := disturbance(trial, comparison.policy):
        return void
    if base is None:
        return comparison.incomparable
    if not undisturbed(base):
        return Verdict(NEW, because("no-accepted-samples"))
    accepted = comparison.noise.centres.get(trial.id) or (centre(base.samples),)
    effect = comparison.effect(centre(trial.samples), accepted, comparison.noise.latency_sd)
    verdict = _decided(comparison, comparison.estimate(effect), comparison.policy.latency, [])
    return _explained(comparison, verdict, explain)


def _decided(comparison: Comparison, found: Estimate, band: float, notes: list[Reason]) -> Verdict:
    """The verdict on stored seconds. Differing conditions are added to `notes`; they change no number."""
    verdict = decide(found, band, settling=PAIRS_TELL_MORE)
    if verdict.word != SAME:
        notes = [*notes, comparison.differs] if comparison.differs else notes
        notes = [*notes, PAIRS_TELL_MORE] if verdict.word != UNSURE else notes
    return replace(verdict, notes=tuple(notes))


def _explained(comparison: Comparison, verdict: Verdict, why: Callable[..., Iterable[Reason]]) -> Verdict:
    """Adds to a SLOW verdict the component that lost the time."""
    if verdict.word != SLOW or comparison.base is None:
        return verdict
    details = why(comparison.trial, comparison.base, comparison.environment, comparison.base_environment)
    return replace(verdict, details=tuple(details))


def first_call(comparison: Comparison) -> Verdict | None:
    trial, base = comparison.trial, comparison.base
    if trial.first_call_s is None:
        return None
    if base is None:
        return comparison.incomparable
    if base.first_call_s is None:
        return Verdict(NEW, because("no-accepted-first-call"))
    if not trial.begins_like(base):
        return None  # one includes one-time costs, the other does not: not comparable
    accepted = logarithm(base.first_call_s, f"the accepted first call of {trial.id}")
    candidate = logarithm(trial.first_call_s, f"the first call of {trial.id}")
    found = comparison.estimate(comparison.effect(candidate, [accepted], comparison.noise.first_call_sd))
    notes = [because("first-call", before=base.first_call_s, after=trial.first_call_s, cache=trial.cache)]
    verdict = _decided(comparison, found, comparison.policy.first_call, notes)
    return _explained(comparison, verdict, causes)


def memory(comparison: Comparison) -> Verdict | None:
    now = comparison.trial.memory
    if now is None:
        return None
    if comparison.base is None:
        return comparison.incomparable
    before = comparison.base.memory
    if before is None or before.measure != now.measure:
        return Verdict(NEW, because("no-accepted-memory", measure=now.measure))
    weighed = before.weights_bytes is not None and now.weights_bytes is not None  # older files know the peak alone
    old, new = (before.whole_bytes, now.whole_bytes) if weighed else (before.peak_bytes, now.peak_bytes)
    found = comparison.estimate(exact(new, old, f"the peak memory of {comparison.trial.id}"))
    verdict = decide(found, comparison.policy.memory, (MORE, LESS))
    if verdict.word == SAME:
        return replace(verdict, notes=(because("memory", before=old, after=new, where=now.where),))
    reason = because(
        "memory-changed",
        word=verdict.word,
        share=abs(found.ratio - 1),
        before=old,
        after=new,
        where=now.where,
        moved=before.where if before.where != now.where else "",
        band=comparison.policy.memory,
    )
    return replace(verdict, reason=reason)


def ladder(comparison: Comparison) -> Verdict | None:
    """The speedup over the previous stage in one process, compared with the accepted speedup. A loss is SLOW."""
    trial, previous = comparison.trial, comparison.previous
    if previous is None or not trial.samples or not previous.samples:
        return None
    if void := disturbance(trial, comparison.policy) or disturbance(previous, comparison.policy):
        return void
    if comparison.baseline is None or comparison.base is None:
        return None  # latency says that it is new
    accepted = _accepted_gains(comparison.baseline, previous, trial)
    if isinstance(accepted, Reason):
        return Verdict(NEW, accepted)
    gain = _gain(previous, trial)
    found = comparison.estimate(comparison.effect(-gain, [-one for one in accepted], comparison.noise.ladder_sd))
    verdict = _decided(comparison, found, comparison.policy.ladder, [])
    before, after = math.exp(fmean(accepted)), math.exp(gain)
    speedup = because("speedup", stage=trial.stage, previous=previous.stage, before=before, after=after)
    return replace(_explained(comparison, verdict, explain), about=(speedup,))


def _accepted_gains(baseline: Baseline, previous: Trial, trial: Trial) -> list[float] | Reason:
    """Logarithms of the speedup, one per accepted trial; or the reason why there are none."""
    before, why = comparable(previous, baseline, baseline.run.device)
    base = baseline.run.stage(trial.id)
    if before is None or base is None:
        return why or because("no-accepted-stage", id=trial.id)
    if before.origin != base.origin:
        return because("accepted-in-parts", previous=previous.stage, stage=trial.stage)
    if not (undisturbed(before) and undisturbed(base)):
        return because("no-accepted-gain", previous=previous.stage, stage=trial.stage)
    noise = baseline.noise
    measured = gains_of(previous.id, trial.id, noise.centres) if noise else []
    return [gain + _pictures(before, base) for gain in measured] or [_gain(before, base)]


def _gain(previous: Trial, trial: Trial) -> float:
    """The logarithm of the speedup per picture, not per call."""
    return centre(previous.samples) - centre(trial.samples) + _pictures(previous, trial)


def _pictures(previous: Trial, trial: Trial) -> float:
    return math.log(trial.batch / previous.batch)


JUDGES: dict[str, Callable[[Comparison], Verdict | None]] = {
    "fingerprint": fingerprint,
    "latency": latency,
    "first_call": first_call,
    "memory": memory,
    "ladder": ladder,
}
