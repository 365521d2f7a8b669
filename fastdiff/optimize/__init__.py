"""How a recipe becomes a pipeline: one file for each idea, and `build`, the one place that knows the order."""

from __future__ import annotations

import gc
import sys
import time
import weakref
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from fastdiff.models.libraries import torch
from fastdiff.models.loading import load
from fastdiff.optimize import attention, compilation, fusion, layout, offload, precision, quantization, switches

if TYPE_CHECKING:
    from fastdiff.models import Model
    from fastdiff.recipes import Recipe

_alive: weakref.WeakSet[Built] = weakref.WeakSet()


class DeviceError(RuntimeError):
    """The device that was asked for is not there; the message says so in one sentence."""


class Built:
    """A ready pipeline together with everything global that was borrowed for it; `close` gives all of it back."""

    def __init__(self, model: Model, recipe: Recipe, device: str) -> None:
        self.model, self.recipe, self.device = model, recipe, device
        self.pipeline: Any = None
        self.load_s = 0.0
        self.leaks: list[str] = []
        self._closed = False
        self._switches_before = switches.read()
        self._borrowed = ExitStack()

    @property
    def denoiser(self) -> Any:
        return getattr(self.pipeline, self.model.denoiser)

    @property
    def parts(self) -> list[Any]:
        """What the ladder optimizes: the denoiser and the autoencoder."""
        return [self.denoiser, self.pipeline.vae]

    def borrow(self, changes: dict[str, Any]) -> None:
        self._borrowed.enter_context(switches.borrowed(changes))

    def close(self) -> list[str]:
        """Returns the memory and the switches; the answer names every switch that somebody else left changed."""
        if not self._closed:
            self._closed = True
            self.pipeline = None
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


def build(model: Model, recipe: Recipe, device: str) -> Built:
    """A ready pipeline. The order is the order of application, which is not the order in which a ladder is told."""
    if _alive:
        raise RuntimeError(
            f"a pipeline of {next(iter(_alive)).model.name!r} is still alive, and only one may be; close it first."
        )
    _require(device)
    recipe = recipe.on(torch.device(device).type)
    built = Built(model, recipe, device)
    compilation.forget()
    try:
        began = time.perf_counter()
        built.borrow(precision.switches(recipe.tf32, device))
        built.pipeline = load(model, recipe.dtype, recipe.autoencoder)
        if recipe.fuse_qkv:
            fusion.fuse_qkv(built.parts)
        if recipe.attention == "vanilla":
            attention.write_out(built.parts)
        if recipe.offload == "none":
            built.pipeline.to(device)
        else:
            offload.offload(built.pipeline, recipe.offload, device)
        if recipe.channels_last:
            layout.channels_last(built.parts)
        if recipe.quantize == "int8-dynamic":
            quantization.int8_dynamic(built.parts)
        if recipe.compile is not None:
            built.borrow(compilation.switches(recipe.compile))
            compilation.compile_parts(built.denoiser, built.pipeline.vae, recipe.compile)
        built.load_s = time.perf_counter() - began
    except BaseException:
        built.close()
        raise
    _alive.add(built)
    return built


def _require(device: str) -> None:
    wanted = torch.device(device)
    if wanted.type != "cuda":
        return
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if (wanted.index or 0) >= count:
        raise DeviceError(
            f"torch {torch.__version__} sees {count} CUDA devices, and {device} was asked for; "
            "install a CUDA build of torch, or measure with --fastdiff-device cpu."
        )


def _return_memory() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if sys.platform == "linux":
        import ctypes

        # glibc keeps freed pages for itself; without this ten stages look like a leak.
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
