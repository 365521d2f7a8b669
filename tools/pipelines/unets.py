"""What pipelines of pictures are made of that have a UNet, by their class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastdiff.models.libraries import diffusers
from tools.pipelines import parts
from tools.pipelines.parts import WIDTH

if TYPE_CHECKING:
    from collections.abc import Callable

Components = dict[str, Any]


# -- Stable Diffusion -------------------------------------------------------------------------------------------------


def sd(in_channels: int = 4, scheduler: Any = None, **unet: Any) -> Components:
    return {
        "unet": parts.unet(in_channels=in_channels, out_channels=4, **unet),
        "vae": parts.vae(),
        "text_encoder": parts.clip(),
        "tokenizer": parts.clip_words(),
        "scheduler": scheduler or parts.ddim(),
        "safety_checker": None,
        "feature_extractor": None,
        "image_encoder": None,
    }


def without(components: Components, *names: str) -> Components:
    return {name: part for name, part in components.items() if name not in names}


def upscale() -> Components:
    made = sd(in_channels=7, num_class_embeds=350)
    made["vae"] = parts.vae(levels=2)
    return without(made, "image_encoder") | {"low_res_scheduler": diffusers.DDPMScheduler(), "watermarker": None}


def variation() -> Components:
    pictures = {"image_encoder": parts.clip_vision(), "feature_extractor": parts.image_processor()}
    return without(sd(), "text_encoder", "tokenizer") | pictures


def lcm() -> Components:
    return sd(scheduler=diffusers.LCMScheduler(), time_cond_proj_dim=32)


def marigold() -> Components:
    kept = without(sd(in_channels=8), "safety_checker", "feature_extractor", "image_encoder")
    return kept | {
        **{"prediction_type": "depth", "scale_invariant": True, "shift_invariant": True},
        **{"default_denoising_steps": 1, "default_processing_resolution": 64},
    }


def ldm() -> Components:
    made = sd()
    return {"vqvae": made["vae"], "bert": made["text_encoder"]} | {
        name: made[name] for name in ("unet", "tokenizer", "scheduler")
    }


def sdxl(in_channels: int = 4) -> Components:
    return {
        "unet": parts.sdxl_unet(in_channels=in_channels, out_channels=4),
        "vae": parts.vae(),
        "text_encoder": parts.clip(),
        "text_encoder_2": parts.clip("CLIPTextModelWithProjection"),
        "tokenizer": parts.clip_words(),
        "tokenizer_2": parts.clip_words(),
        "scheduler": parts.euler(),
    }


def kolors() -> None:
    """Needs a package that fastdiff does not: only its index is made."""


# -- two pipelines, one after the other -------------------------------------------------------------------------------


def kandinsky() -> Components:
    unet = parts.simple_unet(
        in_channels=4, out_channels=8, addition_embed_type="image", encoder_hid_dim_type="image_proj"
    )
    return {"unet": unet, "movq": parts.movq(), "scheduler": parts.ddim()}


def kandinsky_combined() -> Components:
    prior = diffusers.PriorTransformer(
        num_attention_heads=2, attention_head_dim=12, embedding_dim=WIDTH, num_layers=1
    ).eval()
    scheduler = diffusers.UnCLIPScheduler(
        variance_type="fixed_small_log", prediction_type="sample", clip_sample=True, clip_sample_range=10.0
    )
    return kandinsky() | {
        "prior_prior": prior,
        "prior_image_encoder": parts.clip_vision(),
        "prior_text_encoder": parts.clip("CLIPTextModelWithProjection"),
        "prior_tokenizer": parts.clip_words(),
        "prior_scheduler": scheduler,
        "prior_image_processor": parts.image_processor(),
    }


def kandinsky3() -> Components:
    return {
        "unet": diffusers.Kandinsky3UNet(
            time_embedding_dim=4,
            groups=2,
            attention_head_dim=4,
            layers_per_block=3,
            block_out_channels=(32, 64),
            cross_attention_dim=4,
            encoder_hid_dim=WIDTH,
        ),
        "movq": parts.movq(),
        "text_encoder": parts.t5(),
        "tokenizer": parts.byte_words(128),
        "scheduler": diffusers.DDPMScheduler(beta_schedule="squaredcos_cap_v2"),
    }


def cascade() -> Components:
    from diffusers.models import StableCascadeUNet
    from diffusers.pipelines.deprecated.wuerstchen import PaellaVQModel

    blocks = ("SDCascadeResBlock", "SDCascadeTimestepBlock")
    attended = (*blocks, "SDCascadeAttnBlock")
    prior = StableCascadeUNet(
        conditioning_dim=64,
        block_out_channels=(64, 64),
        num_attention_heads=(2, 2),
        down_num_layers_per_block=(1, 1),
        up_num_layers_per_block=(1, 1),
        clip_image_in_channels=WIDTH,
        clip_text_in_channels=WIDTH,
        clip_text_pooled_in_channels=WIDTH,
        switch_level=(False,),
    )
    decoder = StableCascadeUNet(
        in_channels=4,
        out_channels=4,
        conditioning_dim=64,
        block_out_channels=(16, 32, 64, 64),
        num_attention_heads=(-1, -1, 1, 2),
        down_num_layers_per_block=(1, 1, 1, 1),
        up_num_layers_per_block=(1, 1, 1, 1),
        down_blocks_repeat_mappers=(1, 1, 1, 1),
        up_blocks_repeat_mappers=(3, 3, 2, 2),
        block_types_per_layer=(blocks, blocks, attended, attended),
        clip_text_pooled_in_channels=WIDTH,
        dropout=(0.1, 0.1, 0.1, 0.1),
        patch_size=2,
        effnet_in_channels=16,
    )
    return {
        "decoder": decoder.eval(),
        "vqgan": PaellaVQModel(bottleneck_blocks=1, num_vq_embeddings=2).eval(),
        "scheduler": diffusers.DDPMWuerstchenScheduler(),
        "tokenizer": parts.clip_words(),
        "text_encoder": parts.clip("CLIPTextModelWithProjection"),
        "prior_prior": prior.eval(),
        "prior_scheduler": diffusers.DDPMWuerstchenScheduler(),
        "prior_tokenizer": parts.clip_words(),
        "prior_text_encoder": parts.clip("CLIPTextModelWithProjection"),
        "prior_feature_extractor": None,
        "prior_image_encoder": None,
    }


# -- pixels -----------------------------------------------------------------------------------------------------------


def deepfloyd() -> Components:
    return {
        "unet": parts.simple_unet(
            sample_size=32,
            in_channels=3,
            out_channels=6,
            addition_embed_type="text",
            addition_embed_type_num_heads=2,
            cross_attention_norm="group_norm",
        ),
        "text_encoder": parts.t5(),
        "tokenizer": parts.byte_words(77),
        "scheduler": diffusers.DDPMScheduler(variance_type="learned_range"),
        "watermarker": None,
        "safety_checker": None,
        "feature_extractor": None,
        "requires_safety_checker": False,
    }


def pixels(scheduler: str) -> Components:
    return {"unet": parts.pixels_unet(), "scheduler": getattr(diffusers, scheduler)()}


UNETS: dict[str, Callable[[], Components | None]] = {
    "StableDiffusionPipeline": sd,
    "StableDiffusionImg2ImgPipeline": sd,
    "StableDiffusionInpaintPipeline": sd,
    "StableDiffusionInstructPix2PixPipeline": lambda: sd(in_channels=8),
    "StableDiffusionUpscalePipeline": upscale,
    "StableDiffusionImageVariationPipeline": variation,
    "StableDiffusionPAGPipeline": sd,
    "LatentConsistencyModelPipeline": lcm,
    "LatentConsistencyModelImg2ImgPipeline": lcm,
    "MarigoldDepthPipeline": marigold,
    "LDMTextToImagePipeline": ldm,
    "StableDiffusionXLPipeline": sdxl,
    "StableDiffusionXLImg2ImgPipeline": sdxl,
    "StableDiffusionXLInpaintPipeline": sdxl,
    "StableDiffusionXLInstructPix2PixPipeline": lambda: sdxl(in_channels=8),
    "KolorsPipeline": kolors,
    "KandinskyV22Pipeline": kandinsky,
    "KandinskyV22CombinedPipeline": kandinsky_combined,
    "Kandinsky3Pipeline": kandinsky3,
    "StableCascadeCombinedPipeline": cascade,
    "IFPipeline": deepfloyd,
    "DDPMPipeline": lambda: pixels("DDPMScheduler"),
    "DDIMPipeline": lambda: pixels("DDIMScheduler"),
    "PNDMPipeline": lambda: pixels("PNDMScheduler"),
    "ConsistencyModelPipeline": lambda: pixels("CMStochasticIterativeScheduler"),
}
