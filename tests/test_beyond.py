"""What is not on the published ladder: every idea draws, is proven to be applied, and is missed where it was undone."""

from __future__ import annotations

import functools
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from here import DTYPE, SLOW

from fastdiff import optimize
from fastdiff.models import CATALOGUE
from fastdiff.models.libraries import torch
from fastdiff.models.shapes import TINY_AUTOENCODER
from fastdiff.optimize import attention, build, quantization, resolved, switches
from fastdiff.quality.tripwires import tripped
from fastdiff.record.errors import UserError
from fastdiff.stages.beyond import BEYOND, REGIONAL, with_named
from fastdiff.stages.budgets import CACHED
from fastdiff.stages.ladder import Stage
from fastdiff.stages.published import LADDER
from fastdiff.stages.recipe import Compile, Recipe
from fastdiff.stages.techniques import TECHNIQUES
from fastdiff.trial.live import LiveStage
from fastdiff.trial.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fastdiff.models import Model

SDPA = Recipe(dtype=DTYPE, attention="sdpa")
REDRAWN = ("tiling", "scheduler", "steps")
"""Tiles of a 64 px picture are all seam, and random weights draw something else in other steps."""
IN_BFLOAT16 = ("half", "upcast-vae")
EVERYTHING = with_named(LADDER, [step.name for _, step in BEYOND])

IDEAS = {
    "flash": replace(SDPA, attention="flash"),
    "math": replace(SDPA, attention="math"),
    "math-everywhere": replace(SDPA, attention="math", attention_everywhere=True),
    "upcast-vae": Recipe(dtype="bfloat16", attention="sdpa", upcast_vae=True),
    "slicing": replace(SDPA, vae_slicing=True, batch=2),
    "tiling": replace(SDPA, vae_tiling=True),
    "precomputed": replace(SDPA, text="precomputed"),
    "group-offload": replace(SDPA, offload="group"),
    "int8-weight-only": replace(SDPA, quantize="int8-weight-only"),
    "int8-text": replace(SDPA, quantize="int8-weight-only", quantize_text=True),
    "scheduler": replace(SDPA, scheduler="DPMSolverMultistepScheduler"),
    "steps": replace(SDPA, steps=3),
    "batch": replace(SDPA, batch=3),
    "half": replace(SDPA, dtype="half"),
}


@contextmanager
def alive(model: Model, recipe: Recipe) -> Iterator[LiveStage]:
    stage = LiveStage(model, Stage("mine", recipe, "an idea"), "cpu", model.request, rounds=1)
    try:
        yield stage
    finally:
        stage.close()


@pytest.fixture(scope="module")
def plain(tiny: Model) -> Reference:
    with alive(tiny, SDPA) as stage:
        return Reference("plain", stage.images)


@pytest.mark.parametrize("idea", [pytest.param(one, marks=SLOW if one in IN_BFLOAT16 else []) for one in IDEAS])
def test_an_idea_draws_the_same_picture_and_shows(tiny: Model, plain: Reference, idea: str) -> None:
    before = switches.read()
    with alive(tiny, IDEAS[idea]) as stage:
        stage.first_call()
        assert stage.unapplied == []
        assert tripped(stage.images) is None
        assert len(stage.images) == (IDEAS[idea].batch or 1)
        if idea not in REDRAWN:
            assert stage.likeness_to(plain).shortfall(stage.budget) is None
    assert switches.leaks(before, switches.read()) == []


def undo_kernel(stage: LiveStage) -> None:
    torch.backends.cuda.enable_mem_efficient_sdp(True)


def undo_everywhere(stage: LiveStage) -> None:
    attention.free_the_others(stage.built.anatomy)


def undo_scheduler(stage: LiveStage) -> None:
    from fastdiff.models.libraries import diffusers

    pipeline = stage.built.pipeline
    pipeline.scheduler = diffusers.EulerDiscreteScheduler.from_config(pipeline.scheduler.config)


def undo_text_in_int8(stage: LiveStage) -> None:
    for encoder in stage.built.encoders:
        for module in encoder.modules():
            if quantization.is_quantized(module):
                module.weight = torch.nn.Parameter(module.weight.dequantize(), requires_grad=False)


