"""The search for the smallest set of differences that is slow together: which of them to try together, and in which
order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastdiff.experiments.halving import first_bad, most_questions

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from fastdiff.record.bisection import Member

    Ask = Callable[[frozenset[str], int], bool | None]
    """Whether the old side is slow with these members taken from the new side; None gives no information. The number is
    the maximum of questions left, including this one."""

LIKELY = {
    **dict.fromkeys(("torch", "diffusers"), 8.0),
    **dict.fromkeys(("torchao", "transformers", "triton", "xformers", "flash-attn", "accelerate"), 4.0),
    **dict.fromkeys(("numpy", "peft", "safetensors", "bitsandbytes", "optimum-quanto"), 2.0),
}
"""Rough weights: how often a change of a package makes a diffusion pipeline slower, compared with other packages."""
OTHERS = 1.0
OF_KIND = {"code": 8.0, "variable": 4.0, "file": 2.0}


@dataclass(frozen=True)
class Unit:
    """Members that, according to their metadata, can only be swapped together."""

    members: tuple[Member, ...]
    needs: frozenset[str]
    """Names of all members to take from the new side together with this unit, including its own."""

    @property
    def weight(self) -> float:
        return max(map(likely, self.members))


def likely(member: Member) -> float:
    return OF_KIND.get(member.kind) or LIKELY.get(member.name, OTHERS)


def units(members: Sequence[Member], bound: Collection[tuple[str, str]]) -> list[Unit]:
    """Likely units first, each after those that it needs, so that every first part of the list can be installed.
    `bound`: if the first name is taken from the new side, so must be the second."""
    by_name = {one.name: one for one in members}
    needs = {name: _reached(name, bound) for name in by_name}
    found: list[Unit] = []
    placed: set[str] = set()

    def place(name: str) -> None:
        if name in placed:
            return
        together = [one for one in _by_likelihood(needs[name]) if name in needs[one]]
        placed.update(together)
        for one in _by_likelihood(needs[name]):
            place(one)
        found.append(Unit(tuple(by_name[one] for one in together), needs[name]))

    def _by_likelihood(names: Iterable[str]) -> list[str]:
        return sorted(names, key=lambda name: (-likely(by_name[name]), name))

    for name in _by_likelihood(by_name):
        place(name)
    return found


def guilty(found: Sequence[Unit], ask: Ask) -> tuple[list[str], frozenset[str]]:
    """Names of a smallest set that is slow together, given that all units together are slow; and that set with
    everything that it needs.

    Of the sets {first unit}, {first two units}, ..., the first slow one ends with a unit that matters. If that unit
    alone is not slow, it is slow only with some of the units before it, which are searched in the same way. Finding a
    single unit takes one question per halving and one more; splitting sets and trying both parts would take twice as
    many.
    """
    slow: set[str] = set()
    pool = list(found)
    while True:
        before, block = _first_slow(pool, _closed(slow, found), ask)
        context = _closed(slow, found).union(*(unit.needs for unit in before))
        beside, block = _narrowed(context, block, ask)
        context = context.union(*(unit.needs for unit in beside))
        slow |= _split(context, block[0], ask) if len(block) == 1 else _names(block)
        closed = _closed(slow, found)
        pool = [unit for unit in (*before, *beside) if not unit.needs <= closed]
        if not pool or ask(closed, 1):
            return [member.name for unit in found for member in unit.members if member.name in slow], closed


def _first_slow(pool: list[Unit], slow: frozenset[str], ask: Ask) -> tuple[list[Unit], list[Unit]]:
    """The units before the one that matters, and that one; or several, if no set between them gave information."""
    weights = [unit.weight for unit in pool]

    def is_slow(place: int, low: int, high: int) -> bool | None:
        taken = slow.union(*(unit.needs for unit in pool[: place + 1]))
        return ask(taken, most_questions(weights, low, high))

    low, high = first_bad(weights, is_slow)
    return pool[: low + 1], pool[low + 1 : high + 1]


def _narrowed(context: frozenset[str], block: list[Unit], ask: Ask) -> tuple[list[Unit], list[Unit]]:
    """Splits units that the search could not separate: those that do not matter, and those of which one does."""
    if len(block) == 1:
        return [], block
    for unit in sorted(block, key=lambda one: -one.weight):
        if ask(context | unit.needs, 1):
            return [], [unit]
    for unit in block:
        others = [one for one in block if one is not unit]
        side = ask(context.union(*(one.needs for one in others)), 1)
        if side is not None:
            return _narrowed(context, others, ask) if side else (others, [unit])
    return [], block


def _split(context: frozenset[str], unit: Unit, ask: Ask) -> set[str]:
    """Tries each member of a unit alone, because package metadata may be too strict. If no member is slow alone, or
    none runs alone, the result is the whole unit."""
    for member in unit.members if len(unit.members) > 1 else ():
        if ask(context | {member.name}, 1):
            return {member.name}
    return _names([unit])


def _names(found: Sequence[Unit]) -> set[str]:
    return {member.name for unit in found for member in unit.members}


def _closed(names: Collection[str], found: Sequence[Unit]) -> frozenset[str]:
    """The names, with everything that the complete units among them need."""
    needed = [unit.needs for unit in found if _names([unit]) <= set(names)]
    return frozenset(names).union(*needed)


def _reached(name: str, bound: Collection[tuple[str, str]]) -> frozenset[str]:
    needs: Mapping[str, list[str]] = {one: [other for this, other in bound if this == one] for one, _ in bound}
    seen, waiting = {name}, [name]
    while waiting:
        new = [other for other in needs.get(waiting.pop(), ()) if other not in seen]
        seen.update(new)
        waiting += new
    return frozenset(seen)
