"""The verdict of each metric of a stage; None where there is nothing to judge."""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import fmean
from typing import TYPE_CHECKING

from fastdiff.compare.case import comparable, disturbance, undisturbed
from fastdiff.compare.estimates import centre, exact, logarithm
from fastdiff.compare.explanation import causes, explain
from fastdiff.compare.facts import STRUCTURAL, breakages, changed_versions, differences
from fastdiff.compare.noise import gains_of
from fastdiff.compare.reasons import Reason, because
from fastdiff.compare.steps import Accept
from fastdiff.compare.verdicts import CHANGED, LESS, MORE, NEW, SAME, SLOW, UNSURE, Verdict, decide

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastdiff.compare.case import Case
    from fastdiff.compare.estimates import Estimate
    from fastdiff.record.run import Baseline, Trial

PAIRS_TELL_MORE = because("pairs-tell-more")


def fingerprint(case: Case) -> Verdict | None:
    record = case.record
    if broken := breakages(record):
        return Verdict(CHANGED, because("stage-broken", id=record.id, how=broken), details=tuple(broken))
    if not record.fingerprint:
        return None
    if case.base is None:
        return case.incomparable
    changed = differences(case.base.fingerprint, record.fingerprint)
    if not changed:
        return Verdict(SAME, because("facts-equal", count=len(record.fingerprint)))
    versions = changed_versions(case.base_environment, case.environment, STRUCTURAL)
    reason = because("facts-changed", changed=changed, versions=versions)
    details = tuple(because("fact-differs", fact=fact) for fact in changed)
    return Verdict(CHANGED, reason, next=Accept(), details=details, excused=bool(versions))


def latency(case: Case) -> Verdict | None:
    record, base = case.record, case.base
    if not record.samples:
        return None
    if void := disturbance(record, case.policy):
        return void
    if base is None:
        return case.incomparable
    if not undisturbed(base):
        return Verdict(NEW, because("no-accepted-samples"))
    accepted = case.noise.centres.get(record.id) or (centre(base.samples),)
    looks = [record.samples]
    looks += [one for one in record.confirmations if not disturbance(replace(record, samples=one), case.policy)]
    candidates = [centre(samples) for samples in looks]
    found = case.estimate(candidates, accepted, case.noise.latency_sd, case.confirmation.chances)
    notes = []
    if len(candidates) > 1:
        changes = [math.expm1(one - fmean(accepted)) for one in candidates]
        notes.append(because("mean-of-processes", changes=changes))
    if disturbed := 1 + len(record.confirmations) - len(looks):
        notes.append(because("processes-disturbed", count=disturbed))
    verdict = _decided(case, found, case.policy.latency, notes)
    details = tuple(explain(record, base, case.environment, case.base_environment)) if verdict.word == SLOW else ()
    return replace(verdict, details=details)


def _decided(case: Case, found: Estimate, band: float, notes: list[Reason]) -> Verdict:
    """By the stored seconds. Conditions that differ are named beside `notes`, and change no number."""
    verdict = decide(found, band, settling=PAIRS_TELL_MORE)
    if verdict.word != SAME:
        notes = [*notes, case.differs] if case.differs else notes
        notes = [*notes, PAIRS_TELL_MORE] if verdict.word != UNSURE else notes
    return replace(verdict, notes=tuple(notes))


def first_call(case: Case) -> Verdict | None:
    record, base = case.record, case.base
    if record.first_call_s is None:
        return None
    if base is None:
        return case.incomparable
    if base.first_call_s is None:
        return Verdict(NEW, because("no-accepted-first-call"))
    if not record.begins_like(base):
        return None  # other work: neither is slower than the other
    accepted = logarithm(base.first_call_s, f"the accepted first call of {record.id}")
    candidate = logarithm(record.first_call_s, f"the first call of {record.id}")
    found = case.estimate([candidate], [accepted], case.noise.first_call_sd)
    notes = [because("first-call", before=base.first_call_s, after=record.first_call_s, cache=record.cache)]
    verdict = _decided(case, found, case.policy.first_call, notes)
    why = tuple(causes(record, base, case.environment, case.base_environment)) if verdict.word == SLOW else ()
    return replace(verdict, details=why)


def memory(case: Case) -> Verdict | None:
    now = case.record.memory
    if now is None:
        return None
    if case.base is None:
        return case.incomparable
    before = case.base.memory
    if before is None or before.measure != now.measure:
        return Verdict(NEW, because("no-accepted-memory", measure=now.measure))
    weighed = before.weights_bytes is not None and now.weights_bytes is not None  # older files know the peak alone
    old, new = (before.whole_bytes, now.whole_bytes) if weighed else (before.peak_bytes, now.peak_bytes)
    found = exact(new, old, f"the peak memory of {case.record.id}")
    verdict = decide(found, case.policy.memory, (MORE, LESS))
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
        band=case.policy.memory,
    )
    return replace(verdict, reason=reason)


def ladder(case: Case) -> Verdict | None:
    """What the stage gains on the one before, in one process, against the accepted gain. A loss is SLOW."""
    record, previous = case.record, case.previous
    if previous is None or not record.samples or not previous.samples:
        return None
    if void := disturbance(record, case.policy) or disturbance(previous, case.policy):
        return void
    if case.baseline is None or case.base is None:
        return None  # latency says that it is new
    accepted = _accepted_gains(case.baseline, previous, record)
    if isinstance(accepted, Reason):
        return Verdict(NEW, accepted)
    gain = _gain(previous, record)
    found = case.estimate([-gain], [-one for one in accepted], case.noise.ladder_sd)
    verdict = _decided(case, found, case.policy.ladder, [])
    before, after = math.exp(fmean(accepted)), math.exp(gain)
    speedup = because("speedup", stage=record.stage, previous=previous.stage, before=before, after=after)
    why = tuple(explain(record, case.base, case.environment, case.base_environment)) if verdict.word == SLOW else ()
    return replace(verdict, about=(speedup,), details=why)


def _accepted_gains(baseline: Baseline, previous: Trial, record: Trial) -> list[float] | Reason:
    """Logarithms of the gain, one for each accepted trial; or why there are none."""
    before, why = comparable(previous, baseline, baseline.run.device)
    base = baseline.run.stage(record.id)
    if before is None or base is None:
        return why or because("no-accepted-stage", id=record.id)
    if before.origin != base.origin:
        return because("accepted-in-parts", previous=previous.stage, stage=record.stage)
    if not (undisturbed(before) and undisturbed(base)):
        return because("no-accepted-gain", previous=previous.stage, stage=record.stage)
    noise = baseline.noise
    measured = gains_of(previous.id, record.id, noise.centres) if noise else []
    return [gain + _pictures(before, base) for gain in measured] or [_gain(before, base)]


def _gain(previous: Trial, record: Trial) -> float:
    """Of a picture, not of a call."""
    return centre(previous.samples) - centre(record.samples) + _pictures(previous, record)


def _pictures(previous: Trial, record: Trial) -> float:
    return math.log(record.batch / previous.batch)


METRICS: dict[str, Callable[[Case], Verdict | None]] = {
    "fingerprint": fingerprint,
    "latency": latency,
    "first_call": first_call,
    "memory": memory,
    "ladder": ladder,
}
