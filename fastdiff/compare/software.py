"""Whether software differs between an accepted run and today's, and what a verdict on stored seconds is worth then.

Seconds of another hour cannot tell a regression from another state of the machine. Where no software differs nothing
got slower, whatever the clock says; where some does, pairs decide.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fastdiff.compare.facts import differences
from fastdiff.compare.reasons import because
from fastdiff.compare.verdicts import FAST, MACHINE, SAME, SLOW, UNSURE

if TYPE_CHECKING:
    from fastdiff.compare.steps import Step
    from fastdiff.compare.verdicts import Verdict
    from fastdiff.record.run import Run

SYSTEM = ("driver", "os")
"""Facts of a run's environment that are software and cannot be made again beside today's."""
FEWEST_RUNS = 5
"""Processes over which the noise has to be measured before stored seconds decide about a change of the system."""


def changes(accepted: Run, run: Run) -> list[str] | None:
    """What differs and can be made again, one text each; None where one of the two does not say what it ran."""
    then, now = accepted.software, run.software
    if then is None or now is None:
        return None
    found = differences({"python": then.python}, {"python": now.python})
    found += differences(then.versions, now.versions)
    entries = [one.project.entries if one.project else {} for one in (then, now)]
    names = sorted(
        name for name in entries[0].keys() | entries[1].keys() if entries[0].get(name) != entries[1].get(name)
    )
    found += [f"code: {name}" for name in names]
    variables = [one.environment.get("variables") or {} for one in (accepted, run)]
    return found + differences(*variables)


def system_changes(accepted: Run, run: Run) -> list[str]:
    """What differs and cannot be made again."""
    return differences(*({name: one.environment.get(name) for name in SYSTEM} for one in (accepted, run)))


def of_the_machine(verdict: Verdict, band: float) -> Verdict:
    """A verdict on stored seconds where no software differs."""
    if verdict.word not in (SLOW, FAST, UNSURE) or verdict.estimate is None:
        return verdict
    inside = 1 / (1 + band) <= verdict.estimate.ratio <= 1 + band
    word = SAME if inside else MACHINE
    notes = tuple(one for one in verdict.notes if one.code != "pairs-tell-more")
    return replace(verdict, word=word, reason=because("no-software-differs"), notes=notes, next=None, details=())


def of_the_system(verdict: Verdict, changed: list[str], processes: int) -> Verdict:
    """The same where only a driver or the system differs: stored seconds decide if this machine's noise is known."""
    if verdict.word not in (SLOW, FAST, UNSURE) or verdict.estimate is None:
        return verdict
    known = processes >= FEWEST_RUNS
    reason = because("system-differs", changed=changed, processes=processes, fewest=FEWEST_RUNS)
    return replace(verdict, word=verdict.word if known else UNSURE, details=(reason, *verdict.details))


def undecided(verdict: Verdict, code: str, why: str, step: Step | None) -> Verdict:
    """The same where software differs and no pairs could tell."""
    if verdict.word not in (SLOW, FAST, UNSURE, SAME) or verdict.estimate is None:
        return verdict
    reason = because("no-pairs", why=why, how=code)
    return replace(verdict, word=UNSURE, reason=reason, next=step, about=(), notes=(), details=())
