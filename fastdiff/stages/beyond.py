"""Stages that are not on the published ladder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastdiff.stages.budgets import CACHED, QUANTIZED, RESCHEDULED
from fastdiff.stages.ladder import Ladder, stage
from fastdiff.stages.recipe import Compile

if TYPE_CHECKING:
    from collections.abc import Iterable

REGIONAL = Compile(mode="max-autotune-no-cudagraphs", regional=True)

BEYOND = (
    ("fp32", stage("fp32-strict", "float32 without TF32", tf32=False)),
    ("fp32", stage("fp16", "weights and arithmetic in float16", dtype="float16")),
    ("bf16", stage("sdpa-flash", "attention in the flash kernel, or an error", attention="flash")),
    (
        "bf16",
        stage("sdpa-memory-efficient", "attention in the memory-efficient kernel", attention="memory-efficient"),
    ),
    (
        "bf16",
        stage(
            "sdpa-memory-efficient-everywhere",
            "the memory-efficient kernel alone in the whole call",
            attention="memory-efficient",
            attention_everywhere=True,
        ),
    ),
    ("bf16", stage("sdpa-cudnn", "attention in cuDNN's kernel", attention="cudnn")),
    ("bf16", stage("sdpa-math", "attention as torch writes it out itself", attention="math")),
    ("sdpa", stage("backend-flash", "diffusers' dispatcher, flash kernel", attention_backend="_native_flash")),
    ("sdpa", stage("backend-cudnn", "diffusers' dispatcher, cuDNN's kernel", attention_backend="_native_cudnn")),
    ("sdpa", stage("upcast-vae", "the autoencoder decodes in float32", upcast_vae=True)),
    ("sdpa", stage("batch-4", "four pictures of a call", batch=4)),
    (
        "sdpa",
        stage(
            "dpm-solver",
            "a scheduler that gets along with fewer steps",
            scheduler="DPMSolverMultistepScheduler",
            budget=RESCHEDULED,
        ),
    ),
    ("sdpa", stage("compile-regional", "each kind of repeated block compiled once", compile=REGIONAL)),
    ("sdpa", stage("compile-denoiser", "the denoiser compiled, the decoder not", compile=Compile(decoder=False))),
    ("sdpa", stage("compile-decoder", "the decoder compiled, the denoiser not", compile=Compile(denoiser=False))),
    (
        "compile",
        stage("compile-default", "compiled without autotuning and CUDA graphs", compile=Compile(mode="default")),
    ),
    (
        "compile",
        stage("compile-reduce-overhead", "CUDA graphs without autotuning", compile=Compile(mode="reduce-overhead")),
    ),
    (
        "compile",
        stage(
            "compile-no-cudagraphs",
            "autotuned without CUDA graphs",
            compile=Compile(mode="max-autotune-no-cudagraphs"),
        ),
    ),
    ("compile", stage("compile-text", "the text encoders compiled, too", compile=Compile(text=True))),
    ("int8", stage("int8-fp16", "dynamic int8 with float16 around it", dtype="float16")),
    ("int8", stage("int8-text", "dynamic int8 in the text encoders, too", quantize_text=True)),
    (
        "fused-qkv",
        stage(
            "int8-weight-only", "weights in int8, arithmetic as before", quantize="int8-weight-only", budget=QUANTIZED
        ),
    ),
    (
        "fused-qkv",
        stage(
            "int4-weight-only", "weights in int4, arithmetic as before", quantize="int4-weight-only", budget=QUANTIZED
        ),
    ),
    (
        "fused-qkv",
        stage("float8", "dynamic float8, a scale for each row", quantize="float8-dynamic", budget=QUANTIZED),
    ),
    (
        "sdpa",
        stage(
            "first-block-cache",
            "steps whose first block hardly changes are skipped",
            cache="first-block",
            budget=CACHED,
        ),
    ),
    (
        "sdpa",
        stage(
            "pyramid-attention", "attention of earlier steps is used again", cache="pyramid-attention", budget=CACHED
        ),
    ),
    (
        "sdpa",
        stage("faster-cache", "attention and guidance of earlier steps are used again", cache="faster", budget=CACHED),
    ),
    (
        "sdpa",
        stage("taylorseer", "skipped steps are extrapolated from earlier ones", cache="taylorseer", budget=CACHED),
    ),
)
"""What is not on the published ladder: stages to be named with `--fastdiff-stage`, each with the one it follows."""


def with_named(ladder: Ladder, names: Iterable[str]) -> Ladder:
    """The ladder and, at its end, the stages beyond it that are named."""
    for follows, step in BEYOND:
        if step.name in names and step.name not in ladder.names and follows in ladder.names:
            ladder = ladder.add(step.after(ladder[follows]))
    return ladder
