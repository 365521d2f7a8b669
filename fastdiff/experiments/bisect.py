"""`fastdiff bisect`: what made the new side slower? Searches everything that differs, then the releases of one package,
or the project's commits.

The caller measures: nothing here imports torch or creates an environment.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fastdiff.compare.verdicts import MISSING, NEW, SLOW, UNSURE, VOID
from fastdiff.experiments.groups import guilty, units
from fastdiff.experiments.halving import first_bad, most_questions
from fastdiff.record import bisection
from fastdiff.record.bisection import MEASURED, WORKING_TREE, Found, Member, Range, Step
from fastdiff.record.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from fastdiff.record.bisection import Level


@dataclass(frozen=True)
class Difference:
    """The differences between two sides."""

    members: tuple[Member, ...]
    bound: frozenset[tuple[str, str]] = frozenset()
    """Pairs of names: if the first member is taken from the new side, so must be the second, according to the metadata
    of packages."""
    lasting: tuple[str, ...] = ()
    """Differences that cannot be swapped, in words."""


@dataclass(frozen=True)
class Candidate:
    """A candidate, measured against the old side in one step."""

    text: str
    """The unique name of the step."""
    level: Level
    taken: frozenset[str] = frozenset()
    """The names of the members taken from the new side; all others are the old side's."""
    release: str = ""
    """The old side with this release of one package."""
    commit: str = ""
    """The old side with the code of this commit."""


@dataclass(frozen=True)
class Bench:
    """The functions that a search needs from its caller."""

    whole: str
    """The new side, as the user wrote it."""
    measure: Callable[[Candidate], Step]
    releases: Callable[[Member], Sequence[str]]
    """The releases of a package after the old side's, up to and including the new side's, oldest first, as requirements
    for pip."""
    commits: Callable[[], Sequence[str]]
    """The commits after the old side's code, up to and including the new side's, oldest first: short name and subject.
    """


class Trail:
    """The steps of one command. Every step is stored before the next one starts, so the same command can continue."""

    def __init__(self, path: Path, asked: Mapping[str, str], bench: Bench, say: Callable[[str], None]) -> None:
        self.path, self._asked, self._bench, self._say = path, asked, bench, say
        self.steps = {one.candidate: one for one in bisection.read(path, asked)}
        if self.steps:
            say(f"{len(self.steps)} steps are in {path} and are not measured again")
        # Also before the first step, so that a file that cannot be written is reported now and not after an hour.
        bisection.write(path, asked, self.steps.values())

    def take(self, candidate: Candidate, where: str, most: int) -> Step:
        """`most`: the maximum number of steps left in this level, including this one."""
        if candidate.text not in self.steps:
            after = f", at most {most - 1} more of these" if most > 1 else ""
            self._say(f"step {len(self.steps) + 1}: {candidate.text} ({where}{after})")
            began = time.monotonic()
            step = self._bench.measure(candidate)
            step = replace(_finite(step), seconds=step.seconds or time.monotonic() - began)
            self.steps[candidate.text] = step
            bisection.write(self.path, self._asked, self.steps.values())
            self._say(f"  {self.result(step)}")
        return self.steps[candidate.text]

    def side(self, step: Step) -> bool | None:
        """True: as slow as the new side. None: the step gives no information."""
        return slower(step, next(iter(self.steps.values()))) if step.state == MEASURED else None

    def result(self, step: Step) -> str:
        line, bad = plain(step), self.side(step)
        if step.state == MEASURED and bad is None:
            line += "; this does not decide about it"
        elif step.word == UNSURE and len(self.steps) > 1:
            line += f"; counted as {'bad' if bad else 'good'} by its ratio"
        return f"{line} ({step.seconds:.0f} s)"

    def found(self) -> Found:
        return Found(tuple(self.steps.values()))


