"""The prompt encoded once, and its encoders dropped from memory."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from fastdiff.models.anatomy import ENCODERS
from fastdiff.models.factories import GUIDANCE
from fastdiff.models.libraries import torch
from fastdiff.record.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastdiff.models import Request

RETURNED = {
    "StableDiffusionXLPipeline": (
        "prompt_embeds",
        "negative_prompt_embeds",
        "pooled_prompt_embeds",
        "negative_pooled_prompt_embeds",
    ),
    "StableDiffusionPipeline": ("prompt_embeds", "negative_prompt_embeds"),
    "PixArtAlphaPipeline": (
        "prompt_embeds",
        "prompt_attention_mask",
        "negative_prompt_embeds",
        "negative_prompt_attention_mask",
    ),
    "FluxPipeline": ("prompt_embeds", "pooled_prompt_embeds", ""),
}
"""What each pipeline's `encode_prompt` answers, by the names under which its call takes it; each has its own order."""
DROPPED = (*ENCODERS, "tokenizer", "tokenizer_2", "tokenizer_3")


@torch.no_grad()
def precompute(pipeline: Any, request: Request, device: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """What the pipeline is called with in place of the prompt; afterwards it has no text encoder.

    `arguments` are those of a call with the prompt, which encodes it in its own way.
    """
    kind = type(pipeline).__name__
    if kind not in RETURNED:
        raise UserError("recipe", f'text = "precomputed" is not known for {kind}; known are: {", ".join(RETURNED)}.')
    for name in DROPPED:
        if isinstance(getattr(pipeline, name, None), torch.nn.Module):
            getattr(pipeline, name).to(device)
    takes = inspect.signature(pipeline.encode_prompt).parameters
    asked = dict(arguments) | {
        "device": torch.device(device),
        "num_images_per_prompt": request.batch,  # a row for each picture: Flux repeats nothing that it is given
        "do_classifier_free_guidance": _guidance(pipeline, request) > 1,
    }
    answer = pipeline.encode_prompt(**{name: value for name, value in asked.items() if name in takes})
    found = {name: value for name, value in zip(RETURNED[kind], answer, strict=True) if name and value is not None}
    for name in DROPPED:
        if getattr(pipeline, name, None) is not None:
            setattr(pipeline, name, None)
    # PixArt's call has a negative prompt of its own accord, which must not come beside its embeddings.
    silent = {
        name: None for name in ("prompt", "negative_prompt") if name in inspect.signature(pipeline.__call__).parameters
    }
    return silent | {"num_images_per_prompt": 1} | found


def _guidance(pipeline: Any, request: Request) -> float:
    if request.guidance is not None:
        return request.guidance
    usual = inspect.signature(pipeline.__call__).parameters.get(GUIDANCE)
    return float(usual.default) if usual is not None else 1.0