def undo_slicing(stage: LiveStage) -> None:
    stage.built.pipeline.vae.disable_slicing()


def undo_tiling(stage: LiveStage) -> None:
    stage.built.pipeline.vae.disable_tiling()


def undo_upcast(stage: LiveStage) -> None:
    stage.built.pipeline.vae.to(torch.bfloat16)


def undo_offload(stage: LiveStage) -> None:
    for part in stage.built.pipeline.components.values():
        for module in part.modules() if isinstance(part, torch.nn.Module) else ():
            if registry := getattr(module, "_diffusers_hook", None):
                for name in list(registry.hooks):
                    registry.remove_hook(name, recurse=False)


def undo_text(stage: LiveStage) -> None:
    stage.built.pipeline.text_encoder = torch.nn.Linear(1, 1, dtype=torch.bfloat16)


@pytest.mark.parametrize(
    ("idea", "undo", "expected"),
    [
        ("flash", undo_kernel, "attention: flash alone was requested, and torch may choose flash, memory-efficient."),
        (
            "math-everywhere",
            undo_everywhere,
            "attention: math was requested everywhere, and not applied in text and decode.",
        ),
        (
            "scheduler",
            undo_scheduler,
            "scheduler: DPMSolverMultistepScheduler was requested, and the pipeline has EulerDiscreteScheduler.",
        ),
        (
            "int8-text",
            undo_text_in_int8,
            "quantize_text: 0 layers of text encoders are quantized, and the recipe asks for some.",
        ),
        ("slicing", undo_slicing, "autoencoder: slicing is not in use."),
        ("tiling", undo_tiling, "autoencoder: tiling is not in use."),
        ("upcast-vae", undo_upcast, "dtype: float32 was not applied to vae"),
        ("group-offload", undo_offload, "offload: 0 modules are offloaded, and the recipe says group."),
        ("precomputed", undo_text, "text: the prompt is precomputed, and text_encoder is still in memory."),
    ],
)
def test_an_idea_that_was_undone_is_missed(
    tiny: Model, idea: str, undo: Callable[[LiveStage], None], expected: str
) -> None:
    with alive(tiny, IDEAS[idea]) as stage:
        undo(stage)
        from fastdiff.instruments import fingerprint

        stage.structure = fingerprint.structure(stage.built)
        assert any(sentence.startswith(expected) for sentence in stage.unapplied), stage.unapplied


@pytest.mark.parametrize("idea", ["slicing", "tiling", "group-offload", "int8-text"])
def test_an_idea_that_was_not_requested_is_named(tiny: Model, idea: str) -> None:
    with alive(tiny, IDEAS[idea]) as stage:
        stage.claim(Stage("plain", SDPA, "nothing"))
        assert stage.unapplied


def test_precomputed_text_takes_the_encoders_out_of_memory(tiny: Model) -> None:
    with alive(tiny, SDPA) as stage:
        whole = stage.memory
    with alive(tiny, IDEAS["precomputed"]) as stage:
        without = stage.memory
        assert stage.built.pipeline.text_encoder is None
    assert whole.weights_bytes is not None
    assert without.weights_bytes is not None
    assert without.weights_bytes < whole.weights_bytes


def test_quantized_weights_weigh_less(tiny: Model) -> None:
    weights = {}
    for name, recipe in (("plain", SDPA), ("int8", IDEAS["int8-weight-only"])):
        with alive(tiny, recipe) as stage:
            weights[name] = stage.memory.weights_bytes or 0
            layers = stage.structure.quantized_layers
    assert layers > 10
    assert 0 < weights["int8"] < weights["plain"]


def test_slicing_and_tiling_lower_the_peak_of_the_decoder(tiny: Model) -> None:
    four = replace(tiny, request=tiny.request.changed(batch=4))
    peaks = {}
    for name in ("plain", "slicing", "tiling"):
        recipe = replace(IDEAS.get(name, SDPA), batch=None)
        with alive(four, recipe) as stage:
            peaks[name] = stage.memory.peaks["decode"]
    assert peaks["slicing"] < 0.8 * peaks["plain"]  # the finished pictures are there in both
    assert peaks["tiling"] < 0.9 * peaks["plain"]


