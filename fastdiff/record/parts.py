"""An acceptance of some stages alone: the baseline that was there, with these stages replaced."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fastdiff.record.errors import UserError, unknown
from fastdiff.record.run import MACHINE

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from fastdiff.record.run import Noise, Run


def chosen(run: Run, names: Sequence[str]) -> tuple[str, ...]:
    """The ids of the stages that are meant: `int8` means that stage of every model, `shapes-int8` the one."""
    known = [name for stage in run.stages for name in (stage.stage, stage.id)]
    for name in names:
        if name not in known:
            raise UserError("file", unknown("stage of this run", name, dict.fromkeys(known)))
    return tuple(stage.id for stage in run.stages if {stage.stage, stage.id} & set(names))


def merged(old: Run, new: Run, ids: Sequence[str], source: str) -> Run:
    """Everything but the stages stays the old run's. What software it is, only where both had the same: otherwise the
    stages differ in it, and no one side could be made again."""
    where = {name: new.environment[name] for name in MACHINE if name in new.environment}
    replaced = {stage.id: replace(stage, origin=source, where=where) for stage in new.stages if stage.id in ids}
    stages = {stage.id: stage for stage in old.stages} | replaced
    software = old.software if old.software == new.software else None
    expected = tuple(dict.fromkeys([*old.expected, *ids]))
    return replace(old, stages=tuple(stages.values()), expected=expected, software=software)


def merged_benchmarks(old: dict[str, Any], new: dict[str, Any], ids: Sequence[str]) -> dict[str, Any]:
    """pytest-benchmark's part, in the same way."""
    kept = [entry for entry in old["benchmarks"] if not _is_of(entry, ids)]
    return old | {"benchmarks": kept + [entry for entry in new["benchmarks"] if _is_of(entry, ids)]}


def merged_noise(old: Noise | None, new: Noise, ids: Collection[str]) -> Noise:
    """The new deviations; the trials of each stage are those of the run from which it comes."""
    return replace(new, centres=_without(old.centres if old else {}, ids) | _of(new.centres, ids))


def without_centres(noise: Noise, ids: Collection[str]) -> Noise:
    return replace(noise, centres=_without(noise.centres, ids))


def _of(centres: Mapping[str, tuple[float, ...]], ids: Collection[str]) -> dict[str, tuple[float, ...]]:
    return {id_: trials for id_, trials in centres.items() if id_ in ids}


def _without(centres: Mapping[str, tuple[float, ...]], ids: Collection[str]) -> dict[str, tuple[float, ...]]:
    return {id_: trials for id_, trials in centres.items() if id_ not in ids}


def _is_of(benchmark: Mapping[str, Any], ids: Collection[str]) -> bool:
    return benchmark.get("param") in ids or any(f"[{id_}]" in str(benchmark.get("name")) for id_ in ids)
