"""A stage that is alive: built, called once, counted, and ready to draw again and again."""

from __future__ import annotations

import math
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fastdiff.instruments import components, counts, fingerprint, memory, proof, trace
from fastdiff.instruments.boundaries import boundaries
from fastdiff.instruments.fingerprint import Fingerprint
from fastdiff.instruments.latency import DeviceTimer, settle, synchronised_clock, wait_until
from fastdiff.instruments.telemetry import Watch
from fastdiff.models.libraries import torch
from fastdiff.models.loading import output_of
from fastdiff.models.shapes import FOLDER as SHAPES_FOLDER
from fastdiff.optimize import build, resolved
from fastdiff.quality.answers import pictures
from fastdiff.quality.metrics import likeness
from fastdiff.quality.parity import shortfall
from fastdiff.record.errors import UserError
from fastdiff.record.run import OWN, Quality, Sample, Trial
from fastdiff.trial.enough import require_enough_steps
from fastdiff.trial.faults import parse, put_in
from fastdiff.trial.runner import SILENT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_benchmark.fixture import BenchmarkFixture

    from fastdiff.models import Model, Request
    from fastdiff.optimize import Built
    from fastdiff.quality.metrics import Likeness
    from fastdiff.record.budget import Budget
    from fastdiff.record.pairs import Profile
    from fastdiff.record.run import Components, Memory, WarmUp
    from fastdiff.stages.ladder import Stage
    from fastdiff.stages.recipe import Recipe
    from fastdiff.trial.reference import Reference
    from fastdiff.trial.runner import Progress
    from fastdiff.trial.work import Work

_DONE: set[str] = set()
"""What first calls of this process have completed. The first one of each kind also pays one-time process costs."""

FEW_STEPS = 2
"""For passes that are slow: neither the peak of memory nor the counts of a step depend on how often it is repeated."""

PROFILED_STEPS = 8
"""A profiler keeps every event until the call has ended."""

