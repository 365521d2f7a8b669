"""What a stage does, as data: recipes, stages, the ladder. Nothing here acts, and nothing here imports torch."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

DTYPES = ("float32", "bfloat16", "float16")
ATTENTIONS = ("vanilla", "sdpa")
QUANTIZATIONS = ("none", "int8-dynamic")
OFFLOADS = ("none", "model", "sequential")
AUTOENCODERS = ("own", "tiny")
COMPILE_MODES = ("default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")


PUBLISHED_FLAGS = (
    ("conv_1x1_as_mm", True),
    ("coordinate_descent_tuning", True),
    ("epilogue_fusion", False),
    ("coordinate_descent_check_all_directions", True),
)


class RecipeError(ValueError):
    """A recipe that cannot be cooked; the message is one sentence that says why and what to do."""


@dataclass(frozen=True)
class Compile:
    """How the denoiser and the decoder are compiled."""

    mode: str = "max-autotune"
    """On a CUDA device. A CPU always takes `default`: autotuning finds nothing there that pays for its minutes."""
    fullgraph: bool = True
    denoiser: bool = True
    decoder: bool = True
    flags: tuple[tuple[str, bool], ...] = PUBLISHED_FLAGS
    """Inductor's flags, as published; they are borrowed for the stage and put back after it."""

    def __post_init__(self) -> None:
        _one_of("compile mode", self.mode, COMPILE_MODES)
        _switches("compile", {name: getattr(self, name) for name in ("fullgraph", "denoiser", "decoder")})
        _switches("flags", dict(self.flags))
        if not (self.denoiser or self.decoder):
            raise RecipeError("compile: neither the denoiser nor the decoder is to be compiled; leave `compile` out.")


@dataclass(frozen=True)
class Recipe:
    """Which optimizations are on. The fields say what; `fastdiff.optimize` knows how and in which order."""

    dtype: str = "float32"
    tf32: bool = True
    """Whether fp32 matrix products may round to TF32 on CUDA. The published ladder allows it; a CPU has none."""
    attention: str = "vanilla"
    channels_last: bool = False
    compile: Compile | None = None
    fuse_qkv: bool = False
    quantize: str = "none"
    autoencoder: str = "own"
    offload: str = "none"

    def __post_init__(self) -> None:
        _switches("recipe", {name: getattr(self, name) for name in ("tf32", "channels_last", "fuse_qkv")})
        if self.compile is not None and not isinstance(self.compile, Compile):
            raise RecipeError(f"compile is {self.compile!r}; give a Compile(), or in a file true or a table.")
        _one_of("dtype", self.dtype, DTYPES)
        _one_of("attention", self.attention, ATTENTIONS)
        _one_of("quantize", self.quantize, QUANTIZATIONS)
        _one_of("autoencoder", self.autoencoder, AUTOENCODERS)
        _one_of("offload", self.offload, OFFLOADS)
        if self.fuse_qkv and self.attention == "vanilla":
            raise RecipeError(
                "fuse_qkv replaces every attention processor by a fused SDPA one, so vanilla attention cannot stay; "
                'set attention = "sdpa".'
            )
        if self.fuse_qkv and self.autoencoder == "tiny":
            raise RecipeError(
                "fuse_qkv needs the attention of the full autoencoder, and the tiny one has none; "
                'set autoencoder = "own".'
            )
        if self.quantize == "int8-dynamic" and self.compile is None:
            raise RecipeError(
                "int8-dynamic without compile is slower than what it replaces, because the conversions are not fused; "
                "add compile."
            )
        if self.offload != "none" and self.compile is not None:
            raise RecipeError(
                "offload moves weights between calls through hooks that break the full graph; drop compile or offload."
            )

    def on(self, device: str) -> Recipe:
        """This recipe as it is cooked on `device` ("cpu" or "cuda"); what the device cannot do is refused."""
        if device == "cpu":
            if self.offload != "none":
                raise RecipeError(
                    f"{self.offload} offload moves weights to the CPU, and the pipeline is there already; leave it out."
                )
            if self.dtype == "float16":
                raise RecipeError("float16 is emulated on a CPU and slower than float32; use bfloat16 there.")
            if self.compile is not None:
                return replace(self, compile=replace(self.compile, mode="default"))
        return self


