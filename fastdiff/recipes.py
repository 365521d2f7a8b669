"""What a stage does, as data: recipes, stages, the ladder. Nothing here acts, and nothing here imports torch."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

DTYPES = ("float32", "bfloat16", "float16", "half")
"""`half` is float16 on a GPU and bfloat16 on a CPU, which only emulates the other."""
KERNELS = ("flash", "memory-efficient", "cudnn", "math")
"""Families of scaled_dot_product_attention that can be asked for by name."""
ATTENTIONS = ("vanilla", "sdpa", *KERNELS)
QUANTIZATIONS = ("none", "int8-dynamic", "int8-weight-only", "int4-weight-only", "float8-dynamic")
BFLOAT16_ONLY = ("int4-weight-only", "float8-dynamic")
OFFLOADS = ("none", "model", "sequential", "group")
AUTOENCODERS = ("own", "tiny")
TEXTS = ("live", "precomputed")
CACHES = ("none", "first-block", "pyramid-attention", "faster", "taylorseer")
"""diffusers' own caches, which reuse what an earlier step computed; all of them change the picture."""
COMPILE_MODES = ("default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")


PUBLISHED_FLAGS = (
    ("conv_1x1_as_mm", True),
    ("coordinate_descent_tuning", True),
    ("epilogue_fusion", False),
    ("coordinate_descent_check_all_directions", True),
)


class RecipeError(ValueError):
    """A recipe that cannot be cooked; the message is one sentence that says why and what to do."""


class EmulatedError(RecipeError):
    """A recipe that this CPU could only emulate, in many times the seconds of what it is to be faster than."""


@dataclass(frozen=True)
class Compile:
    """How the denoiser and the decoder are compiled."""

    mode: str = "max-autotune"
    """On a CUDA device. A CPU always takes `default`: autotuning finds nothing there that pays for its minutes."""
    fullgraph: bool = True
    denoiser: bool = True
    decoder: bool = True
    regional: bool = False
    """Of the denoiser only the repeated blocks, each kind once: much less to compile for nearly the same speed."""
    flags: tuple[tuple[str, bool], ...] = PUBLISHED_FLAGS
    """Inductor's flags, as published; they are borrowed for the stage and put back after it."""

    def __post_init__(self) -> None:
        _one_of("compile mode", self.mode, COMPILE_MODES)
        _switches("compile", {name: getattr(self, name) for name in ("fullgraph", "denoiser", "decoder", "regional")})
        _switches("flags", dict(self.flags))
        if not (self.denoiser or self.decoder):
            raise RecipeError("compile: neither the denoiser nor the decoder is to be compiled; leave `compile` out.")
        if self.regional and not self.denoiser:
            raise RecipeError("compile: regional is about the denoiser's blocks; set denoiser = true.")
        if self.regional and self.mode in ("max-autotune", "reduce-overhead"):
            raise RecipeError(
                f"compile: with mode {self.mode!r} every region has CUDA graphs of its own, and one overwrites what "
                "another one reads; set mode = 'max-autotune-no-cudagraphs'."
            )


