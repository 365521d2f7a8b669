"""From options to questions: which models and stages are compared, in which two environments."""

from __future__ import annotations

import hashlib
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fastdiff.compare.policy import default
from fastdiff.experiments.ab import MOST_PAIRS, Question
from fastdiff.experiments.pairs import Side
from fastdiff.host.environment import DEVICE, DEVICES, device_kind
from fastdiff.host.processor import emulated
from fastdiff.host.software import code
from fastdiff.models import CATALOGUE, IN_FILE, SIDE, factories, places
from fastdiff.models.toml import models
from fastdiff.record.errors import UserError, unknown
from fastdiff.record.project import COMPILE_CACHE, cache_folder, tables
from fastdiff.stages import LADDERS
from fastdiff.stages.ladder import without_instructions
from fastdiff.stages.toml import whole
from fastdiff.trial import faults
from fastdiff.trial.work import Work

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastdiff.compare.policy import Policy
    from fastdiff.models import Model, Request
    from fastdiff.sides.environment import Environment
    from fastdiff.stages.ladder import Ladder, Stage
    from fastdiff.trial.faults import Fault


@dataclass(frozen=True)
class AbOptions:
    """The user's options of a comparison, apart from the two environments."""

    model: str = "shapes"
    weights: str = "auto"
    stages: tuple[str, ...] = ()
    """Empty means all of the ladder."""
    old_stage: str = ""
    """A different stage for the old side; the recipes of the two sides then differ, too."""
    device: str = "auto"
    steps: int | None = None
    size: int | None = None
    batch: int | None = None
    calls: int | None = None
    """None: as many as fit into the usual time of a pair."""
    most_pairs: int = MOST_PAIRS
    faults: tuple[Fault, ...] = ()
    """Faults to inject into the new side."""
    band: float | None = None
    """A band that replaces the policy's."""
    emulate: bool = False
    """Whether a CPU also uses data types that it only emulates."""

    def options(self, stage: str) -> str:
        """The options of the command that compares this stage again."""
        usual, words = AbOptions(), []
        for flag, value, other in (
            ("--model", self.model, usual.model),
            ("--weights", self.weights, usual.weights),
            ("--stage", stage, ""),
            ("--old-stage", self.old_stage, ""),
            ("--device", self.device, usual.device),
            ("--steps", self.steps, None),
            ("--size", self.size, None),
            ("--batch", self.batch, None),
            ("--calls", self.calls, None),
            ("--inject", ",".join(map(str, self.faults)), ""),
            ("--band", None if self.band is None else f"{100 * self.band:g}%", None),
        ):
            words += [flag, shlex.quote(str(value))] if value != other else []
        return " ".join([*words, "--emulate"] if self.emulate else words)


def questions(asked: AbOptions, old: Environment, new: Environment, project: Path) -> list[Question]:
    """One for each stage, in the order of the ladder."""
    for fault in asked.faults:
        if fault.name in faults.OF_A_SESSION:
            raise UserError(
                "recipe", f"--inject {fault}: only a session of pytest notices {fault.name}; inject it there."
            )
    model = model_of(asked, project)
    names = _named(asked)
    kind, lacking = kind_of(asked), lacking_of(asked)
    ladder = _climbed(asked, model, project)
    for name in names:
        if name not in ladder.names:
            raise UserError("recipe", unknown("stage", name, list(ladder.names)))
    stages = [stage for stage in ladder if not asked.stages or stage.name in asked.stages]
    if not asked.stages:
        stages = [stage for stage in stages if stage.name not in ladder.refused(lacking)]
    if asked.old_stage and len(stages) != 1:
        raise UserError(
            "recipe", f"--old-stage {asked.old_stage} is compared with one stage, and {len(stages)} were named."
        )
    for fault in asked.faults:
        if fault.stage not in (None, *(stage.name for stage in stages)):
            raise UserError(
                "recipe", f"--inject {fault}: {unknown('stage', str(fault.stage), [one.name for one in stages])}"
            )
    if asked.size is not None and asked.size % SIDE:
        raise UserError("recipe", f"--size is {asked.size}; give a multiple of {SIDE}.")
    for stage in (*stages, *([ladder[asked.old_stage]] if asked.old_stage else [])):
        try:
            stage.recipe.on(kind, emulated=lacking)
        except UserError as error:
            raise UserError(error.code, f"{stage.name}: {error}") from None
    found = [
        Question(
            old=side_of(old, model, ladder[asked.old_stage] if asked.old_stage else stage, asked, project),
            new=side_of(new, model, stage, asked, project, ladder),
            calls=asked.calls,
            most_pairs=asked.most_pairs,
            comparisons=len(stages),
            options=asked.options(stage.name),
            band=asked.band,
        )
        for stage in stages
    ]
    code_of_all = code_of(project)  # once, and after what cannot be asked was refused
    return [replace(one, code=code_of_all) for one in found]


