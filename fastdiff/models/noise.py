"""Messages of other libraries that are known and harmless, each with the reason why; imports no library."""

from __future__ import annotations

import logging
import os
import re
import warnings

KNOWN_LOG_NOISE = {
    # torchao looks for CUDA kernels that a CPU build, or another Python, cannot load; nothing of ours uses them.
    "torchao": r"Failed to load .*\.so|Skipping import of cpp extensions",
    # torchao has kernels of its own for GPUs, and says on a CPU that triton is not there.
    "torchao.kernel.intmm": r"Detected no triton",
    # torchao registers its enums the old way with newer torch.
    "torch.utils._pytree": r"is now natively supported by torch\.compile as an opaque value type",
    # diffusers looks for tensor classes that today's torchao has renamed; needed for checkpoints that were saved
    # quantized, and fastdiff quantizes after loading.
    "diffusers.quantizers.torchao.torchao_quantizer": r"Unable to import `torchao` Tensor objects",
    # Structured traces, of use to TORCH_TRACE alone: thousands of empty lines in the report of a failed test.
    "torch.__trace": r"",
    # torchvision is optional for both, and has no CPU build for some torch releases.
    "transformers.utils.import_utils": r"[Tt]orchvision",
    "diffusers.utils.import_utils": r"[Tt]orchvision",
}

KNOWN_WARNINGS = (
    # diffusers turns a tensor into an array; torch and NumPy are still agreeing on how.
    r"__array__ implementation doesn't accept a copy keyword",
    # Dynamo sees a cached version check in diffusers' upsampling and says that it cannot matter.
    r"Dynamo detected a call to a `functools\.lru_cache`-wrapped function",
    # torchao's int8 tensor has no hash of its own for torch's cache of compiled code.
    r"Int8Tensor does not implement _stable_hash_for_caching",
    # max-autotune on small chips.
    r"Not enough SMs to use max_autotune_gemm mode",
    # torch 2.11 says so at every profile, whether there is a next cycle or not.
    r"Warning. Profiler clears events at the end of each cycle",
    # diffusers' own use of what torch has renamed.
    r"`torch\.jit\.script(_method)?` is deprecated",
)


class _Known(logging.Filter):
    def __init__(self, pattern: str) -> None:
        super().__init__()
        self._pattern = re.compile(pattern)

    def filter(self, record: logging.LogRecord) -> bool:
        return not self._pattern.search(record.getMessage())


def hush() -> None:
    """Drops the known noise; idempotent, and called before the first import of any of the libraries."""
    for name, pattern in KNOWN_LOG_NOISE.items():
        logger = logging.getLogger(name)
        if name == "torch.__trace" and "TORCH_TRACE" in os.environ:
            continue
        if not any(isinstance(known, _Known) for known in logger.filters):
            logger.addFilter(_Known(pattern))
    for pattern in KNOWN_WARNINGS:
        warnings.filterwarnings("ignore", message=pattern)
