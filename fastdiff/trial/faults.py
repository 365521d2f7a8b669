"""Faults injected on purpose: `--fastdiff-inject slow:30%@sdpa` shows how the gate judges a slower stage.

Each fault changes the live stage from outside, as an accident would. A run with an injected fault is never accepted.
"""

from __future__ import annotations

import atexit
import functools
import os
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from fastdiff.record.errors import UserError, unknown
from fastdiff.record.percent import share

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from fastdiff.record.outputs import Output
    from fastdiff.stages.ladder import Ladder, Stage
    from fastdiff.trial.live import LiveStage

WITH_AMOUNT = {
    "slow": "every call takes this much longer; the time is spent in the decoder",
    "slow-step": "every denoising step takes this much longer",
    "slow-first": "the first call takes this much longer",
    "memory": "every call holds this much more memory at its peak",
}
PLAIN = {
    "graph-break": "the denoiser cannot be one graph any more",
    "recompile": "the denoiser is compiled again in a later call",
    "sync": "every denoising step waits for the GPU",
    "unapplied": "the stage is built from the recipe of the stage that it follows",
    "noise-image": "the pictures are noisy, or the tensors",
    "black-tile": "the pictures have a black hole of 64 pixels, or half the side of a small one",
    "nan": "the pictures, or the tensors, have values that are not numbers",
    "leak-flag": "a global switch is left changed",
    "crash": "the first call raises an error",
    "oom": "the first call does not fit into memory",
    "steal": "a neighbour keeps every core busy during the timed calls",
}

HOLE = 64
NOISE_SD = 0.2
"""Far outside every image budget: it tests that the gate fails, not where its limit is."""


@dataclass(frozen=True)
class Fault:
    name: str
    share: float = 0.0
    """0.3 for 30 %."""
    stage: str | None = None
    """None injects it into every stage that supports it."""

    def __str__(self) -> str:
        amount = f":{100 * self.share:.4g}%" if self.share else ""
        return f"{self.name}{amount}" + (f"@{self.stage}" if self.stage else "")

    def concerns(self, stage: Stage) -> bool:
        return self.stage in (None, stage.name)


OF_A_SESSION = ("steal", "leak-flag")
"""Faults that only a session detects: it reads the machine's counters around calls, and checks switches at the end."""


def parse(text: str) -> tuple[Fault, ...]:
    """Reads `slow:30%@sdpa`, or several of them separated by commas."""
    faults = tuple(_parse_one(part) for part in text.replace(",", " ").split())
    if not faults:
        raise UserError("fault", "a fault is missing, for instance slow:30%@sdpa.")
    return faults


def _parse_one(text: str) -> Fault:
    what, _, stage = text.partition("@")
    name, colon, amount = what.partition(":")
    if name not in WITH_AMOUNT | PLAIN:
        raise UserError("fault", unknown("fault", name, [*WITH_AMOUNT, *PLAIN]))
    if name in PLAIN:
        if colon:
            raise UserError(
                "fault", f"{text!r}: the fault {name} takes no amount; write {name}{'@' + stage if stage else ''}."
            )
        return Fault(name, stage=stage or None)
    try:
        part = share(amount.removeprefix("+"))
    except ValueError:
        part = float("nan")
    if not 0 < part < 100:
        raise UserError("fault", f"{text!r}: the fault {name} needs an amount in per cent, for instance {name}:30%.")
    return Fault(name, part, stage or None)


def stage_to_build(faults: tuple[Fault, ...], stage: Stage, ladder: Ladder) -> Stage:
    """The stage that is actually built; only the fault `unapplied` changes it."""
    wanted = [fault for fault in faults if fault.name == "unapplied" and fault.concerns(stage)]
    if not wanted:
        return stage
    if stage.follows is None:
        if wanted[0].stage:
            raise UserError(
                "fault", f"unapplied: {stage.name} follows no stage, so there is nothing that it could lack."
            )
        return stage
    return replace(stage, recipe=ladder[stage.follows].recipe)


def put_in(faults: tuple[Fault, ...], live: LiveStage) -> None:
    """Injects the faults into a stage that was built and not called yet."""
    put = []
    for fault in faults:
        if not fault.concerns(live.stage):
            continue
        if fault.name != "unapplied":
            why_not = _impossible(fault, live)
            if why_not and fault.stage:
                raise UserError("fault", f"{fault}: {why_not}")
            if why_not:
                continue
            ACTIONS[fault.name](live, fault.share)
        put.append(str(fault))
    live.injected = ", ".join(put)


