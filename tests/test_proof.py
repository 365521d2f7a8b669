"""Every stage of the ladder shows that it was applied, and each one, sabotaged, fails with its own sentence."""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from here import HERE

from fastdiff.instruments import fingerprint
from fastdiff.instruments.fingerprint import Compilation, Effects, Fingerprint, Structure
from fastdiff.instruments.proof import assert_applied, assert_steady, unapplied
from fastdiff.models.libraries import torch
from fastdiff.optimize import attention, build, fusion, layout, quantization
from fastdiff.stages.filters import Filter
from fastdiff.stages.ladder import Stage
from fastdiff.stages.published import LADDER
from fastdiff.stages.recipe import Compile, Recipe
from fastdiff.trial.live import LiveStage

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastdiff.models import Model
    from fastdiff.optimize import Built

NOT_COMPILED = "compile: 0 of 2 parts were compiled; is TORCH_COMPILE_DISABLE or TORCHDYNAMO_DISABLE set?"


def structural(built: Built) -> list[str]:
    """What the proof has to say of a stage that was just built, were its compilation as it should be."""
    compiled = Compilation(graphs=2) if built.recipe.compile else Compilation()
    return unapplied(built.recipe, Fingerprint(fingerprint.structure(built), compiled))


@pytest.mark.parametrize("name", LADDER.names)
def test_every_stage_shows_its_structure(tiny: Model, name: str) -> None:
    with build(tiny, LADDER[name].recipe, "cpu") as built:
        assert structural(built) == []


@pytest.mark.parametrize("name", LADDER.names)
def test_no_two_stages_look_alike(tiny: Model, name: str) -> None:
    """Judged by the recipe of any other stage, a stage is found out by its structure alone."""
    with build(tiny, LADDER[name].recipe, "cpu") as built:
        found = fingerprint.structure(built)
    for other in LADDER:
        compiled = Compilation(graphs=2) if other.recipe.compile else Compilation()
        # A layout that was not requested is no failure, so without its graphs `compile` passes for `sdpa`.
        alike = other.name == name or (name, other.name) == ("compile", "sdpa")
        assert (unapplied(other.recipe, Fingerprint(found, compiled)) == []) is alike, (name, other.name)


# -- sabotage of the structure ----------------------------------------------------------------------------------------


def one_parameter_in_float32(built: Built) -> str:
    bias = built.denoiser.conv_in.bias
    bias.data = bias.data.float()
    return "dtype: bfloat16 was not applied to unet (1 of its parameters in float32)."


def text_encoder_in_float32(built: Built) -> str:
    count = len(list(built.pipeline.text_encoder.float().parameters()))
    return f"dtype: bfloat16 was not applied to text_encoder ({count} of its parameters in float32)."


def one_kernel_put_back(built: Built) -> str:
    from diffusers.models.attention_processor import AttnProcessor2_0

    modules = attentions(built)
    modules[3].set_processor(AttnProcessor2_0())
    return f"attention: vanilla was not applied to 1 of {len(modules)} attention modules, which use AttnProcessor2_0."


def kernel_of_the_autoencoder_put_back(built: Built) -> str:
    built.pipeline.vae.set_default_attn_processor()
    from diffusers.models.attention_processor import AttnProcessor2_0

    built.pipeline.vae.set_attn_processor(AttnProcessor2_0())
    count = len(attentions(built))
    return f"attention: vanilla was not applied to 2 of {count} attention modules, which use AttnProcessor2_0."


def one_written_out(built: Built) -> str:
    from diffusers.models.attention_processor import AttnProcessor

    modules = attentions(built)
    modules[3].set_processor(AttnProcessor())
    return f"attention: sdpa was not applied to 1 of {len(modules)} attention modules, which use AttnProcessor."


def one_convolution_put_back(built: Built) -> str:
    kernel = built.denoiser.conv_in.weight
    kernel.data = kernel.data.contiguous()
    total = fingerprint.structure(built).convolutions
    return f"channels_last: 1 of {total} convolutions kept the old layout."


def one_module_unfused(built: Built) -> str:
    modules = attentions(built)
    modules[3].fuse_projections(fuse=False)
    return f"fuse_qkv: {len(modules) - 1} of {len(modules)} attention modules are fused."


def one_processor_put_back(built: Built) -> str:
    """The module has its fused weights, and an ordinary processor that does not look at them."""
    from diffusers.models.attention_processor import AttnProcessor2_0

    modules = attentions(built)
    modules[3].set_processor(AttnProcessor2_0())
    return f"fuse_qkv: {len(modules) - 1} of {len(modules)} attention modules are fused."


