"""What a stranger's JSON may be: reads a dataclass out of it, and names the place of the first thing that is wrong."""

from __future__ import annotations

import json
import math
import re
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, NoReturn, get_args, get_origin, get_type_hints

from fastdiff.record.errors import UserError
from fastdiff.record.run import STATES

if TYPE_CHECKING:
    from collections.abc import Callable

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")
"""Names become names of files and folders: no separator and no leading dot, so that no path climbs out of a folder;
100 characters, so that two of them and an ending fit into the 255 that file systems allow."""

NAMED = ("slug", "model", "stage", "follows", "reference")
ABOVE_ZERO = ("wall_s", "first_call_s")
"""Work was done in that time. A baseline of 0.0 would never fail a comparison."""


def shaped(kind: Any, value: object, where: str) -> Any:
    """`value` as a `kind`: a dataclass such as those of `fastdiff.record.run`, or a type hint of one of its fields.

    Unknown keys are left out, because a newer fastdiff may have written them.
    """
    if is_dataclass(kind):
        return _record(kind, value, where)
    inner = get_args(kind)
    if type(None) in inner:
        return None if value is None else shaped(inner[0], value, where)
    if get_origin(kind) is tuple:
        entries = list_(value, where)
        kinds = inner[:1] * len(entries) if inner[-1] is Ellipsis else inner
        if len(entries) != len(kinds):
            _refuse(value, where, f"a list of {len(kinds)}")
        return tuple(
            shaped(one, entry, f"{where}[{i}]") for i, (one, entry) in enumerate(zip(kinds, entries, strict=True))
        )
    if get_origin(kind) is dict:
        return {key: shaped(inner[1], entry, f"{where}.{key}") for key, entry in object_(value, where).items()}
    if kind is Any:
        require_finite(value, where)
        return value
    return _scalar(kind, value, where)


def object_(value: object, where: str) -> dict[str, Any]:
    return value if isinstance(value, dict) else _refuse(value, where, "an object")


def list_(value: object, where: str) -> list[Any]:
    return value if isinstance(value, list) else _refuse(value, where, "a list")


def require_finite(value: object, where: str) -> None:
    """JSON as such may hold anything but NaN and infinity, which Python's reader lets in."""
    if isinstance(value, dict):
        for key, entry in value.items():
            require_finite(entry, f"{where}.{key}")
    elif isinstance(value, list):
        for i, entry in enumerate(value):
            require_finite(entry, f"{where}[{i}]")
    elif isinstance(value, float):
        _number(value, where)


def _record(kind: Any, value: object, where: str) -> Any:
    given = object_(value, where)
    found = {}
    for name, hint, optional in _fields(kind):
        if name in given:
            found[name] = shaped(hint, given[name], f"{where}.{name}")
            _obey(name, found[name], f"{where}.{name}")
        elif not optional:
            raise UserError("file", f"{where}.{name} is missing.")
    return kind(**found)


@cache
def _fields(kind: Any) -> list[tuple[str, Any, bool]]:
    hints = get_type_hints(kind)
    return [
        (field.name, hints[field.name], field.default is not MISSING or field.default_factory is not MISSING)
        for field in fields(kind)
    ]


def _scalar(kind: Any, value: object, where: str) -> Any:
    if kind is float:
        return _number(value, where)
    if kind is int and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
        _refuse(value, where, "a whole number that is not negative")
    if kind is bool and not isinstance(value, bool):
        _refuse(value, where, "true or false")
    if kind is str and not isinstance(value, str):
        _refuse(value, where, "a text")
    return value


def _number(value: object, where: str) -> float:
    try:
        number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    except OverflowError:  # a whole number with more digits than a float holds
        number = math.inf
    return number if math.isfinite(number) else _refuse(value, where, "a finite number")


def _obey(name: str, value: Any, where: str) -> None:
    """The rules that a type does not tell; the name of the field does."""
    if isinstance(value, tuple):
        for i, entry in enumerate(value):
            _obey(name, entry, f"{where}[{i}]")
    elif value is not None and (rule := _rule(name)) and not rule[1](value):
        _refuse(value, where, rule[0])


def _rule(name: str) -> tuple[str, Callable[[Any], object]] | None:
    if name in NAMED:
        return "a name of letters, digits and . _ + -", NAME.fullmatch
    if name == "state":
        return f"one of {', '.join(STATES)}", STATES.__contains__
    if name in ABOVE_ZERO:
        return "a number above zero", lambda number: number > 0
    if name.endswith(("_s", "_sd", "seconds")):
        return "a number that is not negative", lambda number: number >= 0
    return None


def _refuse(value: object, where: str, expected: str) -> NoReturn:
    shown = json.dumps(value)
    raise UserError("file", f"{where} is {shown if len(shown) <= 40 else shown[:36] + ' ...'}; expected {expected}.")