@dataclass(frozen=True)
class Recipe:
    """Which optimizations are on. The fields say what; `fastdiff.optimize` knows how and in which order."""

    dtype: str = "float32"
    tf32: bool = True
    """Whether fp32 matrix products may round to TF32 on CUDA. The published ladder allows it; a CPU has none."""
    attention: str = "vanilla"
    """Written out, in whichever kernel torch chooses (`sdpa`), or in one of the named families."""
    attention_backend: str = ""
    """A name of diffusers' dispatcher, for models whose attention goes through it; empty leaves the choice to it."""
    channels_last: bool = False
    compile: Compile | None = None
    fuse_qkv: bool = False
    quantize: str = "none"
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
        switches = ("tf32", "channels_last", "fuse_qkv", "upcast_vae", "vae_slicing", "vae_tiling")
        _switches("recipe", {name: getattr(self, name) for name in switches})
        if self.compile is not None and not isinstance(self.compile, Compile):
            raise RecipeError(f"compile is {self.compile!r}; give a Compile(), or in a file true or a table.")
        if not isinstance(self.attention_backend, str):
            raise RecipeError(f"attention_backend is {self.attention_backend!r}; give a name of diffusers' dispatcher.")
        if self.batch is not None and (
            isinstance(self.batch, bool) or not isinstance(self.batch, int) or self.batch < 1
        ):
            raise RecipeError(f"batch is {self.batch!r}; give a whole number above zero.")
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
                raise RecipeError(sentence)

    def _impossible(self) -> Iterator[tuple[bool, str]]:
        """Combinations that no device can cook, each with the sentence that refuses it."""
        yield (
            self.fuse_qkv and self.attention == "vanilla",
            "fuse_qkv replaces every attention processor by a fused SDPA one, so vanilla attention cannot stay; "
            'set attention = "sdpa".',
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
        """This recipe as it is cooked on `device` ("cpu" or "cuda"); what the device cannot do is refused.

        `capability` is that of the GPU; without it nothing is refused for its age. `emulated` is the arithmetic that a
        CPU has no instructions for and is not to be asked for.
        """
        recipe = replace(self, dtype=_half(device, self.quantize)) if self.dtype == "half" else self
        for impossible, sentence in recipe._impossible_on(device, capability):
            if impossible:
                raise RecipeError(sentence)
        for kind in emulated:
            if kind in recipe.arithmetic:
                raise EmulatedError(
                    f"this CPU has no instructions for {kind} and takes many times as long for it as for float32; "
                    "leave the stage out, or add --fastdiff-emulate."
                )
        if device == "cpu" and recipe.compile is not None:
            return replace(recipe, compile=replace(recipe.compile, mode="default"))
        return recipe

    @property
    def arithmetic(self) -> set[str]:
        """What it computes in on a CPU."""
        quantized = {"int8"} if self.quantize == "int8-dynamic" else set()
        return {_on_a_cpu(self.dtype)} | quantized

    def _impossible_on(self, device: str, capability: tuple[int, int] | None) -> Iterator[tuple[bool, str]]:
        cpu, age = device == "cpu", capability or (99, 0)
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


CACHED = ImageBudget(
    ssim=0.80,
    worst_tile=0.40,
    measured="a choice, not a measurement: a cache redraws details and must keep the picture",
)
TILED = ImageBudget(
    ssim=0.80,
    worst_tile=0.50,
    measured="a choice: tiles normalise each for itself; the embedded model had SSIM 0.955 in one run, 0.87 in another",
)
TINY = ImageBudget(
    ssim=0.70,
    worst_tile=0.30,
    measured="a choice, not a measurement: a distilled decoder loses fine detail",
)


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
    """Stages in order, each one adding one idea to the one that it follows."""

    stages: tuple[Stage, ...]
    compared_with: str = ""
    """The stage whose pictures are everybody's reference; empty means the first."""

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
        if self.compared_with and self.compared_with not in names:
            raise RecipeError(unknown("stage", self.compared_with, names))

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
        return self[self.compared_with] if self.compared_with else self.stages[0]

    def add(self, new: Stage) -> Ladder:
        """The same ladder with `new` at its end, or in the place of the stage that has its name.

        Stages that follow a replaced one keep their recipes: replace them too, if the change is meant to go on.
        """
        if new.name in self.names:
            return replace(self, stages=tuple(new if stage.name == new.name else stage for stage in self.stages))
        return replace(self, stages=(*self.stages, new))

    def extend(self, name: str, adds: str, *, follows: str | None = None, **changes: Any) -> Ladder:
        """Adds the stage that differs from `follows` by `changes`.

        Without `follows` it comes after the last one, or, if it has a known name, after what the known one follows.
        """
        return self.add(stage(name, adds, **changes).after(self.before(name, follows)))

    def native(self, emulated: Collection[str]) -> Ladder:
        """The ladder as it is climbed on a CPU that only emulates some arithmetic, such as bfloat16.

        Stages stay in float32 there. One that is about nothing else than its dtype is left as it is, to be refused
        when it is its turn; what follows it, or is compared with it, takes what it follows instead.
        """
        climbed = []
        passed_over: dict[str | None, str | None] = {}
        for stage in self.stages:
            before = self[stage.follows] if stage.follows else None
            follows = passed_over.get(stage.follows, stage.follows)
            recipe = stage.recipe
            if _on_a_cpu(recipe.dtype) in emulated:
                if before and before.recipe.dtype != recipe.dtype and _in_float32(before.recipe) == _in_float32(recipe):
                    passed_over[stage.name] = follows
                else:
                    recipe = replace(_in_float32(recipe), tf32=recipe.tf32)
            climbed.append(replace(stage, recipe=recipe, follows=follows))
        return Ladder(tuple(climbed), passed_over.get(self.compared_with) or self.compared_with)

    def refused(self, emulated: Collection[str]) -> tuple[str, ...]:
        """The names of the stages that such a CPU refuses."""
        return tuple(stage.name for stage in self.stages if stage.recipe.arithmetic & set(emulated))

    def before(self, name: str, follows: str | None) -> Stage | None:
        """The stage that a stage called `name` is told as a difference to."""
        if follows is not None:
            return self[follows]
        if name in self.names:
            known = self[name].follows
            return self[known] if known is not None else None
        return self.stages[-1]


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


def without_instructions(
    emulated: Collection[str], refused: Collection[str], option: str = "--fastdiff-emulate"
) -> str:
    """What a CPU that only emulates something makes of a ladder, in one sentence; empty where it lacks nothing."""
    if not emulated:
        return ""
    told = ["stages stay in float32"] if "bfloat16" in emulated else []
    told += [f"{' and '.join(refused)} {'is' if len(refused) == 1 else 'are'} skipped"] if refused else []
    return (
        f"this CPU has no instructions for {' and '.join(emulated)}: {', and '.join(told or ['nothing here needs it'])}"
        f" ({option} measures as written)"
    )


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """The sentence that answers a name which nobody knows with the nearest one that somebody does."""
    known = list(known)
    begun = [one for one in known if name and one.startswith(name)]
    near = begun or difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    guess = f"; did you mean {near[0]!r}?" if near else "."
    return f"no {kind} is called {name!r}{guess} There are: {', '.join(known)}."


def _one_of(kind: str, value: object, known: tuple[str, ...]) -> None:
    if value not in known:
        raise RecipeError(unknown(kind, str(value), known))


def _switches(where: str, values: Mapping[str, object]) -> None:
    for name, value in values.items():
        if not isinstance(value, bool):
            raise RecipeError(f"{where}: {name} is {value!r}; give true or false.")


def check_names(kind: str, names: Iterable[str], owner: type) -> None:
    known = [f.name for f in fields(owner)]
    for name in names:
        if name not in known:
            raise RecipeError(unknown(kind, name, known))


def _half(device: str, quantize: str) -> str:
    return "bfloat16" if device == "cpu" or quantize in BFLOAT16_ONLY else "float16"


def _on_a_cpu(dtype: str) -> str:
    """Where `half` is another name for it."""
    return _half("cpu", "none") if dtype == "half" else dtype


def _in_float32(recipe: Recipe) -> Recipe:
    """The same recipe in a CPU's float32, which has no TF32; or as it is where it makes no sense there."""
    try:
        return replace(recipe, dtype="float32", tf32=True)
    except RecipeError:
        return recipe


def _dotted(capability: tuple[int, int]) -> str:
    return f"{capability[0]}.{capability[1]}"


def _check_fields(name: str, changes: Mapping[str, Any]) -> None:
    try:
        check_names("optimization", changes, Recipe)
    except RecipeError as error:
        raise RecipeError(f"stage {name!r}: {error}") from None


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


REGIONAL = Compile(mode="max-autotune-no-cudagraphs", regional=True)

BEYOND = (
    ("fp32", stage("fp32-strict", "float32 without TF32", tf32=False)),
    ("fp32", stage("fp16", "weights and arithmetic in float16", dtype="float16")),
    ("bf16", stage("sdpa-flash", "attention in the flash kernel, or an error", attention="flash")),
    (
        "bf16",
        stage("sdpa-memory-efficient", "attention in the memory-efficient kernel", attention="memory-efficient"),
    ),
    ("bf16", stage("sdpa-cudnn", "attention in cuDNN's kernel", attention="cudnn")),
    ("bf16", stage("sdpa-math", "attention as torch writes it out itself", attention="math")),
    ("sdpa", stage("backend-flash", "diffusers' dispatcher, flash kernel", attention_backend="_native_flash")),
    ("sdpa", stage("backend-cudnn", "diffusers' dispatcher, cuDNN's kernel", attention_backend="_native_cudnn")),
    ("sdpa", stage("upcast-vae", "the autoencoder decodes in float32", upcast_vae=True)),
    ("sdpa", stage("batch-4", "four pictures of a call", batch=4)),
    ("sdpa", stage("compile-regional", "each kind of repeated block compiled once", compile=REGIONAL)),
    ("sdpa", stage("compile-denoiser", "the denoiser compiled, the decoder not", compile=Compile(decoder=False))),
    ("sdpa", stage("compile-decoder", "the decoder compiled, the denoiser not", compile=Compile(denoiser=False))),
    (
        "compile",
        stage("compile-default", "compiled without autotuning and CUDA graphs", compile=Compile(mode="default")),
    ),
    (
        "compile",
        stage("compile-reduce-overhead", "CUDA graphs without autotuning", compile=Compile(mode="reduce-overhead")),
    ),
    (
        "compile",
        stage(
            "compile-no-cudagraphs",
            "autotuned without CUDA graphs",
            compile=Compile(mode="max-autotune-no-cudagraphs"),
        ),
    ),
    (
        "fused-qkv",
        stage(
            "int8-weight-only", "weights in int8, arithmetic as before", quantize="int8-weight-only", budget=QUANTIZED
        ),
    ),
    (
        "fused-qkv",
        stage(
            "int4-weight-only", "weights in int4, arithmetic as before", quantize="int4-weight-only", budget=QUANTIZED
        ),
    ),
    (
        "fused-qkv",
        stage("float8", "dynamic float8, a scale for each row", quantize="float8-dynamic", budget=QUANTIZED),
    ),
    (
        "sdpa",
        stage(
            "first-block-cache",
            "steps whose first block hardly changes are skipped",
            cache="first-block",
            budget=CACHED,
        ),
    ),
    (
        "sdpa",
        stage(
            "pyramid-attention", "attention of earlier steps is used again", cache="pyramid-attention", budget=CACHED
        ),
    ),
    (
        "sdpa",
        stage("faster-cache", "attention and guidance of earlier steps are used again", cache="faster", budget=CACHED),
    ),
    (
        "sdpa",
        stage("taylorseer", "skipped steps are extrapolated from earlier ones", cache="taylorseer", budget=CACHED),
    ),
)
"""What is not on the published ladder: stages to be named with `--fastdiff-stage`, each with the one it follows."""


def with_named(ladder: Ladder, names: Iterable[str]) -> Ladder:
    """The ladder and, at its end, the stages beyond it that are asked for by name."""
    for follows, step in BEYOND:
        if step.name in names and step.name not in ladder.names and follows in ladder.names:
            ladder = ladder.add(step.after(ladder[follows]))
    return ladder


HALF = Recipe(dtype="half")
DEFAULT = replace(HALF, attention="sdpa")
"""What the published memory techniques are measured against."""


def _technique(name: str, adds: str, budget: ImageBudget = LOSSLESS, **changes: Any) -> Stage:
    return Stage(f"default+{name}", replace(DEFAULT, **changes), adds, "default", budget)


TECHNIQUES = Ladder(
    (
        Stage("unoptimized", Recipe(tf32=False), "float32, attention written out"),
        Stage("half", HALF, "float16 (on a CPU bfloat16), attention written out", "unoptimized"),
        Stage("default", DEFAULT, "attention in one kernel", "half"),
        _technique(
            "compile",
            "the denoiser compiled as a full graph",
            compile=Compile(mode="reduce-overhead", decoder=False, flags=()),
        ),
        _technique("model-offload", "models wait on the host until they are called", offload="model"),
        _technique("sequential-offload", "layers wait on the host until they are called", offload="sequential"),
        _technique("group-offload", "groups of layers wait on the host until they are called", offload="group"),
        _technique("vae-slicing", "pictures of a batch are decoded one by one", vae_slicing=True),
        _technique("vae-tiling", "a picture is decoded in tiles", TILED, vae_tiling=True),
        _technique(
            "vae-slicing+sequential-offload",
            "pictures decoded one by one, layers on the host",
            vae_slicing=True,
            offload="sequential",
        ),
        _technique("precomputed-text", "the prompt encoded once, the encoders dropped", text="precomputed"),
        _technique("tiny-autoencoder", "a distilled decoder", TINY, autoencoder="tiny"),
    ),
    compared_with="default",
)
"""The published memory techniques (https://huggingface.co/blog/simple_sdxl_optimizations), and two that came later."""

LADDERS = {"published": LADDER, "techniques": TECHNIQUES}
EVERY_STAGE = tuple(dict.fromkeys([*LADDER.names, *(step.name for _, step in BEYOND), *TECHNIQUES.names]))
"""Names that mean something in some session, if not in this one."""
