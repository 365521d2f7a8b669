"""Calls that failed for a reason that a person can do something about."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest

from fastdiff.models import Request
from fastdiff.record.errors import UserError
from fastdiff.stages.recipe import Recipe
from fastdiff.trial.enough import require_callable, require_enough_steps


class OfTheUsersOwn:
    """A pipeline without a scheduler."""


def live(**more: Any) -> Any:
    built = SimpleNamespace(pipeline=OfTheUsersOwn())
    recipe = Recipe()
    return SimpleNamespace(request=Request(None, 1, None, None), built=built, recipe=recipe, call=lambda: None, **more)


def test_too_few_steps_are_named_without_a_scheduler() -> None:
    sentence = "OfTheUsersOwn cannot draw in 1 step (too few); give --fastdiff-steps 2 or more."
    with pytest.raises(UserError, match=f"^{re.escape(sentence)}$"):
        require_enough_steps(live(), ValueError("too few\nof them"))


@pytest.mark.parametrize(
    ("name", "mend"),
    [("ftfy", "pip install ftfy"), ("batch", "fastdiff init"), ("", "fastdiff init")],
)
def test_only_a_package_that_diffusers_knows_is_to_be_installed(name: str, mend: str) -> None:
    placed = SimpleNamespace(described=False, factory="", weights="auto")
    with pytest.raises(UserError, match=f"{mend}$"):
        require_callable(live(model=placed), NameError("not defined", name=name or None))
