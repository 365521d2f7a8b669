"""A file of pipelines as a user writes one, small enough for tests: of diffusers, and of classes of one's own."""

import os
from types import SimpleNamespace

import diffusers
import torch
import transformers
from PIL import Image

import fastdiff

TINY = os.environ.get("TINY_PIPELINE", "")
"""A folder in diffusers' layout."""


# -- of diffusers -----------------------------------------------------------------------------------------------------


@fastdiff.pipeline(
    "unipc",
    call=dict(
        prompt="a red circle", negative_prompt="blue", num_inference_steps=3, guidance_scale=4.0, height=64, width=96
    ),
)
def unipc(dtype):
    pipe = diffusers.StableDiffusionXLPipeline.from_pretrained(TINY, dtype=dtype)
    pipe.scheduler = diffusers.UniPCMultistepScheduler.from_config(pipe.scheduler.config, solver_order=1)
    return pipe


def a_picture(device):
    pixels = torch.randint(0, 255, (64, 64, 3), dtype=torch.uint8)
    return dict(prompt="a red circle", image=Image.fromarray(pixels.numpy()), strength=0.5, num_inference_steps=4)


@fastdiff.pipeline("from-a-picture", call=a_picture)
def from_a_picture():
    return diffusers.StableDiffusionXLImg2ImgPipeline.from_pretrained(TINY)


@fastdiff.pipeline("plain", call=dict(prompt="a red circle", height=64, width=64), stages=["sdpa", "bf16"])
def plain(device, dtype):
    return diffusers.StableDiffusionXLPipeline.from_pretrained(TINY, dtype=dtype).to(device)


@fastdiff.pipeline(
    "latents", call=dict(prompt="a red circle", num_inference_steps=2, height=64, width=96, output_type="latent")
)
def latents(dtype):
    return diffusers.StableDiffusionXLPipeline.from_pretrained(TINY, dtype=dtype)


def transformer():
    return diffusers.WanTransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=16,
        out_channels=16,
        text_dim=32,
        freq_dim=32,
        ffn_dim=32,
        num_layers=2,
        cross_attn_norm=True,
        qk_norm="rms_norm_across_heads",
        rope_max_seq_len=32,
    )


@fastdiff.pipeline(
    "wan",
    output="frames",
    stages=["fp32", "sdpa", "compile-regional"],
    call=dict(
        prompt="a cat",
        negative_prompt="a dog",
        num_frames=9,
        height=64,
        width=96,
        num_inference_steps=4,
        guidance_scale=3.0,
        guidance_scale_2=2.0,
        max_sequence_length=16,
    ),
)
def wan(dtype):
    """As Wan 2.2: one transformer for the first steps, another one for the last."""
    words = dict(vocab_size=384, d_model=32, d_kv=8, d_ff=32, num_layers=1, num_heads=4)
    vae = diffusers.AutoencoderKLWan(
        base_dim=4,
        z_dim=16,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        temperal_downsample=[False, True, True],
    )
    pipe = diffusers.WanPipeline(
        tokenizer=transformers.ByT5Tokenizer(),
        text_encoder=transformers.UMT5EncoderModel(transformers.UMT5Config(**words)).eval(),
        vae=vae,
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=7.0),
        transformer=transformer(),
        transformer_2=transformer(),
        boundary_ratio=0.8,
    )
    return pipe.to(dtype)


# -- of one's own -----------------------------------------------------------------------------------------------------


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.wide, self.narrow = torch.nn.Linear(16, 32), torch.nn.Linear(32, 16)

    def forward(self, x):
        return self.narrow(torch.nn.functional.gelu(self.wide(x)))


class Decoder(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.out = torch.nn.Conv2d(16, 3, 3, padding=1)

    def decode(self, z):
        return torch.sigmoid(4 * self.out(z))


class Sampler:
    def step(self, x, out):
        return x - 0.1 * out


class Mine:
    """Without a scheduler, an autoencoder or a generator that diffusers would know."""

    def __init__(self):
        self.words, self.net, self.vae, self.sampler = torch.nn.Embedding(256, 16), Net(), Decoder(), Sampler()

    def to(self, device, dtype):
        for part in (self.words, self.net, self.vae):
            part.to(device, dtype)
        return self

    def encode(self, text):
        return self.words(torch.tensor(list(text.encode()), device=self.words.weight.device)).mean(0)

    @torch.no_grad()
    def __call__(self, text, steps=4):
        condition = self.encode(text)
        x = torch.randn(1, 64, 64, 16).to(condition.dtype)
        for _ in range(steps):
            x = self.sampler.step(x, self.net(x + condition))
        return {"img": self.vae.decode(x.permute(0, 3, 1, 2)), "steps": steps}


@fastdiff.pipeline(
    "mine",
    call=dict(text="a cat"),
    output=lambda r: r["img"],
    compile=["net", "vae.decode"],
    parts=dict(text="encode", step="sampler.step", decode="vae.decode"),
)
def mine(device, dtype):
    return Mine().to(device, dtype)


@fastdiff.pipeline("function", call=dict(seed=3))
def function():
    def draw(seed, generator=None):
        return torch.rand(2, 3, 64, 64, generator=generator) + 0 * seed

    return draw


@fastdiff.pipeline("numbers", output=lambda r: r["scores"], close=dict(relative_l2=0.05))
def numbers():
    def score(generator=None):
        return {"scores": torch.rand(1, 5, 7, generator=generator), "steps": 3}

    return score


class Clip:
    def __call__(self, frames, output_type="pil"):
        drawn = torch.rand(1, frames, 64, 64, 3)
        return SimpleNamespace(frames=drawn.numpy() if output_type == "np" else drawn)


@fastdiff.pipeline("clip", call=dict(frames=3), output="frames")
def clip():
    return Clip()
