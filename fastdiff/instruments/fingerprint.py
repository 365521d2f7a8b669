"""The countable facts of a built stage. Counting has no noise, so it is the same on every machine of one kind."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from fastdiff.instruments import proof
from fastdiff.models.libraries import torch
from fastdiff.models.modules import Alone
from fastdiff.optimize import attention, quantization, switches

if TYPE_CHECKING:
    from fastdiff.optimize import Built


ONLY_WHERE_ON = ("kernels", "freed", "decoding", "offloaded_modules", "cached_modules", "quantized_text_layers")
"""Facts that are left out where they are empty: then runs that were accepted before they existed still compare."""
FOR_THE_PROOF = (
    "decoder_processors",
    "encoders",
    "scheduler",
    "own",
    "alone",
    "random",
    "dispatched",
    "denoisers",
    "decoders",
    "regions",
)
"""Left out of the facts: other facts or the recipe hold them already, or they are the model's."""


@dataclass(frozen=True)
class Structure:
    """What can be counted before the first call."""

    dtypes: dict[str, dict[str, int]]
    """Number of floating-point parameters by part and dtype."""
    processors: dict[str, int]
    attention_modules: int
    fused_modules: int
    quantized_layers: int
    convolutions: int
    channels_last_convolutions: int
    kernels: tuple[str, ...] = ()
    """Families of attention kernels that may be chosen, where not all of them may."""
    freed: tuple[str, ...] = ()
    """Components of the call in which all of them may be chosen nevertheless: text, decode."""
    decoder_processors: dict[str, int] = field(default_factory=dict)
    """Those of `processors` that are the autoencoder's."""
    decoding: tuple[str, ...] = ()
    """What the autoencoder does in another way: tiny, float32, slicing, tiling."""
    offloaded_modules: int = 0
    cached_modules: int = 0
    quantized_text_layers: int = 0
    encoders: int = 0
    """Of text."""
    denoisers: int = 1
    """What is compiled as such, and what as a decoder."""
    decoders: int = 1
    regions: int = 0
    """Kinds of blocks that diffusers can compile one by one; two denoisers of one kind share their graphs."""
    scheduler: str = ""
    own: bool = False
    """Whether neither the catalogue nor the project describes it, so that fastdiff knows only what it finds."""
    alone: bool = False
    """Whether it is one module rather than a pipeline."""
    random: bool = False
    """Whether its weights are drawn at random."""
    dispatched: tuple[str, ...] = ()
    """Those of `processors` that go through diffusers' dispatcher."""
    unquantized: dict[str, int] = field(default_factory=dict)
    """Layers that the recipe's filter selects and that are not quantized, counted by inputs and outputs."""
    left_out: dict[str, int] = field(default_factory=dict)
    """The same for layers whose shape the kernel does not take."""


@dataclass(frozen=True)
class Compilation:
    """What dynamo and inductor counted since the stage was built."""

    graphs: int = 0
    """Frames that dynamo turned into a graph: with full graphs one for each compiled part."""
    breaks: int = 0
    break_reasons: tuple[str, ...] = ()
    cache_hits: int = 0
    cache_misses: int = 0

    @property
    def cache(self) -> str:
        """cold, warm, mixed, or none where nothing was compiled."""
        if not (self.cache_hits or self.cache_misses):
            return "none"
        if not self.cache_misses:
            return "warm"
        return "mixed" if self.cache_hits else "cold"


@dataclass(frozen=True)
class Effects:
    """What a call was seen to do, for ideas that the structure of a pipeline cannot show."""

    attention: int | None = None
    """Kernels of attention that a denoising step dispatched; of a module, its call. None: no steps are known."""
    steps: int = 0
    lighter_steps: int = 0
    """Steps with less arithmetic than the one with the most."""
    cuda_graphs: int | None = None
    """Captured by inductor; None on a device that has none."""
    cuda_graphs_skipped: int = 0
    uncounted: str = ""
    """Why nothing was counted."""


