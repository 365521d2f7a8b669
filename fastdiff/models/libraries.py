"""The one door through which torch, diffusers, transformers and torchao come in, without their import noise.

Only messages that are known and harmless are dropped (`noise` names each one); every other warning passes.
"""

from __future__ import annotations

import logging
import os
from typing import Any

from fastdiff.models.noise import hush

hush()
# ruff: noqa: E402  (the door is open only now)
import diffusers
import torch
import transformers

# pytest listens to every logger that does not propagate, and torch writes its trace whenever a handler listens:
# every compilation would pay for it. A logger that propagates is left alone, and the trace stays off.
if "TORCH_TRACE" not in os.environ:
    logging.getLogger("torch.__trace").propagate = True

__all__ = ["diffusers", "named", "torch", "transformers"]


def named(library: str) -> Any:
    """Where a pipeline has a part's class from: a library, or a folder of diffusers' pipelines with parts of its own;
    None where it is neither."""
    both = {"diffusers": diffusers, "transformers": transformers}
    return both.get(library) or getattr(diffusers.pipelines, library, None)
