"""The verdict of each metric of a stage; None where there is nothing to judge."""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import fmean
from typing import TYPE_CHECKING

from fastdiff.compare.case import comparable, disturbance, undisturbed
from fastdiff.compare.estimates import centre, exact, logarithm
from fastdiff.compare.explanation import causes, explain
from fastdiff.compare.facts import STRUCTURAL, breakages, changed_versions, differences, listed
from fastdiff.compare.noise import gains_of
from fastdiff.compare.steps import Accept
from fastdiff.compare.verdicts import CHANGED, LESS, MORE, NEW, SAME, SLOW, Verdict, decide

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastdiff.compare.case import Case
    from fastdiff.compare.estimates import Estimate
    from fastdiff.record.run import Baseline, StageRecord

PAIRS_TELL_MORE = "the accepted seconds are of another hour, and pairs would tell more"


def fingerprint(case: Case) -> Verdict | None:
    record = case.record
    if broken := breakages(record):
        return Verdict(CHANGED, f"{record.id} is broken: {listed(broken)}", details=tuple(broken))
    if not record.fingerprint:
        return None
    if case.base is None:
        return Verdict(NEW, case.new)
    changed = differences(case.base.fingerprint, record.fingerprint)
    if not changed:
        return Verdict(SAME, f"all {len(record.fingerprint)} facts are equal")
    versions = changed_versions(case.base_environment, case.environment, STRUCTURAL)
    cause = f"with other versions ({listed(versions)})" if versions else "with the same versions of the libraries"
    return Verdict(
        CHANGED, f"{listed(changed)}, {cause}", next=Accept(), details=tuple(changed), excused=bool(versions)
    )


def latency(case: Case) -> Verdict | None:
    record, base = case.record, case.base
    if not record.rounds:
        return None
    if void := disturbance(record, case.policy):
        return void
    if base is None:
        return Verdict(NEW, case.new)
    if not undisturbed(base):
        return Verdict(NEW, "the accepted run has no undisturbed round of it")
    accepted = case.noise.centres.get(record.id) or (centre(base.rounds),)
    looks = [record.rounds]
    looks += [one for one in record.further_rounds if not disturbance(replace(record, rounds=one), case.policy)]
    candidates = [centre(rounds) for rounds in looks]
    found = case.estimate(candidates, accepted, case.noise.latency_sd, case.looks.chances)
    notes = []
    if len(candidates) > 1:
        each = ", ".join(f"{100 * math.expm1(one - fmean(accepted)):+.1f} %" for one in candidates)
        notes.append(f"mean of {len(candidates)} fresh processes: {each}")
    if disturbed := 1 + len(record.further_rounds) - len(looks):
        notes.append(f"{disturbed} more were disturbed")
    verdict = _decided(case, found, case.policy.latency, notes)
    details = tuple(explain(record, base, case.environment, case.base_environment)) if verdict.word == SLOW else ()
    return replace(verdict, reason="; ".join([verdict.reason, *details[:1]]), details=details)


def _decided(case: Case, found: Estimate, band: float, notes: list[str]) -> Verdict:
    """By the stored seconds. Conditions that differ are named in the reason, beside `notes`, and change no number."""
    verdict = decide(found, band, settling=PAIRS_TELL_MORE)
    if verdict.word != SAME:
        notes = [*notes, case.differs] if case.differs else notes
        notes = [*notes, PAIRS_TELL_MORE] if PAIRS_TELL_MORE not in verdict.reason else notes
    return replace(verdict, reason=f"{verdict.reason} ({'; '.join(notes)})") if notes else verdict


def first_call(case: Case) -> Verdict | None:
    record, base = case.record, case.base
    if record.first_call_s is None:
        return None
    if base is None:
        return Verdict(NEW, case.new)
    if base.first_call_s is None:
        return Verdict(NEW, "the accepted run has no first call of it")
    if not record.begins_like(base):
        return None  # other work: neither is slower than the other
    accepted = logarithm(base.first_call_s, f"the accepted first call of {record.id}")
    candidate = logarithm(record.first_call_s, f"the first call of {record.id}")
    found = case.estimate([candidate], [accepted], case.noise.first_call_sd)
    notes = [f"{base.first_call_s:.3g} s -> {record.first_call_s:.3g} s, compile cache {record.cache}"]
    verdict = _decided(case, found, case.policy.first_call, notes)
    why = tuple(causes(record, base, case.environment, case.base_environment)) if verdict.word == SLOW else ()
    return replace(verdict, details=why)


