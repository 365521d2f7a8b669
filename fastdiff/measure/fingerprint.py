"""The countable facts of a built stage. Counting has no noise, so it is the same on every machine of one kind."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from fastdiff.models.libraries import torch

if TYPE_CHECKING:
    from fastdiff.optimize import Built


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
class Fingerprint:
    structure: Structure
    compilation: Compilation = field(default_factory=Compilation)
    recompiles: int = 0
    """Graphs that were compiled after the first call."""

    def flat(self) -> dict[str, Any]:
        """Names and values, without what depends on the state of the compile cache."""
        counted = asdict(self.compilation)
        del counted["cache_hits"], counted["cache_misses"]
        counted["break_reasons"] = list(counted["break_reasons"])
        return {**_flat(asdict(self.structure)), **counted, "recompiles": self.recompiles}


def _flat(facts: dict[str, Any], before: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in facts.items():
        flat |= _flat(value, f"{before}{name}.") if isinstance(value, dict) else {f"{before}{name}": value}
    return flat


def structure(built: Built) -> Structure:
    parts = {
        name: part for name, part in sorted(built.pipeline.components.items()) if isinstance(part, torch.nn.Module)
    }
    optimized = [module for part in built.parts for module in part.modules()]
    attentions = [module for module in optimized if hasattr(module, "processor") and hasattr(module, "to_q")]
    kernels = [m.weight for m in optimized if isinstance(m, torch.nn.Conv2d) and _layout_matters(m.weight)]
    return Structure(
        dtypes={name: dict(sorted(_dtypes(part).items())) for name, part in parts.items()},
        processors=dict(sorted(Counter(type(module.processor).__name__ for module in attentions).items())),
        attention_modules=len(attentions),
        fused_modules=sum(_fused(module) for module in attentions),
        quantized_layers=sum(_quantized(module) for module in optimized),
        convolutions=len(kernels),
        channels_last_convolutions=sum(k.is_contiguous(memory_format=torch.channels_last) for k in kernels),
    )


def compilation() -> Compilation:
    """Reads the counters; `compilation.forget` of fastdiff.optimize sets them to zero when a stage is built."""
    from torch._dynamo.utils import counters

    breaks = {reason: count for reason, count in counters["graph_break"].items() if count}
    caches = [counters["inductor"], counters["aot_autograd"]]
    return Compilation(
        graphs=counters["stats"]["unique_graphs"],
        breaks=sum(breaks.values()),
        break_reasons=tuple(sorted({reason.splitlines()[0] for reason in breaks})),
        cache_hits=sum(count for cache in caches for name, count in cache.items() if name.endswith("cache_hit")),
        cache_misses=sum(count for cache in caches for name, count in cache.items() if name.endswith("cache_miss")),
    )


def _dtypes(part: Any) -> Counter[str]:
    counted: Counter[str] = Counter()
    for parameter in part.parameters():
        if parameter.is_floating_point():
            counted[str(parameter.dtype).removeprefix("torch.")] += 1
    return counted


def _layout_matters(kernel: Any) -> bool:
    """A 1x1 kernel is contiguous in every layout and so says nothing."""
    return kernel.shape[1] > 1 and kernel.shape[2] * kernel.shape[3] > 1


def _fused(module: Any) -> bool:
    """Both halves: the projections, and a processor that uses them."""
    return bool(getattr(module, "fused_projections", False)) and type(module.processor).__name__.startswith("Fused")


def _quantized(module: Any) -> bool:
    weight = getattr(module, "weight", None)
    return weight is not None and type(weight).__module__.startswith("torchao.")
