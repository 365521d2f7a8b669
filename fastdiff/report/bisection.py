"""The answer of a search: what was tried, what makes the new side slower, and what to type next."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from fastdiff.compare.facts import listed
from fastdiff.compare.steps import Bisect, MorePairs
from fastdiff.compare.verdicts import SAME, UNSURE
from fastdiff.record.bisection import MEASURED, WORKING_TREE
from fastdiff.report import steps, tables
from fastdiff.report.sentences import change

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastdiff.record.bisection import Found, Range, Step
    from fastdiff.report.steps import Shell

HEADINGS = ("tried on the old side", "new / old", "interval", "seconds", "verdict")
NAMED = 3
"""More names than this make a row too long."""
EXPLAINED = 2 / 3
"""With less than this share of the whole, something else is slower, too."""


def text(found: Found, options: str, most_pairs: int, shell: Shell) -> list[str]:
    lines = [
        *tables.text(HEADINGS, [_row(found, step) for step in found.steps]),
        "",
        f"old: {' '.join(found.old)}",
        f"new: {' '.join(found.whole.words)}",
        "",
        *_answer(found),
        *_doubts(found),
    ]
    shown = found.shown_best_by
    if shown and shown.difference and found.range:
        lines += ["", f"environment, the old side -> {shown.candidate}:", *(f"  {line}" for line in shown.difference)]
    if shown and shown.changes:
        lines += ["", "what else changed:", *(f"  {line}" for line in shown.changes)]
    seconds = sum(step.seconds for step in found.steps)
    count = "1 step" if len(found.steps) == 1 else f"{len(found.steps)} steps"
    lines += ["", f"{count}, {seconds / 60:.0f} min" if seconds >= 90 else f"{count}, {seconds:.0f} s"]
    return [*lines, *(f"next: {command}" for command in _next(found, options, most_pairs, shell))]


def _answer(found: Found) -> Iterator[str]:
    whole, shown = found.whole, found.shown_best_by
    reason = f": {shown.reason}" if shown and shown.reason else ""
    if found.lasting_is_guilty:
        yield f"the cause cannot be swapped: {listed([*found.lasting])}"
        return
    if not found.guilty and not found.remark:
        yield f"nothing to find: {whole.candidate} is {whole.word}" + (f": {whole.reason}" if whole.reason else "")
        return
    names = [f"{one.text} (with {_few(one.besides)})" if one.besides else one.text for one in found.guilty]
    if len(names) == 1:
        yield f"the cause is {names[0]}" + ("" if found.range else reason)
    elif names:
        yield f"the cause is {', '.join(names[:-1])} and {names[-1]}, only together{reason}"
    if found.range:
        yield _range(found.range) + (reason if not found.range.between else "")
    if found.remark:
        yield f"the search could not go further: {' '.join(found.remark.split())}"


def _range(one: Range) -> str:
    what = "release" if one.level == "releases" else "commit"
    last_good = one.last_good or "the old side's"
    if not one.between:
        return f"the first slow {what} is {one.first_bad}, and the last good one {last_good}"
    several = "is" if len(one.between) == 1 else f"the {len(one.between)}"
    return (
        f"the first slow {what} is one of {', '.join(one.between)}, {one.first_bad}: {last_good} is good, "
        f"{one.first_bad} is slow, and nothing is known of {'what ' if several == 'is' else ''}{several} between them"
    )


def _doubts(found: Found) -> Iterator[str]:
    names = {one.name for one in found.guilty}
    split = [
        step
        for step in found.steps
        if step.level == "members" and step.state != MEASURED and 0 < len(names & _names(step)) < len(names)
    ]
    if split:
        yield f"sets of only some of these do not run ({len(split)} tried), so not all of them may be needed"
    if found.guilty and found.lasting:
        yield f"not swapped, and from the old side in every step: {listed([*found.lasting])}"
    for step in found.steps[1:]:
        if step.word == UNSURE:
            yield f"{_shown(step)} is UNSURE; the search counted it as good or bad by its ratio"
    if rest := _rest(found):
        part, whole = map(change, rest)
        yield f"this explains {part} of {whole}: something else is slower, too; the second command searches for it"


def _rest(found: Found) -> tuple[float, float] | None:
    """The ratios of the cause and of the whole, if the cause leaves much of the whole unexplained."""
    shown, whole = found.shown_by, found.whole
    if not shown or not shown.ratio or not whole.ratio or not shown.words:
        return None
    explained = math.log(shown.ratio) / math.log(whole.ratio)
    return (shown.ratio, whole.ratio) if 0 < explained < EXPLAINED else None


def _next(found: Found, options: str, most_pairs: int, shell: Shell) -> Iterator[str]:
    whole, shown, where = found.whole, found.shown_best_by, found.range
    if where and where.level == "commits":
        commit = where.first_bad.partition(" ")[0]
        yield "git diff HEAD" if where.first_bad == WORKING_TREE else f"git show {commit}"
        return
    if not found.guilty:
        if whole.word != SAME:
            yield _ab(found.old, whole.words, options, most_pairs, shell)
        return
    good = next((one.words for one in found.steps if where and one.candidate == where.last_good), found.old)
    if shown and shown.words:
        yield _ab(good, shown.words, options, most_pairs, shell)
    elif ends := _releases(found):  # the environments alone lack the accepted run's code
        yield _ab(*ends, options, most_pairs, shell)
    if found.shown_by and _rest(found):
        yield steps.command(Bisect(found.shown_by.words, whole.words, options, most_pairs), shell)


def _releases(found: Found) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """The same in this environment, where one package is guilty: the old release of it alone, against the new one."""
    member, where = found.guilty[0], found.range
    if len(found.guilty) > 1 or member.kind != "package" or not member.old or " " in member.old:
        return None
    new = (where.first_bad,) if where else found.whole.words
    return ((where and where.last_good) or f"{member.name}=={member.old}",), new


def _ab(old: tuple[str, ...], new: tuple[str, ...], options: str, most_pairs: int, shell: Shell) -> str:
    return steps.command(MorePairs("", old, new, options, most_pairs), shell)


def _row(found: Found, step: Step) -> tuple[str, ...]:
    """One line for each candidate; for one that could not be measured also the reason, which may have several lines."""
    ratio = f"{step.ratio:.3f}" if step.ratio is not None else "-"
    interval = f"{step.low:.3f} .. {step.high:.3f}" if step.low is not None and step.high is not None else "-"
    word = step.word if step.state == MEASURED else "unusable"
    why = " ".join(step.reason.split())
    unknown = step.state != MEASURED or (found.range is not None and step.candidate in found.range.between)
    return _shown(step), ratio, interval, f"{step.seconds:.0f}", f"{word}: {why}" if why and unknown else word


def _shown(step: Step) -> str:
    return _few(tuple(step.candidate.split(", "))) if step.level == "members" else step.candidate


def _few(names: tuple[str, ...]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")


def _names(step: Step) -> set[str]:
    return set(step.candidate.split(", "))
