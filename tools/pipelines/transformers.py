"""What pipelines of pictures are made of that have a transformer, by their class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastdiff.models.libraries import diffusers
from tools.pipelines import parts
from tools.pipelines.parts import WIDTH

if TYPE_CHECKING:
    from collections.abc import Callable

Components = dict[str, Any]


# -- with two streams -------------------------------------------------------------------------------------------------


def sd3() -> Components:
    projected = "CLIPTextModelWithProjection"
    return {
        "transformer": diffusers.SD3Transformer2DModel(
            sample_size=32,
            patch_size=1,
            in_channels=16,
            num_layers=2,
            attention_head_dim=8,
            num_attention_heads=4,
            caption_projection_dim=32,
            joint_attention_dim=3 * WIDTH,
            pooled_projection_dim=2 * WIDTH,
            out_channels=16,
        ),
        "vae": parts.flow_vae(16),
        "text_encoder": parts.clip(projected, hidden_act="gelu"),
        "text_encoder_2": parts.clip(projected, hidden_act="gelu"),
        "text_encoder_3": parts.t5(width=3 * WIDTH),
        "tokenizer": parts.clip_words(),
        "tokenizer_2": parts.clip_words(),
        "tokenizer_3": parts.byte_words(),
        "scheduler": parts.flow(),
    }


DOUBLE = {
    "patch_size": 1,
    "num_layers": 1,
    "num_single_layers": 1,
    "attention_head_dim": 16,
    "num_attention_heads": 2,
    "joint_attention_dim": WIDTH,
    "axes_dims_rope": (4, 4, 8),
}


def flux(in_channels: int = 16, **more: Any) -> Components:
    given = DOUBLE | {"in_channels": in_channels, "pooled_projection_dim": WIDTH} | more
    return {
        "transformer": diffusers.FluxTransformer2DModel(**given),
        "vae": parts.flow_vae(),
        "text_encoder": parts.clip(hidden_act="gelu"),
        "text_encoder_2": parts.t5(),
        "tokenizer": parts.clip_words(),
        "tokenizer_2": parts.byte_words(),
        "scheduler": parts.flow(),
    }


def flux_fill() -> Components:
    """Beside the latents it takes those of the picture, and the mask."""
    return flux(in_channels=2 * 16 + 4 * 8**2, out_channels=16)


def chroma() -> Components:
    approximated = {"approximator_num_channels": 16, "approximator_hidden_dim": 32, "approximator_layers": 1}
    return {
        "transformer": diffusers.ChromaTransformer2DModel(**DOUBLE | approximated | {"in_channels": 16}),
        "vae": parts.flow_vae(),
        **parts.words(),
        "scheduler": parts.flow(),
    }


# -- transformers with T5 ---------------------------------------------------------------------------------------------


def pixart() -> Components:
    return {
        "transformer": diffusers.PixArtTransformer2DModel(
            sample_size=parts.SIDE,
            num_layers=2,
            attention_head_dim=8,
            num_attention_heads=3,
            caption_channels=WIDTH,
            in_channels=4,
            out_channels=8,
            cross_attention_dim=24,
        ),
        "vae": parts.vae(),
        **parts.words(),
        "scheduler": parts.ddim(),
    }


def hunyuan_dit() -> Components:
    return {
        "transformer": diffusers.HunyuanDiT2DModel(
            sample_size=16,
            num_layers=2,
            patch_size=2,
            attention_head_dim=8,
            num_attention_heads=3,
            in_channels=4,
            cross_attention_dim=WIDTH,
            cross_attention_dim_t5=WIDTH,
            pooled_projection_dim=16,
            hidden_size=24,
            activation_fn="gelu-approximate",
        ),
        "vae": parts.vae(),
        "text_encoder": parts.bert(),
        "tokenizer": parts.byte_words(77),
        "text_encoder_2": parts.t5(),
        "tokenizer_2": parts.byte_words(256),
        "scheduler": diffusers.DDPMScheduler(),
        "safety_checker": None,
        "feature_extractor": None,
    }


def aura_flow() -> Components:
    return {
        "transformer": diffusers.AuraFlowTransformer2DModel(
            sample_size=32,
            patch_size=2,
            in_channels=4,
            num_mmdit_layers=1,
            num_single_dit_layers=1,
            attention_head_dim=8,
            num_attention_heads=4,
            caption_projection_dim=32,
            joint_attention_dim=WIDTH,
            pos_embed_max_size=1024,
        ),
        "vae": parts.vae(),
        "text_encoder": parts.t5("UMT5"),
        "tokenizer": parts.byte_words(),
        "scheduler": parts.flow(),
    }


def cogview3() -> Components:
    return {
        "transformer": diffusers.CogView3PlusTransformer2DModel(
            patch_size=2,
            in_channels=4,
            num_layers=1,
            attention_head_dim=4,
            num_attention_heads=2,
            out_channels=4,
            text_embed_dim=WIDTH,
            time_embed_dim=8,
            condition_dim=2,
            pos_embed_max_size=64,
            sample_size=8,
        ),
        "vae": parts.vae(),
        **parts.words(),
        "scheduler": diffusers.CogVideoXDDIMScheduler(),
    }


def dit() -> Components:
    return {
        "transformer": diffusers.DiTTransformer2DModel(
            sample_size=16, num_layers=2, patch_size=4, attention_head_dim=8, num_attention_heads=2, out_channels=8
        ),
        "vae": parts.vae(),
        "scheduler": parts.ddim(),
    }


# -- transformers with a language model -------------------------------------------------------------------------------


def sana(**more: Any) -> Components:
    vae = diffusers.AutoencoderDC(
        latent_channels=4,
        attention_head_dim=2,
        encoder_block_types=("ResBlock", "EfficientViTBlock"),
        decoder_block_types=("ResBlock", "EfficientViTBlock"),
        encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8),
        encoder_qkv_multiscales=((), (5,)),
        decoder_qkv_multiscales=((), (5,)),
        encoder_layers_per_block=(1, 1),
        decoder_layers_per_block=(1, 1),
        downsample_block_type="conv",
        upsample_block_type="interpolate",
        decoder_norm_types="rms_norm",
        decoder_act_fns="silu",
        scaling_factor=0.41407,
    )
    transformer = diffusers.SanaTransformer2DModel(
        patch_size=1,
        in_channels=4,
        out_channels=4,
        num_layers=1,
        num_attention_heads=2,
        attention_head_dim=4,
        num_cross_attention_heads=2,
        cross_attention_head_dim=4,
        cross_attention_dim=8,
        caption_channels=WIDTH,
        sample_size=32,
        **more,
    )
    return {
        "transformer": transformer,
        "vae": vae,
        "text_encoder": parts.llm("Gemma2Model", "Gemma2Config"),
        "tokenizer": parts.byte_words(512),
        "scheduler": parts.flow(shift=7.0),
    }


def sana_sprint() -> Components:
    made = sana(guidance_embeds=True, qk_norm="rms_norm_across_heads")
    return made | {"scheduler": diffusers.SCMScheduler()}


def lumina() -> Components:
    return {
        "transformer": diffusers.LuminaNextDiT2DModel(
            sample_size=32,
            patch_size=2,
            in_channels=4,
            hidden_size=24,
            num_layers=2,
            num_attention_heads=3,
            num_kv_heads=1,
            multiple_of=16,
            cross_attention_dim=WIDTH,
        ),
        "vae": parts.vae(),
        "text_encoder": parts.llm("GemmaModel", "GemmaConfig"),
        "tokenizer": parts.byte_words(256),
        "scheduler": parts.flow(),
    }


def lumina2() -> Components:
    return {
        "transformer": diffusers.Lumina2Transformer2DModel(
            sample_size=32,
            patch_size=2,
            in_channels=4,
            hidden_size=24,
            num_layers=2,
            num_attention_heads=3,
            num_kv_heads=1,
            multiple_of=16,
            axes_dim_rope=(4, 2, 2),
            cap_feat_dim=WIDTH,
        ),
        "vae": parts.flow_vae(),
        "text_encoder": parts.llm("Gemma2Model", "Gemma2Config"),
        "tokenizer": parts.byte_words(256),
        "scheduler": parts.flow(),
    }


def cogview4() -> Components:
    return {
        "transformer": diffusers.CogView4Transformer2DModel(
            patch_size=2,
            in_channels=4,
            num_layers=2,
            attention_head_dim=4,
            num_attention_heads=4,
            out_channels=4,
            text_embed_dim=WIDTH,
            time_embed_dim=8,
            condition_dim=4,
        ),
        "vae": parts.vae(),
        "text_encoder": parts.llm("GlmModel", "GlmConfig"),
        "tokenizer": parts.byte_words(1024),
        "scheduler": parts.flow(use_dynamic_shifting=True, base_shift=0.25, max_shift=0.75, time_shift_type="linear"),
    }


def z_image() -> Components:
    return {
        "transformer": diffusers.ZImageTransformer2DModel(
            in_channels=4,
            dim=32,
            n_layers=2,
            n_refiner_layers=1,
            n_heads=2,
            n_kv_heads=2,
            cap_feat_dim=WIDTH,
            axes_dims=[8, 4, 4],
            axes_lens=[256, 32, 32],
        ),
        "vae": parts.flow_vae(),
        "text_encoder": parts.llm("Qwen3Model", "Qwen3Config"),
        "tokenizer": parts.byte_words(512),
        "scheduler": parts.flow(),
    }


TRANSFORMERS: dict[str, Callable[[], Components]] = {
    "StableDiffusion3Pipeline": sd3,
    "StableDiffusion3Img2ImgPipeline": sd3,
    "StableDiffusion3InpaintPipeline": sd3,
    "FluxPipeline": flux,
    "FluxImg2ImgPipeline": flux,
    "FluxInpaintPipeline": flux,
    "FluxKontextPipeline": flux,
    "FluxFillPipeline": flux_fill,
    "ChromaPipeline": chroma,
    "PixArtAlphaPipeline": pixart,
    "PixArtSigmaPipeline": pixart,
    "HunyuanDiTPipeline": hunyuan_dit,
    "AuraFlowPipeline": aura_flow,
    "CogView3PlusPipeline": cogview3,
    "DiTPipeline": dit,
    "SanaPipeline": sana,
    "SanaSprintPipeline": sana_sprint,
    "LuminaPipeline": lumina,
    "Lumina2Pipeline": lumina2,
    "CogView4Pipeline": cogview4,
    "ZImagePipeline": z_image,
}
