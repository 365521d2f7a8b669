"""A run as data: what one pytest session measured, in the shape in which it is kept under a file's key `fastdiff`.

Only shapes live here. `files` reads and writes them, `fastdiff.compare` decides about them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Literal

from fastdiff.record.bounds import Count, Deviation, Duration, Fact, Finite, Name, Seconds  # noqa: TC001  (msgspec reads them)
from fastdiff.record.software import Software  # noqa: TC001

SCHEMA = 3
"""Raised when an older fastdiff would misread a file; a new field with a default is no such change. Schema 1: its
latencies are too long, because work between the calls kept the cores busy. Schema 2: other names."""

MEASURED: Final = "measured"
INCOMPLETE: Final = "incomplete"
FAILED: Final = "failed"
SKIPPED: Final = "skipped"
OWN = "own"
"""The weights of a pipeline of the user's own."""
State = Literal["measured", "incomplete", "failed", "skipped"]
"""Of a stage. Incomplete: the session ended in the middle of it."""

EMULATED_HERE, IMPOSSIBLE_HERE = "emulated here", "not possible here"
"""Why a stage was skipped. The first kind can be measured all the same, with --fastdiff-emulate."""


@dataclass(frozen=True)
class Device:
    """Who measured. A baseline is only comparable with runs of the same slug."""

    slug: Name
    """Name of the folder in `baselines/`."""
    kind: str
    """cpu, cuda or mps."""
    name: str


HARDWARE = ("machine", "processor", "instructions")
"""Facts of a run's environment that stay until the machine itself changes."""
MACHINE = (*HARDWARE, "boot", "allocator")
"""Facts of a run's environment that tell two machines of one model apart, or the same one set up in two ways."""


@dataclass(frozen=True)
class Sample:
    """One timed call, and what was seen of the machine around it."""

    wall_s: Duration
    device_s: Seconds | None = None
    """From the first to the last work of the GPU; wall time minus this is what the host does alone at both ends."""
    void: str = ""
    """How the machine disturbed this call; empty where it did not."""
    telemetry: dict[str, Finite] = field(default_factory=dict)


@dataclass(frozen=True)
class WarmUp:
    """The calls between the first one and the first timed one."""

    calls: Count
    seconds: Seconds
    settled: bool
    """Whether calls stopped getting faster before the cap was reached."""


@dataclass(frozen=True)
class Components:
    """Where one call spends its time; the parts add up to the call. Measured in a pass of its own."""

    text_s: Seconds
    steps_s: tuple[Seconds, ...]
    """One number for each denoising step."""
    decode_s: Seconds
    rest_s: Seconds


@dataclass(frozen=True)
class Memory:
    peak_bytes: Count
    where: str
    """The component in which the peak occurs: text, denoising, decode or rest."""
    peaks: dict[str, Count] = field(default_factory=dict)
    """Peak of each component in bytes."""
    measure: str = "live tensors"
    """How it was measured: `live tensors` (a CPU's allocator events), `cuda allocator`, or `mps driver`
    (what the driver had handed out, weights included, which is never less than the peak)."""
    weights_bytes: Count | None = None
    """Of all parameters and buffers of the pipeline, where the peak does not count them (`live tensors`)."""
    reserved_bytes: Count | None = None
    resident_bytes: Count | None = None
    first_call_peak_bytes: Count | None = None

    @property
    def whole_bytes(self) -> int:
        """What the device must hold at the peak, weights included."""
        return self.peak_bytes + (self.weights_bytes or 0)


@dataclass(frozen=True)
class Quality:
    """The stage's pictures against the reference stage's of the same run, or its tensors."""

    reference: Name
    ssim: Finite | None
    """Of pictures, as the next one; None of tensors."""
    worst_tile: Finite | None
    psnr_db: Finite | None
    """None also where the pictures are equal: JSON has no infinity."""
    passed: bool
    reason: str = ""
    flicker: Finite | None = None
    """Of videos."""
    relative_l2: Finite | None = None
    """Of tensors, as the next two: of the one that is farthest from the reference's."""
    largest_error: Finite | None = None
    largest_at: str = ""
    """Its place, such as `output[0, 17, 5]`."""