def _impossible(fault: Fault, live: LiveStage) -> str | None:
    if fault.name in ("graph-break", "recompile") and live.recipe.compile is None:
        return f"{live.stage.name} is not compiled."
    where = live.built.anatomy
    if fault.name in ("graph-break", "recompile") and not where.denoisers:
        return f"{live.model.name} has no denoiser that is known."
    if fault.name in ("slow-step", "sync") and where.step is None:
        return f"{live.model.name} has no step that is known."
    if fault.name == "black-tile" and live.model.close is not None:
        return f"{live.model.name} answers tensors and no pictures."
    if fault.name == "sync" and not live.device.startswith("cuda"):
        return f"there is no GPU to wait for on {live.device}."
    if fault.name == "steal" and live.device.startswith("cuda"):
        return "a neighbour on the CPU does not show in a GPU's telemetry."
    return None


# -- time -------------------------------------------------------------------------------------------------------------


def _spend(seconds: float) -> None:
    """Busy waiting, as slow code does: a process that sleeps loses shared cores, and its next call is slow."""
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass


def _slow(live: LiveStage, share: float) -> None:
    """Slows the decoder, or the end of the call if no decoder is known. A second injection only changes the amount."""
    from fastdiff.instruments.latency import synchronised_clock

    known, live.slowness = live.slowness is not None, share
    if known:
        return
    call, decode = live.built.call, live.built.anatomy.decode
    began = [0.0]

    def slow_call(request: Any, output: str = "") -> Any:
        began[0] = synchronised_clock()
        answer = call(request, output)
        if decode is None:
            _spend((live.slowness or 0.0) * (synchronised_clock() - began[0]))
        return answer

    _replace(live.built, "call", slow_call)
    if decode is None:
        return
    original = decode.value

    def slow_decode(*arguments: Any, **options: Any) -> Any:
        decoded = original(*arguments, **options)
        _spend((live.slowness or 0.0) * (synchronised_clock() - began[0]))
        return decoded

    _replace(decode.owner, decode.name, slow_decode)


def _slow_step(live: LiveStage, share: float) -> None:
    """A step starts at the end of the previous one. The first step starts when the pipeline opens its progress bar, or
    with the call if there is none."""
    from fastdiff.instruments.latency import synchronised_clock
    from fastdiff.models.anatomy import Place

    place, opened = live.built.anatomy.step, live.built.anatomy.begin or Place(live.built, "call")
    open_, step = opened.value, place.value
    ended = [0.0]

    def begin(*arguments: Any, **options: Any) -> Any:
        ended[0] = synchronised_clock()
        return open_(*arguments, **options)

    def slow_step(*arguments: Any, **options: Any) -> Any:
        stepped = step(*arguments, **options)
        _spend(share * (synchronised_clock() - ended[0]))
        ended[0] = synchronised_clock()
        return stepped

    _replace(opened.owner, opened.name, begin)
    _replace(place.owner, place.name, slow_step)


def _slow_first(live: LiveStage, share: float) -> None:
    from fastdiff.instruments.latency import synchronised_clock

    call = live.built.call

    def slow_call(request: Any, output: str = "") -> Any:
        began = synchronised_clock()
        answer = call(request, output)
        if not live.first_call_s:
            _spend(share * (synchronised_clock() - began))
        return answer

    _replace(live.built, "call", slow_call)


def _sync(live: LiveStage, _: float) -> None:
    place = live.built.anatomy.step
    step = place.value

    def waiting_step(*arguments: Any, **options: Any) -> Any:
        stepped = step(*arguments, **options)
        stepped[0].sum().item()
        return stepped

    _replace(place.owner, place.name, waiting_step)


def _steal(live: LiveStage, _: float) -> None:
    before, close = live.watch.before, live.close
    neighbours: list[subprocess.Popen[bytes]] = []

    def arrive() -> None:
        if not neighbours:
            busy = "import os\nwhile os.getppid() == int(os.sys.argv[1]): sum(range(10000))"
            for _ in range(os.cpu_count() or 1):
                neighbours.append(subprocess.Popen([sys.executable, "-c", busy, str(os.getpid())]))
            atexit.register(leave)
        before()

    def leave() -> list[str]:
        for neighbour in neighbours:
            neighbour.kill()
            neighbour.wait()
        neighbours.clear()
        atexit.unregister(leave)
        return close()

    _replace(live.watch, "before", arrive)
    _replace(live, "close", leave)


