"""A twin of each full-size model: the same classes, narrow and shallow. Data only; imports no torch."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fastdiff.models.architectures import ARCHITECTURES, CLIP_L, CLIP_TOKENIZER, T5_XXL, Tokenizer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastdiff.models.architectures import Architecture, Part

TEXT_WIDTH = 40
"""Width of the twins' T5, and of what their UNets attend to; not a power of two, as SDXL's 2816 and PixArt's 1152."""

CLIP = CLIP_L.changed(
    vocab_size=520,
    hidden_size=TEXT_WIDTH,
    intermediate_size=64,
    projection_dim=TEXT_WIDTH,
    num_hidden_layers=2,
    num_attention_heads=5,
)
CLIP_2 = replace(
    CLIP.changed(hidden_size=24, num_attention_heads=3, projection_dim=24, hidden_act="gelu"),
    cls="CLIPTextModelWithProjection",
)
T5 = T5_XXL.changed(vocab_size=384, d_model=TEXT_WIDTH, d_kv=8, d_ff=64, num_layers=2, num_heads=5)
TINY_AUTOENCODER = {
    "encoder_block_out_channels": (16, 16, 16, 16),
    "decoder_block_out_channels": (16, 16, 16, 16),
    "num_encoder_blocks": (1, 1, 1, 1),
    "num_decoder_blocks": (1, 1, 1, 1),
}
VAE = {
    "block_out_channels": (16, 32, 32, 32),
    "layers_per_block": 1,
    "norm_num_groups": 8,
}
UNET = {
    "block_out_channels": (32, 32, 64),  # 64 and the 64 of a skip are the 128 that int8's filter of convolutions wants
    "layers_per_block": 1,
    "norm_num_groups": 8,
}
SDXL_UNET = {
    **UNET,
    "attention_head_dim": (2, 2, 4),
    "cross_attention_dim": 40 + 24,
    "addition_time_embed_dim": 8,
    "projection_class_embeddings_input_dim": 6 * 8 + 24,
}


def _twin(model: str, denoiser: Mapping[str, Any], **text_encoders: Part) -> Architecture:
    """The full-size model with a smaller denoiser, a smaller autoencoder, and small text encoders, none left out."""
    whole = ARCHITECTURES[model]
    name = "unet" if "unet" in whole.parts else "transformer"
    tokenizers = dict(whole.tokenizers)
    for encoder, part in text_encoders.items():
        kind = "t5" if part.cls.startswith("T5") else "clip"
        tokenizers.setdefault(encoder.replace("text_encoder", "tokenizer"), TOKENIZERS[kind])
    return replace(
        whole,
        parts={
            name: whole.parts[name].changed(**denoiser),
            "vae": whole.parts["vae"].changed(**VAE),
            **text_encoders,
        },
        published_vae=whole.published_vae.changed(**VAE) if whole.published_vae else None,
        tiny_autoencoder=whole.tiny_autoencoder.changed(**TINY_AUTOENCODER),
        tokenizers=tokenizers,
        options={
            option: value for option, value in whole.options.items() if option not in (*text_encoders, *tokenizers)
        },
        synthetic=(),
    )


TOKENIZERS = {"clip": CLIP_TOKENIZER, "t5": Tokenizer("t5", 512)}

FLUX = {
    "num_layers": 1,
    "num_single_layers": 1,
    "num_attention_heads": 3,
    "attention_head_dim": 16,
    "axes_dims_rope": (4, 6, 6),
    "joint_attention_dim": TEXT_WIDTH,
    "pooled_projection_dim": TEXT_WIDTH,
}

TWINS: dict[str, Architecture] = {
    "sdxl": _twin(
        "sdxl",
        {
            **SDXL_UNET,
            "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),  # its third level is like the second
            "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
            "block_out_channels": (32, 64),
            "transformer_layers_per_block": (1, 2),
            "attention_head_dim": (2, 4),
        },
        text_encoder=CLIP,
        text_encoder_2=CLIP_2,
    ),
    "ssd-1b": _twin(
        "ssd-1b",
        {
            **SDXL_UNET,
            "transformer_layers_per_block": (1, (1,), (2,)),
            "reverse_transformer_layers_per_block": ((1, 2), (2, 1), 1),
        },
        text_encoder=CLIP,
        text_encoder_2=CLIP_2,
    ),
    "sd15": _twin(
        "sd15",
        {
            **UNET,
            "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),  # the two levels between are like the first
            "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
            "block_out_channels": (32, 64),
            "attention_head_dim": 4,
            "cross_attention_dim": TEXT_WIDTH,
        },
        text_encoder=CLIP,
    ),
    "pixart-alpha": _twin(
        "pixart-alpha",
        {
            "num_layers": 2,
            "num_attention_heads": 3,
            "attention_head_dim": 24,
            "cross_attention_dim": 3 * 24,
            "caption_channels": TEXT_WIDTH,
        },
        text_encoder=T5,
    ),
    "flux-schnell": _twin("flux-schnell", FLUX, text_encoder=CLIP, text_encoder_2=T5),
    "flux-dev": _twin("flux-dev", FLUX, text_encoder=CLIP, text_encoder_2=T5),
}
