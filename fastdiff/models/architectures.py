"""How the full-size models are built, as published. Data only; imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Part:
    """A module, a scheduler: a class of one of the two libraries, and what it is configured with."""

    library: str
    cls: str
    config: Mapping[str, Any]

    def changed(self, **config: Any) -> Part:
        return replace(self, config={**self.config, **config})


@dataclass(frozen=True)
class Tokenizer:
    """The component `tokenizer_2` cuts words for `text_encoder_2`, and has no token that this one does not know."""

    kind: str
    """`clip` or `t5`."""
    length: int
    """`model_max_length`."""
    pad: str | None = None
    """The padding token, where it is another than the kind's own."""

    def __post_init__(self) -> None:
        if self.kind not in ("clip", "t5"):
            raise ValueError(f"no tokenizer is of the kind {self.kind!r}; take clip or t5.")


@dataclass(frozen=True)
class Embedding:
    """Random numbers that stand for what a text encoder that is left out would say."""

    argument: str
    shape: tuple[int, ...]
    """Of one prompt: tokens and width, or the width alone."""
    mask: str | None = None
    """The argument that says which tokens are no padding."""
    negative: bool = False
    """Stands for the empty prompt."""


@dataclass(frozen=True)
class Architecture:
    """A pipeline's class and everything that it is made of, but no weights."""

    pipeline: str
    parts: Mapping[str, Part]
    scheduler: Part
    tiny_autoencoder: Part
    published_vae: Part | None = None
    """The autoencoder that the pipeline was published with, where `parts` has a safer one."""
    tokenizers: Mapping[str, Tokenizer] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    """Other arguments of the pipeline's class; components that are left out are None."""
    call: Mapping[str, Any] = field(default_factory=dict)
    """Arguments that every call of the pipeline needs, so that it draws in the requested size."""
    synthetic: tuple[Embedding, ...] = ()
    """What replaces the prompt where text encoders are left out."""


# -- parts that several models share ----------------------------------------------------------------------------------

CLIP_L = Part(
    "transformers",
    "CLIPTextModel",
    {
        "vocab_size": 49408,
        "hidden_size": 768,
        "intermediate_size": 3072,
        "projection_dim": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "max_position_embeddings": 77,
        "hidden_act": "quick_gelu",
        "bos_token_id": 0,
        "eos_token_id": 2,  # wrong, as published; the encoder knows this, and takes the highest token for the end
        "pad_token_id": 1,
    },
)
CLIP_BIG_G = replace(
    CLIP_L.changed(
        hidden_size=1280,
        intermediate_size=5120,
        projection_dim=1280,
        num_hidden_layers=32,
        num_attention_heads=20,
        hidden_act="gelu",
    ),
    cls="CLIPTextModelWithProjection",
)
T5_XXL = Part(
    "transformers",
    "T5EncoderModel",
    {
        "vocab_size": 32128,
        "d_model": 4096,
        "d_kv": 64,
        "d_ff": 10240,
        "num_layers": 24,
        "num_heads": 64,
        "feed_forward_proj": "gated-gelu",
        "dropout_rate": 0.1,
        "is_encoder_decoder": True,
        "use_cache": False,
        "tie_word_embeddings": False,
    },
)
"""Left out of the full-size models: it reads once a picture, and weighs more than most denoisers. Twins have it."""

SD_VAE = Part(
    "diffusers",
    "AutoencoderKL",
    {
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "block_out_channels": (128, 256, 512, 512),
        "layers_per_block": 2,
        "latent_channels": 4,
        "norm_num_groups": 32,
        "sample_size": 512,
        "scaling_factor": 0.18215,
    },
)
SDXL_VAE = SD_VAE.changed(sample_size=1024, scaling_factor=0.13025, force_upcast=False)  # the one that is safe in fp16
PUBLISHED_SDXL_VAE = SDXL_VAE.changed(force_upcast=True)
"""Overflows in float16, so that its pipeline decodes in float32 there."""
FLUX_VAE = SD_VAE.changed(
    latent_channels=16,
    sample_size=1024,
    scaling_factor=0.3611,
    shift_factor=0.1159,
    use_quant_conv=False,
    use_post_quant_conv=False,
)
TINY_AUTOENCODER = Part("diffusers", "AutoencoderTiny", {})
FLUX_TINY_AUTOENCODER = TINY_AUTOENCODER.changed(latent_channels=16)

EULER = Part(
    "diffusers",
    "EulerDiscreteScheduler",
    {
        "num_train_timesteps": 1000,
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "prediction_type": "epsilon",
        "interpolation_type": "linear",
        "timestep_spacing": "leading",
        "steps_offset": 1,
        "use_karras_sigmas": False,
    },
)
"""SDXL's, as published; Stable Diffusion 1.5 has the same betas, and takes it because its sigmas stay on the CPU."""

DPM_SOLVER = Part(
    "diffusers",
    "DPMSolverMultistepScheduler",
    {
        "num_train_timesteps": 1000,
        "beta_start": 0.0001,
        "beta_end": 0.02,
        "beta_schedule": "linear",
        "prediction_type": "epsilon",
        "algorithm_type": "dpmsolver++",
        "solver_order": 2,
        "solver_type": "midpoint",
        "lower_order_final": True,
        "timestep_spacing": "linspace",
        "steps_offset": 0,
    },
)
FLOW_MATCH = Part(
    "diffusers",
    "FlowMatchEulerDiscreteScheduler",
    {
        "num_train_timesteps": 1000,
        "shift": 1.0,
        "use_dynamic_shifting": False,
        "base_shift": 0.5,
        "max_shift": 1.15,
        "base_image_seq_len": 256,
        "max_image_seq_len": 4096,
    },
)

