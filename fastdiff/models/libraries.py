"""The one door through which torch, diffusers, transformers and torchao come in, without their import noise.

Only messages that are known and harmless are dropped (`noise` names each one); every other warning passes.
"""

from __future__ import annotations

import logging
import os
import re
import warnings

from fastdiff.models.noise import KNOWN_LOG_NOISE, KNOWN_WARNINGS


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


hush()
# ruff: noqa: E402  (the door is open only now)
import diffusers
import torch
import transformers

# pytest listens to every logger that does not propagate, and torch writes its trace whenever a handler listens:
# every compilation would pay for it. A logger that propagates is left alone, and the trace stays off.
if "TORCH_TRACE" not in os.environ:
    logging.getLogger("torch.__trace").propagate = True

__all__ = ["diffusers", "hush", "torch", "transformers"]