def code_of(project: Path) -> str:
    """A hash of the project's files; empty outside of a git repository."""
    found = code(project)
    return (
        hashlib.sha256(repr(sorted((found.entries | found.built).items())).encode()).hexdigest()[:16] if found else ""
    )


def limits(asked: AbOptions, project: Path) -> str:
    """The effect of missing CPU instructions on this comparison, in one sentence; empty if there is none."""
    lacking = lacking_of(asked)
    refused = () if asked.stages else _climbed(asked, model_of(asked, project), project).refused(lacking)
    return without_instructions(lacking, refused, "--emulate")


def side_of(
    environment: Environment, model: Model, stage: Stage, asked: AbOptions, project: Path, ladder: Ladder | None = None
) -> Side:
    """`ladder` is given if faults are to be injected: one fault builds another stage of the ladder."""
    put_in = [
        fault for fault in asked.faults if ladder and fault.concerns(stage) and fault.name not in faults.OF_A_SESSION
    ]
    asks = Work(
        model=factories.moved(model, project, environment.project),
        stage=stage,
        built=faults.stage_to_build(asked.faults, stage, ladder) if ladder else stage,
        device=device_kind() if asked.device == "auto" else asked.device,
        request=request_of(model, asked),
        faults=",".join(map(str, put_in)),
    )
    return Side(environment, cache_of(environment, project), asks)


def _named(asked: AbOptions) -> tuple[str, ...]:
    return (*asked.stages, *([asked.old_stage] if asked.old_stage else []))


def lacking_of(asked: AbOptions) -> tuple[str, ...]:
    """Arithmetic that this CPU would only emulate and that must not be used."""
    return () if asked.emulate else emulated(kind_of(asked))


def _climbed(asked: AbOptions, model: Model, project: Path) -> Ladder:
    names = (*_named(asked), *model.stages)
    ladder = whole(LADDERS["published"], names, tables(project)["stages"])
    return (ladder.only(names) if model.stages else ladder).native(lacking_of(asked))


def kind_of(asked: AbOptions) -> str:
    if not DEVICE.fullmatch(asked.device):
        raise UserError("recipe", f"--device is {asked.device!r}; give {DEVICES}.")
    kind = device_kind() if asked.device == "auto" else asked.device.partition(":")[0]
    default(kind)  # refuses what is no device
    return kind


def cache_of(environment: Environment, project: Path) -> Path:
    """The folder for compiled code: separate for each environment; this environment shares the suite's."""
    if environment.is_this_one:
        return cache_folder(project)
    return (project / f"{COMPILE_CACHE}-{environment.key}").resolve()


def policy_of(question: Question, project: Path) -> Policy:
    kind = question.new.work.device.partition(":")[0]
    table = tables(project)["policy"]
    policy = default(kind).configured(table, question.new.work.model.name, question.new.work.stage.name)
    return policy if question.band is None else policy.with_band(question.band)


def model_of(asked: AbOptions, project: Path) -> Model:
    return named(asked.model, project).with_weights(asked.weights)


def named(name: str, project: Path) -> Model:
    """A model of the catalogue, of the project's pyproject.toml, or one that is named by its place."""
    if places.names_a_place(name):
        found = places.models(name, Path.cwd(), project)
        if len(found) > 1:
            raise UserError("recipe", f"{name} has several pipelines; name one: {name}{IN_FILE}{found[0].name}.")
        return found[0]
    known = {model.name: model for model in (*CATALOGUE, *models(tables(project)["models"], project))}
    if name not in known:
        raise UserError("recipe", unknown("model", name, list(known)))
    return known[name]


def request_of(model: Model, asked: AbOptions) -> Request:
    return model.request.changed(steps=asked.steps, size=asked.size, batch=asked.batch)


def named_stages(text: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for part in text for name in part.replace(",", " ").split()))
