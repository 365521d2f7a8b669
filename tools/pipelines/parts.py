"""Parts of pipelines, as small as they can be: what the classes of `families` are put together of."""

from __future__ import annotations

from typing import Any

from fastdiff.models.architectures import Tokenizer
from fastdiff.models.libraries import diffusers, transformers
from fastdiff.models.tokenizers import tokenizer

WIDTH = 32
"""Of every text encoder."""
WORDS, BYTES = 520, 384
"""Tokens of the two kinds of tokenizers."""
SIDE = 8
"""Of latents."""

ENCODER = {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": WIDTH, "intermediate_size": 37}


def clip(cls: str = "CLIPTextModel", **more: Any) -> Any:
    ends = {"bos_token_id": WORDS - 2, "eos_token_id": WORDS - 1, "pad_token_id": 1}
    given = ENCODER | ends | {"vocab_size": WORDS, "projection_dim": WIDTH} | more
    return getattr(transformers, cls)(transformers.CLIPTextConfig(**given)).eval()


def clip_vision(**more: Any) -> Any:
    given = ENCODER | {"projection_dim": WIDTH, "image_size": 32, "patch_size": 4} | more
    return transformers.CLIPVisionModelWithProjection(transformers.CLIPVisionConfig(**given)).eval()


def image_processor(side: int = 32) -> Any:
    return transformers.CLIPImageProcessor(crop_size=side, size=side)


def t5(kind: str = "T5", width: int = WIDTH) -> Any:
    config = getattr(transformers, f"{kind}Config")
    given = {"vocab_size": BYTES, "d_model": width, "d_ff": 37, "d_kv": 16, "num_heads": width // 16, "num_layers": 2}
    return getattr(transformers, f"{kind}EncoderModel")(config(**given)).eval()


def llm(cls: str, config: str, **more: Any) -> Any:
    """A language model whose hidden states are the words."""
    given = ENCODER | {"num_key_value_heads": 2, "head_dim": 16, "vocab_size": BYTES, "pad_token_id": 0} | more
    return getattr(transformers, cls)(getattr(transformers, config)(**given)).eval()


def bert() -> Any:
    given = ENCODER | {"vocab_size": BYTES, "max_position_embeddings": 128}
    return transformers.BertModel(transformers.BertConfig(**given)).eval()


def clip_words() -> Any:
    return tokenizer(Tokenizer("clip", 77), WORDS)


def byte_words(length: int = 64) -> Any:
    """Every other tokenizer's place is taken by this one, which is in transformers and needs no file."""
    made = tokenizer(Tokenizer("t5", length), BYTES)
    made.chat_template = "{% for one in messages %}{{ one['content'] }}{% endfor %}"
    return made


def words(length: int = 64) -> dict[str, Any]:
    """A text encoder and its tokenizer."""
    return {"text_encoder": t5(), "tokenizer": byte_words(length)}


def vae(latents: int = 4, levels: int = 4, **more: Any) -> Any:
    """Halves a picture three times, as the real ones do; with fewer levels less often."""
    given: dict[str, Any] = {
        "block_out_channels": (8, 8, 16, 16)[-levels:],
        "down_block_types": ("DownEncoderBlock2D",) * levels,
        "up_block_types": ("UpDecoderBlock2D",) * levels,
        "layers_per_block": 1,
        "norm_num_groups": 4,
        "latent_channels": latents,
        "sample_size": 8 * SIDE,
    }
    return diffusers.AutoencoderKL(**given | more).eval()


def flow_vae(latents: int = 4) -> Any:
    return vae(latents, use_quant_conv=False, use_post_quant_conv=False, shift_factor=0.06, scaling_factor=1.5)


def movq() -> Any:
    return diffusers.VQModel(
        block_out_channels=(32, 64),
        down_block_types=("DownEncoderBlock2D", "AttnDownEncoderBlock2D"),
        up_block_types=("AttnUpDecoderBlock2D", "UpDecoderBlock2D"),
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=8,
        norm_type="spatial",
        num_vq_embeddings=12,
        vq_embed_dim=4,
    ).eval()


def wan_vae() -> Any:
    shape = {"dim_mult": [1, 1, 1, 1], "num_res_blocks": 1, "temperal_downsample": [False, True, True]}
    return diffusers.AutoencoderKLWan(base_dim=4, z_dim=16, **shape).eval()


def unet(**more: Any) -> Any:
    given: dict[str, Any] = {
        "sample_size": SIDE,
        "block_out_channels": (16, 32),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "layers_per_block": 1,
        "norm_num_groups": 4,
        "attention_head_dim": 2,
        "cross_attention_dim": WIDTH,
    }
    return diffusers.UNet2DConditionModel(**given | more).eval()


def sdxl_unet(**more: Any) -> Any:
    embedded = {"addition_embed_type": "text_time", "addition_time_embed_dim": 8}
    given = {"projection_class_embeddings_input_dim": 6 * 8 + WIDTH, "cross_attention_dim": 2 * WIDTH}
    return unet(**embedded | given | {"use_linear_projection": True, "transformer_layers_per_block": (1, 2)} | more)


def simple_unet(**more: Any) -> Any:
    """Of pipelines that draw pixels, or latents from embeddings of pictures."""
    given: dict[str, Any] = {
        "down_block_types": ("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
        "mid_block_type": "UNetMidBlock2DSimpleCrossAttn",
        "up_block_types": ("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
        "encoder_hid_dim": WIDTH,
        "attention_head_dim": 4,
        "resnet_time_scale_shift": "scale_shift",
    }
    return unet(**given | more)


def pixels_unet() -> Any:
    return diffusers.UNet2DModel(
        sample_size=16,
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        attention_head_dim=8,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    ).eval()


def flow(**more: Any) -> Any:
    return diffusers.FlowMatchEulerDiscreteScheduler(**more)


def ddim() -> Any:
    return diffusers.DDIMScheduler(beta_schedule="scaled_linear", clip_sample=False, set_alpha_to_one=False)


def euler() -> Any:
    return diffusers.EulerDiscreteScheduler(beta_schedule="scaled_linear", timestep_spacing="leading", steps_offset=1)
