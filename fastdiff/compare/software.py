"""Whether software differs between an accepted run and this one, and how that changes verdicts on stored seconds.

Times from another hour cannot distinguish a regression from a change of the machine. If no software differs, the
machine caused any change of the times; if some differs, pairs decide.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fastdiff.compare.facts import differences
from fastdiff.compare.reasons import because
from fastdiff.compare.verdicts import FAST, MACHINE, SAME, SLOW, UNSURE
from fastdiff.record.distribution import OURS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastdiff.compare.steps import Step
    from fastdiff.compare.verdicts import Verdict
    from fastdiff.record.run import Run
    from fastdiff.record.software import Software

SYSTEM = ("driver", "os")
"""Software facts of a run's environment that cannot be recreated next to today's."""
A_PATH = "(a path)"
"""The stored value of a variable that names a folder of its machine."""
NOT_MADE_AGAIN = ("LD_PRELOAD",)
MANAGED = ("TORCHINDUCTOR_CACHE_DIR",)
"""fastdiff sets it for compiled stages, to a folder for each side."""
FEWEST_RUNS = 5
"""Stored seconds decide on a change of the system only if the noise was measured over this many processes."""


def changes(accepted: Run, run: Run) -> list[str] | None:
    """The differences that can be recreated, one text each. None if one of the runs does not list its software and
    code: unknown software never counts as the same."""
    then, now = accepted.software, run.software
    if then is None or now is None or then.project is None or now.project is None:
        return None
    found = differences({"python": _minor(then.python)}, {"python": _minor(now.python)})
    found += differences(_versions(then), _versions(now))
    before, after = (one.entries | one.built for one in (then.project, now.project))
    names = sorted(before.keys() | after.keys())
    found += [f"code: {name}" for name in names if before.get(name) != after.get(name)]
    return found + [
        _change(name, *values) for name, values in _variables(accepted, run).items() if _made_again(name, *values)
    ]


def lasting(accepted: Run, run: Run, *, own_fastdiff: bool) -> list[str]:
    """The differences that cannot be recreated: in pairs both sides have today's. The system facts of another device
    are left out. `own_fastdiff`: whether the accepted side runs the fastdiff of its own commit."""
    found = []
    if accepted.device.slug == run.device.slug:
        found += differences(*({name: one.environment.get(name) for name in SYSTEM} for one in (accepted, run)))
    found += [
        _change(name, *values) for name, values in _variables(accepted, run).items() if not _made_again(name, *values)
    ]
    then, now = accepted.software, run.software
    if then is None or now is None:
        return found
    if _minor(then.python) == _minor(now.python):
        found += differences({"python": then.python}, {"python": now.python})
    before, after = ({one.name: one for one in software.distributions} for software in (then, now))
    for name in sorted(before.keys() & after.keys()):
        one, other = before[name], after[name]
        if one.version == other.version and one.files != other.files and not (one.editable and other.editable):
            found.append(f"{name} {one.version}: other files of the same version")
    if not own_fastdiff and then.fastdiff and then.fastdiff.editable:
        found += ["fastdiff"] if "code: fastdiff" in (changes(accepted, run) or []) else []
    ours = (then.fastdiff, now.fastdiff)
    if all(ours) and not all(one and one.editable for one in ours):
        found += differences(*({"fastdiff": one.version if one else None} for one in ours))
    return found


def _versions(software: Software) -> dict[str, str]:
    """Versions without fastdiff: both sides run today's, or it is the project's own code."""
    return {name: version for name, version in software.versions.items() if name not in OURS}


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _variables(accepted: Run, run: Run) -> dict[str, tuple[str | None, str | None]]:
    """The variables that differ. Names from a file may not be texts."""
    then, now = (one.environment.get("variables") for one in (accepted, run))
    before, after = (one if isinstance(one, dict) else {} for one in (then, now))
    return {
        name: (before.get(name), after.get(name))
        for name in sorted(map(str, before.keys() | after.keys()))
        if before.get(name) != after.get(name) and name not in MANAGED
    }


def _made_again(name: str, before: str | None, after: str | None) -> bool:
    return name not in NOT_MADE_AGAIN and A_PATH not in (before, after)


def _change(name: str, before: str | None, after: str | None) -> str:
    return differences({name: before}, {name: after})[0]


def of_the_machine(verdict: Verdict, band: float) -> Verdict:
    """A verdict on stored seconds if no software differs: SAME within the band, else MACHINE."""
    if verdict.word not in (SLOW, FAST, UNSURE) or verdict.estimate is None:
        return verdict
    inside = 1 / (1 + band) <= verdict.estimate.ratio <= 1 + band
    word = SAME if inside else MACHINE
    notes = tuple(one for one in verdict.notes if one.code != "pairs-tell-more")
    return replace(verdict, word=word, reason=because("no-software-differs"), notes=notes, next=None, details=())


def of_the_system(verdict: Verdict, changed: list[str], processes: int) -> Verdict:
    """A verdict on stored seconds if only the driver or the system differs; it holds if the noise is well measured."""
    if verdict.word not in (SLOW, FAST, UNSURE) or verdict.estimate is None:
        return verdict
    known = processes >= FEWEST_RUNS
    reason = because("system-differs", changed=changed, processes=processes, fewest=FEWEST_RUNS)
    return replace(verdict, word=verdict.word if known else UNSURE, details=(reason, *verdict.details))


def in_pairs(verdict: Verdict, changed: list[str]) -> Verdict:
    """A verdict of pairs if some differences cannot be recreated: a slowdown counts, SAME and FAST become UNSURE."""
    if not changed or verdict.word not in (SAME, FAST):
        return verdict
    return replace(verdict, word=UNSURE, reason=because("not-in-the-pairs", changed=changed))


def beside(verdict: Verdict, changed: Sequence[str]) -> Verdict:
    """A verdict of pairs with the user's environment, noting where that differs from the accepted run's."""
    if not changed:
        return verdict
    return replace(verdict, notes=(*verdict.notes, because("other-packages", changed=list(changed))))


def undecided(verdict: Verdict, code: str, why: str, step: Step | None) -> Verdict:
    """A verdict on stored seconds if software differs and pairs gave no verdict: UNSURE."""
    if verdict.word not in (SLOW, FAST, UNSURE, SAME) or verdict.estimate is None:
        return verdict
    reason = because("no-pairs", why=why, how=code)
    return replace(verdict, word=UNSURE, reason=reason, next=step, about=(), notes=(), details=())
