"""The warning of pytest-benchmark that waits until it is known which tests there are. Quick to import, as the options.

pytest-benchmark warns before anything is collected that its own storage is empty. Of a stage the verdicts say NEW, and
the warning beside them would mislead.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import pytest

from fastdiff.plugin.options import is_asked, project_folder

if TYPE_CHECKING:
    from pathlib import Path

WARNING = "Can't compare. No benchmark files"
HELD_BACK = pytest.StashKey[bool]()


def hold_back(config: pytest.Config) -> None:
    """In projects only that seem to use fastdiff, so that another project's warning comes where it came before."""
    if not getattr(config.option, "benchmark_compare", None):
        return
    if is_asked(config) or has_accepted(project_folder(config)):
        config.stash[HELD_BACK] = True
        filters = warnings.catch_warnings()
        filters.__enter__()
        config.add_cleanup(lambda: filters.__exit__(None, None, None))
        warnings.filterwarnings("ignore", WARNING)


def give_back(config: pytest.Config) -> None:
    """The warning, after all, where no test needs a stage."""
    if config.stash.get(HELD_BACK, False):
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            config._benchmarksession.handle_loading()  # type: ignore[attr-defined]


def has_accepted(project: Path) -> bool:
    """By their names alone: `record.baselines` reads them, and takes longer to import than this may take."""
    return any(project.glob("baselines/*/[0-9][0-9][0-9][0-9]*_*.json"))
