"""Whether a scheduler failed because it cannot draw in so few steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastdiff.record.errors import UserError

if TYPE_CHECKING:
    from fastdiff.trial.live import LiveStage

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
        raise UserError(
            "run",
            f"{type(pipeline).__name__} cannot draw in {asked.steps} step{'s' * (asked.steps > 1)} with "
            f"{type(pipeline.scheduler).__name__} ({error}); give --fastdiff-steps {steps} or more.",
        ) from error
