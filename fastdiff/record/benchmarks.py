"""What pytest-benchmark reads back of a file: checked here, because it does not check anything itself."""

from __future__ import annotations

from dataclasses import dataclass

from fastdiff.record.bounds import Count, Finite, Seconds  # noqa: TC001  (msgspec reads them)


@dataclass(frozen=True)
class Stats:
    min: Seconds
    max: Seconds
    mean: Seconds
    stddev: Seconds
    median: Seconds
    iqr: Seconds
    q1: Seconds
    q3: Seconds
    ops: Finite
    rounds: Count
    iterations: Count
    data: tuple[Seconds, ...] = ()


@dataclass(frozen=True)
class Benchmark:
    name: str
    fullname: str
    stats: Stats


@dataclass(frozen=True)
class Benchmarks:
    benchmarks: tuple[Benchmark, ...]
