"""Pipelines with random weights, made on the device: full-size latency and memory without a download.

Every weight is drawn from a normal distribution of variance `gain` / fan-in, norms are 1 and biases 0, as a network
is at the start of its training: every activation has about the size of its input, and a residual stream grows with
the square root of its depth, so that nothing overflows fp16. What a model has as buffers (positions, frequencies) is
computed, not drawn.
"""

from __future__ import annotations

import math
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from fastdiff.host import memory
from fastdiff.models.libraries import diffusers, named, torch
from fastdiff.models.tokenizers import tokenizer
from fastdiff.record.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fastdiff.models import Request
    from fastdiff.models.architectures import Architecture, Part

CHUNK = 2**24
"""Numbers that are drawn at once: 64 MiB in fp32, which is all that is ever there beside the weights."""

CALL_BESIDES = 1.15
"""The weights' size times this covers a call: SDXL in float32 at 256 px used at most 14 GB, 13.9 of them weights."""

SMOOTH = ("time_text_embed.timestep_embedder.linear_1", "time_text_embed.guidance_embedder.linear_1")
"""Layers that see only the slower half of their waves. Flux rounds a time of 1000 to bf16, which is a large part of a
period of the fastest; a trained model has learnt to look away, a random one would draw another picture in bf16."""

GAINS = {
    "UNet2DConditionModel": {"conv_out": 0.25},
    "PixArtTransformer2DModel": {"proj_out": 0.06},
    "FluxTransformer2DModel": dict.fromkeys(SMOOTH, 2.0),
    "AutoencoderKL": {"decoder.conv_out": 0.25},
}
"""Gain of some layers by their class of model; every other layer has 1.

A denoiser's last layer is so quiet that an error of one step is no larger one in the next (PixArt's first step is
multiplied by 157), and so loud that without the denoiser, or with another prompt, another picture comes out. A
decoder's is so quiet that few pixels are clipped. Chosen on the twins, by trying.
"""
USUAL = {"conv_out": 0.25, "proj_out": 0.06, "decoder.conv_out": 0.25}
"""Of a class that is not among them: its last layer is called so, if it has one of these names."""


def assemble(
    architecture: Architecture,
    dtype: str,
    device: str,
    autoencoder: str = "own",
    seed: int = 0,
    *,
    place: str | None = None,
) -> Any:
    """The pipeline on `device`, with weights in `dtype` that depend on `seed` and on nothing else.

    `place` is where the weights are to lie, if it is not the device that draws them: on the host, for offloading.

    Numbers are drawn in fp32 and rounded, so another dtype has the same weights. A CUDA device draws other numbers than
    a CPU: pictures of two kinds of device cannot be compared.
    """
    parts = dict(architecture.parts)
    if autoencoder == "tiny":
        parts["vae"] = architecture.tiny_autoencoder
    if autoencoder == "pipeline" and architecture.published_vae:
        parts["vae"] = architecture.published_vae
    tokenizers = {
        name: tokenizer(asked, parts[name.replace("tokenizer", "text_encoder")].config["vocab_size"])
        for name, asked in architecture.tokenizers.items()
    }
    skeletons = {name: skeleton(part, dtype) for name, part in parts.items()}
    if place is None:  # what waits on the host for a GPU has the host's memory, which is seldom short
        require_room(skeletons.values(), dtype, device, "--fastdiff-weights twin")
    modules = {name: filled(module, dtype, device, seed, place) for name, module in skeletons.items()}
    scheduler = _class(architecture.scheduler)(**architecture.scheduler.config)
    pipeline_class = getattr(diffusers, architecture.pipeline)
    return pipeline_class(**architecture.options, **modules, **tokenizers, scheduler=scheduler)


def conditioning(
    architecture: Architecture, request: Request, dtype: str, device: str, seed: int = 0
) -> dict[str, Any] | None:
    """What replaces `prompt` and `num_images_per_prompt` in a call, where text encoders are left out; None elsewhere.

    The numbers are drawn on the CPU, so they are the same on every device.
    """
    if not architecture.synthetic:
        return None
    # One row for each picture, because Flux does not repeat embeddings that it is given.
    arguments: dict[str, Any] = {"prompt": None, "num_images_per_prompt": 1}
    for embedding in architecture.synthetic:
        text = "" if embedding.negative else request.prompt or ""
        generator = _generator(f"{embedding.argument} {text}", "cpu", seed)
        drawn = torch.randn(embedding.shape, generator=generator).to(device, getattr(torch, dtype))
        arguments[embedding.argument] = drawn.expand(request.batch, *drawn.shape).contiguous()
        if embedding.mask is not None:
            arguments[embedding.mask] = _mask(text, embedding.shape[0]).repeat(request.batch, 1).to(device)
        if embedding.negative:
            arguments["negative_prompt"] = None
    return arguments