def test_a_recipe_s_steps_are_those_of_its_calls(tiny: Model) -> None:
    with alive(tiny, IDEAS["steps"]) as stage:
        assert stage.request.steps == 3
        stage.take_apart()
        assert stage.components is not None
        assert len(stage.components.steps_s) == 3
        assert stage.trial().request["steps"] == 3


@pytest.mark.parametrize("name", ["NoScheduler", "FlowMatchEulerDiscreteScheduler", "UNet2DConditionModel"])
def test_a_scheduler_that_does_not_fit_is_one_sentence(tiny: Model, name: str) -> None:
    with pytest.raises(UserError, match=f"StableDiffusionXLPipeline: no scheduler is called '{name}'"):
        build(tiny, replace(SDPA, scheduler=name), "cpu")


@pytest.mark.parametrize("change", [{"text": "precomputed"}, {"quantize": "int8-weight-only", "quantize_text": True}])
def test_text_encoders_that_are_not_there_are_one_sentence(
    tiny: Model, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
) -> None:
    """As with the dummy weights of models with T5."""
    monkeypatch.setattr(optimize.Built, "encoders", [])
    with pytest.raises(UserError, match="has no text encoders, so there is nothing to precompute, to compile or to q"):
        build(tiny, replace(SDPA, **change), "cpu")


@pytest.mark.compile
@pytest.mark.timeout(600)
def test_text_encoders_are_compiled(tiny: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """Traced alone: what inductor makes of it is inductor's."""
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    recipe = replace(SDPA, compile=Compile(denoiser=False, text=True, flags=()))
    with alive(tiny, recipe) as stage:
        stage.first_call()
        assert stage.unapplied == []
        assert stage.compilation.graphs >= 3
        assert stage.fingerprint.recompiles == 0
    plain = replace(recipe, compile=Compile(denoiser=False, flags=()))
    with alive(tiny, plain) as stage:
        stage.first_call()
        stage.claim(Stage("mine", recipe, "an idea"))
        assert stage.unapplied[0].startswith("compile: 1 of 3 parts were compiled; ")


def test_slicing_one_picture_is_refused(tiny: Model) -> None:
    with pytest.raises(UserError, match="there is one picture; use --fastdiff-batch 4"):
        build(tiny, replace(SDPA, vae_slicing=True), "cpu")


def test_only_the_named_kernel_runs_in_the_denoiser(tiny: Model) -> None:
    """Torch takes its `math` family apart into products, so the kernel's name is what is missing."""
    calls, operators = {}, {}
    for name, recipe in (("math", IDEAS["math"]), ("everywhere", IDEAS["math-everywhere"]), ("chosen", SDPA)):
        with alive(tiny, recipe) as stage:
            stage.count()
            calls[name] = sum(int(kernel.split(" x ")[1]) for kernel in stage.facts["attention_kernels"])
            operators[name] = stage.facts["operators_in_a_step"]
    assert 0 < calls["math"] < calls["chosen"], "text encoders may still choose"
    assert calls["everywhere"] == 0
    assert operators["math"] > operators["chosen"]


@pytest.mark.compile
@pytest.mark.timeout(600)
def test_regional_compilation_compiles_less(tiny: Model) -> None:
    how = replace(REGIONAL, decoder=False, flags=())
    with alive(tiny, replace(SDPA, compile=how)) as stage:
        stage.first_call()
        assert stage.unapplied == []
        whole = sum(1 for _ in stage.built.denoiser.modules())
        regions = [m for m in stage.built.denoiser.modules() if m._compiled_call_impl is not None]
        assert 0 < len(regions) < whole
        assert {type(m).__name__ for m in regions} == {"BasicTransformerBlock"}
        assert tripped(stage.images) is None
        assert stage.fingerprint.recompiles == 0


# -- what the device or the model cannot do -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "device", "capability", "expected"),
    [
        ("sdpa-cudnn", "cpu", None, "a kernel for CUDA devices"),
        ("sdpa-memory-efficient", "cpu", None, "a kernel for CUDA devices"),
        ("float8", "cpu", None, "CUDA devices only"),
        ("int4-weight-only", "cpu", None, "CUDA devices only"),
        ("fp16", "cpu", None, "use bfloat16 there"),
        ("int8-fp16", "cpu", None, "use bfloat16 there"),
        ("float8", "cuda", (8, 0), "capability 8.9, and this one has 8.0"),
        ("sdpa-flash", "cuda", (7, 5), "capability 8.0, and this one has 7.5"),
    ],
)
def test_what_a_device_cannot_do(name: str, device: str, capability: tuple[int, int] | None, expected: str) -> None:
    with pytest.raises(UserError) as error:
        EVERYTHING[name].recipe.on(device, capability)
    assert expected in str(error.value)
    assert str(error.value).endswith(".")


