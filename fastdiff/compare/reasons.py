"""The reason of a verdict, as data: a code and its values.

`fastdiff.report.sentences` writes the sentence of each code.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Code = Literal[
    # an interval and a band
    "inside-band",
    "beyond-band",
    "crosses-band",
    # what would settle it
    "pairs-tell-more",
    "more-pairs",
    "too-many-pairs",
    # whether times of another session can decide
    "no-software-differs",
    "system-differs",
    "no-pairs",
    "not-in-the-pairs",
    "other-packages",
    # notes on the numbers
    "machine-differs",
    "speedup",
    "first-call",
    "first-calls",
    "slower-half",
    "pairs",
    "memory",
    "memory-changed",
    # nothing to compare with
    "no-accepted-run",
    "accepted-elsewhere",
    "no-accepted-stage",
    "accepted-as-skipped",
    "other-weights",
    "other-work",
    "no-accepted-samples",
    "no-accepted-gain",
    "no-accepted-first-call",
    "no-accepted-memory",
    "accepted-in-parts",
    # nothing to judge
    "samples-disturbed",
    "too-few-samples",
    "pair-not-applied",
    "before-the-first-look",
    "all-cores-unfinished",
    # not measured
    "not-measured",
    "stage-is",
    "not-timed",
    "tests-deselected",
    # facts and pictures
    "facts-equal",
    "facts-changed",
    "stage-broken",
    "not-applied",
    "graph-broke",
    "compiled-again",
    "waits-in-a-step",
    "fact-differs",
    "pictures-alike",
    "pictures-differ",
    "tensors-alike",
    "tensors-differ",
    # where the time went, and what else changed
    "component-grew",
    "components",
    "one-call",
    "ran-otherwise",
    "and-more",
    "no-profile",
    "steady-and-first",
    "device-and-host",
    "fingerprint-differs",
    "versions-differ",
    "environment-differs",
    "recipe-differs",
    "fault-injected",
    "only-difference",
]


@dataclass(frozen=True)
class Reason:
    code: Code
    values: dict[str, Any] = field(default_factory=dict)


def because(code: Code, **values: Any) -> Reason:
    return Reason(code, values)