@dataclass(frozen=True)
class Trial:
    """One process that built one stage of one model, and everything that it measured."""

    model: Name
    stage: Name
    follows: Name | None
    recipe: dict[str, Any] = field(default_factory=dict)
    request: dict[str, Fact] = field(default_factory=dict)
    state: State = "incomplete"
    reason: str = ""
    """Why it is not measured, in one sentence."""
    weights: str = ""
    """Where they came from: embedded, hub@COMMIT, folder, dummy, twin, tiny, own. Empty in older files."""
    load_s: Seconds | None = None
    first_call_s: Duration | None = None
    cache: str = "none"
    """State of the compile cache at the first call: cold, warm, mixed or none."""
    first_in_process: tuple[str, ...] | None = None
    """One-time process costs included in the first call: `compute`, `compile`. None where they are not known."""
    warm_up: WarmUp | None = None
    samples: tuple[Sample, ...] = ()
    components: Components | None = None
    memory: Memory | None = None
    fingerprint: dict[str, Fact] = field(default_factory=dict)
    """Flat: the name of a fact and its value (number, text, or a list of texts). Exact on one set of versions."""
    quality: Quality | None = None
    unapplied: tuple[str, ...] = ()
    """Sentences of the failed proof of application."""
    unproven: tuple[str, ...] = ()
    """The same where nothing shows whether the idea was applied, in a pipeline of the user's own."""
    leaks: tuple[str, ...] = ()
    injected: str = ""
    """A fault that was put in on purpose; such a run is never accepted."""
    origin: str = ""
    """In a baseline that was accepted in parts: the run from which this stage came."""
    where: dict[str, str] = field(default_factory=dict)
    """The same: the facts of that run's environment that tell its machine apart."""

    @property
    def id(self) -> str:
        return f"{self.model}-{self.stage}"

    @property
    def batch(self) -> int:
        """Pictures drawn by one call."""
        count = self.request.get("batch")
        return count if isinstance(count, int) else 1

    @property
    def dtype(self) -> str:
        """Of weights and arithmetic; empty where nothing was built."""
        return str(self.recipe.get("dtype", "float32")) if self.load_s is not None else ""

    @property
    def flops(self) -> float | None:
        """Of one call."""
        counted = self.fingerprint.get("flops")
        return counted if isinstance(counted, int | float) else None

    def begins_like(self, other: Trial) -> bool:
        """Whether first calls compare: not one that compiled anew with one that read the cache, for instance."""
        known = None not in (self.first_in_process, other.first_in_process)
        return self.cache == other.cache and (self.first_in_process == other.first_in_process or not known)


@dataclass(frozen=True)
class Run:
    """One pytest session."""

    device: Device
    started: str
    """ISO 8601, UTC."""
    environment: dict[str, Any] = field(default_factory=dict)
    """Versions, variables and commit: what may change from one night to the next on the same device."""
    expected: tuple[str, ...] = ()
    """Ids of the stages that the session was to measure."""
    stages: tuple[Trial, ...] = ()
    complete: bool = False
    outcome: str = ""
    """Why the session ended as it did, for instance passed, slow, quality, interrupted."""
    judgements: tuple[dict[str, Any], ...] = ()
    """What was decided in the session, as `fastdiff.compare` wrote it; for readers, never read back by the judge."""
    made_by: str = ""
    software: Software | None = None
    """What can be made again. None in older files, and where nothing was measured."""
    schema: int = SCHEMA

    def stage(self, id_: str) -> Trial | None:
        return next((stage for stage in self.stages if stage.id == id_), None)


@dataclass(frozen=True)
class Noise:
    """How much fresh processes of one machine differ, as standard deviations of the natural logarithm."""

    trials: Count
    """How many processes it was measured over."""
    latency_sd: Deviation
    ladder_sd: Deviation
    """Of the ratio of a stage's latency to that of the stage it follows, in one process."""
    first_call_sd: Deviation
    centres: dict[str, tuple[Finite, ...]] = field(default_factory=dict)
    """By stage id: the logarithm of each trial's latency."""
    dof: Count = 0
    """Degrees of freedom of the deviations; 0 where they were declared."""


@dataclass(frozen=True)
class Acceptance:
    """Who made a run the baseline, and why."""

    by: str
    when: str
    reason: str
    source: str
    """Name of the run's file."""
    only: tuple[str, ...] = ()
    """Ids of the stages that were accepted; empty means all of them."""
    forced: tuple[str, ...] = ()
    """What spoke against it, where it was forced."""


@dataclass(frozen=True)
class Baseline:
    """An accepted run of one device."""

    run: Run
    acceptance: Acceptance
    noise: Noise | None = None
    """Measured on this device; None means that the declared, wide one is used."""
    name: str = ""
    """Name of its file."""
