"""What this session measures: its models, the ladder of each, the device, and the work of every stage.

Does not import torch, so that a session that only collects is fast.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from fastdiff.compare.policy import check as check_policy
from fastdiff.compare.policy import default
from fastdiff.host.environment import device_name, limits
from fastdiff.host.processor import emulated
from fastdiff.models import CATALOGUE, IN_FILE, WEIGHTS, factories, places
from fastdiff.plugin.settings import (
    configured_models,
    configured_policy,
    configured_stages,
    device_asked,
    require_known,
    settings,
)
from fastdiff.record.bounds import NAME
from fastdiff.record.errors import UserError, unknown
from fastdiff.stages import EVERY_STAGE, LADDERS
from fastdiff.stages.beyond import BEYOND
from fastdiff.stages.ladder import Ladder, without_instructions
from fastdiff.stages.toml import whole
from fastdiff.trial import faults
from fastdiff.trial.work import Work

if TYPE_CHECKING:
    from types import ModuleType

    from fastdiff.compare.policy import Policy
    from fastdiff.models import Model, Request
    from fastdiff.stages.ladder import Stage


@dataclass(frozen=True)
class Subject:
    """The parameter of a test: a stage of a model's ladder."""

    model: Model
    stage: Stage

    @property
    def id(self) -> str:
        return f"{self.model.name}-{self.stage.name}"

    def __repr__(self) -> str:
        """The text that pytest-benchmark writes into its file; the default would contain folders of this machine."""
        return self.id


def _placed(name: str, config: pytest.Config) -> list[Model]:
    """A path is relative to the current folder, or to the project if it comes from the project's settings. That the
    hub does not answer is seen after a few seconds, because pytest's capture is off."""
    capture = config.pluginmanager.get_plugin("capturemanager") if name.startswith(places.HUB) else None
    try:
        with capture.global_and_fixture_disabled() if capture else nullcontext():
            return places.models(name, config.invocation_params.dir, config.rootpath)
    except UserError as error:
        raise pytest.UsageError(f"--fastdiff-model, or fastdiff_model: {error}") from error.__cause__


def _spelled(name: str, model: Model) -> str:
    """So that it means the same tomorrow."""
    if places.names_no_commit(name):
        return f"{name}{places.AT}{model.revision}"
    if not factories.is_path(name):
        return name
    return f"{name.partition(IN_FILE)[0]}{IN_FILE}{model.name}"


