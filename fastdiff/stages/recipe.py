"""Which optimizations are on, as data. Nothing here acts; `fastdiff.optimize` applies a recipe."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from fastdiff.record.errors import UserError, unknown
from fastdiff.stages.filters import Filter

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

DTYPES = ("float32", "bfloat16", "float16", "half")
"""`half` is float16 on a GPU and bfloat16 on a CPU, which only emulates the other."""
KERNELS = ("flash", "memory-efficient", "cudnn", "math")
"""Families of scaled_dot_product_attention that can be named."""
ATTENTIONS = ("vanilla", "vanilla-denoiser", "sdpa", *KERNELS)
QUANTIZATIONS = ("none", "int8-dynamic", "int8-weight-only", "int4-weight-only", "float8-dynamic")
BFLOAT16_ONLY = ("int4-weight-only", "float8-dynamic")
OFFLOADS = ("none", "model", "sequential", "group")
AUTOENCODERS = ("own", "pipeline", "tiny")
"""The model's own; the one that its pipeline was published with, where the model names a safer one; a distilled one."""
TEXTS = ("live", "precomputed")
CACHES = ("none", "first-block", "pyramid-attention", "faster", "taylorseer")
"""diffusers' own caches, which reuse what an earlier step computed; all of them change the picture."""
GRAPH_MODES = ("reduce-overhead", "max-autotune")
"""Those that capture CUDA graphs."""
COMPILE_MODES = ("default", *GRAPH_MODES, "max-autotune-no-cudagraphs")


PUBLISHED_FLAGS = (
    ("conv_1x1_as_mm", True),
    ("coordinate_descent_tuning", True),
    ("epilogue_fusion", False),
    ("coordinate_descent_check_all_directions", True),
)


@dataclass(frozen=True)
class Compile:
    """How the denoiser and the decoder are compiled."""

    mode: str = "max-autotune"
    """On a CUDA device. A CPU always takes `default`: autotuning finds nothing there that pays for its minutes."""
    fullgraph: bool = True
    denoiser: bool = True
    decoder: bool = True
    text: bool = False
    """Also the text encoders."""
    regional: bool = False
    """Of the denoiser only the repeated blocks, each kind once: much less to compile for nearly the same speed."""
    dynamic: bool = False
    """One graph for every size of picture, instead of a faster one that another size compiles anew."""
    flags: tuple[tuple[str, bool], ...] = PUBLISHED_FLAGS
    """Inductor's flags, as published; they are borrowed for the stage and put back after it."""

    def __post_init__(self) -> None:
        _one_of("compile mode", self.mode, COMPILE_MODES)
        _switches(
            "compile", {one.name: getattr(self, one.name) for one in fields(self) if isinstance(one.default, bool)}
        )
        _switches("flags", dict(self.flags))
        if not (self.denoiser or self.decoder):
            raise UserError(
                "recipe", "compile: neither the denoiser nor the decoder is to be compiled; leave `compile` out."
            )
        if self.regional and not self.denoiser:
            raise UserError("recipe", "compile: regional is about the denoiser's blocks; set denoiser = true.")
        if self.regional and self.mode in GRAPH_MODES:
            raise UserError(
                "recipe",
                f"compile: with mode {self.mode!r} every region has CUDA graphs of its own, and one overwrites what "
                "another one reads; set mode = 'max-autotune-no-cudagraphs'.",
            )


