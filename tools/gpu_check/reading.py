"""From what a step left behind to numbers, and to claims that hold or do not. Nothing here runs anything."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

from fastdiff.record import files
from fastdiff.record import pairs as paired
from fastdiff.record.run import MEASURED
from tools.gpu_check.stages import UNTUNED, UNTUNED_GRAPHS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fastdiff.record.run import Run, Trial
    from tools.gpu_check.steps import Scale

LEAST_SAMPLED = 0.8
"""Share of the 50 readings a second that must be there: a driver that answers slowly gives fewer."""
A_A_LIMIT = 0.02
"""The median of three short pairs of an environment with itself must be closer to zero than this."""
A_A_PAIRS = 3

COMPILER_FACTS = ("generated_kernels", "calls_captured", "graphs", "breaks", "cuda_graphs")
EAGER_FACTS = ("operators", "attention_kernels", "syncs_in_loop")


@dataclass(frozen=True)
class Outcome:
    """What a step left behind."""

    run: Path | None = None
    """The file of its session, or of its pairs."""
    probed: Path | None = None
    """The JSON of its probe."""
    before: dict[str, dict[str, Any]] = field(default_factory=dict)
    """The numbers of the steps that were measured before, by step."""


@dataclass(frozen=True)
class Claim:
    """Something that must be true of a device on which fastdiff works."""

    sentence: str
    held: bool
    seen: str


@dataclass(frozen=True)
class Found:
    numbers: dict[str, Any]
    claims: tuple[Claim, ...] = ()
    unmeasured: tuple[str, ...] = ()
    """What of the step could not be measured here, each with its reason."""


# -- probes -----------------------------------------------------------------------------------------------------------


def telemetry(_: Scale, outcome: Outcome) -> Found:
    probed = _json(outcome.probed)
    phases = {one["name"]: _during(probed["rows"], one) for one in probed["phases"]}
    idle, busy = phases["idle before"], phases["busy"]
    seconds = sum(one["to_s"] - one["from_s"] for one in probed["phases"])
    expected = round(seconds * probed["hertz"])
    numbers = {"gpu": probed["gpu"], "driver": probed["driver"], "rows": len(probed["rows"]), "phases": phases}
    claims = [
        Claim(
            f"NVML answers {probed['hertz']} times a second",
            len(probed["rows"]) >= LEAST_SAMPLED * expected,
            f"{len(probed['rows'])} of {expected} readings",
        )
    ]
    for name, unit in (("sm_clock_mhz", "MHz"), ("power_w", "W")):
        sentence = f"{name} is higher under load than idle"
        if name in idle and name in busy:
            seen = f"{idle[name]:.0f} -> {busy[name]:.0f} {unit}"
            claims.append(Claim(sentence, busy[name] > idle[name], seen))
        else:
            claims.append(Claim(sentence, False, "not reported by this driver"))
    return Found(numbers, tuple(claims))


def _during(rows: list[dict[str, float]], phase: dict[str, Any]) -> dict[str, Any]:
    """Means of a phase, and every reason for a lower clock that was seen in it."""
    inside = [row for row in rows if phase["from_s"] <= row["t_s"] <= phase["to_s"]]
    names = ("sm_clock_mhz", "memory_clock_mhz", "power_w", "temperature_c", "utilization_percent")
    seen: dict[str, Any] = {}
    for name in names:
        if values := [row[name] for row in inside if name in row]:
            seen[name] = fmean(values)
    reasons = 0
    for row in inside:
        reasons |= int(row.get("clock_event_reasons", 0))
    return seen | {"clock_event_reasons": hex(reasons)}


def ceilings(scale: Scale, outcome: Outcome) -> Found:
    found = _json(outcome.probed)
    lacking = () if "bf16_tflop_per_s" in found else (f"bf16 products: {scale.device} has no instructions for them",)
    return Found(found, unmeasured=lacking)


def _json(path: Path | None) -> dict[str, Any]:
    if path is None or not path.is_file():
        raise ValueError("the probe left no result")
    read: dict[str, Any] = json.loads(path.read_text())
    return read


# -- sessions ---------------------------------------------------------------------------------------------------------


def eager(scale: Scale, outcome: Outcome) -> Found:
    run = _run(outcome)
    stages = _stages(run)
    claims = [*_proven(run), *_undisturbed(run), *_alike(run)]
    if scale.on_gpu:
        claims += _without_syncs(run)
    return Found({"stages": stages}, tuple(claims), tuple(_skipped(run)))


def full_size(scale: Scale, outcome: Outcome) -> Found:
    """The eager stages with their share of the ceiling that was measured before."""
    found = eager(scale, outcome)
    rate = outcome.before.get("ceilings", {}).get("bf16_tflop_per_s")
    for numbers in found.numbers["stages"].values():
        if rate and numbers.get("tflop_per_s"):
            numbers["share_of_bf16_rate"] = numbers["tflop_per_s"] / rate
    return found


def techniques(_: Scale, outcome: Outcome) -> Found:
    run = _run(outcome)
    peaks = {one.stage: one.memory.whole_bytes for one in run.stages if one.memory}
    dtypes = {one.stage: one.recipe.get("dtype", "float32") for one in run.stages}
    plain = peaks.get("default")
    claims = [
        Claim(
            f"{name} needs less memory than default",
            bool(plain and peak < plain),
            f"{_gb(peak)} against {_gb(plain)}",
        )
        for name, peak in peaks.items()
        if name.startswith("default+")
    ]
    if plain and "unoptimized" in peaks and dtypes["default"] != dtypes["unoptimized"]:
        seen = f"{_gb(plain)} against {_gb(peaks['unoptimized'])}"
        claims.append(Claim("default needs less memory than unoptimized", plain < peaks["unoptimized"], seen))
    return Found({"peak_bytes": peaks}, (*_proven(run), *claims), tuple(_skipped(run)))


def applied(scale: Scale, outcome: Outcome) -> Found:
    run = _run(outcome)
    stages = _stages(run)
    rehearsed = () if scale.on_gpu else ("the denoiser: a rehearsal compiles the decoder of a small SDXL alone",)
    return Found({"stages": stages}, (*_proven(run), *_undisturbed(run)), (*_skipped(run), *rehearsed))


def compiled(scale: Scale, outcome: Outcome) -> Found:
    found = applied(scale, outcome)
    if not scale.on_gpu:
        return Found(found.numbers, found.claims, (*found.unmeasured, f"CUDA graphs: there are none on {scale.device}"))
    graphs = {name: one["facts"].get("cuda_graphs") for name, one in found.numbers["stages"].items()}
    claims = []
    for stage, wanted in ((UNTUNED, False), (UNTUNED_GRAPHS, True)):
        if stage in graphs:
            held = isinstance(graphs[stage], int) and bool(graphs[stage]) is wanted
            some = "some" if wanted else "no"
            claims.append(Claim(f"{stage} recorded {some} CUDA graphs", held, f"{graphs[stage]} recorded"))
    return Found(found.numbers, (*found.claims, *claims), found.unmeasured)


def sync(_: Scale, outcome: Outcome) -> Found:
    run = _run(outcome)
    counted = run.stages[0].fingerprint.get("syncs_in_loop") if run.stages else None
    clean = outcome.before.get("shapes-eager", {}).get("stages", {}).get("sdpa", {}).get("facts", {})
    before = clean.get("syncs_in_loop", 0)
    held = isinstance(counted, int) and counted > before
    claim = Claim("an injected wait in every step is counted", held, f"{counted} waits, {before} without the fault")
    return Found({"syncs_in_loop": counted}, (claim,))


def pairs(scale: Scale, outcome: Outcome) -> Found:
    if outcome.run is None:
        raise ValueError("no finished pair was kept")
    experiment = paired.read(outcome.run)
    if not experiment.pairs:
        raise ValueError("; ".join(experiment.failures) or "no finished pair was kept")
    changes = [_latency(one.new) / _latency(one.old) - 1 for one in experiment.pairs]
    middle = median(changes)
    numbers = {"changes": changes, "seconds": [one.seconds for one in experiment.pairs]}
    if not scale.on_gpu or len(changes) < A_A_PAIRS:
        why = f"{len(changes)} short pairs" if scale.on_gpu else "few short calls on shared cores"
        return Found(numbers, unmeasured=(f"whether a pair of equals reads zero: {why}",))
    claim = Claim(
        f"one environment against itself differs by less than {A_A_LIMIT:.0%}",
        abs(middle) < A_A_LIMIT,
        f"{middle:+.2%} in the middle of {len(changes)} pairs ({min(changes):+.2%} to {max(changes):+.2%})",
    )
    return Found(numbers, (claim,))


# -- parts of them ----------------------------------------------------------------------------------------------------


def _run(outcome: Outcome) -> Run:
    if outcome.run is None:
        raise ValueError("the session left no run file")
    return files.read(outcome.run)


def _stages(run: Run) -> dict[str, dict[str, Any]]:
    """Of a stage that failed a test, too: what was measured of it is true."""
    return {one.stage: _numbers(one) for one in run.stages if one.samples or one.memory}


def _latency(record: Trial) -> float:
    return median(one.wall_s for one in record.samples)


def _numbers(record: Trial) -> dict[str, Any]:
    """What a table shows of a stage; nothing that was not measured."""
    found: dict[str, Any] = {"first_call_s": record.first_call_s, "load_s": record.load_s}
    if record.samples:
        latency = found["latency_s"] = _latency(record)
        device = [one.device_s for one in record.samples if one.device_s is not None]
        if device:
            found["host_only_s"] = latency - median(device)
        if flops := record.flops:
            found["tflop_per_s"] = flops / latency / 1e12
        for name in ("sm_clock_mhz", "power_w", "power_capped"):
            if seen := [one.telemetry[name] for one in record.samples if name in one.telemetry]:
                found[name] = fmean(seen)
    if record.memory:
        found["peak_bytes"] = record.memory.whole_bytes
    if record.quality:
        found |= {"ssim": record.quality.ssim, "worst_tile": record.quality.worst_tile}
    facts = {name: record.fingerprint.get(name) for name in (*EAGER_FACTS, *COMPILER_FACTS)}
    return found | {"facts": {name: value for name, value in facts.items() if value is not None}}


def _proven(run: Run) -> Iterator[Claim]:
    """Of every stage that was meant to be measured; what is not possible here is named by `_skipped`.

    A process that was killed leaves the record of the stages before, and none of the one that killed it.
    """
    for id_ in run.expected:
        if run.stage(id_) is None:
            yield Claim(f"{id_} was measured", False, "the session ended before it")
    for one in run.stages:
        if one.state == "skipped":
            continue
        seen = "; ".join(one.unapplied) or one.reason or ("proven" if one.state == MEASURED else one.state)
        yield Claim(f"{one.id} was built, proven and measured", one.state == MEASURED and not one.unapplied, seen)


def _undisturbed(run: Run) -> Iterator[Claim]:
    for one in run.stages:
        if one.samples:
            void = [sample.void for sample in one.samples if sample.void]
            seen = "; ".join(dict.fromkeys(void)) or f"{len(one.samples)} calls"
            yield Claim(f"no call of {one.id} was disturbed", not void, seen)


def _alike(run: Run) -> Iterator[Claim]:
    for one in run.stages:
        if one.quality:
            seen = f"SSIM {one.quality.ssim:.4f}, worst tile {one.quality.worst_tile:.4f}"
            yield Claim(f"{one.id} draws the reference's picture", one.quality.passed, seen)


def _without_syncs(run: Run) -> Iterator[Claim]:
    for one in run.stages:
        if "syncs_in_loop" in one.fingerprint:
            count = one.fingerprint["syncs_in_loop"]
            yield Claim(f"{one.id} never waits for the GPU inside the loop", count == 0, f"{count} waits")


def _skipped(run: Run) -> Iterator[str]:
    for one in run.stages:
        if one.state == "skipped":
            yield f"{one.id}: {one.reason}"


def _gb(count: int | None) -> str:
    return "nothing" if count is None else f"{count / 1e9:.2f} GB"
