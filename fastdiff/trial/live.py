"""A live stage: built, called once, counted, and ready to draw repeatedly."""

from __future__ import annotations

import math
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from fastdiff.instruments import components, counts, fingerprint, memory, proof, trace
from fastdiff.instruments.boundaries import boundaries
from fastdiff.instruments.fingerprint import Fingerprint
from fastdiff.instruments.latency import DeviceTimer, settle, synchronised_clock, wait_until
from fastdiff.instruments.telemetry import Watch
from fastdiff.models import checkpoints
from fastdiff.models.libraries import torch
from fastdiff.models.shapes import FOLDER as SHAPES_FOLDER
from fastdiff.optimize import build, resolved
from fastdiff.quality.parity import compared
from fastdiff.record.errors import UserError, named_line
from fastdiff.record.outputs import write_whole
from fastdiff.record.run import OWN, Sample, Trial
from fastdiff.trial import drawing
from fastdiff.trial.enough import USUAL, require_callable, require_enough_steps, require_known_arguments
from fastdiff.trial.faults import parse, put_in
from fastdiff.trial.runner import SILENT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_benchmark.fixture import BenchmarkFixture

    from fastdiff.models import Model, Request
    from fastdiff.optimize import Built
    from fastdiff.quality.metrics import Likeness
    from fastdiff.quality.tensors import Closeness
    from fastdiff.record.budget import Budget
    from fastdiff.record.outputs import Output
    from fastdiff.record.pairs import Profile
    from fastdiff.record.run import Components, Memory, Quality, WarmUp
    from fastdiff.stages.ladder import Stage
    from fastdiff.stages.recipe import Recipe
    from fastdiff.trial.reference import Reference
    from fastdiff.trial.runner import Progress
    from fastdiff.trial.work import Work

_DONE: set[str] = set()
"""The kinds of work that first calls of this process have completed. The first call of each kind includes one-time
process costs."""

FEW_STEPS = 2
"""Steps of slow passes: neither the memory peak nor the counts of a step depend on the number of steps."""

PROFILED_STEPS = 8
"""Few, because a profiler keeps every event until the call has ended."""

OUT_OF_MEMORY = (
    "can't allocate memory",
    "cuda out of memory",
    "cuda error: out of memory",
    "mps backend out of memory",
    "cublas_status_alloc_failed",
)
"""Messages of errors that have no class of their own: from the host's allocator, from torch while inductor tunes, from
a driver without memory for a context, from cuBLAS."""


def out_of_memory(error: BaseException) -> bool:
    """torch has an error class for a full GPU, but none for a full host."""
    if isinstance(error, UserError):
        return error.code == "memory"
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return any(words in str(error).lower() for words in OUT_OF_MEMORY)


def graph_failed(error: BaseException) -> bool:
    return type(error).__module__ in ("torch._dynamo.exc", "torch._inductor.exc")


@contextmanager
def here(work: Work, progress: Progress = SILENT) -> Iterator[LiveStage]:
    """The runner that builds in this process. torch keeps compiled code, so a later trial of a process may differ."""
    with progress.doing(f"{work.id}: loading and building"):
        live = LiveStage(work.model, work.built, work.device, work.request)
    try:
        if work.built != work.stage:
            live.claim(work.stage)
        if work.faults:
            put_in(parse(work.faults), live)
        compiles = " (compiling)" if live.recipe.compile else ""
        with progress.doing(f"{work.id}: first call{compiles}"):
            live.first_call()
        yield live
    finally:
        live.close()