@dataclass(frozen=True)
class Fingerprint:
    structure: Structure
    compilation: Compilation = field(default_factory=Compilation)
    recompiles: int = 0
    """Graphs that were compiled after the first call."""
    effects: Effects | None = None
    """None before they were counted."""

    def flat(self) -> dict[str, Any]:
        """Names and values, without what depends on the state of the compile cache, and without ideas that are off."""
        counted, structure = asdict(self.compilation), asdict(self.structure)
        del counted["cache_hits"], counted["cache_misses"]
        counted["break_reasons"] = list(counted["break_reasons"])
        for name in FOR_THE_PROOF:
            del structure[name]
        built = {name: value for name, value in _flat(structure).items() if value or name not in ONLY_WHERE_ON}
        built |= {name: list(value) for name, value in built.items() if isinstance(value, tuple)}
        return {**built, **counted, "recompiles": self.recompiles}


def _flat(facts: dict[str, Any], before: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in facts.items():
        flat |= _flat(value, f"{before}{name}.") if isinstance(value, dict) else {f"{before}{name}": value}
    return flat


def structure(built: Built) -> Structure:
    where, parts = built.anatomy, built.anatomy.components
    decoder = [] if where.decoder is None else list(where.decoder.modules())
    optimized = [module for part in built.parts for module in part.modules()]
    attentions = [module for module in optimized if attention.is_attention(module)]
    kernels = [m.weight for m in optimized if isinstance(m, torch.nn.Conv2d) and _layout_matters(m.weight)]
    return Structure(
        dtypes={name: dict(sorted(_dtypes(part).items())) for name, part in parts.items()},
        processors=dict(sorted(Counter(_processor(module) for module in attentions).items())),
        attention_modules=len(attentions),
        fused_modules=sum(_fused(module) for module in attentions),
        quantized_layers=sum(map(quantization.is_quantized, optimized)),
        convolutions=len(kernels),
        channels_last_convolutions=sum(k.is_contiguous(memory_format=torch.channels_last) for k in kernels),
        kernels=_kernels(),
        freed=attention.freed(where),
        decoder_processors=dict(Counter(_processor(one) for one in decoder if attention.is_attention(one))),
        decoding=_decoding(where.decoder, where.denoisers) if decoder else (),
        offloaded_modules=sum(_offloaded(module) for part in parts.values() for module in part.modules()),
        cached_modules=sum(any(CACHES.search(hook) for hook in _hooks(module)) for module in optimized),
        quantized_text_layers=sum(quantization.is_quantized(one) for part in built.encoders for one in part.modules()),
        encoders=len(built.encoders),
        denoisers=len(where.denoised),
        decoders=int(where.decoded is not None),
        regions=len(set().union(*map(_regions, where.denoisers))),
        scheduler=type(getattr(built.pipeline, "scheduler", None)).__name__,
        own=not built.model.described,
        alone=isinstance(built.pipeline, Alone),
        random=built.model.made_here,
        dispatched=tuple(sorted({_processor(one) for one in attentions if _is_dispatched(one)})),
        unquantized=_plain_layers(built, fitting=True),
        left_out=_plain_layers(built, fitting=False),
    )


GRAPH_CACHES = ("fxgraph_cache", "autograd_cache")
"""Of whole graphs. Inductor counts more: on a GPU each kernel misses one cache even where its graph was found."""


def compilation() -> Compilation:
    """Reads the counters; `compilation.forget` of fastdiff.optimize sets them to zero when a stage is built."""
    from torch._dynamo.utils import counters

    breaks = {reason: count for reason, count in counters["graph_break"].items() if count}
    caches = [counters["inductor"], counters["aot_autograd"]]
    return Compilation(
        graphs=counters["stats"]["unique_graphs"],
        breaks=sum(breaks.values()),
        break_reasons=tuple(sorted({reason.splitlines()[0] for reason in breaks})),
        cache_hits=sum(cache[f"{name}_hit"] for cache in caches for name in GRAPH_CACHES),
        cache_misses=sum(cache[f"{name}_miss"] for cache in caches for name in GRAPH_CACHES),
    )


def _dtypes(part: Any) -> Counter[str]:
    kept = getattr(part, "_keep_in_fp32_modules", None) or ()
    counted: Counter[str] = Counter()
    for name, parameter in part.named_parameters():
        if parameter.is_floating_point():
            dtype = str(parameter.dtype).removeprefix("torch.")
            named = dtype == "float32" and any(module in name.split(".") for module in kept)
            counted[proof.KEPT_IN_FLOAT32 if named and getattr(part, "dtype", None) != torch.float32 else dtype] += 1
    return counted


def _layout_matters(kernel: Any) -> bool:
    """A 1x1 kernel is contiguous in every layout and so says nothing."""
    return kernel.shape[1] > 1 and kernel.shape[2] * kernel.shape[3] > 1


def _is_dispatched(module: Any) -> bool:
    return hasattr(module.processor, "_attention_backend")


def _fused(module: Any) -> bool:
    """Both halves: the projections, and a processor that uses them."""
    knows = type(module.processor).__name__.startswith("Fused") or _is_dispatched(module)
    return bool(getattr(module, "fused_projections", False)) and knows


def _processor(module: Any) -> str:
    """The class, and where it goes through diffusers' dispatcher the backend that was chosen for it."""
    backend = getattr(module.processor, "_attention_backend", None)
    name = type(module.processor).__name__
    return f"{name}({getattr(backend, 'value', backend)})" if backend else name


def _kernels() -> tuple[str, ...]:
    now = switches.read_some(attention.SWITCHES.values())
    allowed = tuple(name for name, switch in attention.SWITCHES.items() if now[switch])
    return () if len(allowed) == len(attention.SWITCHES) else allowed


def _decoding(autoencoder: Any, denoisers: list[Any]) -> tuple[str, ...]:
    own, others = ({name for part in parts for name in _dtypes(part)} for parts in ([autoencoder], denoisers))
    ideas = {
        "tiny": type(autoencoder).__name__ == "AutoencoderTiny",
        "float32": own == {"float32"} and bool(others - own),
        "slicing": getattr(autoencoder, "use_slicing", False),
        "tiling": getattr(autoencoder, "use_tiling", False),
    }
    return tuple(name for name, on in ideas.items() if on)


GROUP_OFFLOADING = "group_offloading"
CACHES = re.compile("cache|fbc|broadcast")
"""In the names of diffusers' hooks."""


def _hooks(module: Any) -> set[str]:
    """Names of diffusers' own hooks on a module."""
    registry = getattr(module, "_diffusers_hook", None)
    return set(registry.hooks) if registry is not None else set()


def _regions(denoiser: Any) -> set[str]:
    kinds = {type(module).__name__ for module in denoiser.modules()}
    return kinds & set(getattr(denoiser, "_repeated_blocks", None) or ())


def _offloaded(module: Any) -> bool:
    """By accelerate's hooks (models, layers) or by diffusers' own (groups)."""
    return hasattr(module, "_hf_hook") or GROUP_OFFLOADING in _hooks(module)


def _plain_layers(built: Built, *, fitting: bool) -> dict[str, int]:
    """By shape, layers that the filter selects and that are not quantized."""
    kind = built.recipe.quantize
    if kind == "none":
        return {}
    filter_ = quantization.filter_of(built.model, built.recipe)
    plain = [
        f"{module.in_features} x {module.out_features}"
        for part in built.parts
        for name, module in part.named_modules()
        if quantization.selected(filter_, module, name)
        and not quantization.is_quantized(module)
        and quantization.fits(kind, module) == fitting
    ]
    return dict(sorted(Counter(plain).items()))
