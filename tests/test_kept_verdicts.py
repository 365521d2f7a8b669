"""Every verdict about the kept files and their variants is the one that was written down.

Where a verdict is meant to change: `python tests/test_kept_verdicts.py` writes all of them anew; look at the diff.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from kept import variants

from fastdiff.compare import gate, pairs
from fastdiff.compare.policy import default
from fastdiff.compare.verdicts import fails
from fastdiff.record import files
from fastdiff.record import pairs as kept_pairs

if TYPE_CHECKING:
    from pathlib import Path

    from fastdiff.compare.gate import Judgement

DECIDED = variants.HERE / "verdicts.json"
ITSELF = "sdpa takes 1.0 times as long"


def judged_run(run: dict[str, Any], accepted: dict[str, Any], folder: Path) -> list[Judgement]:
    paths = [_written(folder / name, content) for name, content in (("run", run), ("accepted", accepted))]
    read, baseline = files.read(paths[0]), files.read_baseline(paths[1])
    policy = default(read.device.kind)
    return gate.judge_run(read, baseline, lambda *_: policy)


def judged_pairs(experiment: dict[str, Any], folder: Path) -> list[Judgement]:
    read = kept_pairs.read(_written(folder / "pairs", experiment))
    return pairs.judge(read, default(read.device.kind), pairs.comparisons_of(read.comparisons))


def _written(path: Path, content: dict[str, Any]) -> Path:
    path = path.with_suffix(".json")
    path.write_text(json.dumps(content))
    return path


def _plain(judgements: list[Judgement]) -> dict[str, Any]:
    return {f"{one.stage} {one.metric}": _one(one) for one in judgements}


def _one(judgement: Judgement) -> list[Any]:
    """The word, whether it fails without and with strictness, and the numbers."""
    verdict, found = judgement.verdict, judgement.verdict.estimate
    numbers = (found.ratio, found.low, found.high, found.alarm_low, found.alarm_high) if found else ()
    return [verdict.word, fails(verdict, strict=False), fails(verdict, strict=True), *(round(n, 9) for n in numbers)]


def decided(folder: Path) -> dict[str, Any]:
    """Of each variant of the run only what differs from the run itself."""
    runs = {name: _plain(judged_run(run, accepted, folder)) for name, run, accepted in variants.runs()}
    itself = runs[ITSELF]
    apart = {name: {what: one[what] for what in one if one[what] != itself.get(what)} for name, one in runs.items()}
    gone = {name: sorted(itself.keys() - one.keys()) for name, one in runs.items() if itself.keys() - one.keys()}
    experiments = {name: _plain(judged_pairs(one, folder)) for name, one in variants.pairs()}
    return {"runs": {**apart, ITSELF: itself}, "no verdict": gone, "pairs": experiments}


@pytest.mark.parametrize("kind", ["runs", "no verdict", "pairs"])
def test_no_verdict_changed(tmp_path: Path, kind: str) -> None:
    before, now = json.loads(DECIDED.read_text())[kind], decided(tmp_path)[kind]
    assert list(now) == list(before)
    for name in before:
        assert now[name] == before[name], name


def test_every_word_is_among_them() -> None:
    known = json.loads(DECIDED.read_text())
    words = {entry[0] for kind in ("runs", "pairs") for one in known[kind].values() for entry in one.values()}
    assert words >= {"SAME", "SLOW", "FAST", "MORE", "LESS", "CHANGED", "VOID", "UNSURE", "NEW", "MISSING"}


if __name__ == "__main__":
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        DECIDED.write_text(json.dumps(decided(Path(folder)), indent=None).replace("}, ", "},\n") + "\n")
