"""One setting of the published benchmark script: what it is, and how it is measured in this process.

`fastdiff.report.published` writes its row in a file.
"""

from __future__ import annotations

import hashlib
import re
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from fastdiff.experiments import questions
from fastdiff.host.environment import DEVICE, DEVICES, device_kind, device_name, versions
from fastdiff.host.processor import emulated
from fastdiff.models import CATALOGUE, EMBEDDED, SIDE, Model, Request, checkpoints, places
from fastdiff.record.errors import UserError, first_line, unknown
from fastdiff.record.project import tables
from fastdiff.stages.ladder import Stage
from fastdiff.stages.published import LADDER
from fastdiff.stages.recipe import PUBLISHED_FLAGS, Compile, Recipe
from fastdiff.stages.techniques import TECHNIQUES
from fastdiff.stages.toml import whole
from fastdiff.trial.runner import SILENT
from fastdiff.trial.work import Work

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from fastdiff.record.outputs import Output
    from fastdiff.record.run import Trial
    from fastdiff.trial.live import LiveStage
    from fastdiff.trial.runner import Progress

DTYPES = ("bfloat16", "float16", "float32")

QUANTIZED_FLAG = ("force_fuse_int_mm_with_mul", True)
"""An additional flag that the published script sets whenever it quantizes."""


FEWEST_ROUNDS = 3
"""The fewest rounds of a stopped measurement that gives a row: with two times, a disturbed one cannot be recognized."""


class Stopped(KeyboardInterrupt):
    """Ctrl-C before there was anything to keep; the message says what was lost."""


@dataclass(frozen=True)
class Setting:
    """All options; two settings that differ in anything have different names."""

    model: Model
    checkpoint: str
    """A name on the hub or a folder, as typed; the model's name if it is embedded; the catalogue's source for weights
    that have several names."""
    recipe: Recipe
    """The recipe, resolved for this kind of device."""
    request: Request
    device: str
    rounds: int
    tag: str = ""
    stage: str = ""
    """The stage, if the setting was given by `--stage`."""

    @property
    def name(self) -> str:
        """The short name of its files. The complete setting is in the row, not in the name."""
        # The embedded model is the same one wherever fastdiff is installed.
        known = not self.model.described or any(self.model.source == entry.source for entry in CATALOGUE)
        model = replace(self.model, source=self.checkpoint) if known else self.model
        what = (model, self.recipe, self.request, self.device, device_name(self.device), versions(), self.tag)
        digest = hashlib.sha256(repr(what).encode()).hexdigest()[:10]
        return "-".join(part for part in (self.model.name, digest, _slug(self.stage), _slug(self.tag)) if part)


@dataclass(frozen=True)
class Outcome:
    setting: Setting
    trial: Trial
    images: Output
    started: str
    """ISO 8601, UTC."""
    gpu_bytes: int | None
    """All memory of the GPU; None on a CPU."""
    trace: Callable[[Path], None] | None = None
    """Writes the trace; the file may be missing afterwards, because the disk is full."""
    stopped: str = ""
    """After how many rounds Ctrl-C stopped the measurement; empty if it is complete."""

    @property
    def drawn(self) -> str:
        """The ending of the file of what it drew."""
        return "npz" if isinstance(self.images, dict) else "png"

    @property
    def name(self) -> str:
        """The name of its files; a stopped measurement never replaces a complete one."""
        return f"{self.setting.name}-stopped" if self.stopped else self.setting.name


# -- the options ------------------------------------------------------------------------------------------------------


