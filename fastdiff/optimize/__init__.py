"""How a recipe becomes a pipeline: one file for each idea, and `build`, the one place that knows the order."""

from __future__ import annotations

import gc
import time
import weakref
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fastdiff.host import allocator
from fastdiff.models import calling
from fastdiff.models.libraries import torch
from fastdiff.models.loading import anatomy, call_options, given, load, stand_ins
from fastdiff.models.modules import Alone, shapes
from fastdiff.optimize import (
    attention,
    caching,
    compilation,
    decoding,
    fusion,
    layout,
    noise,
    offload,
    precision,
    quantization,
    scheduling,
    switches,
    text,
)
from fastdiff.record.errors import UserError
from fastdiff.stages.filters import Filter

if TYPE_CHECKING:
    from fastdiff.models import Model, Request
    from fastdiff.stages.recipe import Recipe

_alive: weakref.WeakSet[Built] = weakref.WeakSet()


class Built:
    """A ready pipeline together with everything global that was borrowed for it; `close` gives all of it back."""

    def __init__(self, model: Model, recipe: Recipe, device: str) -> None:
        self.model, self.recipe, self.device = model, recipe, device
        self.pipeline: Any = None
        self.anatomy: Any = None
        """Where the parts of the pipeline are."""
        self.calling = calling.Calling()
        self.request = model.request
        """What it is going to draw, with what only the built pipeline knows of it."""
        self.synthetic_text = False
        """Whether random numbers stand for what text encoders would say."""
        self.load_s = 0.0
        self.leaks: list[str] = []
        self._closed = False
        self._switches_before = switches.read()
        self._borrowed = ExitStack()

    @property
    def denoiser(self) -> Any:
        """The first one of a pipeline that has several."""
        return self.anatomy.denoisers[0]

    @property
    def parts(self) -> list[Any]:
        """What the ladder optimizes: the denoiser and the autoencoder."""
        found: list[Any] = self.anatomy.optimized
        return found

    @property
    def encoders(self) -> list[Any]:
        """Of text."""
        found: list[Any] = self.anatomy.encoders
        return found

    def fitting(self, recipe: Recipe) -> Recipe:
        """Without what has no place in a module of the user's own: attention that is not diffusers' stays as it was
        written, and without convolutions there is no layout."""
        if not isinstance(self.pipeline, Alone):
            return recipe
        inside = [one for part in self.parts for one in part.modules()]
        if not any(attention.is_attention(one) for one in inside):
            kernel = "sdpa" if recipe.attention.startswith("vanilla") else recipe.attention
            recipe = replace(recipe, attention=kernel, fuse_qkv=False)
        layout = recipe.channels_last and any(isinstance(one, torch.nn.Conv2d) for one in inside)
        return replace(recipe, channels_last=layout)

    def call(self, request: Request, output: str = "") -> Any:
        """One call. Where it takes no generator, torch's own seed decides what it draws."""
        if not self.calling.seeds:
            torch.manual_seed(request.seed)
        return self.pipeline(**self.calling.arguments(request, output))

    def borrow_seed(self) -> None:
        """Of torch, which a user's own pipeline may draw from."""
        devices = [self.device] if torch.device(self.device).type == "cuda" else []
        self._borrowed.enter_context(torch.random.fork_rng(devices=devices))

    def borrow(self, changes: dict[str, Any]) -> None:
        self._borrowed.enter_context(switches.borrowed(changes))

    def borrow_device(self) -> None:
        """Events, streams and some libraries look at the current device, not at where the tensors are."""
        self._borrowed.enter_context(torch.cuda.device(self.device))

    def keep_freed_memory(self) -> None:
        self._borrowed.enter_context(allocator.freed_memory_kept(self.device))

    def close(self) -> list[str]:
        """Returns the memory and the switches; the answer names every switch that was left changed."""
        if not self._closed:
            self._closed = True
            self.pipeline = self.anatomy = None
            self.calling = calling.Calling()
            _alive.discard(self)
            compilation.forget()
            self._borrowed.close()
            _return_memory()
            self.leaks = switches.leaks(self._switches_before, switches.read())
            switches.restore(self._switches_before)
        return self.leaks

    def __enter__(self) -> Built:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def build(model: Model, recipe: Recipe, device: str, request: Request | None = None) -> Built:
    """A ready pipeline. The order is the order of application, which is not the order of a ladder.

    `request` is what it is going to draw; a few ideas depend on it.
    """
    if _alive:
        raise RuntimeError(
            f"a pipeline of {next(iter(_alive)).model.name!r} is still alive, and only one may be; close it first."
        )
    _require(device)
    recipe = resolved(model, recipe, device)
    request = request or model.request
    built = Built(model, recipe, device)
    compilation.forget()
    _return_memory()  # of a stage that failed in its call: its traceback held its tensors while it was closed
    try:
        began = time.perf_counter()
        if torch.device(device).type == "cuda":
            built.borrow_device()
        built.borrow(precision.switches(recipe.tf32, device))
        _load(built, request)
        built.recipe = recipe = built.fitting(recipe)
        _reshape(built)
        built.keep_freed_memory()
        if recipe.compile is not None:
            built.borrow(compilation.switches(recipe.compile))
            compilation.compile_parts(built.anatomy, recipe.compile)
        if recipe.attention in attention.SWITCHES and not recipe.attention_everywhere:
            attention.free_the_others(built.anatomy)
        built.load_s = time.perf_counter() - began
    except BaseException:
        built.close()
        raise
    _alive.add(built)
    return built


