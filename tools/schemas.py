"""`python -m tools.schemas` writes the JSON schemas of run files and experiments; a test holds them equal."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import msgspec

from fastdiff.record.benchmarks import Benchmark  # noqa: TC001  (msgspec reads it)
from fastdiff.record.pairs import Experiment
from fastdiff.record.run import Acceptance, Noise, Run

FOLDER = Path(__file__).parent.parent / "docs" / "schemas"


@dataclass(frozen=True)
class Kept(Run):
    """A run, and how it was accepted if it is a baseline."""

    accepted: Acceptance | None = None
    noise: Noise | None = None


@dataclass(frozen=True)
class RunFile:
    """pytest-benchmark's file with one more key."""

    fastdiff: Kept
    benchmarks: tuple[Benchmark, ...]


SCHEMAS = {"run": RunFile, "pairs": Experiment}


def text(kind: type) -> str:
    return json.dumps(msgspec.json.schema(kind), indent=1) + "\n"


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, kind in SCHEMAS.items():
        (FOLDER / f"{name}.json").write_text(text(kind))
        print(FOLDER / f"{name}.json")


if __name__ == "__main__":
    main()
