"""What a person writes for one side (a SPEC), read: words become an interpreter, requirements, options, variables."""

from __future__ import annotations

import difflib
import importlib.metadata
import os
import platform
import re
import shlex
import shutil
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import Version

from fastdiff.record.errors import UserError
from fastdiff.record.pairs import ACCEPTED

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Kind = Literal["accepted", "interpreter", "requirement", "file", "option", "variable"]

EXPECTED = (
    "A SPEC is '.' (this environment), 'accepted' (the accepted run's software, recreated), an interpreter or a "
    "virtual environment's folder, a requirement (torch==2.12.1) or a wheel, a requirements file (.txt, .lock, .in), "
    "an option of the installer (--index-url=URL, --extra-index-url=URL, --find-links=PLACE, --no-index, --pre) or a "
    "variable (NAME=VALUE)."
)
VARIABLE = re.compile(r"([A-Z_][A-Z0-9_]*)=(?!=)(.*)", re.DOTALL)
"""A value may hold more of them: `GLIBC_TUNABLES=glibc.malloc.tcache_count=0`."""
TAKEN = ("PYTHONPATH", "PYTHONHOME")
"""Variables by which the workers find fastdiff and their libraries: another value would be another environment."""
SWITCHES = ("--pre", "--no-index")
PLACES = ("--index-url", "--extra-index-url", "--find-links")
FILE_ENDINGS = (".txt", ".lock", ".in")
FOREIGN_LOCKS = {
    "uv.lock": "uv export -o requirements.txt",
    "poetry.lock": "poetry export -o requirements.txt",
    "Pipfile.lock": "pipenv requirements > requirements.txt",
}
"""Lock files that only their own tool reads, and what makes a requirements file of one."""


@dataclass(frozen=True)
class Spec:
    """What a person wrote for one side, read."""

    words: tuple[str, ...]
    """As written."""
    python: Path | None
    """An interpreter that exists already; None where one has to be made."""
    requirements: tuple[str, ...] = ()
    """On top of this environment."""
    files: tuple[Path, ...] = ()
    """Instead of this environment."""
    options: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    accepted: bool = False
    """The software of the accepted run."""

    @property
    def name(self) -> str:
        """The way a report names the side."""
        return masked(" ".join(self.words))


def masked(text: str) -> str:
    """Reports and run files are shared, so passwords of an index stay out of them."""
    return re.sub(r"(https?://)[^/@\s]+@", r"\1****@", text)


def words_of(text: str) -> list[str]:
    """The words of a side that was written as one text."""
    try:
        return shlex.split(text)
    except ValueError as error:
        raise UserError("spec", f"{text!r} cannot be split into words ({error}).") from None


def parse(words: Sequence[str], folder: Path) -> Spec:
    """Reads the words of one side; relative paths are as seen from `folder`."""
    if not words:
        raise UserError("spec", f"no word says which environment is meant. {EXPECTED}")
    read = [(word, *_read(word.strip(), folder)) for word in words]

    def of(kind: Kind) -> dict[str, str]:
        """The words of a kind, and what they mean."""
        return {word: value for word, its_kind, value in read if its_kind == kind}

    interpreters, requirements, paths, options = of("interpreter"), of("requirement"), of("file"), of("option")
    interpreters |= of("accepted")
    _refuse_combinations(list(interpreters), list(requirements), list(paths), list(options))
    _refuse_twice(read)
    python: Path | None = None
    if not requirements and not paths and not of("accepted"):
        python = Path(next(iter(interpreters.values()), sys.executable))
    return Spec(
        words=tuple(words),
        python=python,
        requirements=tuple(requirements.values()),
        files=tuple(map(Path, paths.values())),
        options=tuple(options.values()),
        variables=dict(value.split("=", 1) for value in of("variable").values()),
        accepted=bool(of("accepted")),
    )


def _read(word: str, folder: Path) -> tuple[Kind, str]:
    """What kind of word it is, and its value: paths absolute, everything else as written."""
    if found := VARIABLE.fullmatch(word):
        if found[1] in TAKEN:
            raise UserError(
                "spec", f"{word!r}: {found[1]} is how fastdiff's workers find their code; name an interpreter instead."
            )
        return "variable", word
    if word.startswith("-"):
        return "option", _option(word, folder)
    if word == ".":
        return "interpreter", sys.executable
    if word == ACCEPTED:
        return "accepted", word
    requirement = _requirement(word)
    if requirement and _says_which(requirement):
        if requirement.marker and not requirement.marker.evaluate():
            raise UserError(
                "spec", f"{word!r} is not for this interpreter (Python {platform.python_version()}); drop the marker."
            )
        return "requirement", word
    path = folder.absolute() / Path(word).expanduser()
    if word and _exists(path):
        return _of_path(word, path)
    raise _refused(word, _shortcoming(word, requirement), _near_miss(word, path, requirement))


def _of_path(word: str, path: Path) -> tuple[Kind, str]:
    """Not resolved: a virtual environment's interpreter is a link, and what it links to knows nothing of it."""
    if path.is_dir():
        if (path / "pyvenv.cfg").is_file() and _exists(path / "bin/python"):
            return "interpreter", str(path / "bin/python")
        guess = ""
        if (path / "bin/python").exists():
            guess = f"{word.rstrip('/')}/bin/python"
        elif (path / "pyproject.toml").exists() or (path / "setup.py").exists():
            guess = f"{path.name} @ {path.resolve().as_uri()}"
        raise _refused(word, "is a folder, and no virtual environment (which has pyvenv.cfg and bin/python)", guess)
    if path.suffix == ".whl":
        try:
            parse_wheel_filename(path.name)
        except InvalidWheelFilename:
            raise _refused(word, "has not the name of a wheel (NAME-VERSION-PYTHON-ABI-PLATFORM.whl)") from None
        return "requirement", str(path)
    if path.name in FOREIGN_LOCKS:
        raise UserError(
            "spec", f"{word} is no requirements file; make one (`{FOREIGN_LOCKS[path.name]}`) and name that."
        )
    if path.suffix in FILE_ENDINGS:
        return "file", str(path)
    if os.access(path, os.X_OK):
        return "interpreter", str(path)
    raise _refused(word, f"is a file, but no interpreter, no wheel, and does not end in {', '.join(FILE_ENDINGS)}")