# -- structure and memory ---------------------------------------------------------------------------------------------


def _memory(live: LiveStage, share: float) -> None:
    from fastdiff.models.libraries import torch

    call = live.call
    measure_memory = live.measure_memory

    def measure_heavier() -> Any:
        ballast = round(share * measure_memory().peak_bytes)

        def heavy_call() -> Any:
            held = torch.ones(ballast, dtype=torch.uint8, device=live.device)
            answer = call()
            del held
            return answer

        _replace(live, "call", heavy_call)
        try:
            return measure_memory()
        finally:
            setattr(live, "call", call)  # noqa: B010  (mypy knows that methods are not assigned to)

    _replace(live, "measure_memory", measure_heavier)


def _graph_break(live: LiveStage, _: float) -> None:
    from fastdiff.models.libraries import torch

    first = next(live.built.denoiser.children())
    forward = first.forward

    def broken(*arguments: Any, **options: Any) -> Any:
        torch._dynamo.graph_break()
        return forward(*arguments, **options)

    _replace(first, "forward", broken)


def _recompile(live: LiveStage, _: float) -> None:
    first = next(live.built.denoiser.children())
    forward, call = first.forward, live.built.call
    calls = {"before this one": 0}

    def watched(*arguments: Any, **options: Any) -> Any:
        out = forward(*arguments, **options)
        return out if calls["before this one"] < 2 else out + 0  # dynamo guards the number that it saw

    def counted_call(request: Any, output: str = "") -> Any:
        answer = call(request, output)
        calls["before this one"] = min(calls["before this one"] + 1, 2)
        return answer

    _replace(first, "forward", watched)
    _replace(live.built, "call", counted_call)


def _leak_flag(_: LiveStage, __: float) -> None:
    from fastdiff.models.libraries import torch

    torch.backends.cudnn.benchmark = not torch.backends.cudnn.benchmark


def _crash(live: LiveStage, _: float) -> None:
    def crash(*_: Any, **__: Any) -> Any:
        raise RuntimeError("this crash was asked for with --fastdiff-inject")

    _replace(live, "call", crash)


def _oom(live: LiveStage, _: float) -> None:
    def overflow(*_: Any, **__: Any) -> Any:
        raise MemoryError("this was asked for with --fastdiff-inject")

    _replace(live, "call", overflow)


# -- pictures ---------------------------------------------------------------------------------------------------------


def _damaged(damage: Callable[[Any], None]) -> Callable[[LiveStage, float], None]:
    def act(live: LiveStage, _: float) -> None:
        draw = live.draw

        def damaged() -> Any:
            images = draw()
            damage(images)
            return images

        _replace(live, "draw", damaged)

    return act


def _noise(images: Output) -> None:
    import numpy

    for one in images.values() if isinstance(images, dict) else [images]:
        one += numpy.random.default_rng(0).normal(0, NOISE_SD, one.shape).astype(one.dtype)
    if not isinstance(images, dict):
        images.clip(0, 1, out=images)


def _hole(images: np.ndarray) -> None:
    side = min(HOLE, images.shape[-3] // 2)
    images[..., :side, :side, :] = 0


def _nan(images: Output) -> None:
    for one in images.values() if isinstance(images, dict) else [images]:
        one.flat[:3] = float("nan")


def _replace(owner: Any, name: str, stand_in: Any) -> None:
    """On the instance alone; it ends with the pipeline, which looks up which arguments its scheduler takes."""
    setattr(owner, name, functools.wraps(getattr(owner, name), updated=())(stand_in))


ACTIONS: dict[str, Callable[[LiveStage, float], None]] = {
    "slow": _slow,
    "slow-step": _slow_step,
    "slow-first": _slow_first,
    "memory": _memory,
    "graph-break": _graph_break,
    "recompile": _recompile,
    "sync": _sync,
    "noise-image": _damaged(_noise),
    "black-tile": _damaged(_hole),
    "nan": _damaged(_nan),
    "leak-flag": _leak_flag,
    "crash": _crash,
    "oom": _oom,
    "steal": _steal,
}