def search(
    difference: Difference, bench: Bench, path: Path, asked: Mapping[str, str], say: Callable[[str], None]
) -> Found:
    """The smallest set of differences that is slow; then, for a package, its first slow release, and for code, its
    first slow commit."""
    if not difference.members and not difference.lasting:
        raise UserError("bisect", "the two sides run the same software, so there is nothing to search for.")
    trail = Trail(path, asked, bench, say)
    names = frozenset(member.name for member in difference.members)
    whole = trail.take(Candidate(bench.whole, "whole", names), "everything that differs", 1)
    bad = trail.side(whole)
    if bad is None:
        raise UserError(
            "bisect",
            f"{plain(whole)}, and without a slow side there is nothing to search for; name another NEW, or remove "
            f"{path} to try this one again.",
        )
    if not bad:
        say(f"nothing to find: {plain(whole)}")
        return trail.found()
    if difference.lasting:
        together = Candidate("everything that can be swapped", "members", names)
        step = trail.take(together, f"but for {', '.join(difference.lasting)}", 1) if names else None
        side = trail.side(step) if step else False
        if not side:
            remark = f"{plain(step)}, so nothing can be told apart" if step and side is None else ""
            return replace(trail.found(), lasting=difference.lasting, lasting_is_guilty=side is False, remark=remark)
    found = replace(_set(difference, trail, whole, names), lasting=difference.lasting)
    return _inside(found, bench, trail)


def _set(difference: Difference, trail: Trail, whole: Step, names: frozenset[str]) -> Found:
    found = units(difference.members, difference.bound)

    def ask(taken: frozenset[str], most: int) -> bool | None:
        if taken == names:
            return True
        where = f"{len(taken)} of the {len(names)} differences"
        return trail.side(trail.take(Candidate(_named(taken), "members", taken), where, most))

    slow, together = guilty(found, ask)
    by_name = {member.name: member for member in difference.members}
    shown_by = trail.steps.get(_named(together), whole)
    return replace(trail.found(), guilty=tuple(by_name[name] for name in slow), shown_by=shown_by)


def _inside(found: Found, bench: Bench, trail: Trail) -> Found:
    """Searches the releases of the guilty package, or the commits of the code. Each one is measured on the old side, in
    which nothing else changes."""
    (member, *others) = found.guilty
    try:
        if others:
            return found
        if member.kind == "package" and member.old and member.new:
            return _ordered(found, "releases", bench.releases(member), trail)
        if member.kind == "code":
            return _ordered(found, "commits", bench.commits(), trail)
    except UserError as error:
        if error.code not in ("bisect", "environment"):
            raise
        return replace(found, remark=str(error))
    return found


def _ordered(found: Found, level: Level, texts: Sequence[str], trail: Trail) -> Found:
    """`texts`: releases or commits; the last one is the new side's, which is slow."""
    if len(texts) < 2:
        return found
    weights = [1.0] * len(texts)

    def ask(place: int, low: int, high: int) -> bool | None:
        text = texts[place]
        good = _short(texts[low]) if low >= 0 else "the old side"
        where = f"between {good}, which is good, and {_short(texts[high])}, which is bad"
        candidate = (
            Candidate(text, level, release=text) if level == "releases" else Candidate(text, level, commit=_short(text))
        )
        return trail.side(trail.take(candidate, where, most_questions(weights, low, high)))

    low, high = first_bad(weights, ask)
    last_good = texts[low] if low >= 0 else ""
    where = Range(level, texts[high], last_good, tuple(texts[low + 1 : high]))
    return replace(found, steps=trail.found().steps, range=where)


def slower(step: Step, bad: Step) -> bool | None:
    """Whether a measured step counts as slow (bad); None if it gives no information.

    An UNSURE step counts as good or bad, whichever end's ratio is nearer (logarithmically). If the bad end itself is
    UNSURE, it does not count as bad, because there is no other evidence that it is.
    """
    if step.word in (VOID, MISSING, NEW):
        return None
    if step.word != UNSURE or step.candidate == bad.candidate:
        return step.word == SLOW
    if not step.ratio or not bad.ratio:
        return None
    return abs(math.log(step.ratio / bad.ratio)) < abs(math.log(step.ratio))


def plain(step: Step) -> str:
    word = step.word if step.state == MEASURED else "unusable"
    # The reason may be the last output of an installer, which has several lines.
    reason = " ".join(step.reason.split())
    return f"{step.candidate} is {word}: {reason}" if reason else f"{step.candidate} is {word}"


def _named(taken: frozenset[str]) -> str:
    return ", ".join(sorted(taken))


def _short(text: str) -> str:
    """The version of a release, the short name of a commit."""
    return text if text == WORKING_TREE else text.partition("==")[2] or text.partition(" ")[0]


def _finite(step: Step) -> Step:
    """Replaces infinite bounds by None, because JSON has no infinity."""

    def finite(number: float | None) -> float | None:
        return number if number is not None and math.isfinite(number) else None

    return replace(step, ratio=finite(step.ratio), low=finite(step.low), high=finite(step.high))
