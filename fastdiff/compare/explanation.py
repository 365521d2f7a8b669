"""Where a slower stage lost its time, and what else changed: as data beside a SLOW verdict."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any

from fastdiff.compare.facts import changed_versions, differences
from fastdiff.compare.reasons import because

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fastdiff.compare.reasons import Reason
    from fastdiff.record.run import Components, Sample, Trial

SMALLEST_SHARE = 0.1
"""A component with a smaller share of the growth is not reported."""


def explain(
    trial: Trial,
    base_trial: Trial,
    run_environment: Mapping[str, Any],
    base_environment: Mapping[str, Any],
) -> list[Reason]:
    """The component with the largest share of the growth comes first."""
    return [
        *where(trial, base_trial),
        *causes(trial, base_trial, run_environment, base_environment),
    ]


def where(trial: Trial, base: Trial) -> Iterator[Reason]:
    if trial.components and base.components:
        yield from _components(trial.components, base.components)
    walls = [[one.wall_s for one in _valid(side)] for side in (base, trial)]
    if all(walls) and trial.first_call_s and base.first_call_s and trial.begins_like(base):
        steady = (median(walls[0]), median(walls[1]))
        yield because("steady-and-first", steady=steady, first=(base.first_call_s, trial.first_call_s))
    yield from _host_and_device(_valid(base), _valid(trial))


def causes(
    trial: Trial,
    base: Trial,
    run_environment: Mapping[str, Any],
    base_environment: Mapping[str, Any],
) -> Iterator[Reason]:
    if changed := differences(base.fingerprint, trial.fingerprint):
        yield because("fingerprint-differs", changed=changed)
    if changed := changed_versions(base_environment, run_environment):
        yield because("versions-differ", changed=changed)


def _components(now: Components, before: Components) -> Iterator[Reason]:
    """In seconds. The shares are those of the call's growth, so the machine's speed hardly matters."""
    old, new = parts(before), parts(now)
    if sum(new.values()) <= sum(old.values()):
        return
    growth = {name: max(new[name] - old[name], 0.0) for name in new}
    for name in sorted(growth, key=lambda name: -growth[name]):
        share = growth[name] / sum(growth.values())
        if share >= SMALLEST_SHARE:
            yield because("component-grew", name=name, before=old[name], after=new[name], share=share)


def parts(one: Components) -> dict[str, float]:
    """Denoising is the median step times their number, so that one disturbed step does not distort it."""
    steps = median(one.steps_s) * len(one.steps_s) if one.steps_s else 0.0
    return {"text": one.text_s, "denoising": steps, "decode": one.decode_s, "rest": one.rest_s}


def _host_and_device(before: list[Sample], now: list[Sample]) -> Iterator[Reason]:
    times = [[(one.device_s, one.wall_s - one.device_s) for one in side if one.device_s] for side in (before, now)]
    if all(times):
        device, host = ([median(one[place] for one in side) for side in times] for place in (0, 1))
        yield because("device-and-host", device=device, host=host)


def _valid(trial: Trial) -> list[Sample]:
    return [one for one in trial.samples if not one.void]
