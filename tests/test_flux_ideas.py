"""Ideas that only a transformer with diffusers' dispatcher and caches has a place for, on the twin of flux-dev."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from here import DTYPE

from fastdiff.models import CATALOGUE, Model
from fastdiff.optimize import switches
from fastdiff.quality.tripwires import tripped
from fastdiff.stages.budgets import CACHED
from fastdiff.stages.ladder import Stage
from fastdiff.stages.published import LADDER
from fastdiff.stages.recipe import Recipe
from fastdiff.trial.live import LiveStage
from fastdiff.trial.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Iterator

SDPA = Recipe(dtype=DTYPE, attention="sdpa")
CACHES = ("first-block", "pyramid-attention", "faster", "taylorseer")


@pytest.fixture(scope="module")
def flux() -> Model:
    """With more steps than a twin needs to draw: a cache has nothing to use again in the first of them."""
    twin = next(model for model in CATALOGUE if model.name == "flux-dev").with_weights("twin")
    return replace(twin, request=twin.request.changed(steps=8, size=64))


@contextmanager
def alive(model: Model, recipe: Recipe) -> Iterator[LiveStage]:
    stage = LiveStage(model, Stage("mine", recipe, "an idea", budget=CACHED), "cpu", model.request, rounds=1)
    try:
        yield stage
    finally:
        stage.close()


@pytest.fixture(scope="module")
def plain(flux: Model) -> tuple[Reference, int]:
    """The picture, and how often a block's attention is computed for it."""
    with alive(flux, SDPA) as stage:
        calls = attention_calls(stage)
        return Reference("plain", stage.images), calls


def attention_calls(stage: LiveStage) -> int:
    """Of all attention modules in one call; a hook that skips the module skips the processor too."""
    calls = 0

    def counted(original):  # type: ignore[no-untyped-def]
        def call(*args, **kwargs):  # type: ignore[no-untyped-def]
            nonlocal calls
            calls += 1
            return original(*args, **kwargs)

        return call

    modules = [module for module in stage.built.denoiser.modules() if hasattr(module, "processor")]
    originals = [module.processor for module in modules]
    for module in modules:
        processor = module.processor
        module.processor = counted(processor)
        module.processor._attention_backend = processor._attention_backend
    try:
        stage.call()
    finally:
        for module, original in zip(modules, originals, strict=True):
            module.processor = original
    return calls


@pytest.mark.parametrize("kind", CACHES)
def test_a_cache_saves_work_and_keeps_the_picture(flux: Model, plain: tuple[Reference, int], kind: str) -> None:
    reference, without = plain
    before = switches.read()
    with alive(flux, replace(SDPA, cache=kind)) as stage:
        stage.first_call()
        assert stage.unapplied == []
        assert tripped(stage.images) is None
        assert stage.likeness_to(reference).shortfall(stage.budget) is None
        stage.count()
        if kind == "first-block":
            assert stage.unapplied == []
            (said,) = stage.unproven
            assert said.startswith("cache: none of 8 steps had less to compute than the others, so first-block skipped")
        else:
            assert (stage.unapplied, stage.unproven) == ([], [])
            seen = stage.fingerprint.effects
            assert seen is not None
            assert 0 < seen.lighter_steps < seen.steps == 8
        calls = attention_calls(stage)
        assert 0 < calls < without or kind == "first-block", f"{calls} of {without}"
        assert calls == attention_calls(stage), "the cache of one call must not reach into the next"
    assert switches.leaks(before, switches.read()) == []


def test_the_first_block_cache_skips_where_its_threshold_is_wide(
    flux: Model, plain: tuple[Reference, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Random weights change more from step to step than trained ones, so the shipped threshold may skip nothing."""
    monkeypatch.setattr("fastdiff.optimize.caching.THRESHOLD", 10.0)
    with alive(flux, replace(SDPA, cache="first-block")) as stage:
        assert 0 < attention_calls(stage) < plain[1]
        stage.count()
        assert (stage.unapplied, stage.unproven) == ([], [])


def test_a_cache_whose_hooks_are_there_and_skip_nothing_is_missed(flux: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastdiff.optimize.caching.INTERVAL", 1)
    with alive(flux, replace(SDPA, cache="taylorseer")) as stage:
        assert stage.unapplied == [], "nothing was counted yet"
        stage.count()
        assert stage.unapplied == [
            "cache: none of 8 steps had less to compute than the others, so taylorseer skipped nothing; give it more "
            "steps."
        ]


@pytest.mark.parametrize("kind", CACHES)
def test_a_cache_that_was_undone_is_missed(flux: Model, kind: str) -> None:
    from fastdiff.instruments import fingerprint

    with alive(flux, replace(SDPA, cache=kind)) as stage:
        for module in stage.built.denoiser.modules():
            if registry := getattr(module, "_diffusers_hook", None):
                for name in list(registry.hooks):
                    registry.remove_hook(name, recurse=False)
        stage.structure = fingerprint.structure(stage.built)
        assert stage.unapplied == [f"cache: 0 modules have a cache, and the recipe says {kind}."]


@pytest.mark.parametrize("backend", ["_native_math", "_native_flash"])
def test_a_backend_is_used_and_the_process_gets_its_own_back(
    flux: Model, plain: tuple[Reference, int], backend: str
) -> None:
    before = switches.read()
    with alive(flux, replace(SDPA, attention_backend=backend)) as stage:
        assert stage.unapplied == []
        assert any(name.endswith(f"({backend})") for name in stage.structure.processors)
        assert stage.likeness_to(plain[0]).shortfall(stage.budget) is None
        stage.built.denoiser.reset_attention_backend()
        from fastdiff.instruments import fingerprint

        stage.structure = fingerprint.structure(stage.built)
        assert f"attention_backend: no attention module uses {backend}." in stage.unapplied
    assert switches.leaks(before, switches.read()) == []


def test_the_reference_writes_its_attention_out(flux: Model) -> None:
    with alive(flux, LADDER["fp32"].recipe) as stage:
        assert stage.unapplied == []
        stage.count()
        kernels = stage.facts["attention_kernels"]
    with alive(flux, SDPA) as stage:
        stage.count()
        assert len(stage.facts["attention_kernels"]) >= len(kernels)
        assert stage.facts["attention_kernels"] != kernels
