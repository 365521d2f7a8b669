"""A series of experiments on one machine: what is kept of each, and their summary."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import pytest
from test_compare_pairs import pair

from fastdiff.compare.verdicts import SAME, UNSURE, VOID
from tools import series
from tools.series import Outcome

if TYPE_CHECKING:
    from pathlib import Path

CLEAN = Outcome("cpu-1", "shapes-sdpa", 2, 24, "", SAME, SAME, 1.002, 12, 240.0, False, False, "a.json")


def test_the_usual_rules_look_at_the_first_pair_s_samples() -> None:
    times = [1.0 + place / 1000 for place in range(12)]
    assert series.usual_rules(pair(times, times, "o" * 6)) == (False, False)
    assert series.usual_rules(pair(times, [1.03 * one for one in times], "o" * 6)) == (False, True)
    assert series.usual_rules(pair(times, [1.06 * one for one in times], "o" * 6)) == (True, True)
    assert series.usual_rules(pair([1.06 * one for one in times], times, "o" * 6)) == (False, False)


def test_experiments_of_this_machine_are_summed_up_by_what_was_put_in(tmp_path: Path) -> None:
    slow = replace(CLEAN, fault="slow:2%", word=UNSURE, ratio=1.017, pairs=24, seconds=480.0, by_test=True)
    void = replace(CLEAN, stage="shapes-fp32", word=VOID, all_cores="", ratio=None, pairs=0)
    elsewhere = replace(CLEAN, device="cpu-2", word=VOID)
    kept = tmp_path / "series.jsonl"
    everything = (CLEAN, replace(CLEAN, ratio=0.998, pairs=5, by_mean=True), slow, void, elsewhere)
    kept.write_text("".join(json.dumps(asdict(one)) + "\n" for one in everything))
    fp32, clean, found = series.summary(series.known(kept, "cpu-1"))
    assert "shapes-fp32" in fp32
    assert "1 VOID; with all cores 1 not measured; read no ratio;" in fp32
    assert clean == (
        "shapes-sdpa, 2 steps, at most 24 pairs, nothing put in: 2 experiments: 2 SAME; with all cores 2 SAME; read "
        "-0.20 to +0.20 %, median +0.00 %; median 8.5 pairs (at most 12), 4.0 min (at most 4.0); mean:5% alarms 1 "
        "times, Mann-Whitney 0 times"
    )
    assert "slow:2%: 1 experiments: 1 UNSURE" in found
    assert found.endswith("Mann-Whitney 1 times")


def test_nothing_is_known_before_the_first_one(tmp_path: Path) -> None:
    assert series.known(tmp_path / "series.jsonl", "cpu-1") == []
    assert series.summary([]) == []


@pytest.mark.parametrize("changed", [{"steps": 8}, {"most_pairs": 12}, {"fault": "slow:3%"}, {"stage": "shapes-fp32"}])
def test_experiments_that_were_asked_in_another_way_stand_apart(changed: dict[str, object]) -> None:
    assert len(series.summary([CLEAN, replace(CLEAN, **changed)])) == 2  # type: ignore[arg-type]
