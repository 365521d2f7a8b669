"""A live stage: its first call is measured apart, its pictures are what was asked for, its facts repeat."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from here import HERE

from fastdiff.stages.ladder import Stage
from fastdiff.stages.published import LADDER
from fastdiff.stages.recipe import Recipe
from fastdiff.trial.fake import Fake
from fastdiff.trial.live import LiveStage
from fastdiff.trial.reference import Reference
from fastdiff.trial.work import Work

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastdiff.models import Model


@pytest.fixture
def live(tiny: Model) -> Iterator[LiveStage]:
    stage = LiveStage(tiny, LADDER["fp32"], "cpu", tiny.request, rounds=1)
    yield stage
    stage.close()


def counted(live: LiveStage, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every call of the pipeline from now on leaves its output type in the list."""
    calls: list[Any] = []
    pipeline = live.built.pipeline

    def call(**asked: Any) -> Any:
        calls.append(asked.get("output_type", "its own"))
        return pipeline(**asked)

    monkeypatch.setattr(live.built, "pipeline", call)
    return calls


def drawn(model: Model, *, batch: int = 1, seed: int = 0) -> np.ndarray:
    request = replace(model.request, batch=batch, seed=seed)
    live = LiveStage(model, LADDER["fp32"], "cpu", request, rounds=1)
    try:
        return live.images
    finally:
        live.close()


def test_first_call_is_measured_apart(live: LiveStage) -> None:
    assert live.first_call_s == 0
    live.first_call()
    first = live.first_call_s
    assert 0 < first < 600
    live.generate()
    _ = live.images
    assert live.first_call_s == first, "a later call was taken for the first"
    assert live.load_s > 0


def test_the_first_stage_of_a_process_opens_it(tiny: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastdiff.trial.live._DONE", set())

    def first_in_process(name: str = "fp32", *, fails: bool = False) -> tuple[str, ...] | None:
        stage = LiveStage(tiny, HERE[name], "cpu", tiny.request, rounds=1)
        monkeypatch.setattr(stage, "call", pytest.fail if fails else lambda: None)
        try:
            stage.first_call()
        except pytest.fail.Exception:
            assert fails
        finally:
            stage.close()
        return stage.trial().first_in_process

    assert first_in_process(fails=True) is None, "a failed call may have paid for a part of it"
    assert [first_in_process(), first_in_process()] == [("compute",), ()]
    assert [first_in_process("compile"), first_in_process("compile"), first_in_process()] == [("compile",), (), ()]
    monkeypatch.setattr("fastdiff.trial.live._DONE", set())
    assert [first_in_process("compile"), first_in_process()] == [("compile", "compute"), ()]


def test_first_call_is_one_whole_call(live: LiveStage, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = counted(live, monkeypatch)
    live.first_call()
    assert calls == ["its own"]


def test_pictures_are_drawn_once_and_not_by_the_first_call(live: LiveStage, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = counted(live, monkeypatch)
    live.first_call()
    _ = live.images
    assert calls == ["its own", "np"]
    _ = live.images
    assert calls == ["its own", "np"], "the pictures are drawn once"


def test_pictures_are_what_was_asked_for(tiny: Model) -> None:
    images = drawn(tiny, batch=3)
    assert images.shape == (3, 64, 64, 3)
    assert images.dtype == np.float32
    assert np.isfinite(images).all()
    assert images.min() >= 0
    assert images.max() <= 1
    assert images.std() > 0.02, "random weights still draw more than one colour"


def test_pil_pictures_have_the_size(live: LiveStage) -> None:
    (picture,) = live.generate().images
    assert picture.size == (64, 64)


def test_every_picture_of_a_batch_has_a_seed_of_its_own(tiny: Model) -> None:
    first, second = drawn(tiny, batch=2, seed=5)
    assert np.abs(first - second).max() > 0.1
    (alone,) = drawn(tiny, seed=6)
    assert np.abs(second - alone).max() < 1e-3, "the second of seed 5 is the first of seed 6"


def test_steps_and_guidance_reach_the_pipeline(live: LiveStage, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}
    pipeline = live.built.pipeline
    monkeypatch.setattr(live.built, "pipeline", lambda **given: asked.update(given) or pipeline(**given))
    live.generate()
    assert (asked["num_inference_steps"], asked["guidance_scale"]) == (2, 4.0)
    assert (asked["height"], asked["width"], asked["prompt"]) == (64, 64, live.request.prompt)
    assert asked["generator"].device.type == "cpu"


def test_reference_is_compared_with_a_second_drawing(live: LiveStage, monkeypatch: pytest.MonkeyPatch) -> None:
    reference = Reference("fp32", live.images)
    calls = counted(live, monkeypatch)
    found = live.likeness_to(reference)
    assert calls == ["np"]
    assert live.quality is not None
    assert (live.quality.ssim, live.quality.passed, live.quality.reason) == (found.ssim, True, "")
    assert found.ssim > 0.9999


def test_other_stages_are_compared_with_what_they_drew(live: LiveStage, monkeypatch: pytest.MonkeyPatch) -> None:
    reference = Reference("another", 1 - live.images)
    calls = counted(live, monkeypatch)
    found = live.likeness_to(reference)
    assert calls == []
    assert found.ssim < 0.5
    assert live.quality is not None
    assert not live.quality.passed
    assert "the budget asks for" in live.quality.reason


def test_fingerprint_repeats(tiny: Model) -> None:
    found = {}
    for name, attempt in [("fp32", 1), ("fp32", 2), ("sdpa", 1)]:
        live = LiveStage(tiny, HERE[name], "cpu", tiny.request, rounds=1)
        live.first_call()
        found[name, attempt] = live.fingerprint
        assert live.unapplied == []
        live.close()
    assert found["fp32", 1] == found["fp32", 2]
    assert found["fp32", 1].flat() == found["fp32", 2].flat()
    assert found["fp32", 1] != found["sdpa", 1]


def test_names(live: LiveStage) -> None:
    assert live.id == "tiny-fp32"
    assert live.recipe == LADDER["fp32"].recipe
    assert live.budget == LADDER["fp32"].budget


def test_the_fake_has_nothing_that_a_live_stage_lacks(live: LiveStage, tiny: Model) -> None:
    """Or a test on the fake runner would pass, and a session would not."""
    stage = Stage("sdpa", Recipe(), "an idea")
    with Fake({})(Work(tiny, stage, stage, "cpu", tiny.request)) as fake:
        surface = {name for name in dir(fake) if not name.startswith("_")} - {"runner", "work", "given"}
    assert surface <= set(dir(live))
