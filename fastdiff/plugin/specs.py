"""The hooks through which a project of the user's own adds models and stages, from its `conftest.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastdiff.models import Model
    from fastdiff.stages.ladder import Ladder


@pytest.hookspec
def pytest_fastdiff_models() -> Sequence[Model] | None:
    """Return models to add to the catalogue; one with a known name replaces the known one."""


@pytest.hookspec(firstresult=True)
def pytest_fastdiff_ladder(ladder: Ladder, model: Model) -> Ladder | None:
    """Return the ladder to measure for `model`: the given one extended, or one of your own. None keeps it."""
