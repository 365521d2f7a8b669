"""What pipelines of videos and of sounds are made of, by their class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastdiff.models.libraries import diffusers, transformers
from tools.pipelines import parts
from tools.pipelines.parts import BYTES, WIDTH
from tools.pipelines.unets import sd, without

if TYPE_CHECKING:
    from collections.abc import Callable

Components = dict[str, Any]


# -- videos -----------------------------------------------------------------------------------------------------------


def wan(in_channels: int = 16, **more: Any) -> Components:
    transformer = diffusers.WanTransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=in_channels,
        out_channels=16,
        text_dim=WIDTH,
        freq_dim=32,
        ffn_dim=32,
        num_layers=2,
        cross_attn_norm=True,
        qk_norm="rms_norm_across_heads",
        rope_max_seq_len=128,
        **more,
    )
    made = {"transformer": transformer, "transformer_2": None, "vae": parts.wan_vae()}
    return parts.words() | made | {"scheduler": parts.flow(shift=7.0)}


def wan_from_a_picture() -> Components:
    seen = {"image_encoder": parts.clip_vision(), "image_processor": parts.image_processor()}
    return wan(in_channels=36, image_dim=WIDTH) | seen


def ltx() -> Components:
    same = {"block_out_channels": (8, 8, 8, 8), "layers_per_block": (1, 1, 1, 1, 1)}
    vae = diffusers.AutoencoderKLLTXVideo(
        latent_channels=8,
        **same,
        **{f"decoder_{name}": value for name, value in same.items()},
        spatio_temporal_scaling=(True, True, False, False),
        decoder_spatio_temporal_scaling=(True, True, False, False),
        decoder_inject_noise=(False,) * 5,
        upsample_residual=(False,) * 4,
        upsample_factor=(1,) * 4,
        patch_size=1,
        patch_size_t=1,
    )
    transformer = diffusers.LTXVideoTransformer3DModel(
        in_channels=8,
        out_channels=8,
        num_attention_heads=3,
        attention_head_dim=8,
        cross_attention_dim=24,
        num_layers=1,
        caption_channels=WIDTH,
    )
    return parts.words(128) | {"transformer": transformer, "vae": vae.eval(), "scheduler": parts.flow()}


def cogvideo(in_channels: int = 4) -> Components:
    vae = diffusers.AutoencoderKLCogVideoX(
        block_out_channels=(8, 8, 8, 8), latent_channels=4, layers_per_block=1, norm_num_groups=2
    )
    transformer = diffusers.CogVideoXTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=16,
        in_channels=in_channels,
        out_channels=4,
        time_embed_dim=8,
        text_embed_dim=WIDTH,
        num_layers=1,
        sample_width=8,
        sample_height=8,
        sample_frames=9,
        use_rotary_positional_embeddings=True,
    )
    return parts.words(226) | {
        "transformer": transformer,
        "vae": vae.eval(),
        "scheduler": diffusers.CogVideoXDDIMScheduler(),
    }


def animate() -> Components:
    adapter = diffusers.MotionAdapter(
        block_out_channels=(16, 32), motion_layers_per_block=1, motion_norm_num_groups=4, motion_num_attention_heads=2
    )
    return without(sd(), "safety_checker") | {"motion_adapter": adapter}


def latte() -> Components:
    transformer = diffusers.LatteTransformer3DModel(
        sample_size=8,
        num_layers=1,
        patch_size=2,
        attention_head_dim=8,
        num_attention_heads=3,
        caption_channels=WIDTH,
        in_channels=4,
        cross_attention_dim=24,
        out_channels=8,
        attention_bias=True,
        activation_fn="gelu-approximate",
        num_embeds_ada_norm=1000,
        norm_type="ada_norm_single",
        norm_elementwise_affine=False,
        norm_eps=1e-6,
    )
    return parts.words(120) | {"transformer": transformer, "vae": parts.vae(), "scheduler": parts.ddim()}


def mochi() -> Components:
    transformer = diffusers.MochiTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=8,
        num_layers=2,
        pooled_projection_dim=16,
        text_embed_dim=WIDTH,
        time_embed_dim=4,
        max_sequence_length=256,
    )
    vae = diffusers.AutoencoderKLMochi(
        encoder_block_out_channels=(32,) * 4, decoder_block_out_channels=(32,) * 4, layers_per_block=(1,) * 5
    )
    return parts.words(256) | {"transformer": transformer, "vae": vae.eval(), "scheduler": parts.flow()}


def hunyuan_video() -> Components:
    transformer = diffusers.HunyuanVideoTransformer3DModel(
        in_channels=4,
        out_channels=4,
        num_attention_heads=2,
        attention_head_dim=10,
        num_layers=1,
        num_single_layers=1,
        num_refiner_layers=1,
        patch_size=1,
        guidance_embeds=True,
        text_embed_dim=WIDTH,
        pooled_projection_dim=WIDTH,
        rope_axes_dim=(2, 4, 4),
    )
    vae = diffusers.AutoencoderKLHunyuanVideo(
        latent_channels=4,
        down_block_types=("HunyuanVideoDownBlock3D",) * 4,
        up_block_types=("HunyuanVideoUpBlock3D",) * 4,
        block_out_channels=(8, 8, 8, 8),
        layers_per_block=1,
        norm_num_groups=4,
    )
    return {
        "transformer": transformer,
        "vae": vae.eval(),
        "text_encoder": parts.llm("LlamaModel", "LlamaConfig"),
        "tokenizer": parts.byte_words(512),
        "text_encoder_2": parts.clip(),
        "tokenizer_2": parts.clip_words(),
        "scheduler": parts.flow(shift=7.0),
    }


def svd() -> Components:
    unet = diffusers.UNetSpatioTemporalConditionModel(
        block_out_channels=(32, 64),
        layers_per_block=1,
        sample_size=8,
        down_block_types=("CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"),
        up_block_types=("UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"),
        cross_attention_dim=WIDTH,
        num_attention_heads=8,
        projection_class_embeddings_input_dim=96,
        addition_time_embed_dim=32,
    )
    vae = diffusers.AutoencoderKLTemporalDecoder(
        block_out_channels=(32,) * 4, down_block_types=("DownEncoderBlock2D",) * 4, latent_channels=4
    )
    return {
        "unet": unet,
        "vae": vae.eval(),
        "image_encoder": parts.clip_vision(image_size=224, patch_size=56),
        "feature_extractor": parts.image_processor(224),
        "scheduler": parts.euler(),
    }


def text_to_video() -> Components:
    unet = diffusers.UNet3DConditionModel(
        sample_size=8,
        block_out_channels=(16, 32),
        down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
        up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
        layers_per_block=1,
        norm_num_groups=4,
        cross_attention_dim=WIDTH,
        attention_head_dim=4,
    )
    made = sd()
    return {name: made[name] for name in ("vae", "text_encoder", "tokenizer", "scheduler")} | {"unet": unet}


def allegro() -> Components:
    transformer = diffusers.AllegroTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=4,
        out_channels=4,
        num_layers=1,
        cross_attention_dim=24,
        sample_width=8,
        sample_height=8,
        sample_frames=8,
        caption_channels=WIDTH,
    )
    vae = diffusers.AutoencoderKLAllegro(
        block_out_channels=(8, 8, 8, 8), latent_channels=4, layers_per_block=1, norm_num_groups=2
    )
    return parts.words(512) | {"transformer": transformer, "vae": vae.eval(), "scheduler": parts.ddim()}


# -- sounds -----------------------------------------------------------------------------------------------------------


def vocoder() -> Any:
    config = transformers.SpeechT5HifiGanConfig(
        model_in_dim=8,
        upsample_initial_channel=16,
        upsample_rates=[2, 2],
        upsample_kernel_sizes=[4, 4],
        resblock_kernel_sizes=[3, 7],
        resblock_dilation_sizes=[[1, 3, 5], [1, 3, 5]],
        normalize_before=False,
    )
    return transformers.SpeechT5HifiGan(config).eval()


def clap_text() -> dict[str, Any]:
    return parts.ENCODER | {"vocab_size": BYTES, "projection_dim": WIDTH, "pad_token_id": 0}


def audio_ldm() -> Components:
    config = transformers.ClapTextConfig(**clap_text())
    unet = parts.unet(
        cross_attention_dim=(16, 32),
        class_embed_type="simple_projection",
        projection_class_embeddings_input_dim=WIDTH,
        class_embeddings_concat=True,
    )
    return {
        "unet": unet,
        "vae": parts.vae(in_channels=1, out_channels=1),
        "text_encoder": transformers.ClapTextModelWithProjection(config).eval(),
        "tokenizer": parts.byte_words(77),
        "scheduler": parts.ddim(),
        "vocoder": vocoder(),
    }


def stable_audio() -> Components:
    from diffusers.pipelines.stable_audio import StableAudioProjectionModel

    transformer = diffusers.StableAudioDiTModel(
        sample_size=4,
        in_channels=3,
        num_layers=2,
        attention_head_dim=4,
        num_attention_heads=2,
        num_key_value_attention_heads=2,
        out_channels=3,
        cross_attention_dim=4,
        time_proj_dim=8,
        global_states_input_dim=8,
        cross_attention_input_dim=4,
    )
    vae = diffusers.AutoencoderOobleck(
        encoder_hidden_size=6,
        downsampling_ratios=[1, 2],
        decoder_channels=3,
        decoder_input_channels=3,
        audio_channels=2,
        channel_multiples=[2, 4],
        sampling_rate=4,
    )
    return parts.words() | {
        "transformer": transformer,
        "vae": vae.eval(),
        "projection_model": StableAudioProjectionModel(
            text_encoder_dim=WIDTH, conditioning_dim=4, min_value=0, max_value=32
        ),
        "scheduler": diffusers.EDMDPMSolverMultistepScheduler(),
    }


SEQUENCES: dict[str, Callable[[], Components]] = {
    "WanPipeline": wan,
    "WanImageToVideoPipeline": wan_from_a_picture,
    "WanVideoToVideoPipeline": lambda: without(wan(), "transformer_2"),
    "LTXPipeline": ltx,
    "LTXImageToVideoPipeline": ltx,
    "CogVideoXPipeline": cogvideo,
    "CogVideoXImageToVideoPipeline": lambda: cogvideo(in_channels=8),
    "CogVideoXVideoToVideoPipeline": cogvideo,
    "AnimateDiffPipeline": animate,
    "LattePipeline": latte,
    "MochiPipeline": mochi,
    "HunyuanVideoPipeline": hunyuan_video,
    "StableVideoDiffusionPipeline": svd,
    "TextToVideoSDPipeline": text_to_video,
    "AllegroPipeline": allegro,
    "AudioLDMPipeline": audio_ldm,
    "StableAudioPipeline": stable_audio,
}
