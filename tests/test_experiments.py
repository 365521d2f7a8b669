"""Fresh processes, and what the table of rules makes of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fastdiff.experiments import paired_power, power, trial
from fastdiff.record.pairs import Pair
from fastdiff.record.run import Round, StageRecord

pytestmark = pytest.mark.alone


@pytest.fixture(scope="module")
def records() -> list[StageRecord]:
    """The same stage in one fresh process: clean, and slowed down."""
    return trial.in_a_fresh_process(["--stage", "sdpa", "--rounds", "2", "--inject", "", "--inject", "slow:100%"])


def test_a_trial_measures_clean_and_with_faults(records: list[StageRecord]) -> None:
    clean, slow = records
    assert (clean.injected, slow.injected) == ("", "slow:100%")
    assert all(round_.canary_s for record in records for round_ in record.rounds)
    ratio = min(round_.wall_s for round_ in slow.rounds) / min(round_.wall_s for round_ in clean.rounds)
    assert 1.5 < ratio < 3


def test_a_trial_that_fails_shows_its_last_words() -> None:
    with pytest.raises(SystemExit, match="no stage is called 'sdpaa'; did you mean 'sdpa'"):
        trial.in_a_fresh_process(["--stage", "sdpaa"])


def made_up(random: np.random.Generator, factor: float = 1.0) -> StageRecord:
    """2 % between processes, 1 % between rounds, a canary that knows the machine's mood."""
    mood, own = np.exp(random.normal(0, 0.1)), np.exp(random.normal(0, 0.02))
    rounds = [Round(float(factor * mood * own * np.exp(random.normal(0, 0.01))), float(0.1 * mood)) for _ in range(5)]
    return StageRecord("shapes", "sdpa", None, rounds=tuple(rounds), state="measured")


def test_the_table_counts_alarms_and_detections() -> None:
    random = np.random.default_rng(0)
    baseline = [power.Trial(made_up(random), {}) for _ in range(10)]
    candidates = [
        power.Trial(made_up(random), {amount: made_up(random, 1 + amount / 100) for amount in power.AMOUNTS})
        for _ in range(20)
    ]
    title, _, ours, once, mean_5, mann_whitney = power.table([*baseline, *candidates], 10, "cpu")
    assert title.startswith("| rule | clean: SLOW or FAST | +3 %: SLOW |")
    assert ours.startswith("| fastdiff | 0 of 20 |")
    assert once.startswith("| fastdiff, no second look | 0 of 20 |")
    for row in (ours, once):
        found = int(row.rsplit("|", 2)[1].split()[0])
        assert found >= 14, "30 % is far beyond the noise; only where the canary moved by chance it is excused"
    assert not mean_5.startswith("| mean:5% | 0 of"), "the machine's mood alone is more than 5 %"
    assert not mann_whitney.startswith("| Mann-Whitney | 0 of")


def a_pair(random: np.random.Generator, change: float) -> Pair:
    """Pairs scatter by 1 %."""
    ratio = (1 + change) * float(np.exp(random.normal(0, 0.01)))
    old, new = (StageRecord("m", "s", None, rounds=(Round(value),) * 2) for value in (1.0, ratio))
    return Pair(old, new, "o", 1.0)


def test_the_table_of_pairs_counts_alarms_and_detections() -> None:
    random, amounts = np.random.default_rng(0), (paired_power.CLEAN, *paired_power.AMOUNTS)
    measured = [
        paired_power.Measured({amount: a_pair(random, amount / 100) for amount in amounts}, 1.0) for _ in range(24)
    ]
    cells = [cell.strip() for cell in paired_power.table(measured, 12, 1)[2].split("|")][2:-1]
    clean, *found = (float(cell.removesuffix(" %")) for cell in cells)
    assert clean <= 1.0
    assert found == sorted(found)
    assert found[0] < 20, "inside the band"
    assert found[-1] == 100.0, "far beyond it"


def test_samples_are_kept_and_gone_on_from(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    asked: list[list[str]] = []

    def measured(arguments: list[str]) -> list[StageRecord]:
        asked.append(arguments)
        return [replace(made_up(random), first_call_s=1.0) for _ in range(arguments.count("--inject"))]

    monkeypatch.setattr(power, "in_a_fresh_process", measured)
    keep = tmp_path / "samples.jsonl"
    first = power.collect("sdpa", 5, 1, 1, 1, "cpu", keep)
    assert len(asked) == 2
    again = power.collect("sdpa", 5, 1, 2, 1, "cpu", keep)
    assert len(asked) == 3, "what was measured is not measured again"
    assert again[:2] == first
    assert [len(trial.faulty) for trial in again] == [0, len(power.AMOUNTS), 0]
    with pytest.raises(SystemExit, match="another stage"):
        power.collect("bf16", 5, 1, 2, 1, "cpu", keep)