def test_every_stage_is_possible_on_a_new_gpu() -> None:
    for ladder in (EVERYTHING, TECHNIQUES):
        for stage in ladder:
            on = stage.recipe.on("cuda", (9, 0))
            assert on.dtype in ("float32", "bfloat16", "float16")


def test_half_is_what_the_device_is_good_at() -> None:
    assert TECHNIQUES["half"].recipe.on("cuda").dtype == "float16"
    assert TECHNIQUES["half"].recipe.on("cpu").dtype == "bfloat16"


@pytest.mark.parametrize(
    ("lack", "recipe"),
    [
        ("cache", replace(SDPA, cache="first-block")),
        ("attention_backend", replace(SDPA, attention_backend="_native_math")),
        ("regional", replace(SDPA, compile=REGIONAL)),
    ],
)
def test_what_an_architecture_cannot_do_is_known_before_anything_is_loaded(
    tiny: Model, lack: str, recipe: Recipe
) -> None:
    with pytest.raises(UserError, match=f"has no place for {lack}"):
        resolved(replace(tiny, unsupported=(lack,), source="nowhere"), recipe, "cpu")


@pytest.mark.parametrize("change", [{"cache": "first-block"}, {"attention_backend": "_native_math"}])
def test_an_idea_without_a_place_is_refused(tiny: Model, change: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"has no place for them|does not go through diffusers' dispatcher"):
        build(tiny, replace(SDPA, **change), "cpu")


# -- the data ---------------------------------------------------------------------------------------------------------


def test_every_stage_beyond_the_ladder_changes_what_it_says() -> None:
    assert len(EVERYTHING.names) == len(LADDER.names) + len(BEYOND)
    for follows, step in BEYOND:
        stage = EVERYTHING[step.name]
        assert stage.follows == follows
        assert stage.recipe != LADDER[follows].recipe
        if stage.recipe.cache != "none":
            assert stage.budget == CACHED


def test_the_ten_published_techniques_are_there_and_follow_the_default_one() -> None:
    published = {
        "unoptimized",
        "half",
        "default",
        "default+compile",
        "default+model-offload",
        "default+sequential-offload",
        "default+vae-slicing",
        "default+vae-slicing+sequential-offload",
        "default+precomputed-text",
        "default+tiny-autoencoder",
    }
    assert set(TECHNIQUES.names) == published | {"default+vae-tiling", "default+group-offload"}
    assert TECHNIQUES.reference.name == "default"
    assert all(stage.follows == "default" for stage in TECHNIQUES if "+" in stage.name)


def test_techniques_have_the_published_attention_and_autoencoder() -> None:
    written_out = {stage.name for stage in TECHNIQUES if stage.recipe.attention == "vanilla-denoiser"}
    assert written_out == {"unoptimized", "half"}
    assert all(stage.recipe.attention == "sdpa" for stage in TECHNIQUES if stage.name not in written_out)
    autoencoders = {stage.name: stage.recipe.autoencoder for stage in TECHNIQUES}
    assert autoencoders.pop("default+tiny-autoencoder") == "tiny"
    assert set(autoencoders.values()) == {"pipeline"}


