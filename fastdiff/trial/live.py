"""A stage that is alive: built, called once, counted, and ready to draw again and again."""

from __future__ import annotations

import json
import math
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from fastdiff.instruments import components, counts, fingerprint, memory, proof
from fastdiff.instruments.boundaries import boundaries
from fastdiff.instruments.fingerprint import Fingerprint
from fastdiff.instruments.latency import DeviceTimer, settle, synchronised_clock
from fastdiff.instruments.telemetry import Watch
from fastdiff.models.libraries import torch
from fastdiff.models.shapes import FOLDER as SHAPES_FOLDER
from fastdiff.optimize import build, cooked
from fastdiff.quality.metrics import likeness
from fastdiff.quality.parity import shortfall
from fastdiff.record.errors import UserError
from fastdiff.record.run import Quality, Round, StageRecord

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from pytest_benchmark.fixture import BenchmarkFixture

    from fastdiff.models import Model, Request
    from fastdiff.optimize import Built
    from fastdiff.quality.metrics import Likeness
    from fastdiff.record.budget import Budget
    from fastdiff.record.run import Components, Memory, WarmUp
    from fastdiff.stages.ladder import Stage
    from fastdiff.stages.recipe import Recipe

_DONE: set[str] = set()
"""What first calls of this process have done to their end; whoever does it first pays for what is needed once."""

FEW_STEPS = 2
"""For passes that are slow: neither the peak of memory nor the counts of a step depend on how often it is repeated."""


@dataclass(frozen=True)
class Reference:
    """The pictures that the others of the same run are compared with, and which stage drew them."""

    stage: str
    images: np.ndarray


OUT_OF_MEMORY = (
    "can't allocate memory",
    "cuda out of memory",
    "cuda error: out of memory",
    "cublas_status_alloc_failed",
)
"""What else is said: by the host's allocator, by torch while inductor tunes (as inductor's error), by a driver without
room for a context, by a library without any."""


def out_of_memory(error: BaseException) -> bool:
    """torch has a class of its own for a full GPU, and none for a full host."""
    if isinstance(error, UserError):
        return error.code == "memory"
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return any(words in str(error).lower() for words in OUT_OF_MEMORY)


def graph_failed(error: BaseException) -> bool:
    return type(error).__module__ in ("torch._dynamo.exc", "torch._inductor.exc")