class Selection:
    """Impossible combinations of options and settings are rejected at once, with one sentence."""

    def __init__(self, config: pytest.Config) -> None:
        self.config, self.settings = config, settings(config)
        models = {model.name: model for model in (*CATALOGUE, *configured_models(config))}
        for added in config.hook.pytest_fastdiff_models():
            models |= {model.name: model for model in added or ()}
        by_path = {name: _placed(name, config) for name in self.settings.model if places.names_a_place(name)}
        require_known("model", tuple(name for name in self.settings.model if name not in by_path), list(models))
        chosen = [model for name in self.settings.model for model in by_path.get(name) or [models[name]]]
        self.paths = {model.name: _spelled(name, model) for name, found in by_path.items() for model in found}
        """How models that were given by their place are written on a command line."""
        self.models = self._weighed(chosen)
        models |= {model.name: model for model in chosen}
        if len({model.name for model in chosen}) < len(chosen):
            raise pytest.UsageError("--fastdiff-model: two pipelines have one name; rename one of them.")
        self.device = device_asked(self.settings)
        self.kind = self.device.partition(":")[0]
        self.emulated = () if self.settings.emulate else emulated(self.device)
        """Arithmetic that this CPU has no instructions for."""
        self.ladders = {model.name: self._ladder(model) for model in self.models}
        stages = list(dict.fromkeys(name for ladder in self.ladders.values() for name in ladder.names))
        self._require_known_names(list(models), stages)

    def _require_known_names(self, models: list[str], stages: list[str]) -> None:
        beyond = [step.name for _, step in BEYOND] if self.settings.ladder == "published" else []
        require_known("stage", self.settings.stage, list(dict.fromkeys([*stages, *beyond])))
        for name in (*models, *stages):
            if not NAME.fullmatch(name):
                raise pytest.UsageError(
                    f"{name!r} is no name for a model or a stage, because files are called by it; "
                    "use letters, digits and . _ + -"
                )
        for fault in self.settings.inject:
            if fault.stage not in (None, *stages):
                raise pytest.UsageError(f"--fastdiff-inject {fault}: {unknown('stage', str(fault.stage), stages)}")
        try:
            check_policy(configured_policy(self.config), models, [*stages, *EVERY_STAGE])
        except UserError as error:
            raise pytest.UsageError(f"pyproject.toml: [tool.fastdiff.policy]: {error}") from None

    def _weighed(self, models: list[Model]) -> list[Model]:
        weights = self.settings.weights
        if len(models) > 1 and weights not in WEIGHTS:
            raise pytest.UsageError(
                f"--fastdiff-weights {weights} is one folder, and {len(models)} models were named; name one."
            )
        try:
            return [model.with_weights(weights) for model in models]
        except UserError as error:
            raise pytest.UsageError(f"--fastdiff-weights: {error}") from None

    def _ladder(self, model: Model) -> Ladder:
        """The project's hook decides last, after its files and the command line. A model that names its stages gets
        only these and the stages named on the command line."""
        try:
            tables = configured_stages(self.config)
            names = (*self.settings.stage, *model.stages)
            ladder = whole(LADDERS[self.settings.ladder], names, tables)
            answer = self.config.hook.pytest_fastdiff_ladder(ladder=ladder, model=model) or ladder
            if not isinstance(answer, Ladder):
                raise UserError(
                    "recipe", f"pytest_fastdiff_ladder returned {answer!r}; return a Ladder, or None to keep it."
                )
            return (answer.only(names) if model.stages else answer).native(self.emulated)
        except UserError as error:
            raise pytest.UsageError(str(error)) from None

    @property
    def subjects(self) -> list[Subject]:
        return [
            Subject(model, stage)
            for model in self.models
            for stage in self.ladders[model.name]
            if not self.settings.stage or stage.name in self.settings.stage
        ]

    def reference_of(self, model: Model) -> Subject:
        """The stage whose pictures the others are compared with."""
        return Subject(model, self.ladders[model.name].reference)

    def request(self, model: Model) -> Request:
        asked = self.settings
        return model.request.changed(steps=asked.steps, size=asked.size, batch=asked.batch)

    def work(self, subject: Subject) -> Work:
        """What the subject's trial builds; raises if that is impossible on this device."""
        subject.stage.recipe.require_place_in(subject.model.name, subject.model.unsupported)
        subject.stage.recipe.on(self.kind, emulated=self.emulated)
        return Work(
            subject.model,
            subject.stage,
            faults.stage_to_build(self.settings.inject, subject.stage, self.ladders[subject.model.name]),
            self.device,
            self.request(subject.model),
            ",".join(map(str, self.settings.inject)),
        )

    def policy_of(self, model: str, stage: str) -> Policy:
        return default(self.kind).configured(configured_policy(self.config), model, stage)

    # -- for people ---------------------------------------------------------------------------------------------------

    @property
    def headlines(self) -> list[str]:
        models = ", ".join(model.shown for model in self.models)
        named = f"{models} on {device_name(self.device)} ({self.device})"
        lines = [named, limits(self.device), self.without_instructions]
        return [f"fastdiff: {line}" for line in lines if line]

    @property
    def without_instructions(self) -> str:
        """The effect of missing CPU instructions on this session, in one sentence; empty if none are missing."""
        refused = {name: None for ladder in self.ladders.values() for name in ladder.refused(self.emulated)}
        names = [name for name in refused if not self.settings.stage or name in self.settings.stage]
        return without_instructions(self.emulated, names)

    @property
    def heading(self) -> str:
        return "the ladder" if self.settings.ladder == "published" else "the techniques"

    @property
    def report(self) -> ModuleType:
        """The module that prints the table for this ladder."""
        from fastdiff.report import ladder, techniques

        return ladder if self.settings.ladder == "published" else techniques

    def title(self, model: Model) -> str:
        asked = self.request(model)
        return f"{model.shown} on {device_name(self.device)} ({self.device}): {asked.shown}"
