"""The ladder that was published, with today's libraries."""

from __future__ import annotations

from fastdiff.stages.budgets import QUANTIZED
from fastdiff.stages.ladder import ladder, stage
from fastdiff.stages.recipe import PUBLISHED_FLAGS, Compile

LADDER = ladder(
    stage("fp32", "the plain pipeline in float32, attention written out, TF32 allowed as in the published one"),
    stage("bf16", "weights and arithmetic in bfloat16", dtype="bfloat16"),
    stage("sdpa", "attention in one kernel (scaled_dot_product_attention)", attention="sdpa"),
    stage(
        "compile",
        "denoiser and decoder compiled as full graphs, in channels_last layout",
        compile=Compile(),
        channels_last=True,
    ),
    stage("fused-qkv", "one matrix product for query, key and value", fuse_qkv=True),
    stage(
        "int8",
        "dynamic int8 in the linear layers that the published filter selects",
        quantize="int8-dynamic",
        compile=Compile(flags=(*PUBLISHED_FLAGS, ("force_fuse_int_mm_with_mul", True))),
        budget=QUANTIZED,
    ),
)
"""The published ladder (https://pytorch.org/blog/accelerating-generative-ai-3/), with today's libraries."""
