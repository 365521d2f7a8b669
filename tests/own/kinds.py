"""Kinds of pipelines of diffusers, as a user writes them: each begins with the tiny weights of the tests."""

import os

import diffusers
import torch
from PIL import Image

import fastdiff

TINY = os.environ.get("TINY_PIPELINE", "")
"""A folder in diffusers' layout."""
FEW = dict(prompt="a red circle", num_inference_steps=2, height=64, width=96)


def sdxl(dtype, kind=diffusers.StableDiffusionXLPipeline, **parts):
    return kind.from_pretrained(TINY, dtype=dtype, **parts)


def picture(width=96):
    return Image.fromarray(torch.randint(0, 255, (64, width, 3), dtype=torch.uint8).numpy())


# -- what is drawn on -------------------------------------------------------------------------------------------------


def a_hole():
    mask = Image.new("L", (96, 64))
    mask.paste(255, (0, 0, 48, 64))
    return FEW | dict(image=picture(), mask_image=mask, strength=0.5, negative_prompt="blue")


@fastdiff.pipeline("inpainting", call=a_hole)
def inpainting(dtype):
    return sdxl(dtype, diffusers.StableDiffusionXLInpaintPipeline)


# -- what steers ------------------------------------------------------------------------------------------------------


@fastdiff.pipeline("controlnet", call=lambda: FEW | dict(image=picture(), controlnet_conditioning_scale=0.7))
def controlnet(dtype):
    whole = sdxl(dtype)
    steers = diffusers.ControlNetModel.from_unet(whole.unet, conditioning_embedding_out_channels=(16, 32))
    for zero in [steers.controlnet_cond_embedding.conv_out, steers.controlnet_mid_block]:
        torch.nn.init.normal_(zero.weight, std=0.1)  # else it would change nothing
    return diffusers.StableDiffusionXLControlNetPipeline(**whole.components, controlnet=steers.to(dtype))


def looked_at(dtype):
    return FEW | dict(ip_adapter_image_embeds=[torch.randn(2, 1, 16, dtype=dtype)])


@fastdiff.pipeline("ip-adapter", call=looked_at)
def ip_adapter(dtype):
    pipe = sdxl(dtype)
    wide = pipe.unet.config.cross_attention_dim
    images = diffusers.models.embeddings.ImageProjection(16, wide, num_image_text_embeds=4)
    names = {"image_embeds.weight": "proj.weight", "image_embeds.bias": "proj.bias"}
    state = {"image_proj": {names.get(name, name): one for name, one in images.state_dict().items()}, "ip_adapter": {}}
    crossing = [name for name in pipe.unet.attn_processors if name.endswith("attn2.processor")]
    for place in range(len(crossing)):
        for part in ("to_k_ip", "to_v_ip"):
            state["ip_adapter"][f"{2 * place + 1}.{part}.weight"] = torch.randn(64, wide) / 8
    pipe.load_ip_adapter(state, subfolder="", weight_name="", image_encoder_folder=None)
    pipe.set_ip_adapter_scale(0.8)
    return pipe.to(dtype)


# -- what is put on top -----------------------------------------------------------------------------------------------


@fastdiff.pipeline("lora", call=FEW)
def lora(dtype):
    pipe = sdxl(dtype)
    pipe.load_lora_weights(os.environ["TINY_LORA"])
    pipe.fuse_lora()
    return pipe


@fastdiff.pipeline("lora-beside", call=FEW)
def lora_beside(dtype):
    pipe = sdxl(dtype)
    pipe.load_lora_weights(os.environ["TINY_LORA"])
    return pipe


class Chain:
    """A base for the first half of the steps, and a refiner for the second."""

    def __init__(self, base, refiner):
        self.base, self.refiner = base, refiner

    @property
    def components(self):
        return self.base.components | {"refiner": self.refiner.unet}

    def to(self, where):
        self.base.to(where)
        self.refiner.to(where)
        return self

    def __call__(self, prompt, num_inference_steps=2, generator=None, output_type="pil"):
        common = dict(prompt=prompt, num_inference_steps=num_inference_steps, generator=generator)
        latents = self.base(**common, height=64, width=96, denoising_end=0.5, output_type="latent").images
        return self.refiner(**common, image=latents, denoising_start=0.5, output_type=output_type)


@fastdiff.pipeline(
    "refiner",
    call=dict(prompt="a red circle"),
    compile=["base.unet", "refiner.unet", "refiner.vae.decode"],
    parts=dict(text="base.encode_prompt", step="base.scheduler.step", decode="refiner.vae.decode"),
)
def refiner(dtype):
    base = sdxl(dtype)
    parts = base.components | {"unet": sdxl(dtype).unet}
    del parts["image_encoder"], parts["feature_extractor"]
    return Chain(base, diffusers.StableDiffusionXLImg2ImgPipeline(**parts))