def model(name: str = "", checkpoint: str = "", weights: str = "auto", own: Sequence[Model] = ()) -> tuple[Model, str]:
    """The model, and the name of its checkpoint. Without `name`, the checkpoint determines the model.

    `own` are the project's models, beside those of the catalogue.
    """
    if places.names_a_place(name):
        if checkpoint:
            raise UserError("weights", f"{name} loads its weights itself; leave out --ckpt.")
        return questions.named(name, Path.cwd()).with_weights(weights), name
    known = {entry.name: entry for entry in (*CATALOGUE, *own)}
    if name and name not in known:
        raise UserError("recipe", unknown("model", name, known))
    named = known.get(name)
    same = checkpoints.same(checkpoint) if checkpoint else named or known[EMBEDDED]
    if same is not None:
        if named is not None and named != same:
            raise UserError("weights", f"{checkpoint} is {same.name!r}, and not {name!r}; leave out --model.")
        found = same.with_weights(weights)
        if found.source != same.source:
            return found, weights
        return found, same.name if same.folder else same.source
    if weights not in ("auto", "hub"):
        raise UserError(
            "weights", f"--ckpt {checkpoint} and --weights {weights} both say where weights are; leave one out."
        )
    kin = checkpoints.kin(checkpoint, named)
    if checkpoints.is_folder(checkpoint):
        return _called(kin.with_weights(checkpoint), Path(checkpoint).expanduser().resolve().name), checkpoint
    hub = replace(kin, source=checkpoint, revision=None, weights="hub")
    return _called(hub, checkpoint.rpartition("/")[2]), checkpoint


def recipe(
    *,
    dtype: str = "bfloat16",
    sdpa: bool = True,
    fuse_qkv: bool = False,
    upcast_vae: bool = False,
    compile_denoiser: bool = False,
    compile_decoder: bool = False,
    compile_mode: str = "",
    inductor_flags: bool = False,
    quantize: str = "none",
) -> Recipe:
    """The published script's switches as a recipe. Combinations that the script silently ignored are rejected."""
    if dtype not in DTYPES:
        raise UserError("recipe", unknown("dtype", dtype, DTYPES))
    compiled = compile_denoiser or compile_decoder
    for option, given in (("--compile-mode", bool(compile_mode)), ("--inductor-flags", inductor_flags)):
        if given and not compiled:
            raise UserError(
                "recipe",
                f"{option} is about compiled code, and nothing is compiled; "
                "add --compile-denoiser or --compile-decoder.",
            )
    flags = (*(PUBLISHED_FLAGS if inductor_flags else ()), *((QUANTIZED_FLAG,) if quantize != "none" else ()))
    how = None
    if compiled:
        how = Compile(compile_mode or "default", denoiser=compile_denoiser, decoder=compile_decoder, flags=flags)
    return Recipe(
        dtype=dtype,
        attention="sdpa" if sdpa else "vanilla",
        channels_last=compiled,
        compile=how,
        fuse_qkv=fuse_qkv,
        quantize=quantize,
        upcast_vae=upcast_vae,
    )


def staged(name: str, device: str, project: Path) -> Recipe:
    """The recipe of a stage of any ladder, in the arithmetic that this CPU has instructions for."""
    ladder = TECHNIQUES if name in TECHNIQUES.names else whole(LADDER, [name], tables(project)["stages"])
    return ladder.native(emulated(kind_of(device)))[name].recipe


def kind_of(device: str) -> str:
    """`cpu`, `cuda` or `mps`."""
    if not DEVICE.fullmatch(device):
        raise UserError("recipe", f"--device is {device!r}; give {DEVICES}.")
    return device_kind() if device == "auto" else device.partition(":")[0]


def setting(
    model: tuple[Model, str],
    recipe: Recipe,
    *,
    prompt: str = "",
    batch: int | None = None,
    steps: int | None = None,
    size: int | None = None,
    device: str = "auto",
    rounds: int,
    tag: str = "",
    stage: str = "",
) -> Setting:
    """The setting, with the model's defaults. Does not import torch, so impossible settings are rejected at once."""
    entry, checkpoint = model
    if size is not None and size % SIDE:
        raise UserError("recipe", f"--size is {size}; give a multiple of {SIDE}.")
    kind = kind_of(device)
    if recipe.upcast_vae:
        # As published: the autoencoder that is safe in half precision, or the model's own in float32.
        entry = replace(entry, vae=None, vae_revision=None)
    request = entry.request.changed(steps=steps, size=size, batch=recipe.batch or batch)
    request = replace(request, prompt=prompt or request.prompt)
    where = kind if device == "auto" else device
    return Setting(entry, checkpoint, recipe.on(kind), request, where, rounds, tag, stage)