def fused_unasked(built: Built) -> str:
    fusion.fuse_qkv([built.pipeline.vae])
    return "fuse_qkv: 2 attention modules are fused, and the recipe asks for none."


def quantized_unasked(built: Built) -> str:
    quantization.quantize([built.denoiser.time_embedding], "int8-dynamic", Filter())
    return "quantize: 2 layers are quantized, and the recipe asks for none."


DENOISER_ALONE = Stage("mine", Recipe(attention="vanilla-denoiser"), "written out in the denoiser")


def test_attention_may_be_written_out_in_the_denoiser_alone(tiny: Model) -> None:
    with build(tiny, DENOISER_ALONE.recipe, "cpu") as built:
        assert structural(built) == []
        found = fingerprint.structure(built)
        assert set(found.processors) == {"AttnProcessor", "AttnProcessor2_0"}
        assert found.decoder_processors == {"AttnProcessor2_0": 2}
        assert not any("decoder_processors" in name for name in Fingerprint(found).flat())
        attention.write_out([built.pipeline.vae])
        (sentence,) = structural(built)
    assert sentence == (
        "attention: vanilla-denoiser was not applied to 2 of 2 attention modules of the decoder, "
        "which use AttnProcessor."
    )


@pytest.mark.parametrize("name", ["sdpa", "fp32"])
def test_another_attention_is_not_that_of_the_denoiser_alone(tiny: Model, name: str) -> None:
    with build(tiny, LADDER[name].recipe, "cpu") as built:
        found = fingerprint.structure(built)
    recipe = replace(LADDER[name].recipe, attention="vanilla-denoiser")
    (sentence,) = unapplied(recipe, Fingerprint(found))
    assert sentence.startswith("attention: vanilla-denoiser was not applied to ")


@pytest.mark.parametrize(
    ("name", "sabotage"),
    [
        ("bf16", one_parameter_in_float32),
        ("bf16", text_encoder_in_float32),
        ("fp32", one_kernel_put_back),
        ("fp32", kernel_of_the_autoencoder_put_back),
        ("sdpa", one_written_out),
        ("compile", one_convolution_put_back),
        ("fused-qkv", one_module_unfused),
        ("fused-qkv", one_processor_put_back),
        ("sdpa", fused_unasked),
        ("sdpa", quantized_unasked),
    ],
)
def test_what_was_put_back_is_found(tiny: Model, name: str, sabotage: Callable[[Built], str]) -> None:
    with build(tiny, LADDER[name].recipe, "cpu") as built:
        sentence = sabotage(built)
        assert structural(built) == [sentence]
        with pytest.raises(AssertionError) as failure:
            assert_applied(built.recipe, Fingerprint(fingerprint.structure(built), Compilation(graphs=2)))
    assert sentence in str(failure.value)


@pytest.mark.parametrize(
    ("name", "module", "idea", "sentence"),
    [
        ("fp32", attention, "write_out", "attention: vanilla was not applied to {0} of {0} attention modules, "),
        ("fused-qkv", fusion, "fuse_qkv", "fuse_qkv: 0 of {0} attention modules are fused."),
        ("compile", layout, "channels_last", "channels_last: {1} of {1} convolutions kept the old layout."),
        ("int8", quantization, "quantize", "quantize: int8-dynamic was applied to no layer; "),
        ("int8", quantization, "selected", "quantize: int8-dynamic was applied to no layer; "),
    ],
)
def test_an_idea_that_did_nothing_is_found(
    tiny: Model, monkeypatch: pytest.MonkeyPatch, name: str, module: Any, idea: str, sentence: str
) -> None:
    """`selected` is the filter that matches nothing; the others are whole ideas that do nothing."""
    monkeypatch.setattr(module, idea, lambda *_: False)
    with build(tiny, LADDER[name].recipe, "cpu") as built:
        found = fingerprint.structure(built)
        (said,) = structural(built)
    assert said.startswith(sentence.format(found.attention_modules, found.convolutions))


