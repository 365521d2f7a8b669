"""What `--fastdiff-inject` accepts, and what it answers where a fault cannot be put in."""

from __future__ import annotations

import pytest

from fastdiff.record.errors import UserError
from fastdiff.stages.published import LADDER
from fastdiff.trial.faults import ACTIONS, PLAIN, WITH_AMOUNT, Fault, parse, stage_to_build


def test_faults_are_read() -> None:
    assert parse("slow:30%@sdpa, memory:+20%, leak-flag@fp32") == (
        Fault("slow", 0.3, "sdpa"),
        Fault("memory", 0.2),
        Fault("leak-flag", stage="fp32"),
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("slo:5%", "did you mean 'slow'?"),
        ("slow", "needs an amount in per cent, for instance slow:30%"),
        ("slow:fast", "needs an amount"),
        ("slow:-5%", "needs an amount"),
        ("slow:nan%", "needs an amount"),
        ("nan:5%@fp32", "takes no amount; write nan@fp32"),
        (" , ", "a fault is missing"),
    ],
)
def test_wrong_faults_are_answered_in_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence.replace("?", r"\?")):
        parse(text)


def test_every_fault_is_explained_and_acts() -> None:
    assert {*ACTIONS, "unapplied"} == {*WITH_AMOUNT, *PLAIN}


def test_unapplied_builds_the_stage_before() -> None:
    resolved = stage_to_build(parse("unapplied@int8"), LADDER["int8"], LADDER)
    assert resolved.name == "int8"
    assert resolved.recipe == LADDER["fused-qkv"].recipe
    assert stage_to_build(parse("unapplied@int8"), LADDER["sdpa"], LADDER) is LADDER["sdpa"]


def test_the_first_stage_cannot_lack_anything() -> None:
    with pytest.raises(UserError, match="follows no stage"):
        stage_to_build(parse("unapplied@fp32"), LADDER["fp32"], LADDER)
    assert stage_to_build(parse("unapplied"), LADDER["fp32"], LADDER) is LADDER["fp32"]
