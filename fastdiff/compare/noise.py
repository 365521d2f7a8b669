"""The noise: how much fresh processes of one machine differ. Measured over runs of the same code, or a wide default."""

from __future__ import annotations

import math
from statistics import variance
from typing import TYPE_CHECKING

from fastdiff.compare.effect import centre, logarithm
from fastdiff.record.errors import unknown
from fastdiff.record.run import HARDWARE, MEASURED, Noise

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from fastdiff.record.run import Run, Trial

FEWEST_RUNS = 3
"""With two runs, the standard deviation is wrong by a factor of two in about half of the cases."""

FEWEST_OWN_TRIALS = 5
"""With four degrees of freedom, Student's t is already twice as wide as with many."""

DECLARED = {
    "cpu": Noise(
        trials=0,
        latency_sd=0.12,  # measured on two shared cores: 0.07 to 0.13 between processes of one night
        ladder_sd=0.15,  # measured there: 0.06 to 0.22, stage by stage
        first_call_sd=0.15,  # not measured: compilation reads the disk and starts processes, so wider than a call
    ),
    "cuda": Noise(
        trials=0,
        latency_sd=0.015,  # not measured here: clocks differ by a percent or two between processes
        ladder_sd=0.015,  # not measured here: both stages ran on the same warm GPU, which is no worse than the above
        first_call_sd=0.15,  # not measured here: compilation happens on the CPU
    ),
}
DECLARED["mps"] = DECLARED["cpu"]  # not measured here: a GPU that shares its memory and its heat with the processor


def declared(kind: str) -> Noise:
    """The noise if none was measured: wide on purpose, so that verdicts are UNSURE rather than SLOW."""
    if kind not in DECLARED:
        raise ValueError(unknown("kind of device", kind, DECLARED))
    return DECLARED[kind]


def dof(noise: Noise) -> float:
    """Degrees of freedom of the standard deviations; infinite for declared noise.

    Every stage adds its own trials. If the stages of a process vary together, this overestimates the degrees of freedom
    and makes the intervals slightly too narrow; the band is many times wider than this error.
    """
    if not noise.trials:
        return math.inf
    # A baseline that was accepted stage by stage has trials that did not enter its standard deviations.
    return noise.dof or max(noise.trials - 1, sum(len(trials) - 1 for trials in noise.centres.values()))


def spread(trials: Sequence[float], pooled_sd: float, noise: Noise) -> tuple[float, float]:
    """Standard deviation and degrees of freedom for one stage, from its own trials if there are enough of them.

    The noise differs between stages: on two shared cores one of six scattered by 14 %, the others by 2 to 5 %. A common
    value would raise false alarms for that one and hide slowdowns of the others.
    """
    if len(trials) < FEWEST_OWN_TRIALS:
        return pooled_sd, dof(noise)
    return math.sqrt(variance(trials)), len(trials) - 1


def measured(runs: Sequence[Run]) -> Noise:
    """The noise of at least three runs, each a fresh process, of the same code on the same machine.

    A stage counts if every run measured it. If no stage provides a value, for instance because no two first calls began
    alike, the declared noise provides it.
    """
    _require_alike(runs)
    trials = {record.id: [run.stage(record.id) for run in runs] for record in runs[0].stages}
    stages = {id_: [one for one in records if one and _usable(one)] for id_, records in trials.items()}
    stages = {id_: records for id_, records in stages.items() if len(records) == len(runs)}
    if not stages:
        raise ValueError("no stage was measured undisturbed in all of these runs; leave out the runs that failed.")
    for id_, records in stages.items():
        if any((one.request, one.recipe) != (records[0].request, records[0].recipe) for one in records):
            raise ValueError(f"{id_} has another request or recipe in some of these runs; give runs of the same work.")

    centres = {id_: tuple(centre(one.samples) for one in records) for id_, records in stages.items()}
    wide = declared(runs[0].device.kind)
    return Noise(
        trials=len(runs),
        latency_sd=_pooled(centres.values(), wide.latency_sd),
        ladder_sd=_pooled(_gains(stages, centres), wide.ladder_sd),
        first_call_sd=_pooled(_first_calls(stages), wide.first_call_sd),
        centres=centres,
        dof=max(len(runs) - 1, sum(len(trials) - 1 for trials in centres.values())),
    )


def _require_alike(runs: Sequence[Run]) -> None:
    if len(runs) < FEWEST_RUNS:
        raise ValueError(f"{len(runs)} runs were given; noise needs at least {FEWEST_RUNS}, each a fresh process.")
    for place, run in enumerate(runs):
        if run in runs[:place]:
            raise ValueError(f"the run of {run.started} is given twice; give runs of fresh processes.")
        for what, value, first in (
            ("device", run.device.slug, runs[0].device.slug),
            # Another start of the same virtual machine makes the noise wider, as it should.
            *((name, run.environment.get(name), runs[0].environment.get(name)) for name in (*HARDWARE, "allocator")),
            ("versions", run.environment.get("versions"), runs[0].environment.get("versions")),
            ("stages", sorted(run.expected), sorted(runs[0].expected)),
        ):
            if value != first:
                raise ValueError(
                    f"{what} of the run of {run.started}: {value}, of the first one: {first}; leave that one out of "
                    "--noise-of."
                )


def _usable(record: Trial) -> bool:
    return record.state == MEASURED and not record.injected and any(not one.void for one in record.samples)


def _gains(stages: dict[str, list[Trial]], centres: dict[str, tuple[float, ...]]) -> Iterable[list[float]]:
    """The gain of each stage over the one that it follows, run by run."""
    for id_, records in stages.items():
        if gains := gains_of(f"{records[0].model}-{records[0].follows}", id_, centres):
            yield gains


def gains_of(before: str, id_: str, centres: Mapping[str, tuple[float, ...]]) -> list[float]:
    """The gain of one stage over another, trial by trial; empty if their trials are not the same."""
    old, new = centres.get(before, ()), centres.get(id_, ())
    return [one - other for one, other in zip(old, new, strict=True)] if len(old) == len(new) else []


def _first_calls(stages: dict[str, list[Trial]]) -> Iterable[list[float]]:
    """First calls, grouped by how they began: a cold and a warm compile cache differ by minutes, which is not noise."""
    for id_, records in stages.items():
        alike: dict[object, list[float]] = {}
        for one in records:
            if one.first_call_s is not None:
                call = logarithm(one.first_call_s, f"the first call of {id_}")
                alike.setdefault((one.cache, one.first_in_process), []).append(call)
        yield from alike.values()


def _pooled(groups: Iterable[Sequence[float]], otherwise: float) -> float:
    """Root mean square of the groups' standard deviations; groups of one value are ignored."""
    spread = [(len(group) - 1, variance(group)) for group in groups if len(group) > 1]
    if not spread:
        return otherwise
    return math.sqrt(sum(weight * square for weight, square in spread) / sum(weight for weight, _ in spread))
