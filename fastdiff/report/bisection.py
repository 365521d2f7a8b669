"""The answer of a bisection: what was tried, in the order of the versions, and the first release that is bad."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packaging.version import Version

from fastdiff.compare.verdicts import SAME, UNSURE
from fastdiff.record.bisection import MEASURED
from fastdiff.report import tables

if TYPE_CHECKING:
    from fastdiff.record.bisection import Found, Step

HEADINGS = ("candidate", "new / old", "interval", "verdict")


def text(found: Found, good: str, options: str) -> list[str]:
    """`good` is the spec of the good end, which every candidate was measured against."""
    steps = sorted(found.steps, key=_version)
    rows = [
        (good, "-", "-", "the good end"),
        *((step.spec, *_numbers(step), _remark(step, step.spec in found.between)) for step in steps),
    ]
    lines = [*tables.text(HEADINGS, rows), ""]
    if found.culprit is None:
        return lines + _nothing(steps[-1], good, options)
    culprit = next(step for step in steps if step.spec == found.culprit)
    lines.append(_sentence(found, culprit, good))
    for step in steps:
        if step.word == UNSURE and step.spec not in found.between:
            side, end = ("bad", "the bad end's") if _version(step) >= _version(culprit) else ("good", "1")
            lines.append(f"{step.spec} is UNSURE and was taken for {side}: its ratio is nearer to {end}.")
    if culprit.difference:
        lines += ["", f"environment, {good} -> {culprit.spec}:", *(f"  {line}" for line in culprit.difference)]
    if culprit.changes:
        lines += ["", "what else changed:", *(f"  {line}" for line in culprit.changes)]
    return [*lines, "", _next(found.last_good or good, culprit.spec, options)]


def _nothing(bad: Step, good: str, options: str) -> list[str]:
    """Where nothing flips, only the bad end was measured."""
    answer = f"nothing to find: {bad.spec} is {bad.word}" + (f": {bad.reason}" if bad.reason else "")
    return [answer] if bad.word == SAME else [answer, "", _next(good, bad.spec, options)]


def _sentence(found: Found, culprit: Step, good: str) -> str:
    last_good = found.last_good or good
    if not found.between:
        reason = f": {culprit.reason}" if culprit.reason else ""
        return f"the first bad release is {culprit.spec}, and the last good one {last_good}{reason}"
    unknown = ", ".join(found.between)
    return (
        f"the first bad release is one of {unknown}, {culprit.spec}: {last_good} is good, {culprit.spec} is bad, and "
        f"nothing is known of {'what is' if len(found.between) == 1 else f'the {len(found.between)}'} between them."
    )


def _next(old: str, new: str, options: str) -> str:
    return f"next: fastdiff ab --old {old} --new {new} {options}"


def _numbers(step: Step) -> tuple[str, str]:
    ratio = f"{step.ratio:.3f}" if step.ratio is not None else "-"
    interval = f"{step.low:.3f} .. {step.high:.3f}" if step.low is not None and step.high is not None else "-"
    return ratio, interval


def _remark(step: Step, unknown: bool) -> str:
    """One line for each candidate; for one that could not be measured also the reason, which may have several lines."""
    word = step.word if step.state == MEASURED else "unusable"
    why = " ".join(step.reason.split())
    return f"{word}: {why}" if why and (unknown or step.state != MEASURED) else word


def _version(step: Step) -> Version:
    return Version(step.spec.partition("==")[2])
