"""The one reader of everything that comes back: typed, strict about bounds, and each error names its place."""

from __future__ import annotations

import difflib
import json
import re
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from fastdiff.record.bounds import LARGEST
from fastdiff.record.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

T = TypeVar("T")

LARGEST_BYTES = 64 * 1024**2
"""A run of six stages has some 100 kB; a file beyond this is something else, and reading it could fill the memory."""
PLACE = re.compile(r"^(?P<what>.*) - at `\$\.?(?P<place>.*)`$", re.DOTALL)
"""How msgspec ends the message about a value inside of another one."""


def convert(value: object, kind: type[T], where: str) -> T:
    """`value` (objects, lists, numbers, texts) as a `kind`: a dataclass, or another type with bounds.

    Unknown keys are ignored, because a newer fastdiff may have written them.
    """
    try:
        return msgspec.convert(value, kind, strict=True)
    except msgspec.ValidationError as error:
        raise UserError("file", _sentence(str(error), value, where)) from None


def parsed(content: bytes) -> Any:
    """JSON as objects, lists, numbers and texts, without a number that is not finite or has too many digits."""
    try:
        value = msgspec.json.decode(content)
    except RecursionError:
        raise UserError("file", "this is nested too deeply.") from None
    except msgspec.DecodeError as error:
        if not _is_utf8(content):
            raise UserError("file", "this is not UTF-8 text; expected JSON.") from None
        raise UserError("file", f"this is not whole JSON: {error}.") from None
    require_bounded(value, "")
    return value


def load(path: Path, largest: int = LARGEST_BYTES, *, mend: str = "") -> dict[str, Any]:
    """The object in a file of JSON. `mend` says what to do where the file is broken."""
    content = read_bytes(path, largest)
    with named(path, mend):
        value = parsed(content)
        if not isinstance(value, dict):
            raise UserError("file", f"the file is {_shown(value)}; expected an object.")
        return value


def read_bytes(path: Path, largest: int = LARGEST_BYTES) -> bytes:
    """Of a regular file of a sensible size: a pipe would wait for ever, and a device might never end."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise UserError("file", f"{path} is a folder or a device; give a file.")
        if status.st_size > largest:
            raise UserError("file", f"{path} has {status.st_size:,} bytes; expected at most {largest:,}.")
        return path.read_bytes()
    except FileNotFoundError:
        raise UserError("file", f"there is no {path}; {_nearest(path)}") from None
    except OSError as error:
        raise UserError("file", f"{path} cannot be read ({error.strerror}).") from None
    except ValueError:  # an embedded null byte
        raise UserError("file", f"{str(path)!r} is no path; give the name of a file.") from None


def require_bounded(value: object, where: str) -> None:
    """Also for values that no type describes: computing with a number such as 10**400 fails later."""
    if isinstance(value, dict):
        for key, entry in value.items():
            require_bounded(entry, f"{where}.{key}")
    elif isinstance(value, list | tuple):
        for i, entry in enumerate(value):
            require_bounded(entry, f"{where}[{i}]")
    elif isinstance(value, int | float) and not -LARGEST <= value <= LARGEST:
        place = where.removeprefix(".") or "the file"
        raise UserError("file", f"{place} is {_shown(value)}; expected a number of at most {LARGEST:g}.")


@contextmanager
def named(path: Path, mend: str = "") -> Iterator[None]:
    """Puts the file's name before what is wrong in it, and behind it what to do; another schema has its own remedy."""
    try:
        yield
    except UserError as error:
        raise UserError(error.code, f"{path}: {error}", mend if error.code == "file" else "") from None
    except RecursionError:
        raise UserError("file", f"{path}: this is nested too deeply.", mend) from None


def entries_of(folder: Path) -> list[Path]:
    """In the order of their names. A folder that is not there is empty; one that cannot be listed is an error."""
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise UserError("file", f"{folder} cannot be listed ({error.strerror}); give yourself the right to.") from None


def _sentence(message: str, value: object, where: str) -> str:
    found = PLACE.match(message)
    what, place = (found["what"], found["place"]) if found else (message, "")
    if "matching regex" in what:
        what = "expected a name of letters, digits and . _ + -"
    inside = f".{place}" if place and not place.startswith("[") else place
    if missing := re.fullmatch(r"Object missing required field `(\w+)`", what):
        return f"{where}{inside}.{missing[1]} is missing."
    what = f"{what[0].lower()}{what[1:].partition(', got ')[0]}".replace("`", "")
    wrong = _at(value, place)
    return f"{where}{inside} is {_shown(wrong)}; {what}." if wrong is not _UNKNOWN else f"{where}{inside}: {what}."


_UNKNOWN = object()


def _at(value: Any, place: str) -> Any:
    """What stands at such a place as `stages[1].state`; msgspec does not name the key of a table."""
    if "[...]" in place:
        return _UNKNOWN
    try:
        for name, number in re.findall(r"([^.\[\]]+)|\[(\d+)\]", place.replace("[", ".[")):
            value = value[name] if name else value[int(number)]
    except (KeyError, IndexError, TypeError):
        return _UNKNOWN
    return value


def _shown(value: object) -> str:
    try:
        shown = json.dumps(value)
    except ValueError:  # more digits than Python writes
        return "a number of thousands of digits"
    return shown if len(shown) <= 40 else f"{shown[:36]} ..."


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def _nearest(path: Path) -> str:
    try:
        names = sorted(entry.name for entry in path.parent.glob("*.json"))
    except OSError:
        names = []
    near = difflib.get_close_matches(path.name, names, n=1)
    return f"did you mean {path.with_name(near[0])}?" if near else "`fastdiff runs` lists the run files."
