"""Stages as tables of the project's pyproject.toml: each says what the code would say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fastdiff.record.bounds import NAME
from fastdiff.record.budget import Budget
from fastdiff.record.errors import UserError
from fastdiff.stages import EVERY_STAGE
from fastdiff.stages.beyond import with_named
from fastdiff.stages.filters import Filter
from fastdiff.stages.ladder import Ladder, Stage, Step
from fastdiff.stages.recipe import Compile, Recipe, check_names


def whole(ladder: Ladder, names: Iterable[str], tables: Mapping[str, Mapping[str, Any]]) -> Ladder:
    """The ladder, what lies beyond it and is named (or followed by what is named), and the stages of the tables."""
    wanted = list(names)
    for name in wanted:  # which grows meanwhile
        table = tables.get(name)
        if isinstance(table, Mapping) and table.get("follows") not in (None, *wanted):
            wanted.append(str(table["follows"]))
    return configured(with_named(ladder, wanted), tables)


def configured(ladder: Ladder, tables: Mapping[str, Mapping[str, Any]]) -> Ladder:
    """The ladder with the stages of `[tool.fastdiff.stages]` added to it.

    A stage that follows one of another ladder is for that one, and left out.
    """
    for name, table in tables.items():
        follows = table.get("follows") if isinstance(table, Mapping) else None
        if follows not in ladder.names and follows in EVERY_STAGE:
            continue
        ladder = ladder.add(_stage_from_table(name, table, ladder))
    return ladder


def _stage_from_table(name: str, table: object, ladder: Ladder) -> Stage:
    """A TOML table says a stage as the code does: `follows`, `adds`, `budget`, and what changes."""
    try:
        require_name("a stage", name)
        return _read_stage(name, as_table("a stage", table), ladder)
    except UserError as error:
        text = str(error).removeprefix(f"stage {name!r}: ")
        raise UserError("recipe", f"stage {name!r}: {text}") from None


def _read_stage(name: str, table: dict[str, Any], ladder: Ladder) -> Stage:
    follows = _text("follows", table.pop("follows", None))
    adds = _text("adds", table.pop("adds", None))
    budget = _read_budget(as_table("budget", table.pop("budget"))) if "budget" in table else None
    if "compile" in table:
        table["compile"] = _read_compile(table["compile"])
    if "filter" in table:
        table["filter"] = _read_filter(table["filter"])
    check_names("optimization", table, Recipe)
    before = ladder.before(name, follows)
    return Step(name, adds or f"what {name!r} changes in the configuration", table, budget).after(before)


def _read_compile(value: object) -> Compile | None:
    if isinstance(value, bool):
        return Compile() if value else None
    options = as_table("compile", value)
    check_names("compile option", options, Compile)
    if "flags" in options:
        options["flags"] = tuple(as_table("flags", options["flags"]).items())
    return Compile(**options)


def _read_filter(value: object) -> Filter:
    if isinstance(value, str):
        return Filter(function=value)
    options = as_table("filter", value)
    check_names("option of a filter", options, Filter)
    return Filter(**{name: _tuples(entry) for name, entry in options.items()})


def _tuples(value: object) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _read_budget(table: dict[str, Any]) -> Budget:
    check_names("number of a budget", table, Budget)
    missing = [name for name in ("ssim", "worst_tile") if name not in table]
    if missing:
        raise UserError("recipe", f"budget: {' and '.join(missing)} missing; give both ssim and worst_tile.")
    return Budget(**{"measured": "the configuration", **table})


def require_name(kind: str, name: str) -> None:
    """Files are called by it."""
    if not NAME.fullmatch(name):
        raise UserError("recipe", f"{name!r} is no name for {kind}; use letters, digits and . _ + -")


def as_table(kind: str, value: object) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        needs = " with ssim and worst_tile" if kind == "budget" else ""
        raise UserError("recipe", f"{kind} is {value!r}; give a table{needs}.")
    if any("\0" in entry for entry in value.values() if isinstance(entry, str)):
        raise UserError("recipe", f"{kind} holds a null character; remove it.")
    return {str(key).replace("-", "_"): entry for key, entry in value.items()}


def _text(kind: str, value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise UserError("recipe", f"{kind} is {value!r}; give a text in quotes.")
    return value
