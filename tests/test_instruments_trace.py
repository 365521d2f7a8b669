"""What one call runs, as a profiler sees it: the same kernels every time, also those that inductor made."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from here import HERE

from fastdiff.compare.kernels import differing
from fastdiff.instruments import trace
from fastdiff.models.libraries import torch
from fastdiff.record.pairs import MOST_OPERATORS
from fastdiff.trial import live as trial
from fastdiff.trial.live import LiveStage

if TYPE_CHECKING:
    from fastdiff.models import Model
    from fastdiff.record.pairs import Profile

FLASH = "aten::_scaled_dot_product_flash_attention_for_cpu"


def profiled(model: Model, **recipe: str) -> Profile:
    stage = replace(HERE["sdpa"], recipe=replace(HERE["sdpa"].recipe, **recipe))
    live = LiveStage(model, stage, "cpu", model.request, rounds=1)
    try:
        live.first_call()
        return live.profile()
    finally:
        live.close()


def calls(profile: Profile) -> dict[str, int]:
    return {one.name: one.calls for one in profile.operators}


def test_the_kernel_of_attention_is_named_where_it_is_forced_to_another_one(tiny: Model) -> None:
    flash, math = profiled(tiny), profiled(tiny, attention="math")
    found = {one.name: (one.old_calls, one.new_calls) for one in differing(flash, math, 1.0)}
    before, elsewhere = found[FLASH]  # the encoders of text and the decoder keep theirs
    assert before is not None
    assert elsewhere is not None
    assert found["aten::_scaled_dot_product_attention_math"] == (0, before - elsewhere)
    assert before > 2 * elsewhere
    assert "aten::mkldnn_convolution" in calls(flash), calls(flash)


def test_two_calls_run_the_same(live: LiveStage) -> None:
    first, second = live.profile(), live.profile()
    assert calls(first) == calls(second)
    assert calls(first)[trace.OUTSIDE] == 1


def test_a_profile_has_an_end(live: LiveStage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "PROFILED_STEPS", 1)
    monkeypatch.setattr(trace, "MOST_OPERATORS", 10)
    found = live.profile()
    assert (len(found.operators), found.steps, live.request.steps) == (10, 1, 2)
    assert found.more > 0
    seconds = [one.seconds for one in found.operators]
    assert seconds == sorted(seconds, reverse=True)
    assert len(live.profile().operators) <= MOST_OPERATORS


@pytest.mark.compile
def test_compiled_kernels_say_their_names_and_are_put_back() -> None:
    compiled = torch.compile(lambda one: (one.sin() + 1).relu() * 3)
    argument = torch.rand(64, 64)
    wanted = compiled(argument)
    from torch._inductor.codecache import PyCodeCache

    def kernels() -> list[object]:
        modules = PyCodeCache.modules
        return [one for module in modules for name, one in vars(module).items() if name.startswith("cpp_fused")]

    before = kernels()
    assert before
    found = calls(trace.profile_call(lambda: compiled(argument), "cpu", 1))
    assert {name: count for name, count in found.items() if name.startswith("cpp_fused")} == {
        "cpp_fused_add_mul_relu_sin_0": 1
    }
    assert kernels() == before
    assert torch.equal(compiled(argument), wanted)
