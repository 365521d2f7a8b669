"""Stages and ladders: a stage is defined by its difference to the one that it follows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from fastdiff.record.budget import Budget  # noqa: TC001  (read at run time, where a stage comes out of a message)
from fastdiff.record.errors import UserError, unknown
from fastdiff.stages.budgets import LOSSLESS
from fastdiff.stages.recipe import Recipe, check_names, in_float32, on_a_cpu

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping


@dataclass(frozen=True)
class Stage:
    """A recipe with a name and a place: `adds` says in one sentence what it adds to the stage that it follows."""

    name: str
    recipe: Recipe
    adds: str
    follows: str | None = None
    budget: Budget = LOSSLESS


@dataclass(frozen=True)
class Ladder:
    """Stages in order, each one adding one idea to the one that it follows."""

    stages: tuple[Stage, ...]
    compared_with: str = ""
    """The stage whose pictures are everybody's reference; empty means the first."""

    def __post_init__(self) -> None:
        if not self.stages:
            raise UserError("recipe", "a ladder needs at least one stage.")
        names = [stage.name for stage in self.stages]
        for name in names:
            if names.count(name) > 1:
                raise UserError("recipe", f"two stages of the ladder are called {name!r}; rename one of them.")
        for place, stage in enumerate(self.stages):
            if stage.follows is not None and stage.follows not in names[:place]:
                raise UserError(
                    "recipe",
                    f"stage {stage.name!r} follows {stage.follows!r}, which is not before it on the ladder; "
                    "name one that is, or move it.",
                )
        if self.compared_with and self.compared_with not in names:
            raise UserError("recipe", unknown("stage", self.compared_with, names))

    def __iter__(self) -> Iterator[Stage]:
        return iter(self.stages)

    def __getitem__(self, name: str) -> Stage:
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise UserError("recipe", unknown("stage", name, self.names))

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(stage.name for stage in self.stages)

    @property
    def reference(self) -> Stage:
        return self[self.compared_with] if self.compared_with else self.stages[0]

    def add(self, new: Stage) -> Ladder:
        """The same ladder with `new` at its end, or in the place of the stage that has its name.

        Stages that follow a replaced one keep their recipes: replace them too, if the change is meant to go on.
        """
        if new.name in self.names:
            return replace(self, stages=tuple(new if stage.name == new.name else stage for stage in self.stages))
        return replace(self, stages=(*self.stages, new))

    def extend(self, name: str, adds: str, *, follows: str | None = None, **changes: Any) -> Ladder:
        """Adds the stage that differs from `follows` by `changes`.

        Without `follows` it comes after the last one, or, if it has a known name, after what the known one follows.
        """
        return self.add(stage(name, adds, **changes).after(self.before(name, follows)))

    def native(self, emulated: Collection[str]) -> Ladder:
        """The ladder as it is climbed on a CPU that only emulates some arithmetic, such as bfloat16.

        Stages stay in float32 there. One that is about nothing else than its dtype is left as it is, to be refused
        when it is its turn; what follows it, or is compared with it, takes what it follows instead.
        """
        climbed = []
        passed_over: dict[str | None, str | None] = {}
        for stage in self.stages:
            before = self[stage.follows] if stage.follows else None
            follows = passed_over.get(stage.follows, stage.follows)
            recipe = stage.recipe
            if on_a_cpu(recipe.dtype) in emulated:
                if before and before.recipe.dtype != recipe.dtype and in_float32(before.recipe) == in_float32(recipe):
                    passed_over[stage.name] = follows
                else:
                    recipe = replace(in_float32(recipe), tf32=recipe.tf32)
            climbed.append(replace(stage, recipe=recipe, follows=follows))
        return Ladder(tuple(climbed), passed_over.get(self.compared_with) or self.compared_with)

    def only(self, names: Collection[str]) -> Ladder:
        """These stages alone, in the order of the ladder; each follows the nearest one that it followed."""
        for name in names:
            if name not in self.names:
                raise UserError("recipe", unknown("stage", name, self.names))
        kept = []
        for stage in self.stages:
            follows = stage.follows
            while follows is not None and follows not in names:
                follows = self[follows].follows
            kept += [replace(stage, follows=follows)] if stage.name in names else []
        return Ladder(tuple(kept), self.compared_with if self.compared_with in names else "")

    def refused(self, emulated: Collection[str]) -> tuple[str, ...]:
        """The names of the stages that such a CPU refuses."""
        return tuple(stage.name for stage in self.stages if stage.recipe.arithmetic & set(emulated))

    def before(self, name: str, follows: str | None) -> Stage | None:
        """The stage that a stage called `name` follows."""
        if follows is not None:
            return self[follows]
        if name in self.names:
            known = self[name].follows
            return self[known] if known is not None else None
        return self.stages[-1]


@dataclass(frozen=True)
class Step:
    """A stage that does not know yet which stage it follows."""

    name: str
    adds: str
    changes: Mapping[str, Any]
    budget: Budget | None = None

    def after(self, before: Stage | None) -> Stage:
        try:
            recipe = replace(before.recipe if before else Recipe(), **self.changes)
        except UserError as error:
            raise UserError("recipe", f"stage {self.name!r}: {error}") from None
        budget = self.budget or (before.budget if before else LOSSLESS)
        return Stage(self.name, recipe, self.adds, before.name if before else None, budget)


def stage(name: str, adds: str, *, budget: Budget | None = None, **changes: Any) -> Step:
    """A step of a ladder, given as the difference to the step before."""
    _check_fields(name, changes)
    return Step(name, adds, changes, budget)


def ladder(*steps: Step) -> Ladder:
    stages: list[Stage] = []
    for step in steps:
        stages.append(step.after(stages[-1] if stages else None))
    return Ladder(tuple(stages))


def without_instructions(
    emulated: Collection[str], refused: Collection[str], option: str = "--fastdiff-emulate"
) -> str:
    """What a CPU that only emulates something makes of a ladder, in one sentence; empty where it lacks nothing."""
    if not emulated:
        return ""
    effects = ["stages stay in float32"] if "bfloat16" in emulated else []
    effects += [f"{' and '.join(refused)} {'is' if len(refused) == 1 else 'are'} skipped"] if refused else []
    effect = ", and ".join(effects or ["nothing here needs it"])
    return f"this CPU has no instructions for {' and '.join(emulated)}: {effect} ({option} measures as written)"


def _check_fields(name: str, changes: Mapping[str, Any]) -> None:
    try:
        check_names("optimization", changes, Recipe)
    except UserError as error:
        raise UserError("recipe", f"stage {name!r}: {error}") from None