@dataclass(frozen=True)
class Recipe:
    """Which optimizations are on. The fields say what; `fastdiff.optimize` knows how and in which order."""

    dtype: str = "float32"
    tf32: bool = True
    """Whether fp32 matrix products may round to TF32 on CUDA. The published ladder allows it; a CPU has none."""
    attention: str = "vanilla"
    """Written out (also of the autoencoder, or of the denoiser alone), in whichever kernel torch chooses (`sdpa`), or
    in one of the named families."""
    attention_everywhere: bool = False
    """Whether a named family is the only one in the whole call, text encoders and autoencoder included."""
    attention_backend: str = ""
    """A name of diffusers' dispatcher, for models whose attention goes through it; empty leaves the choice to it."""
    channels_last: bool = False
    compile: Compile | None = None
    fuse_qkv: bool = False
    quantize: str = "none"
    filter: Filter | None = None
    """Which linear layers are quantized; None leaves that to what was published about the model."""
    quantize_text: bool = False
    """Also the text encoders' layers, whatever the filter of the others is."""
    scheduler: str = ""
    """A scheduler class of diffusers in the place of the model's; empty leaves the model's."""
    steps: int | None = None
    """Denoising steps of a call, where the stage is about their number; None leaves the request's."""
    autoencoder: str = "own"
    upcast_vae: bool = False
    """Whether the autoencoder decodes in float32, whatever the denoiser's dtype."""
    vae_slicing: bool = False
    vae_tiling: bool = False
    text: str = "live"
    """`precomputed`: the prompt is encoded once while building, and the encoders are dropped from memory."""
    offload: str = "none"
    cache: str = "none"
    batch: int | None = None
    """Pictures of a call, where the stage is about their number; None leaves the request's."""

    def __post_init__(self) -> None:
        _switches(
            "recipe", {one.name: getattr(self, one.name) for one in fields(self) if isinstance(one.default, bool)}
        )
        if self.compile is not None and not isinstance(self.compile, Compile):
            raise UserError("recipe", f"compile is {self.compile!r}; give a Compile(), or in a file true or a table.")
        if self.filter is not None and not isinstance(self.filter, Filter):
            raise UserError(
                "recipe", f"filter is {self.filter!r}; give a Filter(), or in a file a table or the path of a function."
            )
        for kind, what in (("attention_backend", "name of diffusers' dispatcher"), ("scheduler", "class of diffusers")):
            if not isinstance(getattr(self, kind), str):
                raise UserError("recipe", f"{kind} is {getattr(self, kind)!r}; give a {what}.")
        for kind in ("batch", "steps"):
            number = getattr(self, kind)
            if number is not None and (isinstance(number, bool) or not isinstance(number, int) or number < 1):
                raise UserError("recipe", f"{kind} is {number!r}; give a whole number above zero.")
        for kind, known in (
            ("dtype", DTYPES),
            ("attention", ATTENTIONS),
            ("quantize", QUANTIZATIONS),
            ("autoencoder", AUTOENCODERS),
            ("text", TEXTS),
            ("offload", OFFLOADS),
            ("cache", CACHES),
        ):
            _one_of(kind, getattr(self, kind), known)
        for impossible, sentence in self._impossible():
            if impossible:
                raise UserError("recipe", sentence)

    def _impossible(self) -> Iterator[tuple[bool, str]]:
        """Combinations that no device can run, each with the sentence that refuses it."""
        yield (
            self.fuse_qkv and self.attention.startswith("vanilla"),
            "fuse_qkv replaces every attention processor by a fused SDPA one, so vanilla attention cannot stay; "
            'set attention = "sdpa".',
        )
        yield (
            self.attention_everywhere and self.attention not in KERNELS,
            f"attention_everywhere is about one family of kernels, and attention is {self.attention!r}; "
            f"set attention to one of {', '.join(KERNELS)}.",
        )
        yield (
            self.fuse_qkv and self.autoencoder == "tiny",
            'fuse_qkv needs the attention of the full autoencoder, and the tiny one has none; set autoencoder = "own".',
        )
        yield (
            bool(self.attention_backend) and self.attention != "sdpa",
            f"attention_backend {self.attention_backend!r} chooses among kernels for SDPA, and attention is "
            f'{self.attention!r}; set attention = "sdpa".',
        )
        yield (
            self.quantize.endswith("-dynamic") and self.compile is None,
            f"{self.quantize} without compile is slower than what it replaces, because the conversions are not fused; "
            "add compile.",
        )
        yield (
            self.filter is not None and self.quantize == "none",
            "filter selects the layers to quantize, and nothing is quantized; set quantize, or leave the filter out.",
        )
        yield (
            self.quantize_text and self.quantize == "none",
            "quantize_text is about the kind of quantization, and nothing is quantized; set quantize.",
        )
        yield (
            self.text == "precomputed" and (self.quantize_text or (self.compile is not None and self.compile.text)),
            'the prompt is precomputed, so no text encoder is left to compile or to quantize; set text = "live".',
        )
        yield (
            self.quantize in BFLOAT16_ONLY and self.dtype not in ("bfloat16", "half"),
            f'{self.quantize} multiplies in bfloat16 only, and the dtype is {self.dtype}; set dtype = "bfloat16".',
        )
        yield (
            self.offload != "none" and self.compile is not None,
            "offload moves weights between calls through hooks that break the full graph; drop compile or offload.",
        )
        yield (
            self.offload != "none" and self.quantize != "none",
            "offload moves plain tensors, and quantized ones are made of several; drop quantize or offload.",
        )
        yield (
            self.cache != "none" and self.compile is not None and self.compile.denoiser,
            f"the {self.cache} cache decides at every step in Python what to skip, which a full graph cannot hold; "
            "drop the cache, or set compile.denoiser = false.",
        )
        yield (
            self.upcast_vae and self.dtype == "float32",
            "upcast_vae raises the autoencoder to float32, and everything is in float32 already; leave it out.",
        )

    def on(self, device: str, capability: tuple[int, int] | None = None, emulated: Collection[str] = ()) -> Recipe:
        """This recipe resolved for `device` ("cpu", "cuda", "rocm" or "mps"); what it cannot do is refused.

        `capability` is that of the GPU; without it nothing is refused for its age. `emulated` is the arithmetic that a
        CPU has no instructions for and is not to emulate.
        """
        recipe = replace(self, dtype=_half(device, self.quantize)) if self.dtype == "half" else self
        for impossible, sentence in recipe._impossible_on(device, capability):
            if impossible:
                raise UserError("recipe", sentence)
        for kind in emulated:
            if kind in recipe.arithmetic:
                raise UserError(
                    "emulated",
                    f"this CPU has no instructions for {kind} and takes many times as long for it as for float32; "
                    "leave the stage out, or add --fastdiff-emulate.",
                )
        if device in ("cpu", "mps") and recipe.compile is not None:  # which have no CUDA graphs
            return replace(recipe, compile=replace(recipe.compile, mode="default"))
        return recipe

    def require_place_in(self, model: str, unsupported: Collection[str]) -> None:
        """`unsupported` are the ideas that the model's architecture has no place for."""
        wanted = {
            "cache": self.cache != "none",
            "attention_backend": bool(self.attention_backend),
            "regional": self.compile is not None and self.compile.regional,
            "flash": self.attention == "flash",
        }
        for idea in unsupported:
            if wanted[idea]:
                raise UserError("recipe", f"the architecture of {model!r} has no place for {idea}; leave it out.")

    def as_kept(self) -> dict[str, Any]:
        """Only what is not the default, ready for JSON: a file that is older than an optimization has no name for it,
        and still compares."""
        kept: dict[str, Any] = json.loads(json.dumps(_changes(self, Recipe())))
        return kept

    @property
    def arithmetic(self) -> set[str]:
        """What it computes in on a CPU."""
        quantized = {"int8"} if self.quantize == "int8-dynamic" else set()
        return {on_a_cpu(self.dtype)} | quantized

    def _impossible_on(self, device: str, capability: tuple[int, int] | None) -> Iterator[tuple[bool, str]]:
        cpu, mps, age = device == "cpu", device == "mps", capability or (99, 0)
        yield (
            mps and self.offload in ("model", "sequential"),
            f"{self.offload} offload moves weights to the CPU's memory, which is MPS's, too; leave it out.",
        )
        yield (
            mps and self.attention in ("flash", "memory-efficient", "cudnn"),
            f"{self.attention} attention is a kernel for CUDA devices; use sdpa or math on MPS.",
        )
        yield (
            mps and self.quantize != "none",
            f"torchao has no kernels of {self.quantize} for MPS; measure it on the CPU, or leave it out.",
        )
        yield (
            device == "rocm" and self.attention == "cudnn",
            "cudnn attention is a kernel of NVIDIA; use sdpa or flash on a GPU of AMD.",
        )
        yield (
            cpu and self.offload in ("model", "sequential"),
            f"{self.offload} offload moves weights to the CPU, and the pipeline is there already; leave it out.",
        )
        yield (
            cpu and self.dtype == "float16",
            "float16 is emulated on a CPU and slower than float32; use bfloat16 there, or stay in float32.",
        )
        yield (
            cpu and self.attention in ("memory-efficient", "cudnn"),
            f"{self.attention} attention is a kernel for CUDA devices; use sdpa, flash or math on a CPU.",
        )
        yield (
            cpu and self.quantize in ("int4-weight-only", "float8-dynamic"),
            f"{self.quantize} has kernels for CUDA devices only; use int8-dynamic or int8-weight-only on a CPU.",
        )
        yield (
            not cpu and self.attention in ("flash", "cudnn") and self.dtype == "float32",
            f'{self.attention} attention takes half precision only on a GPU; set dtype = "bfloat16".',
        )
        yield (
            not cpu and self.attention in ("flash", "cudnn") and age < (8, 0),
            f"{self.attention} attention needs a GPU of compute capability 8.0, and this one has {_dotted(age)}; "
            "use sdpa.",
        )
        yield (
            not cpu and self.quantize == "int4-weight-only" and age < (8, 0),
            f"int4-weight-only needs a GPU of compute capability 8.0, and this one has {_dotted(age)}; "
            "use int8-weight-only.",
        )
        yield (
            not cpu and self.quantize == "float8-dynamic" and age < (8, 9),
            f"float8-dynamic needs a GPU of compute capability 8.9, and this one has {_dotted(age)}; use int8-dynamic.",
        )


