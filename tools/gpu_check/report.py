"""The report: what held, what did not, what was not measured, and the numbers, each with its command."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from tools.gpu_check.steps import STEPS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

MEASURED, NOT_MEASURED, FAILED, STOPPED = "measured", "not measured", "failed", "stopped at its limit"

STAGE_COLUMNS: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("latency_s", "latency", lambda value: f"{value:.3f} s"),
    ("first_call_s", "first call", lambda value: f"{value:.2f} s"),
    ("host_only_s", "host alone", lambda value: f"{value * 1000:.1f} ms"),
    ("tflop_per_s", "TFLOP/s", lambda value: f"{value:.3g}"),
    ("share_of_bf16_rate", "of bf16 rate", lambda value: f"{value:.0%}"),
    ("peak_bytes", "memory", lambda value: f"{value / 1e9:.2f} GB"),
    ("sm_clock_mhz", "SM clock", lambda value: f"{value:.0f} MHz"),
    ("power_w", "power", lambda value: f"{value:.0f} W"),
    ("ssim", "SSIM", lambda value: f"{value:.4f}"),
)


def markdown(results: Mapping[str, Any]) -> str:
    """`results` is the content of `results.json`."""
    return "\n".join(_lines(results)) + "\n"


def _lines(results: Mapping[str, Any]) -> Iterator[str]:
    there = results["environment"]
    yield f"# GPU check: {there['device']}"
    yield ""
    if results["rehearsal"]:
        yield "A rehearsal on a CPU: small sizes, and no figure of a GPU."
        yield ""
    yield ", ".join(f"{name} {version}" for name, version in there["versions"].items())
    yield ""
    yield from _claims(results["steps"])
    yield from _not_measured(results["steps"])
    for step in STEPS:
        if step.name in results["steps"]:
            yield from _step(step.title, results["steps"][step.name])


def _claims(steps: Mapping[str, Any]) -> Iterator[str]:
    claims = [(name, claim) for name, step in steps.items() for claim in step["claims"]]
    failed = [(name, claim) for name, claim in claims if not claim["held"]]
    yield "## What did not hold"
    yield ""
    for name, claim in failed:
        yield f"- **{claim['sentence']}** ({name}): {claim['seen']}"
    if not failed:
        yield f"Nothing: all {len(claims)} claims held."
    yield ""
    yield "## What held"
    yield ""
    for name, claim in claims:
        if claim["held"]:
            yield f"- {claim['sentence']} ({name}): {claim['seen']}"
    yield ""


def _not_measured(steps: Mapping[str, Any]) -> Iterator[str]:
    reasons = [f"{step.name} ({step.title}): not run yet" for step in STEPS if step.name not in steps]
    for name, step in steps.items():
        reasons += [f"{name}: {step['state']}: {step['reason']}"] if step["reason"] else []
        reasons += [f"{name}: {one}" for one in step["unmeasured"]]
    if reasons:
        yield "## What was not measured"
        yield ""
        yield from (f"- {reason}" for reason in reasons)
        yield ""


def _step(title: str, step: Mapping[str, Any]) -> Iterator[str]:
    if step["state"] == NOT_MEASURED:
        return
    yield f"## {title[0].upper()}{title[1:]}"
    yield ""
    yield f"`{shlex.join(step['command'])}` ({step['state']}, {step['seconds']:.0f} s)"
    yield ""
    numbers = step["numbers"]
    if stages := numbers.get("stages"):
        shown = [column for column in STAGE_COLUMNS if any(column[0] in one for one in stages.values())]
        yield "| stage | " + " | ".join(title for _, title, _ in shown) + " |"
        yield "| --- |" + " ---: |" * len(shown)
        for name, one in stages.items():
            cells = [write(one[key]) if one.get(key) is not None else "-" for key, _, write in shown]
            yield f"| {name} | " + " | ".join(cells) + " |"
        yield ""
    for name, value in numbers.items():
        if name != "stages":
            yield from _value(name, value)
    yield ""


def _value(name: str, value: Any, depth: int = 0) -> Iterator[str]:
    """A number, or a table of them, as a list."""
    before = "  " * depth + f"- {name}"
    if isinstance(value, dict):
        yield f"{before}:"
        for key, inner in value.items():
            yield from _value(key, inner, depth + 1)
    elif isinstance(value, list):
        yield f"{before}: {', '.join(_number(one) for one in value)}"
    else:
        yield f"{before}: {_number(value)}"


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
