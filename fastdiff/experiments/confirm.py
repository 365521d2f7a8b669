"""Measures a slow stage again in fresh processes, as often as planned beforehand; every process counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastdiff.compare.facts import differences, listed
from fastdiff.record.errors import UserError
from fastdiff.trial.runner import SILENT, run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastdiff.record.run import Sample, Trial
    from fastdiff.trial.runner import Progress, Runner
    from fastdiff.trial.work import Work

SAME_WORK = ("request", "recipe", "weights", "injected")
"""Facts of a trial that must not differ, or the processes do not measure one thing."""


def confirm(
    runner: Runner, work: Work, first: Trial, processes: int, progress: Progress
) -> Iterator[tuple[Sample, ...]]:
    """The samples of each process, as many as `first` has."""
    for number in range(1, processes + 1):
        with progress.doing(f"{work.id}: confirming in a fresh process, {number} of {processes}"):
            again = run(runner, work, len(first.samples), SILENT)
        expected, found = ({name: getattr(one, name) for name in SAME_WORK} for one in (first, again))
        if changed := differences(expected, found):
            raise UserError(
                "process", f"a fresh process measured other work as {work.id} ({listed(changed)}); it does not count."
            )
        yield again.samples
