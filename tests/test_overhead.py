"""What the check of the instrument makes of its numbers, and that it sees a disturbance."""

from __future__ import annotations

import random
from statistics import median
from typing import TYPE_CHECKING, Any

import pytest

from tools.overhead import __main__ as overhead
from tools.overhead import blocks, processes
from tools.overhead.interval import interval
from tools.overhead.processes import Turn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def scattered(middle: float, sd: float = 0.01, seed: int = 0) -> Iterator[float]:
    chance = random.Random(seed)
    while True:
        yield middle * (1 + chance.gauss(0, sd))


def some(count: int, middle: float, sd: float = 0.01, seed: int = 0) -> list[float]:
    source = scattered(middle, sd, seed)
    return [next(source) for _ in range(count)]


def test_the_interval_is_right_in_19_of_20_cases() -> None:
    inside = [interval(some(20, 1.1, seed=seed)) for seed in range(400)]
    share = sum(one.low <= 1.1 <= one.high for one in inside) / len(inside)
    assert 0.92 < share < 0.98


def test_one_wild_pair_moves_nothing_far() -> None:
    calm, wild = some(20, 1.0), [*some(19, 1.0), 9.0]
    assert interval(wild).middle == pytest.approx(interval(calm).middle, abs=0.005)
    assert interval(wild).high < 1.03


def test_too_few_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match="5 pairs are too few"):
        interval([1.0] * 5)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """The command with made-up measurements; the answer is its exit code."""

    def ask(inside: float, outside: float, *words: str) -> int:
        source = scattered(outside)
        monkeypatch.setattr(blocks, "ratios", lambda _, count, __, **___: some(count, inside))
        monkeypatch.setattr(processes, "turn", lambda *_, **__: Turn([next(source)], [1.0], [1.2]))
        monkeypatch.setattr("sys.argv", ["overhead", *words])
        with pytest.raises(SystemExit) as left:
            overhead.main()
        return int(left.value.code or 0)

    return ask


@pytest.mark.parametrize(
    ("inside", "outside", "code"),
    [
        (1.0, 1.0, overhead.HELD),
        (1.02, 1.0, overhead.FAILED),
        (0.98, 1.0, overhead.FAILED),
        (1.01, 1.0, overhead.INCONCLUSIVE),
        (1.0, 1.05, overhead.FAILED),
        (1.0, 0.9, overhead.FAILED),
        (1.01, 0.9, overhead.FAILED),
    ],
)
def test_either_check_can_fail(run: Callable[..., int], inside: float, outside: float, code: int) -> None:
    assert run(inside, outside) == code


def test_a_check_can_be_left_out(run: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(1.0, 9.0, "--pairs", "0") == 0
    assert "fresh processes" not in capsys.readouterr().out
    assert run(9.0, 1.0, "--blocks", "0") == 0
    assert "script without it / with it = 1.2000" in capsys.readouterr().out


def test_pairs_of_earlier_calls_count(
    run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--keep", str(tmp_path / "kept.jsonl"), "--blocks", "10", "--pairs", "6", "--stage", "sdpa")
    for pairs in (10, 20):
        run(1.0, 1.0, *words)
        assert f"at 95 %, {pairs} pairs)  inc" in capsys.readouterr().out.replace("held", "inc")
    run(1.0, 1.0, *words, "--steps", "2")
    assert "at 95 %, 10 pairs)" in capsys.readouterr().out, "other calls are another question"


def test_a_stage_that_is_not_possible_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def done(*_: Any, **__: Any) -> Any:
        return type("Done", (), {"returncode": 0, "stdout": "1 skipped", "stderr": ""})

    monkeypatch.setattr(blocks.subprocess, "run", done)
    with pytest.raises(SystemExit, match="bf16 was not measured:\n1 skipped"):
        blocks.ratios("bf16", 6, 1)


@pytest.mark.compile
@pytest.mark.alone
def test_a_disturbance_is_seen_and_a_session_is_none() -> None:
    """The whole way, on the embedded model; few blocks, so that only a large difference is sure."""
    clean, disturbed = (blocks.ratios("sdpa", 6, 1, disturb=disturb) for disturb in (False, True))
    assert median(disturbed) > 1.08 * median(clean)
