"""`fastdiff bisect`: what made the new side slower? First of everything that differs, then of the releases of one
package, or of the project's commits.

Measuring is the caller's: nothing here imports torch or makes an environment.
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
    """Between two sides."""

    members: tuple[Member, ...]
    bound: frozenset[tuple[str, str]] = frozenset()
    """Pairs of names: where the first member is the new side's, the second one has to be, as packages say themselves.
    """
    lasting: tuple[str, ...] = ()
    """What differs and cannot be swapped, in words."""


@dataclass(frozen=True)
class Candidate:
    """What is measured against the old side in one step."""

    text: str
    """Names the step: no two candidates of a search have the same."""
    level: Level
    taken: frozenset[str] = frozenset()
    """Names of the members that are the new side's; all others are the old side's."""
    release: str = ""
    """The old side with this release of one package."""
    commit: str = ""
    """The old side with the code of this commit."""


@dataclass(frozen=True)
class Bench:
    """What a search asks of the world."""

    whole: str
    """The new side, as a person wrote it."""
    measure: Callable[[Candidate], Step]
    releases: Callable[[Member], Sequence[str]]
    """Of a package after the old side's, up to and including the new side's, oldest first: as pip takes them."""
    commits: Callable[[], Sequence[str]]
    """After the old side's code, up to and including the new side's, oldest first: a short name and a subject."""


class Trail:
    """The steps of one command. Every step is in the file before the next one begins, so the same command goes on."""

    def __init__(self, path: Path, asked: Mapping[str, str], bench: Bench, say: Callable[[str], None]) -> None:
        self.path, self._asked, self._bench, self._say = path, asked, bench, say
        self.steps = {one.candidate: one for one in bisection.read(path, asked)}
        if self.steps:
            say(f"{len(self.steps)} steps are in {path} and are not measured again")
        # Also before the first step: who cannot write there learns it now, and not after an hour of measuring.
        bisection.write(path, asked, self.steps.values())

    def take(self, candidate: Candidate, where: str, most: int) -> Step:
        """`most`: the steps that this level may still take, this one among them."""
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
        """True: as slow as the new side. None where the step tells nothing."""
        return slower(step, next(iter(self.steps.values()))) if step.state == MEASURED else None

    def result(self, step: Step) -> str:
        line, bad = plain(step), self.side(step)
        if step.state == MEASURED and bad is None:
            line += "; this tells nothing about it"
        elif step.word == UNSURE and len(self.steps) > 1:
            line += f"; taken for {'bad' if bad else 'good'} by its ratio"
        return f"{line} ({step.seconds:.0f} s)"

    def found(self) -> Found:
        return Found(tuple(self.steps.values()))


def search(
    difference: Difference, bench: Bench, path: Path, asked: Mapping[str, str], say: Callable[[str], None]
) -> Found:
    """The smallest set of differences that is slow, and of a package the first slow release, of code the first slow
    commit."""
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
    """The releases of the one guilty package, or the commits of the code. All of them are measured as what they are
    searched for was: on the old side, with everything else as it was there."""
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
    """The last of the texts is the new side's, which is slow."""
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
    """Whether a measured step is on the bad end's side; None where it tells nothing.

    An UNSURE step is put to the end whose ratio is nearer to its own, in logarithm. An UNSURE bad end is no bad
    end: nothing else vouches for it.
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
    # The reason may be an installer's last words, which have several lines.
    reason = " ".join(step.reason.split())
    return f"{step.candidate} is {word}: {reason}" if reason else f"{step.candidate} is {word}"


def _named(taken: frozenset[str]) -> str:
    return ", ".join(sorted(taken))


def _short(text: str) -> str:
    """The version of a release, the short name of a commit."""
    return text if text == WORKING_TREE else text.partition("==")[2] or text.partition(" ")[0]


def _finite(step: Step) -> Step:
    """An interval that has no end, as one pair alone may give, has no place in JSON."""

    def finite(number: float | None) -> float | None:
        return number if number is not None and math.isfinite(number) else None

    return replace(step, ratio=finite(step.ratio), low=finite(step.low), high=finite(step.high))
