"""What an acceptance would change, stage by stage: numbers with their intervals, fingerprints, versions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from fastdiff.record.run import SKIPPED
from fastdiff.record.spread import latency
from fastdiff.report.clean import clean
from fastdiff.report.columns import aligned

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fastdiff.record.run import Run, Trial

Row = tuple[str, str, str, str, str]
Cell = tuple[float, str]
"""A number, and how it is shown."""
SHOWN = 5
"""Differences of a fingerprint that are shown: a recompiled model changes dozens, all for the same reason."""


def changes(old: Run | None, new: Run, only: Sequence[str] = ()) -> list[str]:
    """Lines for a terminal: a table of the numbers, then what else differs. `only` are the ids that are accepted."""
    ids = only or dict.fromkeys(stage.id for run in (old, new) if run for stage in run.stages)
    rows: list[Row] = [("stage", "", "old", "new", "ratio")]
    notes = []
    for id_ in ids:
        before, after = old.stage(id_) if old else None, new.stage(id_)
        if after and after.state == SKIPPED:
            notes.append(f"{id_}: skipped: {after.reason}")
        rows += _rows(id_, before, after)
        if before and after:
            for kind in ("recipe", "request", "fingerprint"):
                differing = differences(getattr(before, kind), getattr(after, kind))
                notes += [f"{id_}: {kind}: {line}" for line in _short(differing)]
        elif before:
            notes.append(f"{id_}: is removed from the baseline, because this run has no such stage")
    notes += [f"version: {line}" for line in differences(_versions(old), _versions(new))] if old else []
    return [*aligned(rows), *map(clean, notes)]


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """`name: old -> new` for everything that differs; `none` if one side lacks it."""
    names = [name for name in dict.fromkeys([*old, *new]) if old.get(name) != new.get(name)]
    return [f"{name}: {_value(old.get(name))} -> {_value(new.get(name))}" for name in names]


def _rows(id_: str, before: Trial | None, after: Trial | None) -> list[Row]:
    same_start = before is not None and after is not None and before.begins_like(after)
    table = [
        ("latency", *_cells(_latency(before), _latency(after))),
        ("first call", *_cells(_first_call(before), _first_call(after), comparable=same_start)),
        ("memory", *_cells(_memory(before), _memory(after))),
    ]
    known = [row for row in table if row[1:3] != ("-", "-")]
    return [(id_ if i == 0 else "", *row) for i, row in enumerate(known)]


def _cells(old: Cell | None, new: Cell | None, *, comparable: bool = True) -> tuple[str, str, str]:
    ratio = f"{new[0] / old[0]:.3f}x" if comparable and old and new and old[0] else "-"
    return old[1] if old else "-", new[1] if new else "-", ratio


def _latency(stage: Trial | None) -> Cell | None:
    spread = latency(stage)
    if spread is None:
        return None
    return spread.median, f"{_digits(spread.median)} s ({_digits(spread.low)} .. {_digits(spread.high)})"


def _first_call(stage: Trial | None) -> Cell | None:
    if stage is None or stage.first_call_s is None:
        return None
    facts = [f"cache {stage.cache}"] if stage.cache != "none" else []
    facts += ["first in process"] if stage.first_in_process else []
    conditions = f" ({', '.join(facts)})" if facts else ""
    return stage.first_call_s, f"{_digits(stage.first_call_s)} s{conditions}"


def _memory(stage: Trial | None) -> Cell | None:
    peak = stage.memory.peak_bytes if stage and stage.memory else None
    return None if peak is None else (peak, f"{peak / 1e6:.1f} MB")


def _versions(run: Run) -> dict[str, Any]:
    found = run.environment.get("versions")
    return found if isinstance(found, dict) else {}


def _digits(number: float) -> str:
    """Four significant digits, without an exponent between a microsecond and a day."""
    places = max(0, 3 - math.floor(math.log10(number))) if number else 0
    return f"{number:.{min(places, 9)}f}"


def _value(value: object) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 30 else text[:26] + " ..."


def _short(lines: list[str]) -> list[str]:
    return lines if len(lines) <= SHOWN else [*lines[:SHOWN], f"and {len(lines) - SHOWN} more"]
