"""The prompt encoded once, and its encoders dropped from memory."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

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
MODULES = ("text_encoder", "text_encoder_2", "text_encoder_3")
ENCODERS = (*MODULES, "tokenizer", "tokenizer_2", "tokenizer_3")


@torch.no_grad()
def precompute(pipeline: Any, request: Request, device: str, call_options: Mapping[str, Any]) -> dict[str, Any]:
    """What the pipeline is called with in place of the prompt; afterwards it has no text encoder.

    `call_options` are those of a call with a prompt, which encodes it in its own way.
    """
    kind = type(pipeline).__name__
    if kind not in RETURNED:
        raise UserError("recipe", f'text = "precomputed" is not known for {kind}; known are: {", ".join(RETURNED)}.')
    for name in ENCODERS:
        if isinstance(getattr(pipeline, name, None), torch.nn.Module):
            getattr(pipeline, name).to(device)
    takes = inspect.signature(pipeline.encode_prompt).parameters
    asked = dict(call_options) | {
        "prompt": request.prompt,
        "device": torch.device(device),
        "num_images_per_prompt": request.batch,  # a row for each picture: Flux repeats nothing that it is given
        "do_classifier_free_guidance": request.guidance > 1,
    }
    answer = pipeline.encode_prompt(**{name: value for name, value in asked.items() if name in takes})
    found = {name: value for name, value in zip(RETURNED[kind], answer, strict=True) if name and value is not None}
    for name in ENCODERS:
        if getattr(pipeline, name, None) is not None:
            setattr(pipeline, name, None)
    # PixArt's call has a negative prompt of its own accord, which must not come beside its embeddings.
    silent = {
        name: None for name in ("prompt", "negative_prompt") if name in inspect.signature(pipeline.__call__).parameters
    }
    return silent | {"num_images_per_prompt": 1} | found