def test_tiny_autoencoders_are_those_of_the_latent_space() -> None:
    """SDXL's latents are others than Stable Diffusion's, whose tiny autoencoder the published example names."""
    tiny = {model.name: model.tiny_autoencoder for model in CATALOGUE if model.tiny_autoencoder}
    assert tiny == {
        "shapes": str(TINY_AUTOENCODER),
        **dict.fromkeys(("sdxl", "ssd-1b"), "madebyollin/taesdxl"),
        **dict.fromkeys(("sd15", "pixart-alpha"), "madebyollin/taesd"),
        **dict.fromkeys(("flux-schnell", "flux-dev"), "madebyollin/taef1"),
    }


@pytest.mark.parametrize("name", ["sdxl", "sd15"])
def test_the_pipeline_s_own_autoencoder_is_the_published_one(name: str) -> None:
    """SDXL's overflows in float16, so that its pipeline decodes in float32; the safe one does not."""
    model = next(model for model in CATALOGUE if model.name == name).with_weights("twin")
    forced = {}
    for autoencoder in ("own", "pipeline"):
        with build(model, replace(SDPA, autoencoder=autoencoder), "cpu") as built:
            forced[autoencoder] = built.pipeline.vae.config.force_upcast
    assert forced == {"own": name != "sdxl", "pipeline": True}


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: Compile(regional=True), "one overwrites what another one reads"),
        (lambda: Compile(regional=True, denoiser=False, mode="default"), "set denoiser = true"),
        (lambda: replace(SDPA, offload="group", quantize="int8-weight-only"), "drop quantize or offload"),
        (
            lambda: replace(SDPA, dtype="float16", quantize="int4-weight-only"),
            "int4-weight-only multiplies in bfloat16",
        ),
        (
            lambda: replace(SDPA, dtype="float16", quantize="float8-dynamic", compile=Compile()),
            "float8-dynamic multiplies in bfloat16",
        ),
        (lambda: replace(SDPA, cache="first-block", compile=Compile()), "which a full graph cannot hold"),
        (lambda: replace(SDPA, attention_everywhere=True), "set attention to one of flash, memory-efficient"),
        (lambda: replace(SDPA, quantize_text=True), "nothing is quantized; set quantize"),
        (lambda: replace(SDPA, text="precomputed", compile=Compile(text=True)), 'set text = "live"'),
        (
            lambda: replace(SDPA, text="precomputed", quantize="int8-weight-only", quantize_text=True),
            'set text = "live"',
        ),
        (lambda: replace(SDPA, steps=0), "steps is 0; give a whole number above zero."),
        (lambda: replace(SDPA, scheduler=3), "scheduler is 3; give a class of diffusers."),
        (lambda: Recipe(upcast_vae=True), "everything is in float32 already"),
        (lambda: replace(SDPA, attention="math", attention_backend="_native_flash"), 'set attention = "sdpa"'),
    ],
)
def test_impossible_combinations(make: Callable[[], Any], expected: str) -> None:
    with pytest.raises(UserError) as error:
        make()
    assert expected in str(error.value)
    assert str(error.value).endswith(".")


def named_in_the_committed_baseline(stage: str) -> set[str]:
    from fastdiff.record import baselines

    accepted = baselines.newest(Path(__file__).parents[1] / "baselines" / "amd-epyc-2-cores-avx2")
    assert accepted is not None
    trial = accepted.run.stage(f"shapes-{stage}")
    assert trial is not None
    return {name.partition(".")[0] for name in trial.fingerprint}


def test_facts_of_the_committed_baseline_are_still_named_as_they_were(tiny: Model) -> None:
    """A new fact on every stage would make every accepted run differ from every new one."""
    with alive(tiny, LADDER["fp32"].recipe) as stage:
        stage.first_call()
        stage.count()
        assert {name.partition(".")[0] for name in stage.facts} == named_in_the_committed_baseline("fp32")


@pytest.mark.parametrize("name", ["sdpa", "compile", "fused-qkv"])
def test_an_idea_of_the_ladder_has_no_fact_of_another_idea(tiny: Model, name: str) -> None:
    """So would a new fact that an older idea has, too: the layout of the decoder alone is none where all have it."""
    with alive(tiny, replace(LADDER[name].recipe, dtype=DTYPE, compile=None)) as stage:
        assert {fact.partition(".")[0] for fact in stage.facts} <= named_in_the_committed_baseline(name)
