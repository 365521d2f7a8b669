"""What the two sides ran in one call: what appeared, what vanished, what takes longer, and where it is shown."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from test_pairs_faked import world as world

from fastdiff.compare.kernels import SHOWN, inside
from fastdiff.compare.pairs import judge
from fastdiff.compare.policy import default
from fastdiff.compare.verdicts import CHANGED, FAST, SAME, SLOW
from fastdiff.experiments.pairs import NEW, OLD
from fastdiff.record import pairs as record
from fastdiff.record.errors import UserError
from fastdiff.record.pairs import LONGEST_NAME, MOST_OPERATORS, Operator, Pair, Profile
from fastdiff.record.run import Components, Trial
from fastdiff.report import pairs as report
from fastdiff.report import verdicts
from fastdiff.report.sentences import sentence
from fastdiff.report.steps import Shell

if TYPE_CHECKING:
    from test_pairs_faked import World

    from fastdiff.compare.pairs import Answer

FLASH = "aten::_scaled_dot_product_flash_attention_for_cpu"
USUAL = {"aten::mkldnn_convolution": (55, 0.5), "aten::addmm": (300, 0.3), FLASH: (70, 0.2)}
MATH = {
    "aten::mkldnn_convolution": (55, 0.5),
    "aten::addmm": (300, 0.3),
    "aten::bmm": (140, 0.25),
    "aten::_softmax": (70, 0.15),
}


def profile(ran: dict[str, tuple[int, float]], **more: Any) -> Profile:
    return Profile(tuple(Operator(name, *of) for name, of in ran.items()), **{"steps": 8} | more)


def lines(old: Profile | None, new: Profile | None, ratio: float = 1.0, /, **components: Components) -> list[str]:
    trials = [Trial("m", "s", None, components=components.get(side)) for side in ("old", "new")]
    return list(map(sentence, inside(Pair(*trials, "turns", "", 1.0, old, new), ratio)))


# -- what is found ----------------------------------------------------------------------------------------------------


def test_another_attention_kernel_is_named_and_what_explains_most_comes_first() -> None:
    assert lines(profile(USUAL), profile(MATH), 1.2) == [
        "one call of 8 steps, old -> new: 3 operators and kernels differ",
        "aten::bmm: appeared, 0 -> 140 calls, +25.0 % of a call",
        f"{FLASH}: vanished, 70 -> 0 calls, -20.0 % of a call",
        "aten::_softmax: appeared, 0 -> 70 calls, +15.0 % of a call",
    ]


def test_what_is_called_more_often_is_named_however_little_it_takes() -> None:
    copies = USUAL | {"aten::copy_": (10, 0.001)}
    found = lines(profile(copies), profile(copies | {"aten::copy_": (11, 0.001)}))
    assert found[1:] == ["aten::copy_: 10 -> 11 calls, +0.0 % of a call"]


def test_where_seconds_say_little_attention_and_what_is_new_come_first() -> None:
    old = profile(USUAL | {"aten::copy_": (9, 0.03), FLASH: (29, 0.01), "aten::gelu": (17, 0.01)})
    new = profile(
        USUAL | {"aten::copy_": (13, 0.01), FLASH: (7, 0.01), "aten::gelu": (17, 0.05), "aten::bmm": (44, 0.01)}
    )
    assert [line.rpartition(": ")[0] for line in lines(old, new)[1:]] == [
        FLASH,
        "aten::bmm",
        "aten::copy_",
    ]


def test_what_takes_longer_is_named_by_what_it_adds_to_a_call() -> None:
    slower = USUAL | {"aten::addmm": (300, 0.6)}
    found = lines(profile(USUAL), profile(slower), 1.3)
    assert found[1:] == ["aten::addmm: 300 calls, 2.00 times as long, +30.0 % of a call"]
    assert lines(profile(slower), profile(USUAL), 1 / 1.3)[1:] == [
        "aten::addmm: 300 calls, 0.50 times as long, -23.1 % of a call"
    ]


def test_the_same_software_twice_is_one_sentence() -> None:
    """However slow the one call under the profiler was as a whole, and though its parts scatter a little."""
    chance = random.Random(1)
    again = {name: (calls, 3 * seconds * chance.gauss(1, 0.05)) for name, (calls, seconds) in USUAL.items()}
    assert lines(profile(USUAL), profile(again)) == [
        "one call of 8 steps, old -> new: the same operators and kernels, called equally often"
    ]


def test_a_step_is_one_and_a_difference_too() -> None:
    found = lines(profile({"a": (1, 1.0)}, steps=1), profile({"a": (2, 1.0)}, steps=1))
    assert found[0] == "one call of 1 step, old -> new: 1 operator or kernel differs"


def test_kernels_are_compared_by_what_they_fuse() -> None:
    """Not by the numbers that inductor gives them, or by the hash of their graph."""
    old = profile({
        "cpp_fused_add_silu_4": (5, 0.2), "cpp_fused_add_silu_17": (2, 0.2), "triton_poi_fused_mul_0": (1, 0.2),
        "## Call CompiledFxGraph fabc1 ##": (3, 0.2), "Torch-Compiled Region: 0/0": (3, 0.2),
    })  # fmt: skip
    new = profile({
        "cpp_fused_add_silu_8": (7, 0.4), "triton_poi_fused_mul_12": (1, 0.2),
        "## Call CompiledFxGraph fxyz2 ##": (3, 0.2), "Torch-Compiled Region: 1/0": (3, 0.2),
    })  # fmt: skip
    assert lines(old, new)[0].endswith("the same operators and kernels, called equally often")
    other = replace(new, operators=(Operator("cpp_fused_add_8", 7, 0.4), *new.operators[1:]))
    assert {line.partition(":")[0] for line in lines(old, other)[1:]} == {"cpp_fused_add_silu", "cpp_fused_add"}


def test_of_a_profile_that_was_cut_nothing_is_taken_for_vanished() -> None:
    rare = USUAL | {"aten::rare": (3, 0.001)}
    assert len(lines(profile(rare), profile(USUAL, more=5))) == 1
    found = lines(profile(USUAL | {"aten::bmm": (3, 0.5)}), profile(USUAL, more=5), 1 / 1.5)
    assert found[1:] == ["aten::bmm: 3 -> ? calls, -33.3 % of a call"]


def test_hundreds_of_differences_are_eight_lines_and_a_count() -> None:
    many = {f"aten::{number}": (1, 0.001) for number in range(MOST_OPERATORS)}
    found = lines(profile(USUAL), profile(many))
    assert len(found) == SHOWN + 2
    assert found[-1] == f"and {MOST_OPERATORS + len(USUAL) - SHOWN} more"


def test_components_stand_beside_it_as_ratios() -> None:
    old, new = Components(0.001, (0.1, 0.1), 0.1, 0.0), Components(0.002, (0.12, 0.12), 0.1, 0.0)
    assert lines(profile(USUAL), profile(MATH), 0.342 / 0.301, old=old, new=new)[0].endswith(
        "differ; denoising 1.20x, decode 1.00x"
    )
    found = lines(None, None, 2 * 0.342 / 0.301, old=old, new=new)
    assert found == ["one call, old -> new: denoising 2.40x, decode 2.00x"], "a file of an older fastdiff"


def test_a_profiler_that_failed_is_noted() -> None:
    failed = Profile(why_not="new (.) was killed by SIGSEGV during 'profile'")
    assert lines(profile(USUAL), failed) == [f"the operators that each side ran are not known: {failed.why_not}"]


def test_names_of_strangers_are_cleaned_and_cut() -> None:
    found = lines(profile(USUAL), profile(USUAL | {"\x1b[31m::error::" + "x" * 170: (1, 0.1)}))
    assert "\x1b" not in found[1]
    assert "::error::" not in found[1]
    assert len(found[1]) < 140


# -- where it is shown ------------------------------------------------------------------------------------------------


def shown(answer: Answer) -> list[str]:
    return report.text([answer], None, ["file"], Shell())


@pytest.fixture
def other_attention(world: World) -> World:
    world.halves = None
    world.profiles = {OLD: profile(USUAL), NEW: profile(MATH)}
    return world


VANISHED = f"  {FLASH}: vanished, 70 -> 0 calls"


@pytest.mark.parametrize(("seconds", "word"), [(1.2, SLOW), (0.8, FAST)])
def test_beside_slow_and_fast_it_stands_once(other_attention: World, seconds: float, word: str) -> None:
    other_attention.seconds[NEW] = (seconds,)
    answer = other_attention.ask()
    assert answer.latency.verdict.word == word
    for told in (shown(answer), report.markdown([answer], None, ["file"], Shell())):
        assert sum(line.startswith(VANISHED) for line in told) == 1
        assert sum("operators and kernels differ" in line for line in told) == 1
    assert VANISHED in verdicts.announced(answer.latency, Shell()), "a session's failed test"
    assert record.read(answer.path) == answer.experiment


def test_beside_same_nothing_is_shown(other_attention: World) -> None:
    answer = other_attention.ask()
    assert answer.latency.verdict.word == SAME
    assert not any("operators" in line or FLASH in line for line in shown(answer))


def test_facts_that_changed_are_shown_with_it_where_the_time_is_the_same(other_attention: World) -> None:
    experiment = other_attention.ask().experiment
    first, *others = experiment.pairs
    changed = replace(first, new=replace(first.new, fingerprint={"operators": 11}))
    experiment = replace(experiment, pairs=(changed, *others))
    found = {one.metric: one.verdict for one in judge(experiment, default("cpu"), 1)}
    assert (found["latency"].word, found["fingerprint"].word) == (SAME, CHANGED)
    assert any(sentence(one).startswith(VANISHED.strip()) for one in found["fingerprint"].details)


# -- how it is measured and kept --------------------------------------------------------------------------------------


def test_the_first_pair_alone_is_profiled_and_after_everything_else(other_attention: World) -> None:
    pairs = other_attention.ask().experiment.pairs
    assert (pairs[0].old_profile, pairs[0].new_profile) == (profile(USUAL), profile(MATH))
    assert not any(one.old_profile or one.new_profile for one in pairs[1:])
    done = [line.partition(" ")[2] for line in other_attention.log]
    assert done[: done.index("close")][-3:] == ["take apart", "profile", "profile"]
    assert done.count("profile") == 2


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (
            lambda one: one["operators"][0].update(name="x" * (LONGEST_NAME + 1)),
            r"operators\[0\]\.name is .x+ \.\.\.; expected str",
        ),
        (lambda one: one["operators"][0].update(calls=-1), r"operators\[0\]\.calls is -1; "),
        (lambda one: one["operators"][0].update(seconds=1e9), r"operators\[0\]\.seconds is 1000000000"),
        (lambda one: one.update(operators=one["operators"][:1] * (MOST_OPERATORS + 1)), r"operators is .*<= 200"),
        (lambda one: one.update(operators="all"), r"operators is .all.; expected array"),
        (lambda one: one.update(more=-1), r"more is -1; "),
    ],
)
def test_a_strange_profile_is_one_sentence(other_attention: World, change: Any, what: str) -> None:
    path = other_attention.ask().path
    whole = json.loads(path.read_text())
    change(whole[record.KEY]["pairs"][0]["new_profile"])
    path.write_text(json.dumps(whole))
    with pytest.raises(UserError, match=rf"pairs\[0\]\.new_profile\.{what}") as refused:
        record.read(path)
    assert len(str(refused.value).splitlines()) == 1