def _called(model: Model, name: str) -> Model:
    return replace(model, name=_slug(name) or model.name)


def _slug(text: str) -> str:
    """A short text that is safe in a file name."""
    return re.sub(r"[^A-Za-z0-9._+]+", "-", text).strip("-.")[:40]


# -- measuring it -----------------------------------------------------------------------------------------------------


def measure(asked: Setting, *, trace: bool = False, say: Callable[[str], None], progress: Progress = SILENT) -> Outcome:
    """Builds, calls, proves, draws, warms up, times, counts memory, and with `trace` records a profiler's trace.

    A failure raises. Ctrl-C after enough rounds ends the measurement early: the remaining work is left out, and the
    outcome records that.
    """
    from fastdiff.instruments.memory import memory_of_gpu
    from fastdiff.instruments.trace import trace_call
    from fastdiff.trial.live import here

    started = datetime.now(UTC).isoformat(timespec="seconds")
    stage = Stage(asked.stage or "run", asked.recipe, "as the command line has it")
    stopped, traced = "", None
    with _reasons(), here(Work(asked.model, stage, stage, asked.device, asked.request), progress) as live:
        say(f"loaded and built in {live.load_s:.1f} s")
        cache = live.compilation.cache
        say(f"first call {live.first_call_s:.1f} s" + (f" (compile cache: {cache})" if cache != "none" else ""))
        if live.added:
            say(f"fastdiff adds {', '.join(live.added)}")
        _require_applied(live)
        with progress.doing("counting"):
            live.count()
        for sentence in live.unproven:
            say(f"not proven: {sentence}")
        _require_sound(live)
        try:
            _time(live, asked.rounds, say)
            with progress.doing("memory"):
                _ = live.memory
            if trace:
                with progress.doing("tracing"):
                    traced = trace_call(live.generate, live.device)
        except KeyboardInterrupt:
            stopped = _stopped(live, asked.rounds)
        trial, images, gpu_bytes = live.trial(), live.images, memory_of_gpu(live.device)
        for leak in live.close():
            say(f"left changed: {leak}")
    return Outcome(asked, trial, images, started, gpu_bytes, traced, stopped)


def _require_sound(live: LiveStage) -> None:
    """Raises before anything is timed if the picture is invalid or the setting was not applied."""
    from fastdiff.quality.parity import unsound

    _require_applied(live)
    if wrong := unsound(live.images):
        way_out = "" if live.model.close else " Try --dtype float32, or --upcast-vae."
        raise UserError("run", f"nothing was timed, because {wrong}{way_out}")


def _require_applied(live: LiveStage) -> None:
    if live.unapplied:
        raise UserError("run", "\n".join(live.unapplied))


def _time(live: LiveStage, samples: int, say: Callable[[str], None]) -> None:
    live.settle()
    for place in range(1, samples + 1):
        say(f"round {place} of {samples}: {live.sample().wall_s:.3f} s")
    _require_applied(live)


def _stopped(live: LiveStage, asked: int) -> str:
    """How many rounds were measured; raises if these are too few, or if the setting was not applied."""
    rounds = f"after {len(live.samples)} of {asked} rounds"
    if len(live.samples) < FEWEST_ROUNDS:
        raise Stopped(
            f"stopped {rounds}: a row needs at least {FEWEST_ROUNDS}, so nothing of this was kept; "
            f"measure again, with --rounds {FEWEST_ROUNDS} if time is short."
        ) from None
    _require_applied(live)
    return rounds


@contextmanager
def _reasons() -> Iterator[None]:
    """Turns errors that the user can fix into one sentence; other errors keep their traceback."""
    from fastdiff.trial.live import graph_failed, out_of_memory

    try:
        yield
    except UserError:
        raise
    except Exception as error:
        reason = first_line(error)
        if out_of_memory(error):
            raise UserError(
                "run", f"it does not fit into memory ({reason}); try a smaller --size or --batch."
            ) from error
        if graph_failed(error):
            raise UserError("run", f"compile: the graph broke or could not be made ({reason}).") from error
        raise