def _changes(one: Any, plain: Any) -> dict[str, Any]:
    found = {}
    for field in fields(one):
        value = getattr(one, field.name)
        if value != getattr(plain, field.name):
            found[field.name] = _changes(value, type(value)()) if isinstance(value, Compile | Filter) else value
    return found


def _one_of(kind: str, value: object, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UserError("recipe", unknown(kind, str(value), known))


def _switches(where: str, values: Mapping[str, object]) -> None:
    for name, value in values.items():
        if not isinstance(value, bool):
            raise UserError("recipe", f"{where}: {name} is {value!r}; give true or false.")


def check_names(kind: str, names: Iterable[str], owner: type) -> None:
    known = [f.name for f in fields(owner)]
    for name in names:
        if name not in known:
            raise UserError("recipe", unknown(kind, name, known))


def _half(device: str, quantize: str) -> str:
    return "bfloat16" if device == "cpu" or quantize in BFLOAT16_ONLY else "float16"


def on_a_cpu(dtype: str) -> str:
    """Where `half` is another name for it."""
    return _half("cpu", "none") if dtype == "half" else dtype


def in_float32(recipe: Recipe) -> Recipe:
    """The same recipe in a CPU's float32, which has no TF32; or as it is where it makes no sense there."""
    try:
        return replace(recipe, dtype="float32", tf32=True)
    except UserError:
        return recipe


def _dotted(capability: tuple[int, int]) -> str:
    return f"{capability[0]}.{capability[1]}"