def skeleton(part: Part, dtype: str = "float32") -> Any:
    """The module with its parameters on `meta`, where they take no memory; its buffers are real, and on the CPU."""
    from accelerate import init_empty_weights

    cls = _class(part)
    with _default_dtype(dtype), init_empty_weights(include_buffers=False):
        if issubclass(cls, diffusers.ModelMixin):
            return cls(**part.config).eval()
        made = cls(cls.config_class(**part.config)).eval()
    made.tie_weights()  # again, because a parameter that went to `meta` is another one
    return made


def filled(module: Any, dtype: str, device: str, seed: int = 0, place: str | None = None) -> Any:
    """Gives a skeleton its weights, drawn on `device`, each in the dtype in which `from_pretrained` would load it."""
    gains = GAINS.get(type(module).__name__, USUAL)
    most = max((parameter.numel() for parameter in module.parameters()), default=0)
    numbers = torch.empty(min(CHUNK, most), dtype=torch.float32, device=device)
    made: dict[Any, Any] = {}
    for path, owner in list(module.named_modules()):
        for key, parameter in list(owner._parameters.items()):
            if parameter is None:
                continue
            if parameter not in made:  # tied weights stay tied
                name = f"{path}.{key}".lstrip(".")
                weight = torch.empty(parameter.shape, dtype=_dtype(module, name, dtype), device=place or device)
                _draw(weight, name, gains.get(path, 1.0), _generator(name, device, seed), numbers)
                made[parameter] = torch.nn.Parameter(weight)
            owner._parameters[key] = made[parameter]
        for key, buffer in owner._buffers.items():
            owner._buffers[key] = None if buffer is None else buffer.to(place or device)
    if isinstance(module, diffusers.AutoencoderTiny):
        _centre(module)
    return module


def require_room(skeletons: Iterable[Any], dtype: str, device: str, instead: str) -> None:
    """Checked before any weight is made: the system kills a process that runs out of memory without a message."""
    weights = sum(parameter.numel() for module in skeletons for parameter in module.parameters())
    needed = round(CALL_BESIDES * weights * getattr(torch, dtype).itemsize)
    free = torch.cuda.mem_get_info(device)[0] if torch.device(device).type == "cuda" else memory.available_bytes()
    if free is not None and needed > free:
        raise UserError(
            "memory",
            f"{weights / 1e9:.2f} billion weights in {dtype} plus one call need about {needed / 1e9:.1f} GB of memory; "
            f"only {free / 1e9:.1f} GB are free. End other programs, or measure a small copy: {instead}.",
        )


def _draw(weight: Any, name: str, gain: float, generator: Any, numbers: Any) -> None:
    """Through `numbers` in fp32, whatever the dtype of the weight is."""
    layer, _, kind = name.rpartition(".")
    if weight.ndim == 1 and kind in ("weight", "bias"):
        weight.fill_(float(kind == "weight"))
        return
    deviation = math.sqrt(gain / math.prod(weight.shape[1:]))
    for chunk in weight.view(-1).split(CHUNK):
        chunk.copy_(numbers[: chunk.numel()].normal_(0.0, deviation, generator=generator))
    if layer in SMOOTH:
        waves = weight.unflatten(1, (2, -1))  # cosines, then sines, each from fast to slow
        waves[..., : waves.shape[-1] // 2] = 0.0


def _centre(autoencoder: Any) -> None:
    """The tiny one's colours go from 0 to 1, the others' from -1 to 1: without this, most of a picture is black."""
    last = autoencoder.decoder.layers[-1]
    with torch.no_grad():
        last.weight *= 0.5
        last.bias.fill_(0.5)


def _dtype(module: Any, name: str, dtype: str) -> Any:
    """Both libraries keep some modules in fp32; transformers does so for fp16 alone, unless it is strict."""
    kept = set(getattr(module, "_keep_in_fp32_modules_strict", None) or ())
    if dtype == "float16" or isinstance(module, diffusers.ModelMixin):
        kept |= set(module._keep_in_fp32_modules or ())
    return torch.float32 if kept & set(name.split(".")) else getattr(torch, dtype)


def _generator(name: str, device: str, seed: int) -> Any:
    """A stream of its own for each name: a weight does not depend on what was drawn before it."""
    return torch.Generator(device).manual_seed(zlib.crc32(f"{seed} {name}".encode()))


def _mask(text: str, length: int) -> Any:
    """About four letters make a token, and the end is one too."""
    return (torch.arange(length) <= len(text) // 4).long()[None]


def _class(part: Part) -> Any:
    return getattr(named(part.library), part.cls)


@contextmanager
def _default_dtype(dtype: str) -> Iterator[None]:
    """As `from_pretrained` does it: buffers that name no dtype get this one."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, dtype))
    try:
        yield
    finally:
        torch.set_default_dtype(before)
