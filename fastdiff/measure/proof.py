"""Proof that a stage was applied: its recipe against its fingerprint.

A stage that silently did nothing is a failure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastdiff.measure.fingerprint import Compilation, Fingerprint, Structure
    from fastdiff.recipes import Recipe

VANILLA_PROCESSORS = frozenset({"AttnProcessor"})
SDPA_PROCESSORS = frozenset({"AttnProcessor2_0", "FusedAttnProcessor2_0"})
"""By name, because a suite imports this file while it is collected, and diffusers must stay outside until then."""


def unapplied(recipe: Recipe, found: Fingerprint) -> list[str]:
    """One sentence for each idea of the recipe that the built stage does not show; empty is what everybody wants."""
    return [*_structure(recipe, found.structure), *_compilation(recipe, found.compilation), *_steady(found)]


def assert_applied(recipe: Recipe, found: Fingerprint) -> None:
    __tracebackhide__ = True
    if sentences := unapplied(recipe, found):
        raise AssertionError("\n".join(sentences))


def assert_steady(found: Fingerprint) -> None:
    """After the timed calls: none of them compiled anything."""
    __tracebackhide__ = True
    if sentences := list(_steady(found)):
        raise AssertionError("\n".join(sentences))


def _structure(recipe: Recipe, found: Structure) -> Iterator[str]:
    for part, dtypes in found.dtypes.items():
        wrong = {dtype: count for dtype, count in dtypes.items() if dtype != recipe.dtype}
        if wrong:
            listed = ", ".join(f"{count} in {dtype}" for dtype, count in wrong.items())
            yield f"dtype: {recipe.dtype} was not applied to {part}, which has parameters {listed}."
    if not found.attention_modules:
        yield "attention: no attention module was found, so nothing shows which kind is in use."
    wanted = VANILLA_PROCESSORS if recipe.attention == "vanilla" else SDPA_PROCESSORS
    strangers = sorted(set(found.processors) - wanted)
    if strangers:
        count = sum(found.processors[name] for name in strangers)
        yield (
            f"attention: {recipe.attention} was not applied to {count} of {found.attention_modules} attention modules, "
            f"which use {', '.join(strangers)}."
        )
    if recipe.fuse_qkv and (found.fused_modules < found.attention_modules or not found.fused_modules):
        yield f"fuse_qkv: {found.fused_modules} of {found.attention_modules} attention modules are fused."
    if not recipe.fuse_qkv and found.fused_modules:
        yield f"fuse_qkv: {found.fused_modules} attention modules are fused, and the recipe asks for none."
    if recipe.channels_last and found.channels_last_convolutions < found.convolutions:
        yield (
            f"channels_last: {found.convolutions - found.channels_last_convolutions} of {found.convolutions} "
            "convolutions kept the old layout."
        )
    if recipe.quantize != "none" and not found.quantized_layers:
        yield f"quantize: {recipe.quantize} was applied to no layer; does the filter match anything in this model?"
    if recipe.quantize == "none" and found.quantized_layers:
        yield f"quantize: {found.quantized_layers} layers are quantized, and the recipe asks for none."


def _compilation(recipe: Recipe, found: Compilation) -> Iterator[str]:
    if recipe.compile is None:
        if found.graphs:
            yield f"compile: {found.graphs} graphs were compiled, and the recipe asks for none."
        return
    wanted = recipe.compile.denoiser + recipe.compile.decoder
    if found.graphs < wanted:
        yield (
            f"compile: {found.graphs} of {wanted} parts were compiled; "
            "is TORCH_COMPILE_DISABLE or TORCHDYNAMO_DISABLE set?"
        )
    if found.breaks:
        yield f"compile: the graph broke {found.breaks} times ({'; '.join(found.break_reasons)})."


def _steady(found: Fingerprint) -> Iterator[str]:
    if found.recompiles:
        yield f"compile: {found.recompiles} graphs were compiled after the first call; something in the call varies."