class LiveStage:
    """What the fixture `stage` gives to a test."""

    def __init__(self, model: Model, stage: Stage, device: str, request: Request, rounds: int) -> None:
        self.model, self.stage, self.device, self.rounds = model, stage, device, rounds
        self.request = request.changed(batch=stage.recipe.batch)
        self.built: Built = build(model, stage.recipe, device, self.request)
        try:
            self.structure = fingerprint.structure(self.built)
        except BaseException:
            self.built.close()
            raise
        self.compilation = fingerprint.Compilation()
        self.first_call_s = 0.0
        self.opening: tuple[str, ...] | None = None
        self.quality: Quality | None = None
        self.injected = ""
        """The faults that were put in on purpose."""
        self.slowness: float | None = None
        """By which share the fault `slow` makes calls longer."""
        self.warm_up: WarmUp | None = None
        self.components: Components | None = None
        self.memory_found: Memory | None = None
        self.drawn: np.ndarray | None = None
        self._first_call_peak: int | None = None
        self.drawing_s = math.inf
        """Of the first call of the steady state."""
        self._counts: dict[str, Any] | None = None
        self._readings: list[Round] = []
        self._watch = Watch(device)
        self._device_s: float | None = None

    @property
    def id(self) -> str:
        return f"{self.model.name}-{self.stage.name}"

    @property
    def weights(self) -> str:
        """Where the weights come from, as it is kept; a folder's own path is nobody's business."""
        kind = self.model.weights
        if self.built.synthetic_text:
            return f"{kind}, synthetic text"
        if self.model.made_here:
            return kind
        if self.model.folder is not None:
            return "embedded" if self.model.folder == SHAPES_FOLDER else "folder"
        return f"hub@{self.model.revision or 'newest'}"

    def claim(self, stage: Stage) -> None:
        """Passes for another stage than was built, as a stage does that silently was not applied."""
        self.stage = stage
        self.built.recipe = cooked(self.model, stage.recipe, self.device)

    @property
    def budget(self) -> Budget:
        return self.stage.budget

    @property
    def load_s(self) -> float:
        return self.built.load_s

    def call(self, output: str = "pil") -> Any:
        """One pipeline call. Latents come from a CPU generator, so every device and dtype starts from the same ones."""
        asked = self.request
        seeds = [torch.Generator("cpu").manual_seed(asked.seed + i) for i in range(asked.batch)]
        return self.built.pipeline(
            height=asked.size,
            width=asked.size,
            num_inference_steps=asked.steps,
            guidance_scale=asked.guidance,
            generator=seeds,
            output_type=output,
            **{"prompt": asked.prompt, "num_images_per_prompt": asked.batch} | self.built.call_options,
        ).images

    def generate(self) -> Any:
        """What is timed: one whole call, from the prompt to finished pictures."""
        if self.device == "cpu":
            return self.call()
        with DeviceTimer() as timer, boundaries(self.built.pipeline, timer.ended):
            images = self.call()
        self._device_s = timer.seconds
        return images

    # -- around the timed calls ---------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Calls until samples agree, so that the timed ones are of the steady state."""
        self.warm_up = settle(self.generate, fastest=self.drawing_s)

    def measure(self, benchmark: BenchmarkFixture) -> None:
        """Warms up, and lets pytest-benchmark time the calls."""
        self.settle()
        pedantic: Any = benchmark.pedantic
        pedantic(self.generate, setup=self.before_round, teardown=self.after_round, rounds=self.rounds)

    def before_round(self) -> None:
        """Reads counters and no more: what computes between two calls takes the cores or caches of the next one."""
        self._watch.before()

    def after_round(self) -> None:
        reading = self._watch.after()
        self._readings.append(Round(1.0, self._device_s, reading.void, reading.telemetry))

    def forget_rounds(self) -> None:
        """What was seen around the calls of another test is not this one's."""
        self._readings = []

    def _rounds(self, samples_s: tuple[float, ...]) -> tuple[Round, ...]:
        """The timed calls with what was seen around each; what a suite did not look at has its time alone."""
        # Rounds that warm up come first and have no sample; an interrupt can leave a sample that was not looked after.
        seen = self._readings[-len(samples_s) :] if len(self._readings) > len(samples_s) else self._readings
        blank = [Round(1.0)] * (len(samples_s) - len(seen))
        return tuple(
            replace(reading, wall_s=sample) for sample, reading in zip(samples_s, [*seen, *blank], strict=True)
        )

    # -- passes of their own, which never disturb the timed calls -----------------------------------------------------

    def count(self) -> None:
        """FLOPs, operators and attention kernels of one call without compiled code."""
        steps = self.request.steps
        if self._counts is None:
            # With a cache no step stands for the others.
            with self._few_steps() if self.recipe.cache == "none" else nullcontext():
                self._counts = counts.count(self.built, self.generate, steps) | counts.inductor(tuned=self._is_tuned)

    @property
    def _is_tuned(self) -> bool:
        """Whether inductor lets candidates race for each kernel; on a CPU no recipe asks for that."""
        return self.recipe.compile is not None and self.recipe.compile.mode.startswith("max-autotune")

    def take_apart(self) -> None:
        if self.components is None:
            self.components = components.measure(self.built, self.generate)

    @property
    def memory(self) -> Memory:
        """The peak of one call, with fewer steps; measured when it is asked for, and once."""
        if self.memory_found is None:
            self.memory_found = self.measure_memory()
        return self.memory_found

    def measure_memory(self) -> Memory:
        with self._few_steps():
            found = memory.measure(self.built, self.generate)
        return replace(found, first_call_peak_bytes=self._first_call_peak)

    @contextmanager
    def _few_steps(self) -> Iterator[None]:
        whole = self.request
        self.request = whole.changed(steps=min(whole.steps, FEW_STEPS))
        try:
            yield
        finally:
            self.request = whole

    @property
    def facts(self) -> dict[str, Any]:
        """The fingerprint, flat, with everything that was counted so far."""
        return self.fingerprint.flat() | (self._counts or {})

    def first_call(self) -> float:
        """Compiles, if there is something to compile; seconds that never mix with the steady state's."""
        memory.forget_peak(self.device)
        began = synchronised_clock()
        try:
            self.call()
        except RuntimeError as error:
            # torch says so in a hundred lines when a full graph was asked for and compilation is switched off.
            if "found no compiled frames" in str(error):
                raise UserError("not-compiled", proof.unapplied(self.recipe, self.fingerprint)[0]) from None
            raise
        self.first_call_s = synchronised_clock() - began
        work = {"compute", "compile"} if self.recipe.compile else {"compute"}
        self.opening = tuple(sorted(work - _DONE))
        _DONE.update(work)
        self._first_call_peak = memory.peak_bytes(self.device)
        self.compilation = fingerprint.compilation()
        return self.first_call_s

    @property
    def images(self) -> np.ndarray:
        """Pictures as floats from 0 to 1, drawn in the steady state: the first call may take another path."""
        if self.drawn is None:
            began = synchronised_clock()
            self.drawn = self.call(output="np")
            self.drawing_s = synchronised_clock() - began
        return self.drawn

    @property
    def fingerprint(self) -> Fingerprint:
        """Counted now, so that what happened since the first call shows."""
        now = fingerprint.compilation()
        return Fingerprint(self.structure, now, recompiles=now.graphs - self.compilation.graphs)

    @property
    def recipe(self) -> Recipe:
        """As it was cooked on this device."""
        return self.built.recipe

    @property
    def unapplied(self) -> list[str]:
        return proof.unapplied(self.recipe, self.fingerprint)

    def record(self, samples_s: tuple[float, ...] = ()) -> StageRecord:
        """What is known by now, as it is kept; `samples_s` are the timed calls."""
        return StageRecord(
            self.model.name,
            self.stage.name,
            self.stage.follows,
            recipe=self.recipe.as_kept(),
            request=_plain(self.request),
            weights=self.weights,
            load_s=self.load_s,
            first_call_s=self.first_call_s or None,
            cache=self.compilation.cache,
            opening=self.opening,
            warm_up=self.warm_up,
            rounds=self._rounds(samples_s),
            components=self.components,
            memory=self.memory_found,
            fingerprint=self.facts,
            quality=self.quality,
            unapplied=tuple(self.unapplied),
            injected=self.injected,
        )

    def likeness_to(self, reference: Reference) -> Likeness:
        """The reference stage is compared with a second drawing of its own: it must at least be like itself."""
        images = self.call(output="np") if reference.stage == self.stage.name else self.images
        alike = min(len(images), len(reference.images))  # a stage of another batch draws the same first ones
        found = likeness(images[:alike], reference.images[:alike])
        if not math.isfinite(found.ssim):
            return found  # the judgement over pictures says so, and a file cannot hold it
        wrong = shortfall(found, self.budget)
        psnr = found.psnr_db if found.psnr_db != float("inf") else None
        self.quality = Quality(
            reference.stage, found.ssim, found.worst_tile, psnr, passed=not wrong, reason=wrong or ""
        )
        return found

    def close(self) -> list[str]:
        """Ends the stage; names the global switches that it left changed."""
        return self.built.close()


def _plain(data: Any) -> dict[str, Any]:
    """As it comes back from a file, where a tuple is a list: what is kept and what is compared must be alike."""
    plain: dict[str, Any] = json.loads(json.dumps(asdict(data)))
    return plain
