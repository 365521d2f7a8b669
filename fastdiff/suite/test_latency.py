"""How long a call takes in the steady state; the first call, which compiles, is recorded apart from it."""

from fastdiff.instruments.proof import assert_steady


def test_latency(stage, benchmark):
    stage.measure(benchmark)
    assert_steady(stage.fingerprint)