class LiveStage:
    """The object that the fixture `stage` gives to a test."""

    def __init__(self, model: Model, stage: Stage, device: str, request: Request, rounds: int = 1) -> None:
        self.model, self.stage, self.device, self.rounds = model, stage, device, rounds
        self.request = request.changed(batch=stage.recipe.batch, steps=stage.recipe.steps)
        self.built: Built = build(model, stage.recipe, device, self.request)
        self.request = self.built.request
        try:
            self.structure = fingerprint.structure(self.built)
        except BaseException:
            self.built.close()
            raise
        self.compilation = fingerprint.Compilation()
        self.first_call_s = 0.0
        self.first_in_process: tuple[str, ...] | None = None
        self.quality: Quality | None = None
        self.injected = ""
        """The injected faults."""
        self.slowness: float | None = None
        """The share by which the fault `slow` makes calls longer."""
        self.warm_up: WarmUp | None = None
        self.components: Components | None = None
        self.memory_found: Memory | None = None
        self.drawn: Output | None = None
        self._first_call_peak: int | None = None
        self.drawing_s = math.inf
        """Seconds of the first steady-state call."""
        self._counted: dict[str, Any] | None = None
        self._effects: fingerprint.Effects | None = None
        self.samples: list[Sample] = []
        """The samples of the running test; those of earlier tests are in the session's trial."""
        self.watch = Watch(device)
        self._wall_s = math.inf
        self._device_s: float | None = None
        self._at_the_end: Fingerprint | None = None

    def __repr__(self) -> str:
        """The text that pytest shows in a failed assertion."""
        return self.id

    @property
    def id(self) -> str:
        return f"{self.model.name}-{self.stage.name}"

    @cached_property
    def weights(self) -> str:
        """The source of the weights, as stored; the path of a folder is private."""
        if self.model.factory:
            return OWN
        kind = self.model.weights
        if self.built.synthetic_text:
            return f"{kind}, synthetic text"
        if self.model.made_here:
            return kind
        if self.model.folder is not None:
            shapes = self.model.folder == SHAPES_FOLDER
            return "embedded" if shapes else f"folder {checkpoints.identity(self.model.folder)}"
        return f"hub@{self.model.revision or 'newest'}"

    def claim(self, stage: Stage) -> None:
        """Takes the name of `stage`, although another stage was built: simulates an optimization without effect."""
        self.stage = stage
        self.built.recipe = self.built.fitting(resolved(self.model, stage.recipe, self.device))

    @property
    def budget(self) -> Budget:
        return self.stage.budget

    @property
    def load_s(self) -> float:
        return self.built.load_s

    def call(self) -> Any:
        """One pipeline call."""
        return self.built.call(self.request)

    def draw(self) -> Output:
        """One pipeline call that returns the pictures as floats from 0 to 1, or the tensors."""
        return drawing.draw(self.built, self.request)

    def generate(self) -> Any:
        """The timed work: one whole call, from the prompt to finished pictures."""
        if self.device == "cpu":
            return self.call()
        with DeviceTimer() as timer, boundaries(self.built.anatomy, timer.ended):
            images = self.call()
        self._device_s = timer.seconds
        return images

    # -- around the timed calls ---------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Draws the pictures, then calls until that gets no faster, so that the timed ones are in the steady state."""
        _ = self.images
        self.warm_up = settle(self.generate, fastest=self.drawing_s)

    def measure(self, benchmark: BenchmarkFixture) -> None:
        """Warms up, then lets pytest-benchmark time the calls."""
        self.settle()
        self.time(benchmark)

    def time(self, benchmark: BenchmarkFixture) -> None:
        """Without warming up."""
        pedantic: Any = benchmark.pedantic
        pedantic(self._timed, setup=self.watch.before, teardown=self._keep, rounds=self.rounds)

    def sample(self, at: float = 0.0) -> Sample:
        """One timed call, not before `at`. Around it only counters are read, because computation would take cores or
        caches from the next call. Only the cores of this process are watched, so the other side of a pair is no
        disturbance."""
        self.watch.before()
        wait_until(at)
        self._timed()
        return self._keep()

    def _timed(self) -> Any:
        began = synchronised_clock()
        images = self.generate()
        self._wall_s = synchronised_clock() - began
        return images

    def _keep(self) -> Sample:
        """Stores the last call with the counters around it."""
        seen = self.watch.after()
        self.samples.append(Sample(self._wall_s, self._device_s, seen.void, seen.telemetry))
        return self.samples[-1]

    # -- passes of their own, which never disturb the timed calls -----------------------------------------------------

    def count(self) -> None:
        """FLOPs, operators and attention kernels of one call without compiled code."""
        if self._counted is not None:
            return
        steps = self.request.steps or 0
        # With a cache no step stands for the others.
        with self._few_steps() if self.recipe.cache == "none" else nullcontext():
            try:
                found = counts.count(self.built, self.generate, steps)
            except Exception as error:
                if out_of_memory(error) or not self.structure.own:
                    raise
                found = counts.none(named_line(error))  # a user's call need not work without its compiled code
        self._counted, self._effects = found.facts | counts.inductor(tuned=self._is_tuned), found.effects

    @property
    def _is_tuned(self) -> bool:
        """Whether inductor times several candidates for each kernel; on a CPU no recipe requests that."""
        return self.recipe.compile is not None and self.recipe.compile.mode.startswith("max-autotune")

    def examine(self, pictures: Path | None = None) -> None:
        """Runs all of these passes. `pictures`: a file for what was drawn."""
        self.count()
        self.take_apart()
        _ = self.memory
        if pictures:
            write_whole(pictures, self.images)

    def take_apart(self) -> None:
        if self.components is None:
            self.components = components.measure(self.built, self.generate)

    @property
    def memory(self) -> Memory:
        """The memory peak of one call with fewer steps; measured once, on first use."""
        if self.memory_found is None:
            self.memory_found = self.measure_memory()
        return self.memory_found

    def measure_memory(self) -> Memory:
        with self._few_steps():
            found = memory.measure(self.built, self.generate)
        return replace(found, first_call_peak_bytes=self._first_call_peak)

    def profile(self) -> Profile:
        """The operators and kernels that one call runs; the last pass of this process."""
        with self._few_steps(PROFILED_STEPS):
            return trace.profile_call(self.generate, self.device, self.request.steps or 1)

    @contextmanager
    def _few_steps(self, most: int = FEW_STEPS) -> Iterator[None]:
        whole = self.request
        self.request = whole.changed(steps=min(whole.steps, most) if whole.steps else None)
        try:
            yield
        finally:
            self.request = whole

    @property
    def facts(self) -> dict[str, Any]:
        """The fingerprint as a flat table, with everything counted so far."""
        return self.fingerprint.flat() | (self._counted or {})

    def first_call(self) -> float:
        """The first call, which compiles if the stage does; its seconds never count as steady state."""
        memory.forget_peak(self.device)
        began = synchronised_clock()
        try:
            self.call()
        except RuntimeError as error:
            # torch's own message for a full graph with compilation switched off has a hundred lines.
            if "found no compiled frames" in str(error):
                raise UserError("not-compiled", proof.unapplied(self.recipe, self.fingerprint)[0]) from None
            if not (out_of_memory(error) or self.recipe.compile):
                require_callable(self, error)  # shapes that do not fit
            raise
        except USUAL as error:
            require_known_arguments(self, error)
            require_enough_steps(self, error)
            require_callable(self, error)
            raise
        self.first_call_s = synchronised_clock() - began
        work = {"compute", "compile"} if self.recipe.compile else {"compute"}
        self.first_in_process = tuple(sorted(work - _DONE))
        _DONE.update(work)
        self._first_call_peak = memory.peak_bytes(self.device)
        self.compilation = fingerprint.compilation()
        return self.first_call_s

    @property
    def images(self) -> Output:
        """Pictures or tensors, drawn after the first call, which may take another path."""
        if self.drawn is None:
            began = synchronised_clock()
            self.drawn = self.draw()
            self.drawing_s = synchronised_clock() - began
        return self.drawn

    @property
    def fingerprint(self) -> Fingerprint:
        """Counted now, so that it includes everything since the first call; for a closed stage, as it was then."""
        if self._at_the_end is not None:
            return self._at_the_end
        now = fingerprint.compilation()
        return Fingerprint(self.structure, now, now.graphs - self.compilation.graphs, self._effects)

    @property
    def recipe(self) -> Recipe:
        """The recipe, resolved for this device."""
        return self.built.recipe

    @property
    def unapplied(self) -> list[str]:
        return proof.unapplied(self.recipe, self.fingerprint)

    @property
    def unproven(self) -> list[str]:
        """What cannot be proven about a pipeline of the user's own."""
        return proof.unproven(self.recipe, self.fingerprint)

    @property
    def added(self) -> list[str]:
        """The arguments that fastdiff adds to a call of a pipeline that nothing describes."""
        return [] if self.model.described else self.built.calling.added(self.request)

    def trial(self) -> Trial:
        """Everything known so far, in the form that is stored."""
        return Trial(
            self.model.name,
            self.stage.name,
            self.stage.follows,
            recipe=self.recipe.as_kept(),
            request=self.request.as_kept(),
            weights=self.weights,
            load_s=self.load_s,
            first_call_s=self.first_call_s or None,
            cache=self.compilation.cache,
            first_in_process=self.first_in_process,
            warm_up=self.warm_up,
            samples=tuple(self.samples),
            components=self.components,
            memory=self.memory_found,
            fingerprint=self.facts,
            quality=self.quality,
            unapplied=tuple(self.unapplied),
            unproven=tuple(self.unproven),
            injected=self.injected,
        )

    def likeness_to(self, reference: Reference) -> Likeness | Closeness:
        """The similarity to the reference. The reference stage is compared with a second drawing of its own."""
        images = self.draw() if reference.stage == self.stage.name else self.images
        found = compared(images, reference.images, self.model.close, self.recipe, self.budget)
        self.quality = drawing.kept(found, reference.stage, self.budget)
        return found

    def close(self) -> list[str]:
        """Ends the stage; returns the global switches that it left changed."""
        self._at_the_end = self.fingerprint
        return self.built.close()