def _load(built: Built, request: Request) -> None:
    """Weights and words. What is to be offloaded is loaded to the host, and goes to the device piece by piece."""
    model, recipe, device = built.model, built.recipe, built.device
    place = "cpu" if recipe.offload != "none" else None
    if not model.described:
        built.borrow_seed()
    pipeline = load(model, recipe.dtype, recipe.autoencoder, device, place=place)
    built.pipeline, built.anatomy = pipeline, anatomy(model, pipeline)
    if recipe.scheduler:
        scheduling.schedule(pipeline, recipe.scheduler)
    noise.draw_in_float32(pipeline)
    built.calling = calling.of(pipeline, given(model, pipeline, recipe.dtype, device), call_options(model))
    built.request = request = built.calling.completed(request)
    if isinstance(pipeline, Alone):
        built.request = replace(request, call=request.call | shapes(built.calling.given))
    if words := stand_ins(model, request, recipe.dtype, device):
        built.synthetic_text = True
        built.calling.made |= words
    about_text = recipe.text == "precomputed" or recipe.quantize_text or (recipe.compile and recipe.compile.text)
    if about_text and not built.encoders:
        raise UserError(
            "recipe",
            f"{model.name} with {model.weights} weights has no text encoders, so there is nothing to precompute, to "
            "compile or to quantize; leave that out.",
        )
    if recipe.text == "precomputed":
        built.calling.made |= text.precompute(pipeline, request, device, built.calling.arguments(request))
        _return_memory()


def _reshape(built: Built) -> None:
    """Everything that changes modules before compiling; offloading comes last, because it takes tensors away."""
    recipe, pipeline, where, request = built.recipe, built.pipeline, built.anatomy, built.request
    if recipe.fuse_qkv:
        fusion.fuse_qkv(built.parts)
    _choose_attention(built)
    if recipe.offload == "none" and not built.model.factory:
        pipeline.to(built.device)
    if recipe.channels_last:
        layout.channels_last(built.parts)
    if recipe.quantize != "none":
        quantization.quantize(built.parts, recipe.quantize, quantization.filter_of(built.model, recipe))
        if recipe.quantize_text:
            quantization.quantize(built.encoders, recipe.quantize, Filter())
    if where.decoder is None and (recipe.vae_slicing or recipe.vae_tiling or recipe.upcast_vae):
        raise UserError("recipe", f"{built.model.name} has no autoencoder that is known; leave the stage out.")
    if recipe.vae_slicing:
        decoding.slicing(where.decoder, request)
    if recipe.vae_tiling:
        decoding.tiling(where.decoder, request)
    if recipe.upcast_vae:
        decoding.upcast(where.decoder)
    if recipe.cache != "none":
        for denoiser in _denoisers(built, "cache"):
            caching.cache(pipeline, denoiser, recipe.cache, request)
    if recipe.offload != "none":
        offload.offload(pipeline, recipe.offload, built.device)


def _denoisers(built: Built, idea: str) -> list[Any]:
    """Refuses an idea that is about a part that is not there."""
    found: list[Any] = built.anatomy.denoisers
    if not found:
        raise UserError(
            "recipe", f'{built.model.name} has no denoiser that is known, for {idea}; name it: compile=["..."].'
        )
    return found


def resolved(model: Model, recipe: Recipe, device: str) -> Recipe:
    """The recipe, resolved for this device. What cannot be done here is refused before anything is loaded."""
    recipe.require_place_in(model.name, model.unsupported)
    kind = torch.device(device).type
    if kind == "cuda" and torch.version.hip:
        return recipe.on("rocm")
    return recipe.on(kind, torch.cuda.get_device_capability(device) if kind == "cuda" else None)


def _choose_attention(built: Built) -> None:
    recipe = built.recipe
    if recipe.attention.startswith("vanilla"):
        built.borrow({"diffusers.attention_backend": switches.UNCHANGED})
        attention.write_out(built.parts if recipe.attention == "vanilla" else built.anatomy.denoisers)
    elif recipe.attention_backend:
        built.borrow({"diffusers.attention_backend": switches.UNCHANGED})
        for denoiser in _denoisers(built, "attention_backend"):
            if not attention.takes_backends(denoiser):
                raise UserError(
                    "recipe",
                    f"the attention of {type(denoiser).__name__} does not go through diffusers' dispatcher, "
                    "so attention_backend would do nothing; leave it out.",
                )
            attention.dispatch(denoiser, recipe.attention_backend)
    elif recipe.attention != "sdpa":
        built.borrow(attention.only(recipe.attention))


def _require(device: str) -> None:
    wanted = torch.device(device)
    if wanted.type == "mps" and not torch.backends.mps.is_available():
        raise UserError(
            "device",
            f"torch {torch.__version__} sees no MPS device, which is the GPU of a Mac with an Apple processor; measure "
            "with --fastdiff-device cpu.",
        )
    if wanted.type != "cuda":
        return
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if (wanted.index or 0) >= count:
        raise UserError(
            "device",
            f"torch {torch.__version__} sees {count} CUDA devices, and {device} was requested; "
            "install a CUDA build of torch, or measure with --fastdiff-device cpu.",
        )


def _return_memory() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()
    allocator.give_back()
