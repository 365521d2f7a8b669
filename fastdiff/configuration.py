"""Models and stages as tables of a configuration file: each says what the code would say."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any

from fastdiff.models import Model, Request
from fastdiff.recipes import (
    EVERY_STAGE,
    Compile,
    ImageBudget,
    Ladder,
    Recipe,
    RecipeError,
    Stage,
    Step,
    check_names,
    unknown,
    with_named,
)

if TYPE_CHECKING:
    from pathlib import Path


KNOWN = ("models", "stages", "policy")


def tables(project: Path) -> dict[str, dict[str, Any]]:
    """The tables `[tool.fastdiff.*]` of a project's pyproject.toml; empty ones where there is none."""
    file = project / "pyproject.toml"
    known: dict[str, dict[str, Any]] = {name: {} for name in KNOWN}
    if not file.is_file():
        return known
    try:
        said = tomllib.loads(file.read_text(encoding="utf-8")).get("tool", {}).get("fastdiff", {})
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"pyproject.toml: this is no TOML: {error}.") from None
    if not isinstance(said, dict):
        raise RecipeError("pyproject.toml: [tool.fastdiff] must be a table.")
    for name, table in said.items():
        if name not in known:
            raise RecipeError(f"pyproject.toml: [tool.fastdiff] {unknown('key', name, known)}")
        if not isinstance(table, dict):
            raise RecipeError(f"pyproject.toml: [tool.fastdiff.{name}] must be a table of tables.")
    return known | said


def models(tables: Mapping[str, Mapping[str, Any]], project: Path) -> list[Model]:
    """The models of `[tool.fastdiff.models]`; a folder is named as it is seen from the project."""
    return [_model_from_table(name, table, project) for name, table in tables.items()]


def _model_from_table(name: str, table: object, project: Path) -> Model:
    try:
        said = _table("a model", table)
        request = _filled(Request, "word of a request", _table("request", said.pop("request", {})))
        said |= {key: tuple(said[key]) for key in ("without", "lacks") if isinstance(said.get(key), list)}
        source = said.get("source")
        if isinstance(source, str) and (project / source).is_dir():
            said["source"] = str((project / source).resolve())
        return _filled(Model, "word of a model", said | {"name": name, "request": request})
    except RecipeError as error:
        raise RecipeError(f"model {name!r}: {error}") from None


def _filled(kind: Any, what: str, said: dict[str, Any]) -> Any:
    """The dataclass with the values of a table; texts must be texts, and numbers numbers."""
    check_names(what, said, kind)
    missing = [f.name for f in fields(kind) if f.default is MISSING and f.name not in said]
    if missing:
        raise RecipeError(f"{' and '.join(missing)} missing; {NEEDS[kind]}.")
    for field in fields(kind):
        wanted = TYPES.get(str(field.type))
        value = said.get(field.name)
        if wanted and value is not None and (not isinstance(value, wanted) or isinstance(value, bool)):
            raise RecipeError(f"{field.name} is {value!r}; give {WANTED[str(field.type)]}.")
    return kind(**said)


NEEDS = {
    Model: "a model needs pipeline, source and request",
    Request: "a request needs prompt, steps, size and guidance",
}
TYPES: dict[str, Any] = {"str": str, "str | None": str, "int": int, "float": (int, float), "tuple[str, ...]": tuple}
WANTED = {
    "str": "a text in quotes",
    "str | None": "a text in quotes",
    "int": "a whole number",
    "float": "a number",
    "tuple[str, ...]": "a list of texts",
}


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
        return _read_stage(name, _table("a stage", table), ladder)
    except RecipeError as error:
        said = str(error).removeprefix(f"stage {name!r}: ")
        raise RecipeError(f"stage {name!r}: {said}") from None


def _read_stage(name: str, table: dict[str, Any], ladder: Ladder) -> Stage:
    follows = _text("follows", table.pop("follows", None))
    adds = _text("adds", table.pop("adds", None))
    budget = _read_budget(_table("budget", table.pop("budget"))) if "budget" in table else None
    if "compile" in table:
        table["compile"] = _read_compile(table["compile"])
    check_names("optimization", table, Recipe)
    before = ladder.before(name, follows)
    return Step(name, adds or f"what {name!r} changes in the configuration", table, budget).after(before)


def _read_compile(value: object) -> Compile | None:
    if isinstance(value, bool):
        return Compile() if value else None
    options = _table("compile", value)
    check_names("compile option", options, Compile)
    if "flags" in options:
        options["flags"] = tuple(_table("flags", options["flags"]).items())
    return Compile(**options)


def _read_budget(table: dict[str, Any]) -> ImageBudget:
    check_names("number of a budget", table, ImageBudget)
    missing = [name for name in ("ssim", "worst_tile") if name not in table]
    if missing:
        raise RecipeError(f"budget: {' and '.join(missing)} missing; give both ssim and worst_tile.")
    return ImageBudget(**{"measured": "the configuration", **table})


def _table(kind: str, value: object) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        needs = " with ssim and worst_tile" if kind == "budget" else ""
        raise RecipeError(f"{kind} is {value!r}; give a table{needs}.")
    return {str(key).replace("-", "_"): entry for key, entry in value.items()}


def _text(kind: str, value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise RecipeError(f"{kind} is {value!r}; give a text in quotes.")
    return value