def memory(case: Case) -> Verdict | None:
    now = case.record.memory
    if now is None:
        return None
    if case.base is None:
        return Verdict(NEW, case.new)
    before = case.base.memory
    if before is None or before.measure != now.measure:
        return Verdict(NEW, f"the accepted run has no memory measured as {now.measure}")
    weighed = before.weights_bytes is not None and now.weights_bytes is not None  # older files know the peak alone
    old, new = (before.whole_bytes, now.whole_bytes) if weighed else (before.peak_bytes, now.peak_bytes)
    found = exact(new, old, f"the peak memory of {case.record.id}")
    verdict = decide(found, case.policy.memory, (MORE, LESS))
    peaks = f"{old / 1e6:.2f} MB -> {new / 1e6:.2f} MB, peak in {now.where}"
    if verdict.word == SAME:
        return replace(verdict, reason=f"{verdict.reason} ({peaks})")
    change = f"needs {100 * abs(found.ratio - 1):.1f} % {'more' if verdict.word == MORE else 'less'} memory"
    moved = f", before in {before.where}" if before.where != now.where else ""
    return replace(verdict, reason=f"{change} ({peaks}{moved}); the band is ±{100 * case.policy.memory:g} %")


def ladder(case: Case) -> Verdict | None:
    """What the stage gains on the one before, in one process, against the accepted gain. A loss is SLOW."""
    record, previous = case.record, case.previous
    if previous is None or not record.rounds or not previous.rounds:
        return None
    if void := disturbance(record, case.policy) or disturbance(previous, case.policy):
        return void
    if case.baseline is None or case.base is None:
        return None  # latency says that it is new
    accepted = _accepted_gains(case.baseline, previous, record)
    if isinstance(accepted, str):
        return Verdict(NEW, accepted)
    gain = _gain(previous, record)
    found = case.estimate([-gain], [-one for one in accepted], case.noise.ladder_sd)
    verdict = _decided(case, found, case.policy.ladder, [])
    speedup = f"speedup of {record.stage} over {previous.stage}"
    reason = f"{speedup}: {math.exp(fmean(accepted)):.2f}x -> {math.exp(gain):.2f}x: {verdict.reason}"
    why = tuple(explain(record, case.base, case.environment, case.base_environment)) if verdict.word == SLOW else ()
    return replace(verdict, reason=reason, details=why)


def _accepted_gains(baseline: Baseline, previous: StageRecord, record: StageRecord) -> list[float] | str:
    """Logarithms of the gain, one for each accepted trial; or why there are none."""
    before, why = comparable(previous, baseline, baseline.run.device)
    base = baseline.run.stage(record.id)
    if before is None or base is None:
        return why
    if before.origin != base.origin:
        return f"the accepted {previous.stage} and {record.stage} come from different runs"
    if not (undisturbed(before) and undisturbed(base)):
        return f"the accepted run has no undisturbed rounds of {previous.stage} and {record.stage}"
    noise = baseline.noise
    measured = gains_of(previous.id, record.id, noise.centres) if noise else []
    return [gain + _pictures(before, base) for gain in measured] or [_gain(before, base)]


def _gain(previous: StageRecord, record: StageRecord) -> float:
    """Of a picture, not of a call."""
    return centre(previous.rounds) - centre(record.rounds) + _pictures(previous, record)


def _pictures(previous: StageRecord, record: StageRecord) -> float:
    return math.log(record.batch / previous.batch)


METRICS: dict[str, Callable[[Case], Verdict | None]] = {
    "fingerprint": fingerprint,
    "latency": latency,
    "first_call": first_call,
    "memory": memory,
    "ladder": ladder,
}
