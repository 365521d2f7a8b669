"""Proof that a stage was applied: its recipe against its fingerprint.

A stage that silently did nothing is a failure. What can be counted in a call is proven by that: attention by the
kernels that a denoising step dispatched, a cache by steps that do less, CUDA graphs by those that were captured. Of a
pipeline of the user's own fastdiff knows only what it finds: what cannot be shown there is named, and fails in strict
mode alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastdiff.stages.recipe import GRAPH_MODES, KERNELS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastdiff.instruments.fingerprint import Compilation, Effects, Fingerprint, Structure
    from fastdiff.stages.recipe import Recipe

KEPT_IN_FLOAT32 = "float32 (kept)"
"""Parameters that their library keeps in float32 beside float16 ones, because they would overflow."""
VANILLA_PROCESSORS = frozenset({"AttnProcessor", "FluxAttnProcessor(_native_math)"})
BY_LIKENESS = ("first-block",)
"""Caches that compare a step with the one before it, and skip what would hardly differ."""
SDPA_PROCESSORS = frozenset({"AttnProcessor2_0", "FusedAttnProcessor2_0", "FluxAttnProcessor"})
"""By name, because a suite imports this file while it is collected, and diffusers must stay outside until then."""


class Unshown(str):
    """A sentence about what cannot be shown where the pipeline is not known, rather than about what is wrong."""

    __slots__ = ()


class Undecided(Unshown):
    """About what depends on weights that this run does not have, whether the pipeline is known or not."""

    __slots__ = ()


def unapplied(recipe: Recipe, found: Fingerprint) -> list[str]:
    """One sentence for each idea of the recipe that the built stage does not show; empty is what everybody wants."""
    return [one for one in _sentences(recipe, found) if not _may_be_there(one, found)]


def unproven(recipe: Recipe, found: Fingerprint) -> list[str]:
    """The same for ideas that may be there: a pipeline of the user's own has no place for them that fastdiff knows, or
    it takes real weights to see them."""
    return [one for one in _sentences(recipe, found) if _may_be_there(one, found)]


def _may_be_there(sentence: str, found: Fingerprint) -> bool:
    return isinstance(sentence, Undecided) or (found.structure.own and isinstance(sentence, Unshown))


def _sentences(recipe: Recipe, found: Fingerprint) -> list[str]:
    built = found.structure
    return [
        *_precision(recipe, built),
        *_attention(recipe, built, found.effects),
        *_layers(recipe, built),
        *_saving(recipe, built),
        *_caching(recipe, built, found.effects),
        *_compilation(recipe, built, found.compilation),
        *_captured(recipe, found.effects),
        *_steady(found),
        *_countable(found.effects),
    ]


def assert_applied(recipe: Recipe, found: Fingerprint) -> None:
    __tracebackhide__ = True
    if sentences := unapplied(recipe, found):
        raise AssertionError("\n".join(sentences))


def assert_steady(found: Fingerprint) -> None:
    """After the timed calls: none of them compiled anything."""
    __tracebackhide__ = True
    if sentences := list(_steady(found)):
        raise AssertionError("\n".join(sentences))


def _precision(recipe: Recipe, found: Structure) -> Iterator[str]:
    if not any(found.dtypes.values()):
        yield Unshown(f"dtype: no module with parameters was found, so nothing shows that it is {recipe.dtype}.")
    for part, dtypes in found.dtypes.items():
        wanted = "float32" if recipe.upcast_vae and part == "vae" else recipe.dtype
        wrong = {dtype: count for dtype, count in dtypes.items() if dtype not in (wanted, KEPT_IN_FLOAT32)}
        if wrong:
            listed = ", ".join(f"{count} of its parameters in {dtype}" for dtype, count in wrong.items())
            mend = " Use `dtype` in its function, or take that argument away: then fastdiff casts." if found.own else ""
            yield f"dtype: {wanted} was not applied to {part} ({listed}).{mend}"


def _attention(recipe: Recipe, found: Structure, seen: Effects | None) -> Iterator[str]:
    """By the modules, and those of the denoiser whose names say nothing by the kernels that a step dispatched."""
    kernels = seen.attention if seen and recipe.attention != "math" and not recipe.attention_backend else None
    modules = sum(found.processors.values()) - sum(found.decoder_processors.values())
    plain = recipe.attention in WRITTEN_OUT
    shown = kernels is not None and (kernels == 0 if plain else kernels >= max(modules, 1))
    if not (found.attention_modules or shown or kernels or (found.alone and recipe.attention == "sdpa")):
        yield Unshown("attention: no attention module was found, so nothing shows which kind is in use.")
    yield from _modules(recipe, found, shown=shown)
    if plain and kernels:
        count = "one kernel" if kernels == 1 else f"{kernels} kernels"
        yield Unshown(
            f"attention: a denoising step dispatched {count} of SDPA, and the recipe has attention written out."
        )
    elif kernels == 0 and modules and not plain:
        yield Unshown("attention: a denoising step dispatched no kernel of SDPA.")


def _modules(recipe: Recipe, found: Structure, *, shown: bool) -> Iterator[str]:
    """`shown`: what kind the denoiser uses was counted."""
    dispatcher = frozenset(name.partition("(")[0] for name in found.dispatched)
    for where, there in _attention_of(recipe, found).items():
        fused, in_math = SDPA_PROCESSORS | dispatcher, frozenset(f"{name}(_native_math)" for name in dispatcher)
        wanted = VANILLA_PROCESSORS | in_math if where in WRITTEN_OUT.get(recipe.attention, ()) else fused
        if recipe.attention_backend:
            chosen = frozenset(f"{name}({recipe.attention_backend})" for name in fused)
            if not chosen & set(there):
                yield f"attention_backend: no attention module uses {recipe.attention_backend}."
            wanted |= chosen
        known = VANILLA_PROCESSORS | fused | in_math
        settled = set(there) - known - set(found.decoder_processors) if shown else set()
        if strangers := sorted(set(there) - wanted - settled):
            count = sum(there[name] for name in strangers)
            sentence = (
                f"attention: {recipe.attention} was not applied to {count} of {sum(there.values())} {where}, "
                f"which use {', '.join(strangers)}."
            )
            yield sentence if known & set(strangers) else Unshown(sentence)
    if recipe.attention in KERNELS:
        if found.kernels != (recipe.attention,):
            allowed = ", ".join(found.kernels) or "every kernel"
            yield f"attention: {recipe.attention} alone was requested, and torch may choose {allowed}."
        if recipe.attention_everywhere and found.freed:
            freed = " and ".join(found.freed)
            yield f"attention: {recipe.attention} was requested everywhere, and not applied in {freed}."


ALL, DENOISER, DECODER = "attention modules", "attention modules of the denoiser", "attention modules of the decoder"
WRITTEN_OUT = {"vanilla": (ALL,), "vanilla-denoiser": (DENOISER,)}


def _attention_of(recipe: Recipe, found: Structure) -> dict[str, dict[str, int]]:
    """Which processors there are, apart where the recipe treats denoiser and decoder differently."""
    if recipe.attention != "vanilla-denoiser":
        return {ALL: found.processors}
    decoder = found.decoder_processors
    denoiser = {name: count - decoder.get(name, 0) for name, count in found.processors.items()}
    return {DENOISER: {name: count for name, count in denoiser.items() if count}, DECODER: decoder}


def _layers(recipe: Recipe, found: Structure) -> Iterator[str]:
    if recipe.fuse_qkv and (found.fused_modules < found.attention_modules or not found.fused_modules):
        sentence = f"fuse_qkv: {found.fused_modules} of {found.attention_modules} attention modules are fused."
        yield sentence if found.fused_modules else Unshown(sentence)
    if not recipe.fuse_qkv and found.fused_modules:
        yield Unshown(f"fuse_qkv: {found.fused_modules} attention modules are fused, and the recipe asks for none.")
    if recipe.channels_last and not found.convolutions:
        yield Unshown("channels_last: no convolution was found, so there is no layout to change.")
    if recipe.channels_last and found.channels_last_convolutions < found.convolutions:
        yield (
            f"channels_last: {found.convolutions - found.channels_last_convolutions} of {found.convolutions} "
            "convolutions kept the old layout."
        )
    if recipe.quantize != "none" and not found.quantized_layers:
        yield Unshown(
            f"quantize: {recipe.quantize} was applied to no layer; does the filter match anything in this model?"
        )
    elif found.unquantized:
        missed = sum(found.unquantized.values())
        yield (
            f"quantize: {missed} of {missed + found.quantized_layers} layers that the filter selects are not quantized "
            f"({', '.join(found.unquantized)})."
        )
    if recipe.quantize == "none" and found.quantized_layers:
        yield Unshown(f"quantize: {found.quantized_layers} layers are quantized, and the recipe asks for none.")
    if recipe.quantize_text != bool(found.quantized_text_layers):
        asked = "some" if recipe.quantize_text else "none"
        yield (
            f"quantize_text: {found.quantized_text_layers} layers of text encoders are quantized, "
            f"and the recipe asks for {asked}."
        )


def _saving(recipe: Recipe, found: Structure) -> Iterator[str]:
    """The ideas that save memory, and the caches."""
    for idea, asked in (
        ("tiny", recipe.autoencoder == "tiny"),
        ("slicing", recipe.vae_slicing),
        ("tiling", recipe.vae_tiling),
    ):
        if asked != (idea in found.decoding):
            yield f"autoencoder: {idea} is {'not in use' if asked else 'in use, and the recipe does not ask for it'}."
    encoders = [part for part in found.dtypes if part.startswith("text_encoder")]
    if recipe.text == "precomputed" and encoders:
        yield f"text: the prompt is precomputed, and {', '.join(encoders)} is still in memory."
    if (recipe.offload != "none") != bool(found.offloaded_modules):
        yield f"offload: {found.offloaded_modules} modules are offloaded, and the recipe says {recipe.offload}."
    if recipe.scheduler not in ("", found.scheduler):
        yield f"scheduler: {recipe.scheduler} was requested, and the pipeline has {found.scheduler}."
    if (recipe.cache != "none") != bool(found.cached_modules):
        yield f"cache: {found.cached_modules} modules have a cache, and the recipe says {recipe.cache}."


def _caching(recipe: Recipe, built: Structure, seen: Effects | None) -> Iterator[str]:
    """By the steps that had less to compute: a hook may be there and never skip anything."""
    if recipe.cache == "none" or seen is None or seen.lighter_steps or seen.uncounted:
        return
    if not seen.steps:
        yield Unshown("cache: the steps of a call are not known, so nothing shows that any had less to compute.")
        return
    sentence = (
        f"cache: none of {seen.steps} steps had less to compute than the others, so {recipe.cache} skipped nothing"
    )
    if built.random and recipe.cache in BY_LIKENESS:
        yield Undecided(
            f"{sentence}; random weights differ more from step to step than its threshold allows, so measure it with "
            "real ones."
        )
    else:
        yield f"{sentence}; give it more steps."


def _compilation(recipe: Recipe, built: Structure, found: Compilation) -> Iterator[str]:
    how = recipe.compile
    if how is None:
        if found.graphs:
            yield Unshown(f"compile: {found.graphs} graphs were compiled, and the recipe asks for none.")
        return
    denoising = built.regions if how.regional else built.denoisers
    wanted = how.denoiser * denoising + how.decoder * built.decoders + how.text * built.encoders
    if found.graphs < wanted:
        sentence = (
            f"compile: {found.graphs} of {wanted} parts were compiled; "
            "is TORCH_COMPILE_DISABLE or TORCHDYNAMO_DISABLE set?"
        )
        yield Unshown(sentence) if found.graphs else sentence
    if found.breaks:
        yield f"compile: the graph broke {found.breaks} times ({'; '.join(found.break_reasons)})."


def _captured(recipe: Recipe, seen: Effects | None) -> Iterator[str]:
    how = recipe.compile
    if how is None or how.mode not in GRAPH_MODES or seen is None or seen.cuda_graphs is None:
        return
    skipped = f"inductor skipped {seen.cuda_graphs_skipped}"
    if not seen.cuda_graphs:
        yield f"compile: {how.mode} captures CUDA graphs, and none was captured ({skipped})."
    elif seen.cuda_graphs_skipped:
        yield f"compile: of the CUDA graphs of {how.mode}, {seen.cuda_graphs} were captured, and {skipped}."


def _countable(seen: Effects | None) -> Iterator[str]:
    if seen is not None and seen.uncounted:
        yield Unshown(
            f"counts: a call whose operators are counted fails ({seen.uncounted}), so nothing shows what a step does."
        )


def _steady(found: Fingerprint) -> Iterator[str]:
    if found.recompiles:
        yield (
            f"compile: {found.recompiles} graphs were compiled after the first call; something in the call varies, "
            "such as the size of the picture (compile.dynamic makes one graph for all sizes)."
        )
