"""Why a call failed, where a person can do something about it: too few steps, or arguments that were made up."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fastdiff.models.libraries import diffusers
from fastdiff.record.errors import UserError, first_line, named_line, unknown

if TYPE_CHECKING:
    from fastdiff.trial.live import LiveStage

USUAL = (
    *(AssertionError, AttributeError, ImportError, IndexError, KeyError, NameError, TypeError, ValueError),
    ZeroDivisionError,
)
"""What arguments that do not fit raise, and packages that are missing."""
UNEXPECTED = re.compile(r"unexpected keyword argument '(\w+)'")
ENOUGH_STEPS = 4
"""Enough steps for every scheduler: a call that fails with this many fails for another reason."""


def require_enough_steps(live: LiveStage, error: Exception) -> None:
    """Some schedulers cannot draw in one step. If a call with more steps works, the steps are the reason."""
    asked = live.request
    if asked.steps is None:
        return
    for steps in range(asked.steps + 1, ENOUGH_STEPS + 1):
        live.request = asked.changed(steps=steps)
        try:
            live.call()
        except Exception:
            continue
        finally:
            live.request = asked
        pipeline = live.built.pipeline
        scheduler = getattr(pipeline, "scheduler", None)  # which a pipeline of the user's own may not have
        drawn_with = "" if scheduler is None else f" with {type(scheduler).__name__}"
        raise UserError(
            "run",
            f"{type(pipeline).__name__} cannot draw in {asked.steps} step{'s' * (asked.steps > 1)}{drawn_with} "
            f"({first_line(error)}); give --fastdiff-steps {steps} or more.",
        ) from error


def require_known_arguments(live: LiveStage, error: Exception) -> None:
    """A user's function may name an argument that the call does not take."""
    takes, asked = live.built.calling.takes, UNEXPECTED.search(str(error))
    if isinstance(error, TypeError) and asked and asked[1] in live.built.calling.given.keys() - takes.keys():
        raise UserError("file", unknown("argument of the call", asked[1], list(takes))) from error


def require_callable(live: LiveStage, error: Exception) -> None:
    """Of a pipeline that was named by its place only fastdiff knows what it was called with."""
    if live.model.described or live.model.factory:
        return
    mend = "prepare it, or give other arguments, in a function of your own: fastdiff init"
    if type(error) is RuntimeError and live.model.weights == "tiny":
        mend = "its parts do not fit each other when they are shrunk: --fastdiff-weights dummy"
    # diffusers goes on without a package until it uses it. Any other name is a mistake in its code, and may be the name
    # of a package all the same.
    if isinstance(error, NameError) and hasattr(diffusers.utils.import_utils, f"is_{error.name}_available"):
        mend = f"pip install {error.name}"
    dtype = live.recipe.dtype
    if dtype != "float32":
        mend = f"measure it in float32 alone: -k fp32. If it fails there, too, {mend}"
    raise UserError(
        "run",
        f"{type(live.built.pipeline).__name__} cannot be called with its own defaults in {dtype} "
        f"({named_line(error)}); {mend}",
    ) from error
