"""What one call of each side ran: which operators and kernels appeared or vanished, and which of them take longer.

As data beside a verdict. Counts are exact; the seconds are of one call under a profiler, so only large changes are
worth a line.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from fastdiff.compare.explanation import parts
from fastdiff.compare.reasons import because

if TYPE_CHECKING:
    from fastdiff.compare.reasons import Reason
    from fastdiff.record.pairs import Pair, Profile

SHOWN = 8
"""Of a hundred that differ after an upgrade, these explain most."""
SMALLEST_CHANGE = 0.1
"""Of a call: on two busy cores four calls of one process gave an operator shares that differed by up to 11 %."""
SMALLEST_PART = 0.05
"""Of a call: the time of a shorter component is mostly noise."""

FUSED = re.compile(r"((?:cpp|triton)_\w+?)(?:_\d+)+")
"""Inductor numbers its kernels in the order in which it makes them; what is fused stands before the number."""
ATTENTION = re.compile("attention|attn|flash|fmha|sdpa", re.IGNORECASE)
"""In the names of its kernels, torch's own and those of CUDA's libraries."""
COMPILED = re.compile(r"## Call CompiledFxGraph \w+ ##|Torch-Compiled Region: [\d/]+")
"""What runs a graph, whose name is a hash or a number."""


@dataclass(frozen=True)
class Ran:
    """One operator of one side."""

    calls: int | None
    """None where a profile names only those that take longest, and this one is not among them."""
    share: float
    """Of the call."""


@dataclass(frozen=True)
class Difference:
    name: str
    old_calls: int | None
    new_calls: int | None
    factor: float | None
    """How many times as long it takes; None where it took no time."""
    change: float
    """What it adds to a call, as a share of the old one."""


def inside(first: Pair, ratio: float) -> list[Reason]:
    """How the two sides of an experiment's first pair differ inside of a call; `ratio` is that of all calls, new to
    old."""
    old, new = first.old_profile, first.new_profile
    components = _components(first, ratio)
    if not (old and new and old.operators and new.operators):
        found = [because("components", of=components)] if components else []
        return found + [because("no-profile", why=one.why_not) for one in (old, new) if one and one.why_not]
    differ = differing(old, new, ratio)
    found = [because("one-call", of=components, steps=new.steps, differ=len(differ))]
    found += [because("ran-otherwise", **asdict(one)) for one in differ[:SHOWN]]
    return found + ([because("and-more", count=len(differ) - SHOWN)] if len(differ) > SHOWN else [])


def differing(old: Profile, new: Profile, ratio: float) -> list[Difference]:
    """What explains most first. How long the two profiled calls took is chance, so of each only the shares count, and
    `ratio` says what a share of the new call is worth."""
    before, after = _ran(old), _ran(new)
    found = []
    for name in dict.fromkeys([*before, *after]):
        was, now = before.get(name, _absent(old)), after.get(name, _absent(new))
        factor = ratio * now.share / was.share if was.share else None
        found.append(Difference(name, was.calls, now.calls, factor, ratio * now.share - was.share))
    return sorted(filter(_matters, found), key=_order)


def _matters(one: Difference) -> bool:
    counted = one.old_calls is not None and one.new_calls is not None
    return (counted and one.old_calls != one.new_calls) or abs(one.change) >= SMALLEST_CHANGE


def _order(one: Difference) -> tuple[bool, bool, bool, float]:
    """By the seconds where they are no noise; of the others attention first, which decides what else is called."""
    small = abs(one.change) < SMALLEST_CHANGE
    on_both_sides = 0 not in (one.old_calls, one.new_calls)
    return small, small and not ATTENTION.search(one.name), small and on_both_sides, -abs(one.change)


def _ran(profile: Profile) -> dict[str, Ran]:
    calls: Counter[str] = Counter()
    seconds: defaultdict[str, float] = defaultdict(float)
    for one in profile.operators:
        name = _plain(one.name)
        calls[name] += one.calls
        seconds[name] += one.seconds
    shares = _shares(seconds)
    return {name: Ran(count, shares[name]) for name, count in calls.items()}


def _absent(profile: Profile) -> Ran:
    return Ran(None if profile.more else 0, 0.0)


def _plain(name: str) -> str:
    fused = FUSED.fullmatch(name)
    return fused[1] if fused else COMPILED.sub("a compiled graph", name)


def _components(pair: Pair, ratio: float) -> dict[str, float]:
    """New to old, of those that matter; they were measured in one call of each side, so shares count here, too."""
    if not pair.old.components or not pair.new.components:
        return {}
    old, new = map(_shares, (parts(pair.old.components), parts(pair.new.components)))
    return {
        name: ratio * new[name] / old[name] for name in old if old[name] and max(old[name], new[name]) >= SMALLEST_PART
    }


def _shares(seconds: dict[str, float]) -> dict[str, float]:
    whole = sum(seconds.values())
    return {name: one / whole if whole else 0.0 for name, one in seconds.items()}