@dataclass(frozen=True)
class ImageBudget:
    """How far a stage's picture may be from the reference's, and where these numbers come from."""

    ssim: float
    worst_tile: float
    measured: str

    def __post_init__(self) -> None:
        for name in ("ssim", "worst_tile"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
                raise RecipeError(f"budget: {name} is {value!r}; give a number from 0 to 1.")


LOSSLESS = ImageBudget(
    ssim=0.97,
    worst_tile=0.85,
    measured="the embedded model stayed above 0.9978 and 0.9957 in 12 requests; full-size models were not measured",
)
QUANTIZED = ImageBudget(
    ssim=0.95,
    worst_tile=0.75,
    measured="the embedded model stayed above 0.9978 and 0.9946 in 12 requests; full-size models were not measured",
)
"""Wide against what was measured on a CPU, because a larger picture has more detail to lose; far from the 0.01 of a
tile with a hole in it."""


@dataclass(frozen=True)
class Stage:
    """A recipe with a name and a place: `adds` says in one sentence what it adds to the stage that it follows."""

    name: str
    recipe: Recipe
    adds: str
    follows: str | None = None
    budget: ImageBudget = LOSSLESS


@dataclass(frozen=True)
class Ladder:
    """Stages in order, each one adding one idea to the one that it follows. The first is everybody's reference."""

    stages: tuple[Stage, ...]

    def __post_init__(self) -> None:
        if not self.stages:
            raise RecipeError("a ladder needs at least one stage.")
        names = [stage.name for stage in self.stages]
        for name in names:
            if names.count(name) > 1:
                raise RecipeError(f"two stages of the ladder are called {name!r}; rename one of them.")
        for place, stage in enumerate(self.stages):
            if stage.follows is not None and stage.follows not in names[:place]:
                raise RecipeError(
                    f"stage {stage.name!r} follows {stage.follows!r}, which is not before it on the ladder; "
                    "name one that is, or move it."
                )

    def __iter__(self) -> Iterator[Stage]:
        return iter(self.stages)

    def __getitem__(self, name: str) -> Stage:
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise RecipeError(unknown("stage", name, self.names))

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(stage.name for stage in self.stages)

    @property
    def reference(self) -> Stage:
        return self.stages[0]

    def add(self, new: Stage) -> Ladder:
        """The same ladder with `new` at its end, or in the place of the stage that has its name.

        Stages that follow a replaced one keep their recipes: replace them too, if the change is meant to go on.
        """
        if new.name in self.names:
            return Ladder(tuple(new if stage.name == new.name else stage for stage in self.stages))
        return Ladder((*self.stages, new))

    def extend(self, name: str, adds: str, *, follows: str | None = None, **changes: Any) -> Ladder:
        """Adds the stage that differs from `follows` by `changes`.

        Without `follows` it comes after the last one, or, if it has a known name, after what the known one follows.
        """
        return self.add(stage(name, adds, **changes).after(self._before(name, follows)))

    def _before(self, name: str, follows: str | None) -> Stage | None:
        if follows is not None:
            return self[follows]
        if name in self.names:
            known = self[name].follows
            return self[known] if known is not None else None
        return self.stages[-1]

    def configured(self, tables: Mapping[str, Mapping[str, Any]]) -> Ladder:
        """The ladder with the stages of `[tool.fastdiff.stages]` added to it."""
        ladder = self
        for name, table in tables.items():
            ladder = ladder.add(_stage_from_table(name, table, ladder))
        return ladder


@dataclass(frozen=True)
class Step:
    """A stage that does not know yet which stage it follows."""

    name: str
    adds: str
    changes: Mapping[str, Any]
    budget: ImageBudget | None = None

    def after(self, before: Stage | None) -> Stage:
        try:
            recipe = replace(before.recipe if before else Recipe(), **self.changes)
        except RecipeError as error:
            raise RecipeError(f"stage {self.name!r}: {error}") from None
        budget = self.budget or (before.budget if before else LOSSLESS)
        return Stage(self.name, recipe, self.adds, before.name if before else None, budget)


def stage(name: str, adds: str, *, budget: ImageBudget | None = None, **changes: Any) -> Step:
    """A step of a ladder, told as the difference to the step before."""
    _check_fields(name, changes)
    return Step(name, adds, changes, budget)


def ladder(*steps: Step) -> Ladder:
    stages: list[Stage] = []
    for step in steps:
        stages.append(step.after(stages[-1] if stages else None))
    return Ladder(tuple(stages))


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """The sentence that answers a name which nobody knows with the nearest one that somebody does."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    guess = f"; did you mean {near[0]!r}?" if near else "."
    return f"no {kind} is called {name!r}{guess} There are: {', '.join(known)}."


def _one_of(kind: str, value: object, known: tuple[str, ...]) -> None:
    if value not in known:
        raise RecipeError(unknown(kind, str(value), known))


def _switches(where: str, values: Mapping[str, object]) -> None:
    for name, value in values.items():
        if not isinstance(value, bool):
            raise RecipeError(f"{where}: {name} is {value!r}; give true or false.")


def _check_names(kind: str, names: Iterable[str], owner: type) -> None:
    known = [f.name for f in fields(owner)]
    for name in names:
        if name not in known:
            raise RecipeError(unknown(kind, name, known))


def _check_fields(name: str, changes: Mapping[str, Any]) -> None:
    try:
        _check_names("optimization", changes, Recipe)
    except RecipeError as error:
        raise RecipeError(f"stage {name!r}: {error}") from None


# -- stages as tables of a configuration file -------------------------------------------------------------------------


def _stage_from_table(name: str, table: object, ladder: Ladder) -> Stage:
    """A TOML table says a stage as the code does: `follows`, `adds`, `budget`, and what changes."""
    try:
        return _read_stage(name, _table("a stage", table), ladder)
    except RecipeError as error:
        said = str(error).removeprefix(f"stage {name!r}: ")
        raise RecipeError(f"stage {name!r}: {said}") from None


def _read_stage(name: str, table: dict[str, Any], ladder: Ladder) -> Stage:
    follows = _text("follows", table.pop("follows", None))
    adds = _text("adds", table.pop("adds", None))
    budget = _read_budget(_table("budget", table.pop("budget"))) if "budget" in table else None
    if "compile" in table:
        table["compile"] = _read_compile(table["compile"])
    _check_names("optimization", table, Recipe)
    before = ladder._before(name, follows)
    return Step(name, adds or f"what {name!r} changes in the configuration", table, budget).after(before)


def _read_compile(value: object) -> Compile | None:
    if isinstance(value, bool):
        return Compile() if value else None
    options = _table("compile", value)
    _check_names("compile option", options, Compile)
    if "flags" in options:
        options["flags"] = tuple(_table("flags", options["flags"]).items())
    return Compile(**options)


def _read_budget(table: dict[str, Any]) -> ImageBudget:
    _check_names("number of a budget", table, ImageBudget)
    missing = [name for name in ("ssim", "worst_tile") if name not in table]
    if missing:
        raise RecipeError(f"budget: {' and '.join(missing)} missing; give both ssim and worst_tile.")
    return ImageBudget(**{"measured": "the configuration", **table})


def _table(kind: str, value: object) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        needs = " with ssim and worst_tile" if kind == "budget" else ""
        raise RecipeError(f"{kind} is {value!r}; give a table{needs}.")
    return {str(key).replace("-", "_"): entry for key, entry in value.items()}


def _text(kind: str, value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise RecipeError(f"{kind} is {value!r}; give a text in quotes.")
    return value


LADDER = ladder(
    stage("fp32", "the plain pipeline in float32, attention written out, TF32 allowed as in the published one"),
    stage("bf16", "weights and arithmetic in bfloat16", dtype="bfloat16"),
    stage("sdpa", "attention in one kernel (scaled_dot_product_attention)", attention="sdpa"),
    stage(
        "compile",
        "denoiser and decoder compiled as full graphs, in channels_last layout",
        compile=Compile(),
        channels_last=True,
    ),
    stage("fused-qkv", "one matrix product for query, key and value", fuse_qkv=True),
    stage(
        "int8",
        "dynamic int8 in the linear layers that the published filter selects",
        quantize="int8-dynamic",
        compile=Compile(flags=(*PUBLISHED_FLAGS, ("force_fuse_int_mm_with_mul", True))),
        budget=QUANTIZED,
    ),
)
"""The published ladder (https://pytorch.org/blog/accelerating-generative-ai-3/), with today's libraries."""
