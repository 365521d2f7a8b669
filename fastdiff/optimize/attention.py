"""Attention written out (the reference of the ladder), in one kernel, or in one that is named."""

from __future__ import annotations

import functools
import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastdiff.models.anatomy import Anatomy, Place

WRITTEN_OUT = "_native_math"
"""What diffusers' dispatcher calls plain matrix products and a softmax, for models that have no processor for them."""
SWITCHES = {
    "flash": "sdpa.flash",
    "memory-efficient": "sdpa.memory_efficient",
    "cudnn": "sdpa.cudnn",
    "math": "sdpa.math",
}


FREED = "fastdiff_freed"
PLAIN = ("AttnProcessor", "AttnProcessor2_0", "XFormersAttnProcessor")


def write_out(parts: list[Any]) -> None:
    """Replaces the one-kernel attention, which diffusers chooses by itself, by plain matrix products and a softmax."""
    from diffusers.models.attention_processor import AttnProcessor

    for part in parts:
        attended = [
            module for module in part.modules() if hasattr(module, "set_processor") and hasattr(module, "processor")
        ]
        if any(hasattr(module.processor, "_attention_backend") for module in attended):
            dispatch(part, WRITTEN_OUT)
        # A part's own method for this reaches for SDPA in older transformers-style denoisers, and some have none; so
        # each module is given its processor outright.
        for module in attended:
            if _is_plain(module.processor):
                module.set_processor(AttnProcessor())


def is_attention(module: Any) -> bool:
    """Of diffusers, which can be written out, fused, or given another backend."""
    return hasattr(module, "processor") and hasattr(module, "to_q")


def _is_plain(processor: Any) -> bool:
    """Whether it does nothing but attention; an IP-Adapter's looks at a picture, too."""
    return type(processor).__name__ in PLAIN


def takes_backends(part: Any) -> bool:
    """Whether this model's attention goes through diffusers' dispatcher."""
    processors = getattr(part, "attn_processors", {})
    return bool(processors) and all(hasattr(processor, "_attention_backend") for processor in processors.values())


def dispatch(denoiser: Any, backend: str) -> None:
    """The dispatcher has one backend for the whole process too; the caller has borrowed it. A module of the user's own
    that holds diffusers' blocks has no method for it."""
    from diffusers import ModelMixin

    with without_notice("diffusers.models.modeling_utils"):
        ModelMixin.set_attention_backend(denoiser, backend)


def only(kernel: str) -> dict[str, Any]:
    """What is borrowed so that no other family of kernels can be chosen."""
    return {switch: name == kernel for name, switch in SWITCHES.items()}


def free_the_others(where: Anatomy) -> None:
    """Text encoders mask their attention, and the decoder has one wide head, neither of which every family can.

    The stage is about the denoiser. To be called last: compiled code must lie inside of this, not around it.
    """
    for place in (where.text, where.decode):
        if place:
            _free(place)


def _free(place: Place) -> None:
    original = place.value

    @functools.wraps(original, updated=())
    def call(*args: Any, **kwargs: Any) -> Any:
        from torch.nn.attention import SDPBackend, sdpa_kernel

        every = [
            SDPBackend.FLASH_ATTENTION,
            SDPBackend.EFFICIENT_ATTENTION,
            SDPBackend.CUDNN_ATTENTION,
            SDPBackend.MATH,
        ]
        with sdpa_kernel(every):
            return original(*args, **kwargs)

    vars(call)[FREED] = True
    setattr(place.owner, place.name, call)


def freed(where: Anatomy) -> tuple[str, ...]:
    """The components in which every family of kernels may be chosen, whatever the stage is about."""
    calls = {"text": where.text, "decode": where.decode}
    return tuple(name for name, place in calls.items() if place and getattr(place.value, FREED, False))


@contextmanager
def without_notice(name: str) -> Iterator[None]:
    """diffusers calls some of its features experimental each time; who names one of them has read that."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
