"""Delays a warning of pytest-benchmark until the tests are known. Fast to import, like the options.

Before anything is collected, pytest-benchmark warns that its own storage is empty. For stages the verdict NEW already
reports that, and the additional warning would mislead.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import pytest

from fastdiff.plugin.options import is_configured, project_folder

if TYPE_CHECKING:
    from pathlib import Path

WARNING = "Can't compare. No benchmark files"
HELD_BACK = pytest.StashKey[bool]()


def hold_back(config: pytest.Config) -> None:
    """Suppresses the warning in projects that seem to use fastdiff; other projects get it at the usual time."""
    if not getattr(config.option, "benchmark_compare", None):
        return
    if is_configured(config) or has_accepted(project_folder(config)):
        config.stash[HELD_BACK] = True
        filters = warnings.catch_warnings()
        filters.__enter__()
        config.add_cleanup(lambda: filters.__exit__(None, None, None))
        warnings.filterwarnings("ignore", WARNING)


def give_back(config: pytest.Config) -> None:
    """Issues the warning after all if no test needs a stage."""
    if config.stash.get(HELD_BACK, False):
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            config._benchmarksession.handle_loading()  # type: ignore[attr-defined]


def has_accepted(project: Path) -> bool:
    """Looks at file names only: importing `record.baselines`, which reads the files, takes too long here."""
    return any(project.glob("baselines/*/[0-9][0-9][0-9][0-9]*_*.json"))
