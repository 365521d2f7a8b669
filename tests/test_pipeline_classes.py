"""Pipeline classes of diffusers by their place: the page is fresh, and every night each class is tried."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tools.pipelines import page

if TYPE_CHECKING:
    from pathlib import Path

FOUND = page.read()


def test_the_page_is_made_of_what_was_found() -> None:
    assert page.PAGE.read_text() == page.page(FOUND), "python -m tools.pipelines"
    assert page.DATA.read_text() == page.toml(FOUND)


def test_its_lines_are_short() -> None:
    assert max(map(len, page.PAGE.read_text().splitlines())) <= page.WIDTH


def test_most_classes_run() -> None:
    assert len(FOUND) >= 25
    runs = [cls for cls, outcome in FOUND.items() if outcome["auto"] == page.RUNS]
    assert len(runs) >= 0.8 * len(FOUND)


@pytest.mark.nightly
@pytest.mark.parametrize("cls", FOUND)
def test_a_class_runs_or_is_refused_in_a_sentence(cls: str, tmp_path: Path) -> None:
    from tools.pipelines.sweep import tried

    assert tried(cls, tmp_path / cls) == FOUND[cls], "python -m tools.pipelines --sweep"


@pytest.mark.nightly
def test_every_class_that_can_be_made_was_tried() -> None:
    from tools.pipelines.sweep import CLASSES

    assert list(CLASSES) == list(FOUND)
