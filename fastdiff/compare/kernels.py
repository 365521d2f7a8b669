"""What one call of each side ran: operators and kernels that appeared, vanished, or take longer.

These are details of a verdict, as data. Counts are exact. The seconds come from one call under a profiler, so only
large changes are reported.
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
"""An upgrade may change a hundred operators; the first few explain most of the change."""
SMALLEST_CHANGE = 0.1
"""As a share of a call. On two busy cores, an operator's share differed by up to 11 % between four calls of one
process."""
SMALLEST_PART = 0.05
"""As a share of a call. The time of a shorter component is mostly noise."""

FUSED = re.compile(r"((?:cpp|triton)_\w+?)(?:_\d+)+")
"""Inductor numbers its kernels in the order of their creation; the part before the number names the fused operators."""
ATTENTION = re.compile("attention|attn|flash|fmha|sdpa", re.IGNORECASE)
"""Matches the names of attention kernels, torch's own and those of CUDA's libraries."""
COMPILED = re.compile(r"## Call CompiledFxGraph \w+ ##|Torch-Compiled Region: [\d/]+")
"""The entry that runs a compiled graph; its name contains a hash or a number."""


@dataclass(frozen=True)
class Ran:
    """One operator of one side."""

    calls: int | None
    """None if the profile lists only the longest operators and this one is not among them."""
    share: float
    """Of the call's time."""


@dataclass(frozen=True)
class Difference:
    name: str
    old_calls: int | None
    new_calls: int | None
    factor: float | None
    """Ratio of its new to its old time; None if it took no time before."""
    change: float
    """The time that it adds to a call, as a share of the old call."""


def inside(first: Pair, ratio: float) -> list[Reason]:
    """How a call differs between the two sides of an experiment's first pair. `ratio`: new to old, over all pairs."""
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
    """The most important difference first. The durations of the two profiled calls are random, so only the shares are
    used; `ratio` scales the shares of the new call."""
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
    """By time if the change is larger than the noise; then attention first, because it determines other operators."""
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
    """New to old, for components that are long enough. Each side was measured in one call, so shares are used again."""
    if not pair.old.components or not pair.new.components:
        return {}
    old, new = map(_shares, (parts(pair.old.components), parts(pair.new.components)))
    return {
        name: ratio * new[name] / old[name] for name in old if old[name] and max(old[name], new[name]) >= SMALLEST_PART
    }


def _shares(seconds: dict[str, float]) -> dict[str, float]:
    whole = sum(seconds.values())
    return {name: one / whole if whole else 0.0 for name, one in seconds.items()}