def _option(word: str, folder: Path) -> str:
    name, _, value = word.partition("=")
    if word in SWITCHES:
        return word
    if name in PLACES and value:
        path = folder.absolute() / Path(value).expanduser()
        return f"{name}={path}" if name == "--find-links" and _exists(path) else word
    option = name.split()[0]
    known = (*PLACES, *SWITCHES)
    near = [one for one in known if one.startswith(option)] or difflib.get_close_matches(option, known, n=1)
    if not near or near[0] in SWITCHES:
        raise _refused(word, "is no option of the installer", near[0] if near else "")
    raise _refused(word, "is no option of the installer", f"{near[0]}={word[len(option) :].lstrip(' =') or 'URL'}")


def _requirement(word: str) -> Requirement | None:
    with suppress(InvalidRequirement):
        return Requirement(word)
    return None


def _says_which(requirement: Requirement) -> bool:
    """`torch@2.12.1` has the form of a place, too."""
    return bool(requirement.specifier) or "://" in (requirement.url or "")


def _refused(word: str, why: str, guess: str = "") -> UserError:
    return UserError("spec", f"{word!r} {why}{f'; did you mean {guess}?' if guess else '.'} {EXPECTED}")


def _shortcoming(word: str, requirement: Requirement | None) -> str:
    if "/" in word or word.startswith("~") or Path(word).suffix in (*FILE_ENDINGS, ".whl"):
        return "does not exist"
    if requirement:
        return "names no version, and does not exist as a path"
    return "is no SPEC"


def _near_miss(word: str, path: Path, requirement: Requirement | None) -> str:
    """What was probably meant, or nothing."""
    if "://" in word:
        return f"NAME @ {word}"
    if len(word.split()) > 1 and all(VARIABLE.fullmatch(one) or _is_versioned(one) for one in word.split()):
        return f"{' and '.join(word.split())}, each as a word of its own"
    if found := re.fullmatch(r"([A-Za-z0-9][\w.-]*(?:\[[\w,.-]*\])?)\s*[=@ ]\s*([^=@\s]+)", word):
        name, value = found.groups()
        if re.match(r"v?\d", value) and ("_" not in name or "." in value):
            return f"{name}=={value.removeprefix('v')}"
        if "=" in word and name.replace("-", "_").isidentifier():
            return f"{name.upper().replace('-', '_')}={value}"
    if requirement:
        if on_the_path := shutil.which(word):
            return on_the_path
        known = {one.name: one.version for one in importlib.metadata.distributions() if one.name}
        if near := difflib.get_close_matches(requirement.name, known, n=1, cutoff=0.8):
            return f"{near[0]}=={Version(known[near[0]]).public}"
    with suppress(OSError):
        near = difflib.get_close_matches(path.name, [one.name for one in path.parent.iterdir()], n=1)
        return str(Path(word).parent / near[0]) if word and near else ""
    return ""


def _is_versioned(word: str) -> bool:
    requirement = _requirement(word)
    return requirement is not None and bool(requirement.specifier)


def _refuse_combinations(
    interpreters: Sequence[str], requirements: Sequence[str], paths: Sequence[str], options: Sequence[str]
) -> None:
    if len(interpreters) > 1:
        raise UserError(
            "spec", f"{interpreters[0]!r} and {interpreters[1]!r} are two environments; a side has one, so drop one."
        )
    if interpreters and (requirements or paths):
        other = (*requirements, *paths)[0]
        raise UserError(
            "spec",
            f"{interpreters[0]!r} is an environment that exists, and {other!r} makes one: drop {interpreters[0]!r} (a "
            "requirement changes a copy of this environment), or install it there yourself.",
        )
    if requirements and paths:
        raise UserError(
            "spec",
            f"{paths[0]!r} makes an environment of its own and {requirements[0]!r} changes this one; write "
            f"{requirements[0]} into {paths[0]}, or drop one of them.",
        )
    if options and not requirements and not paths:
        raise UserError(
            "spec",
            f"{options[0]!r} is for the installer, which has nothing to install here; add a requirement "
            "(torch==2.12.1).",
        )


def _refuse_twice(read: Iterable[tuple[str, Kind, str]]) -> None:
    seen: dict[tuple[Kind, str], str] = {}
    for word, kind, value in read:
        if kind in ("requirement", "variable"):
            what = named(value) if kind == "requirement" else value.split("=")[0]
            if (kind, what) in seen:
                raise UserError("spec", f"{seen[kind, what]!r} and {word!r} both say what {what} is; drop one of them.")
            seen[kind, what] = word


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # longer than a name can be
        return False


def is_wheel(requirement: str) -> bool:
    return _requirement(requirement) is None


def named(requirement: str) -> str:
    """The normalised name of what a requirement or a wheel brings."""
    if is_wheel(requirement):
        return parse_wheel_filename(Path(requirement).name)[0]
    return canonicalize_name(Requirement(requirement).name)


def with_extras(requirement: str) -> str:
    extras = () if is_wheel(requirement) else sorted(Requirement(requirement).extras)
    return named(requirement) + (f"[{','.join(extras)}]" if extras else "")