def test_layers_that_were_left_plain_are_counted_against_the_filter(
    tiny: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a release of torchao that skips some layers would do it."""
    with monkeypatch.context() as patch:
        patch.setattr(quantization, "fits", lambda _, module: module.in_features != 64)
        built = build(tiny, LADDER["int8"].recipe, "cpu")
    with built:
        found = fingerprint.structure(built)
        (said,) = structural(built)
    missed, quantized = sum(found.unquantized.values()), found.quantized_layers
    assert quantized > 0
    assert all(shape.startswith("64 x ") for shape in found.unquantized)
    assert said.startswith(
        f"quantize: {missed} of {missed + quantized} layers that the filter selects are not quantized (64 x "
    )


def attentions(built: Built) -> list[Any]:
    return [module for part in built.parts for module in part.modules() if hasattr(module, "to_q")]


# -- effects ----------------------------------------------------------------------------------------------------------

WRITTEN_OUT = {"fp32", "bf16"}


@pytest.mark.parametrize("name", [one for one in LADDER.names if one not in ("bf16", "int8")])
def test_the_kernels_of_a_step_show_which_attention_is_in_use(tiny: Model, name: str) -> None:
    live = LiveStage(tiny, HERE[name] if name in HERE.names else LADDER[name], "cpu", tiny.request, rounds=1)
    live.count()
    seen = live.fingerprint.effects
    assert seen is not None
    assert bool(seen.attention) is (name not in WRITTEN_OUT)
    assert [one for one in live.unapplied if one != NOT_COMPILED] == []


class Named:
    """An attention of a user's own: its name says nothing."""

    def __init__(self, like: str) -> None:
        from diffusers.models import attention_processor

        self.like = getattr(attention_processor, like)()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.like(*args, **kwargs)


@pytest.mark.parametrize("like", ["AttnProcessor", "AttnProcessor2_0"])
@pytest.mark.parametrize("name", ["fp32", "sdpa"])
def test_attention_of_an_unknown_name_is_judged_by_its_kernels(tiny: Model, name: str, like: str) -> None:
    live = LiveStage(tiny, HERE[name], "cpu", tiny.request, rounds=1)
    count = 0
    for module in live.built.denoiser.modules():
        if attention.is_attention(module):
            module.processor = Named(like)
            count += 1
    live.structure = replace(fingerprint.structure(live.built), own=True)
    (said,) = live.unproven
    assert f"was not applied to {count} of {count + 2} attention modules, which use Named." in said
    live.count()
    seen = live.fingerprint.effects
    assert seen is not None
    assert live.unapplied == []
    if (name == "fp32") is (like == "AttnProcessor"):
        assert live.unproven == []
    else:
        said = live.unproven[-1]
        written = f"a denoising step dispatched {seen.attention} kernels of SDPA, and the recipe has attention written "
        plain = "a denoising step dispatched no kernel of SDPA."
        assert said.startswith(f"attention: {written if name == 'fp32' else plain}")
    live.structure = replace(live.structure, own=False)
    assert bool(live.unapplied) is ((name == "fp32") is not (like == "AttnProcessor"))


def test_the_kernels_of_some_modules_prove_nothing_of_the_others(tiny: Model) -> None:
    live = LiveStage(tiny, HERE["sdpa"], "cpu", tiny.request, rounds=1)
    modules = attentions(live.built)
    modules[0].processor = Named("AttnProcessor")
    live.structure = replace(fingerprint.structure(live.built), own=True)
    live.count()
    assert live.unapplied == []
    assert live.unproven == [
        f"attention: sdpa was not applied to 1 of {len(modules)} attention modules, which use Named."
    ]


def test_a_denoising_step_shows_nothing_of_the_decoder(tiny: Model) -> None:
    live = LiveStage(tiny, HERE["sdpa"], "cpu", tiny.request, rounds=1)
    count = len(attentions(live.built))
    for module in attentions(live.built):
        module.processor = Named("AttnProcessor2_0")
    live.structure = replace(fingerprint.structure(live.built), own=True)
    live.count()
    assert live.unproven == [
        f"attention: sdpa was not applied to {count} of {count} attention modules, which use Named."
    ]


@pytest.mark.parametrize(
    ("mode", "captured", "skipped", "expected"),
    [
        ("reduce-overhead", 3, 0, []),
        ("reduce-overhead", None, 0, []),
        ("max-autotune-no-cudagraphs", 0, 2, []),
        (
            "max-autotune",
            0,
            2,
            ["compile: max-autotune captures CUDA graphs, and none was captured (inductor skipped 2)."],
        ),
        (
            "reduce-overhead",
            1,
            1,
            ["compile: of the CUDA graphs of reduce-overhead, 1 were captured, and inductor skipped 1."],
        ),
    ],
)
def test_cuda_graphs_are_captured_and_none_is_skipped(
    tiny: Model, mode: str, captured: int | None, skipped: int, expected: list[str]
) -> None:
    with build(tiny, HERE["sdpa"].recipe, "cpu") as built:
        structure = replace(fingerprint.structure(built), channels_last_convolutions=10**6)
    recipe = replace(HERE["sdpa"].recipe, compile=Compile(mode=mode))
    seen = Effects(attention=4, cuda_graphs=captured, cuda_graphs_skipped=skipped)
    assert unapplied(recipe, Fingerprint(structure, Compilation(graphs=2), effects=seen)) == expected


def test_every_kind_of_region_has_a_graph() -> None:
    regional = Recipe(attention="sdpa", compile=Compile(mode="default", regional=True))
    built = Structure({"part": {"float32": 1}}, {"AttnProcessor2_0": 1}, 1, 0, 0, 0, 0, regions=2)
    (said,) = unapplied(regional, Fingerprint(built, Compilation(graphs=2)))
    assert said.startswith("compile: 2 of 3 parts were compiled;"), "two kinds of blocks, and the decoder"
    assert unapplied(regional, Fingerprint(built, Compilation(graphs=3))) == []


# -- sabotage of the compilation --------------------------------------------------------------------------------------

DECODER_ALONE = Compile(denoiser=False)
"""Of what a stage compiles, the part that is traced in a moment."""


@pytest.fixture
def traced_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dynamo at work, inductor left out: graphs, breaks and recompiles are counted as ever, and no C++ is compiled."""
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))


def alive(model: Model, how: Compile) -> LiveStage:
    recipe = replace(HERE["compile"].recipe, compile=how)
    return LiveStage(model, Stage("compile", recipe, "compiles"), "cpu", model.request, rounds=1)


def test_a_compiled_stage_before_its_first_call(tiny: Model) -> None:
    live = LiveStage(tiny, HERE["compile"], "cpu", tiny.request, rounds=1)
    assert live.unapplied == [NOT_COMPILED]


@pytest.mark.compile
@pytest.mark.parametrize("fullgraph", [True, False])
def test_a_compiled_stage_proves_itself(tiny: Model, traced_only: None, fullgraph: bool) -> None:
    live = alive(tiny, Compile(fullgraph=fullgraph))
    live.first_call()
    _ = live.images
    assert live.unapplied == []
    assert_steady(live.fingerprint)


def test_one_part_of_two_is_not_enough(tiny: Model, traced_only: None) -> None:
    live = alive(tiny, DECODER_ALONE)
    live.first_call()
    both = replace(live.recipe, compile=Compile())
    assert unapplied(live.recipe, live.fingerprint) == []
    assert unapplied(both, live.fingerprint) == [NOT_COMPILED.replace("0 of 2", "1 of 2")]
    assert unapplied(replace(live.recipe, compile=None), live.fingerprint) != []


@pytest.mark.compile
@pytest.mark.parametrize("switch", ["TORCHDYNAMO_DISABLE", "TORCH_COMPILE_DISABLE"])
def test_compilation_that_was_switched_off(tiny: Model, switch: str) -> None:
    """A switch is read when torch is imported, so this needs a process of its own.

    torch itself may refuse a full graph then; whether the stage raises or reports, a person reads the one sentence.
    """
    script = f"""
import json, sys
from fastdiff.trial.live import LiveStage
from fastdiff.models import Model, Request
from here import HERE

request = Request("a large red circle on a blue background", steps=1, size=64, guidance=4.0)
live = LiveStage(Model("tiny", {tiny.pipeline!r}, {tiny.source!r}, request), HERE["compile"], "cpu", request, 1)
try:
    live.first_call()
    said = live.unapplied
except Exception as error:
    said = [str(error)]
print(json.dumps(said))
"""
    process = subprocess.run(
        [sys.executable, "-c", script],
        env={
            **os.environ,
            switch: "1",
            "PYTHONPATH": f"{Path(__file__).parent}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
        },
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    (said,) = json.loads(process.stdout)
    assert NOT_COMPILED in said
    assert "\n" not in said


def test_a_graph_break(tiny: Model, traced_only: None) -> None:
    live = alive(tiny, replace(DECODER_ALONE, fullgraph=False))
    live.built.pipeline.vae.decoder.conv_in.register_forward_hook(lambda *_: torch._dynamo.graph_break())
    live.first_call()
    (sentence,) = live.unapplied
    assert re.match(r"compile: the graph broke [1-9]\d* times \(", sentence)
    assert "graph_break" in sentence
    assert "\n" not in sentence, "a sentence is one line"


def test_a_graph_break_in_a_full_graph_stops_the_stage(tiny: Model, traced_only: None) -> None:
    live = alive(tiny, DECODER_ALONE)
    live.built.pipeline.vae.decoder.conv_in.register_forward_hook(lambda *_: torch._dynamo.graph_break())
    with pytest.raises(torch._dynamo.exc.Unsupported, match="graph_break"):
        live.first_call()


@pytest.mark.compile
def test_a_recompile_in_the_steady_state(tiny: Model, traced_only: None) -> None:
    live = alive(tiny, DECODER_ALONE)
    live.first_call()
    live.generate()
    assert_steady(live.fingerprint)
    live.request = replace(live.request, batch=2)
    live.generate()
    (sentence,) = live.unapplied
    assert sentence.startswith("compile: 1 graphs were compiled after the first call; something in the call varies, ")
    assert "compile.dynamic makes one graph for all sizes" in sentence
    with pytest.raises(AssertionError, match="something in the call varies"):
        assert_steady(live.fingerprint)


@pytest.mark.compile
@pytest.mark.parametrize(("dynamic", "graphs"), [(False, 2), (True, 1)])
def test_a_second_size_compiles_again_unless_the_graph_is_dynamic(
    tiny: Model, traced_only: None, dynamic: bool, graphs: int
) -> None:
    live = alive(tiny, replace(DECODER_ALONE, dynamic=dynamic))
    for side in (80, 96):  # of smaller latents torch takes another convolution on a CPU
        live.built.pipeline.vae.decode(torch.zeros(1, 4, side, side, dtype=live.built.pipeline.vae.dtype))
    assert fingerprint.compilation().graphs == graphs


def test_a_stage_that_was_compiled_unasked(tiny: Model, traced_only: None) -> None:
    live = LiveStage(tiny, Stage("plain", Recipe(), "nothing"), "cpu", tiny.request, rounds=1)
    live.built.pipeline.vae.decode = torch.compile(live.built.pipeline.vae.decode)
    live.first_call()
    (sentence,) = live.unapplied
    assert sentence.startswith("compile: ")
    assert sentence.endswith("and the recipe asks for none.")


@pytest.mark.parametrize("own", [False, True])
def test_a_function_that_ignores_its_dtype_gets_the_remedy(tiny: Model, own: bool) -> None:
    live = LiveStage(tiny, LADDER["fp32"], "cpu", tiny.request, rounds=1)
    part = next(iter(live.structure.dtypes))
    found = replace(live.structure, dtypes={part: {"bfloat16": 6}}, own=own)
    (said,) = unapplied(live.recipe, Fingerprint(found))
    remedy = " Use `dtype` in its function, or take that argument away: then fastdiff casts."
    assert said == f"dtype: float32 was not applied to {part} (6 of its parameters in bfloat16)." + remedy * own
    live.close()


def test_the_counts_are_those_of_the_whole_call(tiny: Model) -> None:
    """Though two steps are enough to count them."""
    counted = []
    for steps in (2, 6):
        live = LiveStage(tiny, HERE["sdpa"], "cpu", tiny.request.changed(steps=steps), rounds=1)
        live.count()
        counted.append(live.facts)
        live.close()
    few, many = counted
    assert many["flops"] == few["flops"] + 4 * few["flops_in_a_step"]
    assert many["operators"] == few["operators"] + 4 * few["operators_in_a_step"]


def test_a_call_that_cannot_be_counted_is_not_proven(tiny: Model) -> None:
    from torch.utils._python_dispatch import _get_current_dispatch_mode

    live = LiveStage(tiny, HERE["sdpa"], "cpu", tiny.request, rounds=1)
    forward = live.built.denoiser.forward

    def opaque(*args: Any, **kwargs: Any) -> Any:
        if _get_current_dispatch_mode() is not None:
            raise TypeError("no such operator\nand more of it")
        return forward(*args, **kwargs)

    live.built.denoiser.forward = opaque
    with pytest.raises(TypeError, match="no such operator"):
        live.count()
    live.structure = replace(live.structure, own=True)
    live.count()
    assert live.unapplied == []
    assert live.unproven == [
        "counts: a call whose operators are counted fails (TypeError: no such operator), so nothing shows what a step "
        "does."
    ]
    assert "flops" not in live.trial().fingerprint
