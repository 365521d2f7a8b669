"""Objections to accepting a run: all of them at once, so that the user need not mend one after another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastdiff.record.run import MEASURED, SKIPPED, Run, Trial

if TYPE_CHECKING:
    from collections.abc import Collection

VOID_SHARE = 0.5
"""Where the machine disturbed more samples than it left alone, the median is one of a disturbed machine."""


def objections(run: Run, ids: Collection[str] = (), before: Run | None = None) -> list[str]:
    """Sentences, none where the run may be accepted; with `ids` only these stages count.

    A stage that was skipped, because it is not possible here, is no objection, unless `before`, the accepted run of
    this device, has it measured.
    """
    if ids:
        return [sentence for id_ in ids if (stage := run.stage(id_)) for sentence in _against(stage, before)]
    found = []
    if not run.complete:
        found.append(f"the session did not come to its end ({run.outcome or 'no outcome'})")
    if not run.stages:
        found.append("it holds no stage")
    elif all(stage.state == SKIPPED for stage in run.stages):
        found.append("none of its stages was measured")
    found += [f"{id_} was expected and is missing" for id_ in run.expected if run.stage(id_) is None]
    return found + [sentence for stage in run.stages for sentence in _against(stage, before)]


def injected(run: Run, ids: Collection[str] = ()) -> list[str]:
    """Faults that were put in on purpose: no force makes them the normal state of the machine."""
    stages = [stage for stage in run.stages if not ids or stage.id in ids]
    return [f"{stage.id} was measured with the injected fault {stage.injected}" for stage in stages if stage.injected]


def _against(stage: Trial, before: Run | None) -> list[str]:
    accepted = before.stage(stage.id) if before else None
    if stage.state == SKIPPED and (accepted is None or accepted.state == SKIPPED):
        return []
    if stage.state != MEASURED:
        return [f"{stage.id} is {stage.state}" + (f": {stage.reason}" if stage.reason else "")]
    found = []
    if not stage.samples:
        found.append("has no timed round")
    voids = [r.void for r in stage.samples if r.void]
    if len(voids) > VOID_SHARE * len(stage.samples):
        found.append(f"has {len(voids)} void samples of {len(stage.samples)} ({voids[0]})")
    if stage.quality is None:
        found.append("was not compared with the reference's pictures")
    elif not stage.quality.passed:
        what = "draws other pictures" if stage.quality.relative_l2 is None else "answers other numbers"
        found.append(f"{what} than the reference ({stage.quality.reason or 'quality not passed'})")
    found += [f"was not applied: {sentence}" for sentence in stage.unapplied]
    found += [f"left a global switch changed: {leak}" for leak in stage.leaks]
    return [f"{stage.id} {sentence}" for sentence in found]
