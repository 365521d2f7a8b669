"""The verdict of each metric of a stage; None where there is nothing to judge."""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import fmean
from typing import TYPE_CHECKING

from fastdiff.judge.case import comparable, disturbance, undisturbed
from fastdiff.judge.estimates import CANARY, CYCLES, SECONDS, centre, estimate, exact, logarithm, machines_unit
from fastdiff.judge.explanation import causes, explain
from fastdiff.judge.facts import STRUCTURAL, breakages, changed_versions, differences, listed
from fastdiff.judge.noise import MACHINES_SD, canary_shift, declared, gains_of, spread
from fastdiff.judge.verdicts import (
    ACCEPT,
    AMBIGUOUS,
    CHANGED,
    LESS,
    MORE,
    NEW,
    SAME,
    SLOW,
    Verdict,
    decide,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fastdiff.judge.case import Case
    from fastdiff.record.run import Baseline, Round, StageRecord


UNITS = {SECONDS: "in seconds", CANARY: "in the canary's unit", CYCLES: "in cycles of the GPU's clock"}


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
    return Verdict(CHANGED, f"{listed(changed)}, {cause}", next=ACCEPT, details=tuple(changed), excused=bool(versions))


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
    noise, unit = case.noise, case.unit(base)
    sd = noise.latency_raw_sd if unit == SECONDS else noise.latency_sd
    raw = noise.raw_centres.get(record.id) or (centre(base.rounds, SECONDS),)
    accepted = raw if unit == SECONDS else noise.centres.get(record.id) or (centre(base.rounds, unit),)
    looks = [record.rounds]
    for rounds in record.further_rounds:
        if not disturbance(replace(record, rounds=rounds), case.policy) and unit in (SECONDS, machines_unit(rounds)):
            looks.append(rounds)
    candidates = [centre(rounds, unit) for rounds in looks]
    far = case.far(unit)
    found = case.estimate(candidates, accepted, sd, far, case.looks.chances)
    shift = _canary_shift(case, looks, base) if unit == CANARY else 0.0
    verdict = case.decide(found, case.policy.latency, far, shift)
    told = UNITS[unit]
    if unit != SECONDS:
        seconds = fmean([centre(rounds, SECONDS) for rounds in looks]) - fmean(raw)
        told = f"{told}; {100 * math.expm1(seconds):+.1f} % in seconds"
    if len(candidates) > 1:
        each = ", ".join(f"{100 * math.expm1(one - fmean(accepted)):+.1f} %" for one in candidates)
        told = f"{told}, mean of {len(candidates)} fresh processes: {each}"
    if disturbed := 1 + len(record.further_rounds) - len(looks):
        told = f"{told}; {disturbed} more were disturbed"
    slower = verdict.word == SLOW or verdict.mood > 0
    details = tuple(explain(record, base, case.environment, case.base_environment)) if slower else ()
    return replace(verdict, reason="; ".join([f"{verdict.reason} ({told})", *details[:1]]), details=details)


def _canary_shift(case: Case, looks: Sequence[Sequence[Round]], base: StageRecord) -> float:
    whole, own = (of.get(base.id, ()) for of in (case.noise.raw_centres, case.noise.centres))
    alike = whole and len(whole) == len(own)
    accepted = [one - other for one, other in zip(whole, own, strict=True)] if alike else [_canary(base.rounds)]
    return canary_shift([_canary(rounds) for rounds in looks], accepted)


def _canary(rounds: Sequence[Round]) -> float:
    """Its time as a logarithm, from what is kept of a trial: seconds less canaries."""
    return centre(rounds, SECONDS) - centre(rounds, CANARY)


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
    found = case.estimate([candidate], [accepted], case.noise.first_call_sd, case.apart)
    verdict = case.decide(found, case.policy.first_call, case.apart)
    told = f"{verdict.reason} ({base.first_call_s:.3g} s -> {record.first_call_s:.3g} s, compile cache {record.cache})"
    why = tuple(causes(record, base, case.environment, case.base_environment)) if verdict.word == SLOW else ()
    return replace(verdict, reason=told, details=why)


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
    """What the stage gains on the one before, in one process, against the accepted gain. A loss is SLOW.

    In the machine's own unit where all rounds have one: minutes lie between two stages, and between two moods of the
    machine. Between processes of two shared cores gains scattered by 6 to 22 % in seconds, mostly by 3 to 7 % in it.
    """
    record, previous = case.record, case.previous
    if previous is None or not record.rounds or not previous.rounds:
        return None
    if void := disturbance(record, case.policy) or disturbance(previous, case.policy):
        return void
    if case.baseline is None:
        return next((v for other in case.elsewhere if (v := _ladder_elsewhere(case, previous, other))), None)
    if case.base is None:
        return None  # latency says that it is new
    accepted = _accepted_gains(case.baseline, previous, record)
    if isinstance(accepted, str):
        return Verdict(NEW, accepted)
    gain = _gain(previous, record)
    found = case.estimate([-gain], [-one for one in accepted], case.noise.ladder_sd, case.apart)
    verdict = case.decide(found, case.policy.ladder, case.apart)
    unit = machines_unit((*previous.rounds, *record.rounds))
    now = f"now pays {math.exp(gain):.2f}x" + (f" ({UNITS[unit]})" if unit != SECONDS else "")
    told = f"{_paid(record, previous, fmean(accepted))} and {now}: {verdict.reason}"
    why = tuple(explain(record, case.base, case.environment, case.base_environment)) if verdict.word == SLOW else ()
    return replace(verdict, reason=told, details=why)


def _ladder_elsewhere(case: Case, previous: StageRecord, elsewhere: Baseline) -> Verdict | None:
    """Another machine proves neither a loss nor that all is well; it can only raise a question."""
    record, device = case.record, elsewhere.run.device
    base, _ = comparable(record, elsewhere, device)
    accepted = _accepted_gains(elsewhere, previous, record) if base else ""
    if isinstance(accepted, str):
        return None
    gain, mean = _gain(previous, record), fmean(accepted)
    noise = elsewhere.noise or declared(device.kind)
    sd, freedom = spread(accepted, noise.ladder_sd, noise)
    found = estimate(
        -gain,
        [-one for one in accepted],
        sd,
        apart_sd=MACHINES_SD,
        freedom=freedom,
        confidence=case.policy.confidence,
        comparisons=case.comparisons,
    )
    told = f"{_paid(record, previous, mean)} on {device.name} and pays {math.exp(gain):.2f}x here"
    if found.alarm_low > 1 or found.alarm_high < 1:
        return Verdict(AMBIGUOUS, f"{told}; machines rarely differ by so much", found)
    return Verdict(NEW, f"{told}, which machines may differ by; {case.new}", found)


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
    measured = gains_of(previous.id, record.id, noise.centres, noise.raw_centres) if noise else []
    return [gain + _pictures(before, base) for gain in measured] or [_gain(before, base)]


def _gain(previous: StageRecord, record: StageRecord) -> float:
    """Of a picture, not of a call. A ratio has no unit, so one of canaries compares with one of seconds."""
    unit = machines_unit((*previous.rounds, *record.rounds))
    return centre(previous.rounds, unit) - centre(record.rounds, unit) + _pictures(previous, record)


def _pictures(previous: StageRecord, record: StageRecord) -> float:
    return math.log(record.request.get("batch", 1) / previous.request.get("batch", 1))


def _paid(record: StageRecord, previous: StageRecord, gain: float) -> str:
    return f"{record.stage} used to pay {math.exp(gain):.2f}x over {previous.stage}"


METRICS: dict[str, Callable[[Case], Verdict | None]] = {
    "fingerprint": fingerprint,
    "latency": latency,
    "first_call": first_call,
    "memory": memory,
    "ladder": ladder,
}
