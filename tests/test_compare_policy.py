"""The policy's numbers: which one wins, and what a wrong one is answered with."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fastdiff.compare import policy
from fastdiff.record.errors import UserError

TABLE = {
    "latency": "10%",
    "first-call": "40 %",
    "sdxl": {"latency": "5%", "int8": {"latency": "8%", "minimum_samples": 5}},
}


def test_the_nearest_table_wins() -> None:
    def latency(model: str, stage: str) -> float:
        return policy.CPU.configured(TABLE, model, stage).latency

    assert policy.CPU.latency == 0.50
    assert (latency("shapes", "int8"), latency("sdxl", "sdpa"), latency("sdxl", "int8")) == (0.10, 0.05, 0.08)
    found = policy.CPU.configured(TABLE, "sdxl", "int8")
    assert found == replace(policy.CPU, latency=0.08, first_call=0.4, minimum_samples=5)
    assert policy.CUDA.configured({}, "sdxl", "int8") == policy.CUDA


def test_a_gpus_bands_are_narrower() -> None:
    assert policy.default("cpu") == policy.CPU
    assert policy.default("cuda").latency < policy.default("cpu").latency
    with pytest.raises(UserError, match="no kind of device is called 'xpu'"):
        policy.default("xpu")


def test_two_stacks_never_have_the_narrower_band() -> None:
    shipped, wide = policy.CPU, replace(policy.CPU, paired=0.05)
    assert [shipped.of_pairs(across=one) for one in (False, True)] == [0.01, 0.02]
    assert [wide.of_pairs(across=one) for one in (False, True)] == [0.05, 0.05]
    assert [shipped.with_band(0.005).of_pairs(across=one) for one in (False, True)] == [0.005, 0.005]


WRONG: list[tuple[Any, str]] = [
    ({"latency": 0.05}, 'latency is 0.05; give a percentage above 0% up to 100%, such as "10%"'),
    ({"latency": 5}, "latency is 5; give a percentage"),
    ({"latency": "5"}, "latency is '5'; give a percentage"),
    ({"latency": "five%"}, "latency is 'five%'; give a percentage"),
    ({"latency": "500%"}, "latency is 500%; give a percentage above 0% up to 100%"),
    ({"memory": "0%"}, "memory is 0%; give a percentage above 0%"),
    ({"memory": "-10%"}, "memory is -10%"),
    ({"ladder": True}, "ladder is True"),
    ({"first_call": "nan%"}, "first_call is nan%"),
    ({"first_call": "500%"}, "first_call is 500%; give a percentage above 0% up to 400%"),
    ({"confidence": "50%"}, 'confidence is 50%; give a percentage above 50% up to 99.99%, such as "95%"'),
    ({"void_share": "200%"}, "void_share is 200%"),
    ({"minimum_samples": 2.5}, "minimum_samples is 2.5; give a whole number above zero"),
    ({"minimum_samples": 0}, "minimum_samples is 0"),
    ({"latencies": 0.1}, "no number is called 'latencies'; did you mean 'latency'"),
    ({"sdxl": {"latancy": 0.1}}, "no number is called 'latancy'; did you mean 'latency'"),
    ({"sdxl": {"int8": {"latency": 0.05}}}, "latency is 0.05"),
    ({"sdlx": {"latency": 0.1}}, "no model or number is called 'sdlx'; did you mean 'sdxl'"),
    ({"sdxl": {"int4": {"latency": 0.1}}}, "no stage or number is called 'int4'; did you mean 'int8'"),
    ({"sdxl": {"int8": {"latency": {}}}}, "latency is {}; give a percentage"),
    ({"first-call": {"int8": 0.1}}, "first_call is {'int8': 0.1}; give a percentage"),
    ({"sdxl": {"int8": {"more": {}}}}, "no number is called 'more'"),
    (0.1, "policy is 0.1; give a table"),
]


@pytest.mark.parametrize(("table", "sentence"), WRONG, ids=[sentence for _, sentence in WRONG])
def test_a_wrong_table(table: Any, sentence: str) -> None:
    with pytest.raises(UserError) as error:
        policy.check(table, ["shapes", "sdxl"], ["sdpa", "int8"])
    assert sentence in str(error.value)


def test_a_right_table() -> None:
    policy.check(TABLE, ["shapes", "sdxl"], ["sdpa", "int8"])
    policy.check({}, [], [])
