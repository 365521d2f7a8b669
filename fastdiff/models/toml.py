"""Models as tables of the project's pyproject.toml: each says what the code would say."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any

from fastdiff.models import Model, Request
from fastdiff.models.factories import close_of
from fastdiff.record.errors import UserError
from fastdiff.stages.recipe import check_names
from fastdiff.stages.toml import as_table, require_name

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


PLACED = "placed"
"""A field that only a name such as `hub:ORG/NAME` sets."""


def models(tables: Mapping[str, Mapping[str, Any]], project: Path) -> list[Model]:
    """The models of `[tool.fastdiff.models]`; a folder is named as it is seen from the project."""
    return [_model_from_table(name, table, project) for name, table in tables.items()]


def _model_from_table(name: str, table: object, project: Path) -> Model:
    try:
        require_name("a model", name)
        given = as_table("a model", table)
        if PLACED in given:
            raise UserError("recipe", f"{PLACED} is no key of a table; name a place (--fastdiff-model ./FOLDER).")
        if "close" in given:
            given["close"] = close_of(as_table("close", given["close"]), elements=False)
        request = _filled(Request, "word of a request", as_table("request", given.pop("request", {})))
        given |= {
            key: tuple(given[key]) for key in ("without", "unsupported", "stages") if isinstance(given.get(key), list)
        }
        source = given.get("source")
        if isinstance(source, str) and (project / source).is_dir():
            given["source"] = str((project / source).resolve())
        return _filled(Model, "word of a model", given | {"name": name, "request": request})
    except UserError as error:
        raise UserError("recipe", f"model {name!r}: {error}") from None


def _filled(kind: Any, what: str, given: dict[str, Any]) -> Any:
    """The dataclass with the values of a table; texts must be texts, and numbers numbers."""
    check_names(what, given, kind)
    missing = [f.name for f in fields(kind) if f.default is f.default_factory is MISSING and f.name not in given]
    if missing:
        raise UserError("recipe", f"{' and '.join(missing)} missing; {NEEDS[kind]}.")
    for field in fields(kind):
        kind_of_value = str(field.type).removesuffix(" | None")
        wanted = TYPES.get(kind_of_value)
        value = given.get(field.name)
        texts = value if wanted is tuple and isinstance(value, tuple) else ()
        wrong = wanted and value is not None and (not isinstance(value, wanted) or isinstance(value, bool))
        if wrong or any(not isinstance(text, str) for text in texts):
            raise UserError("recipe", f"{field.name} is {value!r}; give {WANTED[kind_of_value]}.")
    return kind(**given)


NEEDS = {
    Model: "a model needs pipeline, source and request",
    Request: "a request needs prompt, steps, size and guidance",
}
TYPES: dict[str, Any] = {
    "str": str,
    "int": int,
    "float": (int, float),
    "tuple[str, ...]": tuple,
    "dict[str, Any]": dict,
}
WANTED = {
    "str": "a text in quotes",
    "int": "a whole number",
    "float": "a number",
    "tuple[str, ...]": "a list of texts",
    "dict[str, Any]": "a table",
}
