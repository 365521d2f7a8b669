"""How a pipeline is called: with the words of a request that its call takes, and with what fastdiff adds to them."""

from __future__ import annotations

import inspect
import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from fastdiff.models.factories import BATCHES, GUIDANCE, HEIGHT, OUTPUT_TYPE, STEPS, WIDTH, is_plain, request_of
from fastdiff.models.libraries import torch
from fastdiff.record.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastdiff.models import Request

GENERATOR = "generator"


@dataclass
class Calling:
    """Of one built pipeline. What the request says comes before what the user's file gives; what the build made of the
    prompt comes before both."""

    takes: Mapping[str, inspect.Parameter] = field(default_factory=dict)
    """What its call takes, by name."""
    given: Mapping[str, Any] = field(default_factory=dict)
    """By the user's file."""
    made: dict[str, Any] = field(default_factory=dict)
    """By the build, such as embeddings in place of the prompt."""

    def arguments(self, request: Request, output: str = "") -> dict[str, Any]:
        """Latents come from a CPU generator, so every device and dtype starts from the same ones. `output` is the type
        in which it is to answer; empty leaves that to the pipeline."""
        named = dict(self.given) | self._further(request) | self._words(request)
        if self.seeds and GENERATOR not in named:
            seeds = [torch.Generator("cpu").manual_seed(request.seed + place) for place in range(request.batch)]
            named[GENERATOR] = seeds if len(seeds) > 1 else seeds[0]
        if output and OUTPUT_TYPE in self.takes and OUTPUT_TYPE not in named:
            named[OUTPUT_TYPE] = output
        return named | self.made

    def completed(self, request: Request) -> Request:
        """With what only the built pipeline knows: the steps that it takes of its own accord, and what a function of
        the user's gave. Refuses what its call has no place for."""
        given = request_of(self.given)
        further = given.call | request.call
        usual = self.takes[STEPS].default if STEPS in self.takes else None
        for name, value in (("steps", request.steps), ("size", request.size), ("guidance", request.guidance)):
            if value is not None and not self._has(*ARGUMENTS[name]):
                raise UserError("recipe", f"the call takes no {ARGUMENTS[name][0]}, so it cannot have other {name}.")
        if request.batch > 1 and not self._has(*BATCHES):
            raise UserError("recipe", f"the call takes no {BATCHES[0]}, so it draws no batch of {request.batch}.")
        return replace(
            request,
            prompt=given.prompt if request.prompt is None else request.prompt,
            steps=request.steps or given.steps or (usual if isinstance(usual, int) else None),
            size=request.size or given.size,
            guidance=given.guidance if request.guidance is None else request.guidance,
            batch=max(request.batch, given.batch),
            call={name: value for name, value in further.items() if not (request.size and name in (HEIGHT, WIDTH))},
        )

    def added(self, request: Request) -> list[str]:
        """What fastdiff adds to the user's own arguments, for a line of progress."""
        own = self.given.keys()
        seeded = "a CPU generator" if self.seeds else f"torch.manual_seed({request.seed}) before each call"
        words = [seeded] if GENERATOR not in own else []
        words += [f"{STEPS}={request.steps}"] if request.steps and STEPS not in own else []
        words += [f'{OUTPUT_TYPE}="np" for the pictures'] if OUTPUT_TYPE in self.takes.keys() - own else []
        return words

    @property
    def seeds(self) -> bool:
        """Whether the call takes a generator; else only torch's own seed decides what it draws."""
        return GENERATOR in self.takes

    def _further(self, request: Request) -> dict[str, Any]:
        """Where the file of an accepted side gave other values, both sides do what today's asks. What came from another
        process has lists in the place of tuples, and is no other value for that."""
        return {
            name: value
            for name, value in request.call.items()
            if name not in self.given or (is_plain(self.given[name]) and json.dumps(value) != _text(self.given[name]))
        }

    def _words(self, request: Request) -> dict[str, Any]:
        """Of the request, those that its call takes."""
        words = {name: getattr(request, one) for one, names in ARGUMENTS.items() for name in names}
        # One picture is what a pipeline draws that was asked for no number.
        words |= {name: request.batch for name in BATCHES if request.batch > 1 or name in self.given}
        return {name: value for name, value in words.items() if value is not None and self._has(name)}

    def _has(self, *names: str) -> bool:
        return any(name in self.takes or name in self.given for name in names)


ARGUMENTS = {"prompt": ("prompt",), "steps": (STEPS,), "size": (HEIGHT, WIDTH), "guidance": (GUIDANCE,)}
"""The names of pipelines for the words of a request."""


def _text(value: Any) -> str:
    return json.dumps(value, default=repr)


def of(pipeline: Any, given: Mapping[str, Any], made: dict[str, Any]) -> Calling:
    called = pipeline.forward if isinstance(pipeline, torch.nn.Module) else pipeline
    return Calling(inspect.signature(called).parameters, given, made)
