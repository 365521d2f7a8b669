"""A stage and the accepted trial that it is judged against: only the same work on the same device is comparable."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastdiff.compare.effect import Errors, estimate, of_trials
from fastdiff.compare.facts import differences
from fastdiff.compare.noise import declared, spread
from fastdiff.compare.reasons import because
from fastdiff.compare.verdicts import NEW, VOID, Verdict
from fastdiff.record.run import MACHINE, SKIPPED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fastdiff.compare.effect import Effect, Estimate
    from fastdiff.compare.policy import Policy
    from fastdiff.compare.reasons import Reason
    from fastdiff.record.run import Baseline, Device, Noise, Trial


@dataclass(frozen=True)
class Comparison:
    """A stage, the trials that it is compared with, and the policy."""

    trial: Trial
    previous: Trial | None
    base: Trial | None
    """The accepted trial of the same work on the same device, if there is one."""
    new: Reason | None
    """Why `base` is None."""
    baseline: Baseline | None
    policy: Policy
    among: int
    """The number of comparisons that share the allowed error of the whole suite."""
    kind: str
    environment: Mapping[str, Any]

    @property
    def incomparable(self) -> Verdict:
        """The verdict if there is no base: NEW, with the reason."""
        assert self.new is not None
        return Verdict(NEW, self.new)

    @property
    def noise(self) -> Noise:
        return (self.baseline.noise if self.baseline else None) or declared(self.kind)

    @property
    def base_environment(self) -> Mapping[str, Any]:
        return self.baseline.run.environment if self.baseline else {}

    @property
    def differs(self) -> Reason | None:
        """How the machine differs from that of the accepted run; None if it does not differ or is not known.

        The verdict mentions it; no number changes. Clones of one image have the same name, generations of a processor
        share a brand name, and a restarted virtual machine may be on another host.
        """
        accepted_in_part = self.base is not None and self.base.origin
        accepted = self.base.where if self.base and accepted_in_part else self.base_environment
        for what in MACHINE:
            here, there = self.environment.get(what), accepted.get(what)
            if here and there and here != there:
                return because("machine-differs", fact=what)
        return None

    def effect(self, candidate: float, accepted: Sequence[float], sd: float) -> Effect:
        """All values are logarithms. `sd` is the scatter of all stages, used for a stage with too few own trials."""
        sd, dof = spread(accepted, sd, self.noise)
        return of_trials(candidate, accepted, sd, dof)

    def estimate(self, effect: Effect) -> Estimate:
        policy = self.policy
        return estimate(effect, Errors(1 - policy.same_confidence, (1 - policy.confidence) / self.among))


def comparable(trial: Trial, baseline: Baseline | None, device: Device) -> tuple[Trial, None] | tuple[None, Reason]:
    """The accepted trial of the same work on the same device; or None and the reason why nothing is comparable."""
    if baseline is None:
        return None, because("no-accepted-run", device=device.name)
    accepted = baseline.run
    if accepted.device.slug != device.slug:
        return None, because("accepted-elsewhere", accepted=accepted.device.name, here=device.name)
    base = accepted.stage(trial.id)
    if base is None:
        return None, because("no-accepted-stage", id=trial.id)
    if base.state == SKIPPED:
        return None, because("accepted-as-skipped", id=trial.id, why=base.reason)
    if base.weights and base.weights != trial.weights:
        return None, because("other-weights", before=base.weights, after=trial.weights)
    for what, old, new in (
        ("request", base.request, trial.request),
        ("recipe", base.recipe, trial.recipe),
    ):
        if changed := differences(old, new):
            return None, because("other-work", what=what, changed=changed)
    return base, None


def disturbance(trial: Trial, policy: Policy) -> Verdict | None:
    """VOID if too few undisturbed samples are left to judge."""
    reasons = Counter(one.void for one in trial.samples if one.void)
    count, valid = len(trial.samples), len(trial.samples) - reasons.total()
    if reasons.total() <= policy.void_share * count and valid >= policy.minimum_samples:
        return None
    if not reasons:
        return Verdict(VOID, because("too-few-samples", id=trial.id, count=count, minimum=policy.minimum_samples))
    why = reasons.most_common(1)[0][0]
    return Verdict(VOID, because("samples-disturbed", id=trial.id, void=reasons.total(), count=count, why=why))


def undisturbed(trial: Trial) -> bool:
    return any(not one.void for one in trial.samples)
