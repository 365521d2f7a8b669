"""Everything global that a stage may borrow: read it, set it for a while, put it back, and name what leaked."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from fastdiff.models.libraries import torch
from fastdiff.record.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

BORROWED_ENVIRONMENT = ("TORCH_COMPILE_DISABLE", "TORCHDYNAMO_DISABLE")
"""Not the folder of inductor's cache: inductor names one by itself where none is set."""


UNCHANGED = object()
"""As a borrowed value: the switch is set elsewhere, and put back all the same."""


def _backends() -> dict[str, tuple[Any, Any]]:
    """Name of each switch, how to read it, how to set it."""
    from diffusers.models.attention_dispatch import _AttentionBackendRegistry as dispatcher

    cuda, cudnn = torch.backends.cuda, torch.backends.cudnn

    def attribute(owner: Any, name: str) -> tuple[Any, Any]:
        return (lambda: getattr(owner, name)), (lambda value: setattr(owner, name, value))

    return {
        "float32_matmul_precision": (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
        "cudnn.allow_tf32": attribute(cudnn, "allow_tf32"),
        "cudnn.benchmark": attribute(cudnn, "benchmark"),
        "cudnn.deterministic": attribute(cudnn, "deterministic"),
        "sdpa.flash": (cuda.flash_sdp_enabled, cuda.enable_flash_sdp),
        "sdpa.memory_efficient": (cuda.mem_efficient_sdp_enabled, cuda.enable_mem_efficient_sdp),
        "sdpa.math": (cuda.math_sdp_enabled, cuda.enable_math_sdp),
        "sdpa.cudnn": (cuda.cudnn_sdp_enabled, cuda.enable_cudnn_sdp),
        "diffusers.attention_backend": attribute(dispatcher, "_active_backend"),
        "default_dtype": (torch.get_default_dtype, torch.set_default_dtype),
        "grad_enabled": (torch.is_grad_enabled, torch.set_grad_enabled),
        "num_threads": (torch.get_num_threads, torch.set_num_threads),
        "deterministic_algorithms": (
            torch.are_deterministic_algorithms_enabled,
            torch.use_deterministic_algorithms,
        ),
    }


def _configs() -> dict[str, Any]:
    import torch._dynamo.config
    import torch._inductor.config

    return {"inductor": torch._inductor.config, "dynamo": torch._dynamo.config}


def read() -> dict[str, Any]:
    """Every switch and its present value, by name."""
    values = {name: get() for name, (get, _) in _backends().items()}
    for prefix, config in _configs().items():
        values |= {f"{prefix}.{name}": value for name, value in config.get_config_copy().items()}
    return values | {f"environment.{name}": os.environ.get(name) for name in BORROWED_ENVIRONMENT}


def read_some(names: Iterable[str]) -> dict[str, Any]:
    """A few of the switches that torch keeps, without a look at thousands of configuration values."""
    known = _backends()
    return {name: known[name][0]() for name in names}


def leaks(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """One sentence for each switch that differs."""
    return [
        f"{name} was {before.get(name)!r} and is {after.get(name)!r}"
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    ]


@contextmanager
def borrowed(changes: Mapping[str, Any]) -> Iterator[None]:
    """Sets switches by name, for instance {"inductor.epilogue_fusion": False}, and puts each one back."""
    before = read()
    try:
        for name, value in changes.items():
            if name not in before:
                raise UserError(
                    "switch", f"torch {torch.__version__} has no switch called {name!r}; leave it out of the recipe."
                )
            if value is not UNCHANGED:
                _set(name, value)
        yield
    finally:
        for name in changes:
            if name in before:
                _set(name, before[name])


def restore(values: Mapping[str, Any]) -> None:
    """Puts every switch that differs back to what it was; for after a leak, so that the next stage starts clean."""
    now = read()
    for name, value in values.items():
        if now.get(name) != value:
            _set(name, value)


def _set(name: str, value: Any) -> None:
    prefix, _, rest = name.partition(".")
    if prefix == "environment":
        if value is None:
            os.environ.pop(rest, None)
        else:
            os.environ[rest] = value
    elif prefix in _configs():
        setattr(_configs()[prefix], rest, value)
    else:
        _backends()[name][1](value)
