"""A benchmark without fastdiff: `python bare.py FOLDER sdpa float32 STEPS CALLS` prints the seconds of each call."""

import sys
import time

import torch
from diffusers import StableDiffusionXLPipeline

folder, stage, dtype, steps, calls = sys.argv[1:]
pipeline = StableDiffusionXLPipeline.from_pretrained(folder, dtype=getattr(torch, dtype))
pipeline.set_progress_bar_config(disable=True)
if stage == "fp32":
    pipeline.unet.set_default_attn_processor()
    pipeline.vae.set_default_attn_processor()
asked = {"prompt": "a large red circle on a blue background", "num_inference_steps": int(steps)}
for _ in range(3 + int(calls)):
    generator = torch.Generator("cpu").manual_seed(0)
    began = time.perf_counter()
    pipeline(**asked, guidance_scale=2.0, height=256, width=256, generator=generator)
    print(time.perf_counter() - began)
