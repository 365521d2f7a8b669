"""Pipelines and modules of `tests/own`: one by its place, and one that is built."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fastdiff.models import factories
from fastdiff.trial.live import LiveStage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastdiff.models import Model

FOLDER = Path(__file__).parent / "own"


def own(place: str) -> Model:
    """`FILE.py::NAME` in the folder."""
    return factories.models(place, FOLDER)[0]


@pytest.fixture
def live(request: pytest.FixtureRequest) -> Iterator[LiveStage]:
    """Of the place and the stage that the test is parametrized with."""
    place, stage = request.param
    model = own(place)
    found = LiveStage(model, stage, "cpu", model.request)
    yield found
    found.close()