CLIP_TOKENIZER = Tokenizer("clip", 77)
BIG_G_TOKENIZER = Tokenizer("clip", 77, pad="!")

# -- denoisers --------------------------------------------------------------------------------------------------------

SDXL_UNET = Part(
    "diffusers",
    "UNet2DConditionModel",
    {
        "sample_size": 128,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "mid_block_type": "UNetMidBlock2DCrossAttn",
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "block_out_channels": (320, 640, 1280),
        "layers_per_block": 2,
        "transformer_layers_per_block": (1, 2, 10),
        "attention_head_dim": (5, 10, 20),  # heads: diffusers kept the misleading name
        "norm_num_groups": 32,
        "cross_attention_dim": 2048,
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
    },
)
SSD_1B_UNET = SDXL_UNET.changed(
    mid_block_type="UNetMidBlock2D",
    transformer_layers_per_block=(1, (2, 2), (4, 4)),
    reverse_transformer_layers_per_block=((4, 4, 10), (2, 1, 1), 1),
)
SD15_UNET = Part(
    "diffusers",
    "UNet2DConditionModel",
    {
        "sample_size": 64,
        "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
        "block_out_channels": (320, 640, 1280, 1280),
        "layers_per_block": 2,
        "attention_head_dim": 8,
        "norm_num_groups": 32,
        "cross_attention_dim": 768,
    },
)
PIXART = Part(
    "diffusers",
    "PixArtTransformer2DModel",
    {
        "sample_size": 128,  # also says that resolution and aspect ratio are embedded
        "num_layers": 28,
        "num_attention_heads": 16,
        "attention_head_dim": 72,
        "in_channels": 4,
        "out_channels": 8,
        "patch_size": 2,
        "cross_attention_dim": 1152,
        "caption_channels": 4096,
        "norm_type": "ada_norm_single",
        "norm_elementwise_affine": False,
        "norm_eps": 1e-6,
        "activation_fn": "gelu-approximate",
        "attention_bias": True,
        "num_embeds_ada_norm": 1000,
    },
)
FLUX = Part(
    "diffusers",
    "FluxTransformer2DModel",
    {
        "patch_size": 1,
        "in_channels": 64,
        "num_layers": 19,
        "num_single_layers": 38,
        "num_attention_heads": 24,
        "attention_head_dim": 128,
        "axes_dims_rope": (16, 56, 56),
        "joint_attention_dim": 4096,
        "pooled_projection_dim": 768,
        "guidance_embeds": False,
    },
)

# -- models -----------------------------------------------------------------------------------------------------------


def _sdxl(unet: Part) -> Architecture:
    return Architecture(
        pipeline="StableDiffusionXLPipeline",
        parts={"unet": unet, "vae": SDXL_VAE, "text_encoder": CLIP_L, "text_encoder_2": CLIP_BIG_G},
        scheduler=EULER,
        tiny_autoencoder=TINY_AUTOENCODER,
        published_vae=PUBLISHED_SDXL_VAE,
        tokenizers={"tokenizer": CLIP_TOKENIZER, "tokenizer_2": BIG_G_TOKENIZER},
        options={"force_zeros_for_empty_prompt": True, "add_watermarker": False},
    )


def _flux(guidance: bool, scheduler: Part, tokens: int) -> Architecture:
    return Architecture(
        pipeline="FluxPipeline",
        parts={"transformer": FLUX.changed(guidance_embeds=guidance), "vae": FLUX_VAE},
        scheduler=scheduler,
        tiny_autoencoder=FLUX_TINY_AUTOENCODER,
        options=dict.fromkeys(("text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2")),
        call={"max_sequence_length": tokens},
        synthetic=(Embedding("prompt_embeds", (tokens, 4096)), Embedding("pooled_prompt_embeds", (768,))),
    )


ARCHITECTURES: dict[str, Architecture] = {
    "sdxl": _sdxl(SDXL_UNET),
    "ssd-1b": _sdxl(SSD_1B_UNET),
    "sd15": Architecture(
        pipeline="StableDiffusionPipeline",
        parts={"unet": SD15_UNET, "vae": SD_VAE, "text_encoder": CLIP_L},
        scheduler=EULER,
        tiny_autoencoder=TINY_AUTOENCODER,
        tokenizers={"tokenizer": CLIP_TOKENIZER},
        options={"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False},
    ),
    "pixart-alpha": Architecture(
        pipeline="PixArtAlphaPipeline",
        parts={"transformer": PIXART, "vae": SD_VAE},
        scheduler=DPM_SOLVER,
        tiny_autoencoder=TINY_AUTOENCODER,
        options={"text_encoder": None, "tokenizer": None},
        # Without the first, every picture is drawn with about 1024 x 1024 pixels, whatever the request says; the second
        # needs packages that a machine may not have, and says so at every call.
        call={"use_resolution_binning": False, "clean_caption": False},
        synthetic=(
            Embedding("prompt_embeds", (120, 4096), mask="prompt_attention_mask"),
            Embedding("negative_prompt_embeds", (120, 4096), mask="negative_prompt_attention_mask", negative=True),
        ),
    ),
    "flux-schnell": _flux(guidance=False, scheduler=FLOW_MATCH, tokens=256),
    "flux-dev": _flux(guidance=True, scheduler=FLOW_MATCH.changed(shift=3.0, use_dynamic_shifting=True), tokens=512),
}
