"""The memory techniques as a table, in the form in which they were published, with our columns behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastdiff.report import tables
from fastdiff.report.ladder import ratio

if TYPE_CHECKING:
    from fastdiff.report.ladder import Rung

DEFAULT = "default"
"""The technique that the others are measured against."""
HEADINGS = (
    "Technique",
    "Memory (GB)",
    "Inference latency (ms)",
    "memory to default",
    "latency to default",
    "peak in",
    "SSIM",
    "remark",
)
SHORT = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}
PUBLISHED = {
    "unoptimized": "unoptimized pipeline",
    "half": "{half}",
    "default": "{half} + SDPA (default)",
    "default+compile": "default + `torch.compile`",
    "default+model-offload": "default + model CPU offload",
    "default+sequential-offload": "default + sequential CPU offload",
    "default+vae-slicing": "default + VAE slicing",
    "default+vae-slicing+sequential-offload": "default + VAE slicing + sequential CPU offload",
    "default+precomputed-text": "default + precomputed text embeddings",
    "default+tiny-autoencoder": "default + Tiny Autoencoder",
    "default+vae-tiling": "default + VAE tiling",
    "default+group-offload": "default + group offload",
}
"""What the published table calls them; the last two came later."""


def rows(rungs: list[Rung]) -> list[tuple[str, ...]]:
    """Below 1 is less memory or less time than the default technique of the same run takes."""
    default = next((rung for rung in rungs if rung.stage == DEFAULT), None)
    return [
        (
            PUBLISHED.get(rung.stage, rung.stage).format(half=SHORT.get(rung.dtype, "half precision")),
            _gigabytes(rung.memory_bytes),
            f"{rung.median_s * 1000:.1f}" if rung.median_s is not None else "-",
            ratio(rung.memory_bytes, default.memory_bytes if default else None),
            ratio(rung.picture_s, default.picture_s if default else None),
            rung.peak_in or "-",
            f"{rung.ssim:.4f}" if rung.ssim is not None else "-",
            rung.note,
        )
        for rung in rungs
    ]


def text(rungs: list[Rung]) -> list[str]:
    return tables.text(HEADINGS, rows(rungs))


def markdown(rungs: list[Rung]) -> list[str]:
    return tables.markdown(HEADINGS, rows(rungs))


def _gigabytes(count: int | None) -> str:
    if count is None:
        return "-"
    return f"{count / 1e9:.2f}" if count >= 1e9 else f"{count / 1e9:.3g}"