OUT_OF_MEMORY = (
    "can't allocate memory",
    "cuda out of memory",
    "cuda error: out of memory",
    "cublas_status_alloc_failed",
)
"""Other messages: of the host's allocator, by torch while inductor tunes (as inductor's error), by a driver without
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


@contextmanager
def here(work: Work, progress: Progress = SILENT) -> Iterator[LiveStage]:
    """The runner that builds in this process; torch keeps what it compiled, so that trials of one process differ."""
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
    """What the fixture `stage` gives to a test."""

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
        self.samples: list[Sample] = []
        """Of the test that is running; those of an earlier test are in the session's trial."""
        self.watch = Watch(device)
        self._wall_s = math.inf
        self._device_s: float | None = None
        self._at_the_end: Fingerprint | None = None

    def __repr__(self) -> str:
        """What pytest shows of it in a failed assertion."""
        return self.id

    @property
    def id(self) -> str:
        return f"{self.model.name}-{self.stage.name}"

    @property
    def weights(self) -> str:
        """Where the weights come from, as it is kept; a folder's own path is private."""
        if self.model.factory:
            return OWN
        kind = self.model.weights
        if self.built.synthetic_text:
            return f"{kind}, synthetic text"
        if self.model.made_here:
            return kind
        if self.model.folder is not None:
            return "embedded" if self.model.folder == SHAPES_FOLDER else "folder"
        return f"hub@{self.model.revision or 'newest'}"

    def claim(self, stage: Stage) -> None:
        """Bears the name of `stage`, though another one was built: a stage whose optimization silently did nothing."""
        self.stage = stage
        self.built.recipe = resolved(self.model, stage.recipe, self.device)

    @property
    def budget(self) -> Budget:
        return self.stage.budget

    @property
    def load_s(self) -> float:
        return self.built.load_s

    def call(self) -> Any:
        """One pipeline call."""
        return self.built.call(self.request)

    def draw(self) -> np.ndarray:
        """One pipeline call whose pictures are looked at: floats from 0 to 1."""
        return pictures(self.built.call(self.request, output="np"), output_of(self.model))

    def generate(self) -> Any:
        """What is timed: one whole call, from the prompt to finished pictures."""
        if self.device == "cpu":
            return self.call()
        with DeviceTimer() as timer, boundaries(self.built.anatomy, timer.ended):
            images = self.call()
        self._device_s = timer.seconds
        return images

    # -- around the timed calls ---------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Calls until samples agree, so that the timed ones are of the steady state; the pictures are drawn before."""
        _ = self.images
        self.warm_up = settle(self.generate, fastest=self.drawing_s)

    def measure(self, benchmark: BenchmarkFixture) -> None:
        """Warms up, and lets pytest-benchmark time the calls."""
        self.settle()
        self.time(benchmark)

    def time(self, benchmark: BenchmarkFixture) -> None:
        """Without warming up."""
        pedantic: Any = benchmark.pedantic
        pedantic(self._timed, setup=self.watch.before, teardown=self._keep, rounds=self.rounds)

    def sample(self, at: float = 0.0) -> Sample:
        """One timed call, not before `at`. Around it only counters are read: computing would take cores or caches from
        the next one. Of the processor only the cores of this process count, so a partner on others is no neighbour."""
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
        """The call that has just ended, with what was seen around it."""
        seen = self.watch.after()
        self.samples.append(Sample(self._wall_s, self._device_s, seen.void, seen.telemetry))
        return self.samples[-1]

    # -- passes of their own, which never disturb the timed calls -----------------------------------------------------

    def count(self) -> None:
        """FLOPs, operators and attention kernels of one call without compiled code."""
        steps = self.request.steps or 0
        if self._counts is None:
            # With a cache no step stands for the others.
            with self._few_steps() if self.recipe.cache == "none" else nullcontext():
                self._counts = counts.count(self.built, self.generate, steps) | counts.inductor(tuned=self._is_tuned)

    @property
    def _is_tuned(self) -> bool:
        """Whether inductor lets candidates race for each kernel; on a CPU no recipe asks for that."""
        return self.recipe.compile is not None and self.recipe.compile.mode.startswith("max-autotune")

    def examine(self, pictures: Path | None = None) -> None:
        """All of these passes; `pictures` names a NumPy file for what was drawn."""
        self.count()
        self.take_apart()
        _ = self.memory
        if pictures:
            np.save(pictures, self.images)

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

    def profile(self) -> Profile:
        """What one call runs, the last pass of this process."""
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
        except (AttributeError, IndexError, TypeError, ValueError, ZeroDivisionError) as error:
            require_enough_steps(self, error)
            raise
        self.first_call_s = synchronised_clock() - began
        work = {"compute", "compile"} if self.recipe.compile else {"compute"}
        self.first_in_process = tuple(sorted(work - _DONE))
        _DONE.update(work)
        self._first_call_peak = memory.peak_bytes(self.device)
        self.compilation = fingerprint.compilation()
        return self.first_call_s

    @property
    def images(self) -> np.ndarray:
        """Pictures as floats from 0 to 1, drawn in the steady state: the first call may take another path."""
        if self.drawn is None:
            began = synchronised_clock()
            self.drawn = self.draw()
            self.drawing_s = synchronised_clock() - began
        return self.drawn

    @property
    def fingerprint(self) -> Fingerprint:
        """Counted now, so that what happened since the first call shows; of a closed stage as it was then."""
        if self._at_the_end is not None:
            return self._at_the_end
        now = fingerprint.compilation()
        return Fingerprint(self.structure, now, recompiles=now.graphs - self.compilation.graphs)

    @property
    def recipe(self) -> Recipe:
        """As it was resolved for this device."""
        return self.built.recipe

    @property
    def unapplied(self) -> list[str]:
        return proof.unapplied(self.recipe, self.fingerprint)

    @property
    def unproven(self) -> list[str]:
        """What cannot be shown, of a pipeline of the user's own."""
        return proof.unproven(self.recipe, self.fingerprint)

    @property
    def added(self) -> list[str]:
        """What fastdiff adds to the arguments of a user's own pipeline."""
        return self.built.calling.added(self.request) if self.model.factory else []

    def trial(self) -> Trial:
        """What is known by now, as it is kept."""
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

    def likeness_to(self, reference: Reference) -> Likeness:
        """The reference stage is compared with a second drawing of its own: it must at least be like itself."""
        images = self.draw() if reference.stage == self.stage.name else self.images
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
        self._at_the_end = self.fingerprint
        return self.built.close()
