"""A stage and what it is judged against: only the same work on the same device is comparable."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING, Any

from fastdiff.judge.estimates import CANARY, SECONDS, estimate, machines_unit
from fastdiff.judge.facts import differences, listed
from fastdiff.judge.looks import NO_SECOND_LOOK, Looks
from fastdiff.judge.noise import MACHINES_SD, declared, explained, spread
from fastdiff.judge.verdicts import ACCEPT, AMBIGUOUS, FAST, SLOW, VOID, Verdict, decide
from fastdiff.recipes import Compile, Recipe
from fastdiff.record.run import MACHINE, SKIPPED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastdiff.judge.estimates import Estimate
    from fastdiff.judge.policy import Policy
    from fastdiff.record.run import Baseline, Device, Noise, StageRecord

DIFFERING = {
    "machine": "of another machine of this model",
    "processor": "of another machine of this model",
    "instructions": "of a machine of this model with other instructions",
    "boot": "from before this virtual machine was started anew, perhaps on another host",
    "allocator": "of a process whose allocator did something else with freed memory",
}
"""How an accepted run differs in words, by the fact that tells."""


@dataclass(frozen=True)
class Case:
    """A stage, and what it is judged against and with."""

    record: StageRecord
    previous: StageRecord | None
    base: StageRecord | None
    """The accepted record of the same work on the same device; None where there is none."""
    new: str
    """Why there is none."""
    baseline: Baseline | None
    elsewhere: Sequence[Baseline]
    policy: Policy
    comparisons: int
    kind: str
    canary: str
    environment: Mapping[str, Any]
    looks: Looks = NO_SECOND_LOOK

    @property
    def noise(self) -> Noise:
        return (self.baseline.noise if self.baseline else None) or declared(self.kind)

    def unit(self, base: StageRecord) -> str:
        """In which the two latencies compare: the machine's own where both sides have the same, else seconds."""
        unit = machines_unit((*self.record.rounds, *base.rounds))
        alike = self.baseline is not None and self.canary and self.canary == self.baseline.run.canary
        return SECONDS if unit == CANARY and not alike else unit

    @property
    def base_environment(self) -> Mapping[str, Any]:
        return self.baseline.run.environment if self.baseline else {}

    @property
    def apart(self) -> str:
        """Why the accepted run is farther away than another process of this machine; empty where it is not.

        Of the same model, or there would be no `base`; where nobody knows, it is the same one. Clones of one image
        call themselves the same, generations of a processor share a brand name, and a virtual machine that was started
        anew may lie on another host: one that did was 20 % slower, in the canary's unit too.
        """
        accepted_in_part = self.base is not None and self.base.origin
        accepted = self.base.where if self.base and accepted_in_part else self.base_environment
        for what in MACHINE:
            here, there = self.environment.get(what), accepted.get(what)
            if here and there and here != there:
                return f"the accepted run is {DIFFERING[what]}"
        return ""

    def far(self, unit: str) -> str:
        """The same of times in that unit: seconds of a CPU whose canary was another one may be of another mood."""
        accepted = self.baseline.run.canary if self.baseline else ""
        other = unit == SECONDS and self.canary and accepted and self.canary != accepted
        return self.apart or ("the accepted run was timed beside another canary" if other else "")

    def estimate(
        self, candidates: Sequence[float], accepted: Sequence[float], sd: float, far: str = "", chances: int = 1
    ) -> Estimate:
        """Two machines of one model differ by more than two processes of one machine, and so do two moods of one.

        `chances` is how often this comparison may be found the same.
        """
        sd, freedom = spread(accepted, sd, self.noise)
        return estimate(
            fmean(candidates),
            accepted,
            sd,
            candidates=len(candidates),
            apart_sd=MACHINES_SD if far else 0.0,
            freedom=freedom,
            confidence=self.policy.confidence,
            comparisons=self.comparisons,
            chances=chances,
        )

    def decide(self, found: Estimate, band: float, far: str = "", shift: float = 0.0) -> Verdict:
        """An alarm must also be clear of what a mood explains, whose canary differs by `shift` (its logarithm)."""
        low, high = explained(shift)
        mood = high if found.ratio > 1 else low
        change = f"{abs(100 * math.expm1(shift)):.0f} % {'more' if shift > 0 else 'less'} time"
        excuse = (
            f"the canary takes {change} than when the run was accepted: the machine is in another mood, which may "
            f"explain {100 * math.expm1(mood):+.0f} %; measure again at another hour"
        )
        # Between the band and what a mood moves it to, more processes of this hour end where they are now.
        between = math.log1p(band) < abs(math.log(found.ratio)) < math.log1p(band) + abs(mood)
        verdict = replace(decide(found, band, settling=excuse if between else ""), far=far)
        clear = found.alarm_low > (1 + band) * math.exp(high) or found.alarm_high < math.exp(low) / (1 + band)
        if verdict.word in (SLOW, FAST) and not clear:
            told = f"{decide(found, band, advice='').reason}, but {excuse}"
            verdict = replace(verdict, word=AMBIGUOUS, reason=told, mood=mood)
        if verdict.word == AMBIGUOUS and far:
            return replace(verdict, reason=f"{found} says little, because {far}: accept a new one", next=ACCEPT)
        if verdict.word == AMBIGUOUS and not verdict.mood and not self.noise.trials:
            return replace(
                verdict,
                reason=f"{verdict.reason}; the noise is declared, not measured on this machine: "
                "`fastdiff accept RUN --noise-of 'runs/*.json'` narrows it",
            )
        return verdict


def comparable(record: StageRecord, baseline: Baseline | None, device: Device) -> tuple[StageRecord | None, str]:
    """The accepted record of the same work on the same device; or none, and why. Different things never compare."""
    if baseline is None:
        return None, f"no run of {device.name} was accepted yet"
    accepted = baseline.run
    if accepted.device.slug != device.slug:
        return None, f"the accepted run is of {accepted.device.name}, this one of {device.name}"
    base = accepted.stage(record.id)
    if base is None:
        return None, f"the accepted run has no stage {record.id}"
    if base.state == SKIPPED:
        return None, f"the accepted run has {record.id} as skipped ({base.reason})"
    if base.weights and base.weights != record.weights:
        return None, f"the weights are not the accepted ones ({base.weights} -> {record.weights})"
    for what, old, new in (
        ("request", base.request, record.request),
        ("recipe", _completed(base.recipe), _completed(record.recipe)),
    ):
        if changed := differences(old, new):
            return None, f"the {what} is not the accepted one ({listed(changed)})"
    return base, ""


def _completed(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """A file that is older than an idea does not name it, and cooked without it."""
    whole = asdict(Recipe()) | dict(recipe)
    if isinstance(whole["compile"], Mapping):
        whole["compile"] = asdict(Compile()) | dict(whole["compile"])
    return whole


def disturbance(record: StageRecord, policy: Policy) -> Verdict | None:
    """VOID where the machine left too little to judge."""
    reasons = Counter(one.void for one in record.rounds if one.void)
    count, valid = len(record.rounds), len(record.rounds) - reasons.total()
    if reasons.total() <= policy.void_share * count and valid >= policy.minimum_rounds:
        return None
    if not reasons:
        return Verdict(VOID, f"{record.id} was timed {count} times; at least {policy.minimum_rounds} rounds are needed")
    why = reasons.most_common(1)[0][0]
    return Verdict(VOID, f"{reasons.total()} of {count} rounds of {record.id} were disturbed, mostly: {why}")


def undisturbed(record: StageRecord) -> bool:
    return any(not one.void for one in record.rounds)
