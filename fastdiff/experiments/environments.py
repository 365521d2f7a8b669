"""The two sides of a paired A/B: what a person wrote for one (a SPEC), made into an environment that can run a worker.

Torch is never imported here; what an environment holds is asked of its own interpreter.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib.metadata
import json
import math
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

import fastdiff
from fastdiff.compare import facts
from fastdiff.record.errors import UserError
from fastdiff.record.writing import as_json, locked, write_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

Kind = Literal["interpreter", "requirement", "file", "option", "variable"]

EXPECTED = (
    "A SPEC is '.' (this environment), an interpreter or a virtual environment's folder, a requirement "
    "(torch==2.12.1) or a wheel, a requirements file (.txt, .lock, .in), an option of pip (--index-url=URL, "
    "--extra-index-url=URL, --find-links=PLACE, --no-index, --pre) or a variable (NAME=VALUE)."
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
"""Lock files that pip cannot read, and what makes one of them that it can."""
OLDEST_PYTHON = (3, 11)
"""As pyproject.toml asks for: the workers run this very fastdiff."""

MARKER = "fastdiff-environment.json"
"""Written last: an environment without it was never finished."""
BASE_LINK = "zz-fastdiff-base.pth"
"""Such files are read in alphabetical order, and what the overlay itself holds comes before its base."""
PACKAGE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
DIGITS = 8
"""Of a hash, for the name of a folder: two of a handful are the same once in a billion."""
SLUG_LENGTH = 40
LAST_WORDS = 500
"""Characters of a failed pip's output that are worth showing."""
PATIENCE_S = 60.0
"""An interpreter lists its packages in a fraction of a second, but for the first time on a network disk it may not."""
INDEX_PATIENCE_S = 300.0
"""pip tries an index that does not answer several times, 15 seconds each."""


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
    pip_options: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The way a report names the side."""
        return masked(" ".join(self.words))


@dataclass(frozen=True)
class Environment:
    """Where the workers of one side run."""

    name: str
    python: Path
    variables: Mapping[str, str]
    key: str
    """Short, of its content and its variables: names its compile cache's folder."""
    words: tuple[str, ...] = ()
    """As written, to be written again; masked."""

    @property
    def is_this_one(self) -> bool:
        """Whether its workers run as this process does: with the same interpreter, and no variable changed."""
        return self.python == Path(sys.executable) and not self.variables


def masked(text: str) -> str:
    """Reports and run files are shared, so passwords of an index stay out of them."""
    return re.sub(r"(https?://)[^/@\s]+@", r"\1****@", text)


# -- what was written -------------------------------------------------------------------------------------------------


def parse(words: Sequence[str], folder: Path) -> Spec:
    """Reads the words of one side; relative paths are as seen from `folder`."""
    if not words:
        raise UserError("spec", f"no word says which environment is meant. {EXPECTED}")
    read = [(word, *_read(word.strip(), folder)) for word in words]

    def of(kind: Kind) -> dict[str, str]:
        """The words of a kind, and what they mean."""
        return {word: value for word, its_kind, value in read if its_kind == kind}

    interpreters, requirements, paths, options = of("interpreter"), of("requirement"), of("file"), of("option")
    _refuse_combinations(list(interpreters), list(requirements), list(paths), list(options))
    _refuse_twice(read)
    python: Path | None = None
    if not requirements and not paths:
        python = Path(next(iter(interpreters.values()), sys.executable))
    return Spec(
        words=tuple(words),
        python=python,
        requirements=tuple(requirements.values()),
        files=tuple(map(Path, paths.values())),
        pip_options=tuple(options.values()),
        variables=dict(value.split("=", 1) for value in of("variable").values()),
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
            "spec", f"pip cannot read {word}; make a file that it can (`{FOREIGN_LOCKS[path.name]}`) and name that."
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
        raise _refused(word, "is no option that travels to pip", near[0] if near else "")
    raise _refused(word, "is no option that travels to pip", f"{near[0]}={word[len(option) :].lstrip(' =') or 'URL'}")


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
            f"{options[0]!r} is for pip, which has nothing to install here; add a requirement (torch==2.12.1).",
        )


def _refuse_twice(read: Iterable[tuple[str, Kind, str]]) -> None:
    seen: dict[tuple[Kind, str], str] = {}
    for word, kind, value in read:
        if kind in ("requirement", "variable"):
            what = _named(value) if kind == "requirement" else value.split("=")[0]
            if (kind, what) in seen:
                raise UserError("spec", f"{seen[kind, what]!r} and {word!r} both say what {what} is; drop one of them.")
            seen[kind, what] = word


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # longer than a name can be
        return False


# -- finding and making ------------------------------------------------------------------------------------------------


def ready(spec: Spec, home: Path, say: Callable[[str], None]) -> Environment:
    """Finds the environment of a side, or makes it in `home`, where it is found the next time.

    The variables belong to the workers, not to what is installed: sides that differ in them alone share a folder.
    """
    if spec.python is not None:
        python, seen = spec.python, _examined(spec, spec.python, say)
    else:
        python, seen = _found_or_made(spec, home.absolute(), say)
    key = _digest(python, _others(seen), sorted(spec.variables.items()))
    return Environment(spec.name, python, spec.variables, key, tuple(map(masked, spec.words)))


def _examined(spec: Spec, python: Path, say: Callable[[str], None]) -> dict[str, str]:
    version, seen = _asked(python, spec.variables)
    if tuple(map(int, version.split(".")[:2])) < OLDEST_PYTHON:
        oldest = ".".join(map(str, OLDEST_PYTHON))
        raise UserError(
            "environment", f"{python} is Python {version}; fastdiff runs on {oldest} or newer, so name another one."
        )
    lacking: list[Requirement] = []
    with suppress(UserError):  # a fastdiff that runs without being installed can measure all the same
        lacking = [need for need in _needs() if need.name not in seen]
    if lacking:
        names = " ".join(f"'{need}'" for need in lacking)
        say(f"{spec.name} lacks what fastdiff needs; if its trials fail: {python} -m pip install {names}")
    return seen


def _found_or_made(spec: Spec, home: Path, say: Callable[[str], None]) -> tuple[Path, dict[str, str]]:
    base = {} if spec.files else packages(Path(sys.executable), {})
    folder = home / f"{_slug(spec)}-{_digest(*_ingredients(spec, base))}"
    marker = _finished(folder)
    if marker:
        say(f"{spec.name}: as made on {marker['made']}; remove {folder} to have it made anew")
        return _interpreter(folder), marker["packages"]
    try:
        _ready_home(home)
        with _alone(folder, spec, say):
            marker = _finished(folder)  # the process that held the lock has made it meanwhile
            seen = marker["packages"] if marker else _make(spec, folder, base, say)
    except OSError as error:
        raise UserError(
            "environment",
            f"{error.filename or folder} cannot be written ({error.strerror}); make room there or get the right, "
            "and try again.",
        ) from None
    return _interpreter(folder), seen


def _ingredients(spec: Spec, base: Mapping[str, str]) -> tuple[Any, ...]:
    """Everything that decides what an environment holds: where one of it differs, another one is made."""
    return (
        [(one, _stamp(one)) for one in spec.requirements],
        [path.read_bytes().hex() for path in _with_included(spec.files)],
        [str(need) for need in _needs()] if spec.files else (sys.prefix, _others(base)),
        spec.pip_options,
        (sys.base_prefix, platform.python_version(), platform.python_implementation(), sysconfig.get_platform()),
    )


def _stamp(requirement: str) -> tuple[int, int]:
    """When a wheel was built and its size: reading all of a wheel of torch would take longer than everything else."""
    if not _is_wheel(requirement):
        return (0, 0)
    at = Path(requirement).stat()
    return (at.st_mtime_ns, at.st_size)


def _with_included(paths: Iterable[Path]) -> list[Path]:
    """Requirements files, and those that they include."""
    found: list[Path] = []
    waiting = list(paths)
    while waiting:
        path = waiting.pop(0)
        if path not in found and path.is_file():
            found.append(path)
            text = path.read_text(encoding="utf-8", errors="replace")
            included = re.findall(r"^\s*(?:-r|--requirement|-c|--constraint)[\s=]*(\S+)", text, re.MULTILINE)
            waiting += [path.parent / one for one in included]
    return found


def _make(spec: Spec, folder: Path, base: Mapping[str, str], say: Callable[[str], None]) -> dict[str, str]:
    """Makes it where it stays, because a virtual environment cannot be moved; the marker comes last."""
    began = time.monotonic()
    if folder.exists():
        say(f"{spec.name}: {folder} was not finished; it is made anew")
        shutil.rmtree(folder)
    try:
        say(f"{spec.name}: creating {folder}")
        if spec.files:
            _venv(folder, spec, say, pip=True)
            _install_files(spec, folder, say)
        else:
            _overlay(spec, folder, base, say)
            _install_requirements(spec, folder, say)
        seen = packages(_interpreter(folder), {})
        _require(spec, seen)
        made = datetime.now(UTC).isoformat(timespec="seconds")
        marker = {"words": spec.name, "made": made, "packages": seen}
        write_text(folder / MARKER, as_json(marker))
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    if not spec.files:
        changed = facts.package_differences(base, seen)
        say(f"{spec.name}: {', '.join(changed) if changed else 'nothing differs from this environment'}")
    say(f"{spec.name}: ready after {time.monotonic() - began:.0f} s")
    return seen


def _overlay(spec: Spec, folder: Path, base: Mapping[str, str], say: Callable[[str], None]) -> None:
    """An empty environment that sees this one behind its own packages: pip puts into it only what differs.

    With pip of the base where there is one: the one that Python brings may come with a setuptools of its own, and
    that would be a change that the user did not want.
    """
    own_pip = "pip" not in base
    _venv(folder, spec, say, pip=own_pip)
    if own_pip:
        _pip(folder, ["uninstall", "--yes", "setuptools"], spec, say)
    # `addsitedir` and not the bare path: it follows the base's own .pth files, which is how editable installs are seen.
    lines = [f"import site; site.addsitedir({str(path)!a})\n" for path in _base_folders()]
    (_site_packages(folder) / BASE_LINK).write_text("".join(lines), encoding="ascii")


def _base_folders() -> list[Path]:
    """Where this environment's packages lie, in their order; a user's own and Debian's are among them."""
    return [path for path in map(Path, sys.path) if path.name in ("site-packages", "dist-packages") and path.is_dir()]


def _install_requirements(spec: Spec, folder: Path, say: Callable[[str], None]) -> None:
    """What is named by its place comes first and by force: pip takes an equal version for the same, which it is not."""
    placed = [one for one in spec.requirements if _is_wheel(one) or Requirement(one).url]
    wanted = [one for one in spec.requirements if one not in placed]
    say(f"{spec.name}: installing")
    if placed:
        _pip(folder, ["install", "--no-deps", "--force-reinstall", *spec.pip_options, *placed], spec, say)
        wanted += [_with_extras(one) for one in placed]  # now for what they need
    output = _pip(folder, ["install", *spec.pip_options, *wanted], spec, say)
    for line in output.splitlines():
        if line.endswith(("which is incompatible.", "which is not installed.")):
            say(f"{spec.name}: against a stated range, which may matter or not: {line.strip()}")


def _install_files(spec: Spec, folder: Path, say: Callable[[str], None]) -> None:
    """What the files say stays, also where fastdiff's own ranges would not allow it: it only adds what is not there.

    Two steps, because files with hashes allow nothing beside them that has none.
    """
    say(f"{spec.name}: installing")
    named = [word for path in spec.files for word in ("-r", str(path))]
    _pip(folder, ["install", *spec.pip_options, *named], spec, say, cwd=spec.files[0].parent)
    seen = packages(_interpreter(folder), {})
    for need in _needs():
        version = seen.get(need.name)
        if version and not need.specifier.contains(version, prereleases=True):
            say(f"{spec.name}: {need.name} stays at {version}, as its file says; fastdiff is made for {need}")
    if lacking := [str(need) for need in _needs() if need.name not in seen]:
        say(f"{spec.name}: adding what fastdiff needs: {', '.join(lacking)}")
        kept = folder / "kept.txt"
        kept.write_text("".join(f"{name}=={version}\n" for name, version in seen.items()), encoding="utf-8")
        _pip(folder, ["install", *spec.pip_options, "-c", str(kept), *lacking], spec, say)


def _needs() -> list[Requirement]:
    """What fastdiff needs here, under normalised names, without the extras."""
    try:
        written = importlib.metadata.requires("fastdiff") or []
    except importlib.metadata.PackageNotFoundError:
        raise UserError(
            "environment",
            "fastdiff is not installed here, so its requirements are unknown; do: pip install -e . (where it lies).",
        ) from None
    needs = [Requirement(text) for text in written]
    needs = [need for need in needs if need.marker is None or need.marker.evaluate({"extra": ""})]
    for need in needs:
        need.name, need.marker = canonicalize_name(need.name), None
    return needs


def _require(spec: Spec, seen: Mapping[str, str]) -> None:
    """pip can end well without having installed anything, for instance with a prefix in its configuration."""
    for text in spec.requirements:
        name = _named(text)
        if _is_wheel(text):
            fits = Version(seen.get(name, "0")) == parse_wheel_filename(Path(text).name)[1]
        else:
            fits = name in seen and Requirement(text).specifier.contains(seen[name], prereleases=True)
        if not fits:
            raise UserError(
                "environment",
                f"pip ended well, but the new environment has {seen.get(name, 'no')} {name} where {text} was asked "
                "for; see where pip's configuration puts things: pip config list.",
            )


def _named(requirement: str) -> str:
    """The normalised name of what a requirement or a wheel brings."""
    if _is_wheel(requirement):
        return parse_wheel_filename(Path(requirement).name)[0]
    return canonicalize_name(Requirement(requirement).name)


def _with_extras(requirement: str) -> str:
    extras = () if _is_wheel(requirement) else sorted(Requirement(requirement).extras)
    return _named(requirement) + (f"[{','.join(extras)}]" if extras else "")


def _is_wheel(requirement: str) -> bool:
    return _requirement(requirement) is None


def _finished(folder: Path) -> dict[str, Any] | None:
    """What the marker says; None where the environment was never finished, or its Python has gone since."""
    with suppress(OSError, ValueError):
        marker = json.loads((folder / MARKER).read_text(encoding="utf-8"))
        if isinstance(marker, dict) and {"made", "packages"} <= marker.keys() and _interpreter(folder).exists():
            return marker
    return None


@contextmanager
def _alone(folder: Path, spec: Spec, say: Callable[[str], None]) -> Iterator[None]:
    """One process makes it, the others wait."""
    lock = folder.with_name(f"{folder.name}.lock")
    with locked(lock) as held:
        if held:
            yield
            return
    say(f"{spec.name}: another process is making {folder}; waiting for it")
    with locked(lock, patience_s=math.inf):  # without an end: it may be downloading for as long as it takes
        yield


def _ready_home(home: Path) -> None:
    home.mkdir(parents=True, exist_ok=True)
    ignored = home / ".gitignore"
    if not ignored.exists():
        ignored.write_text("*\n")  # everything here is made, and can be made again


def _slug(spec: Spec) -> str:
    names = [Path(one).name if _is_wheel(one) else one.partition("@")[0] for one in spec.requirements]
    text = "-".join([*names, *(path.stem for path in spec.files)]).lower()
    return re.sub(r"[^a-z0-9.]+", "-", text)[:SLUG_LENGTH].strip("-.")


def _digest(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()[:DIGITS]


def _others(seen: Mapping[str, str]) -> list[tuple[str, str]]:
    """All but fastdiff, of which the workers of every side run the same code."""
    return sorted((name, version) for name, version in seen.items() if name != "fastdiff")


# -- what is asked of others ------------------------------------------------------------------------------------------

LISTING = """
import importlib.metadata, json, platform, re
found = {}
for one in importlib.metadata.distributions():
    try:
        name, version = one.metadata["Name"], one.version
    except FileNotFoundError:  # what an interrupted pip leaves behind
        continue
    if name and version:
        found.setdefault(re.sub("[-_.]+", "-", name).lower(), version)  # the first is the one that is imported
print(json.dumps({"python": platform.python_version(), "packages": found}))
"""


def packages(python: Path, variables: Mapping[str, str]) -> dict[str, str]:
    """The version of every package that an interpreter sees, by normalised name.

    One that cannot say it is a UserError.
    """
    return _asked(python, variables)[1]


def releases(package: str, python: Path, pip_options: Sequence[str] = ()) -> list[str]:
    """Every release that pip's index offers this interpreter, oldest first; without one, a UserError says why."""
    if not PACKAGE.fullmatch(package):
        raise UserError("environment", f"{package!r} is no name of a package; give one such as torch.")
    command = [str(python), "-m", "pip", "index", "versions", "--pre", *pip_options, package]
    done = _ended(command, f"pip of {python}", INDEX_PATIENCE_S, _apart())
    found = re.search(r"^Available versions: (.+)$", done.stdout, re.MULTILINE)
    if found:
        return [str(one) for one in sorted(_versions(found[1].split(",")))]
    if "Retrying" in done.stderr:
        why = "pip reached no index; look at the network, or name an index that can be reached (--index-url=URL)"
    elif "No matching distribution" in done.stderr:
        why = (
            f"pip's index has no release of {package!r} for {python}; look at the name, or name another --index-url=URL"
        )
    else:
        why = (
            f"pip of {python} lists no releases of {package!r}; it needs a pip of 21.2 or newer "
            f"({python} -m ensurepip --upgrade)"
        )
    raise UserError("environment", f"{why}. It ended with: {_last_words(done.stdout + done.stderr)}")


def _versions(texts: Iterable[str]) -> list[Version]:
    found = []
    for text in texts:
        with suppress(InvalidVersion):  # from before there were rules; no pip of today installs those
            found.append(Version(text.strip()))
    return found


def _asked(python: Path, variables: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """The interpreter's own version, and its packages."""
    done = _ended([str(python), "-c", LISTING], str(python), PATIENCE_S, _apart() | dict(variables))
    try:
        answer = json.loads(done.stdout.strip().splitlines()[-1])  # before it stands what others print at the start
        return answer["python"], answer["packages"]
    except (IndexError, KeyError, TypeError, ValueError):
        raise UserError(
            "environment",
            f"{python} does not answer as a Python interpreter does; name one that starts. "
            f"It ended with: {_last_words(done.stdout + done.stderr) or f'exit status {done.returncode}'}",
        ) from None


def _ended(
    command: Sequence[str], who: str, patience_s: float, variables: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command,
            env=variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=patience_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise UserError(
            "environment",
            f"{who} did not answer within {patience_s:.0f} s; see whether it does by hand: "
            f"{masked(shlex.join(command))}",
        ) from None
    except OSError as error:
        raise UserError(
            "environment", f"{who} cannot be started ({error.strerror}); name an interpreter that can."
        ) from None


def _apart() -> dict[str, str]:
    """The variables for what must not see this process's own path, nor the folder in which it happens to run."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"PYTHONSAFEPATH": "1"}


def _venv(folder: Path, spec: Spec, say: Callable[[str], None], *, pip: bool) -> None:
    command = [sys.executable, "-P", "-m", "venv", *([] if pip else ["--without-pip"]), str(folder)]
    _run(command, f"{spec.name}: no virtual environment can be made", say, None)


def _pip(
    folder: Path, arguments: Sequence[str], spec: Spec, say: Callable[[str], None], cwd: Path | None = None
) -> str:
    quietly = [
        "--disable-pip-version-check",
        "--no-input",
        *(["--progress-bar=off"] if arguments[0] == "install" else []),
    ]
    command = [str(_interpreter(folder)), "-P", "-m", "pip", arguments[0], *quietly, *arguments[1:]]
    return _run(
        command,
        f"{spec.name} cannot be installed; see what there is with `pip index versions NAME`, or why not",
        say,
        cwd,
    )


def _run(command: Sequence[str], trouble: str, say: Callable[[str], None], cwd: Path | None) -> str:
    """Its output. What takes long is shown while it happens; an error ends with the last lines of the output."""
    # `user = true` in pip's configuration is meant for the packages of every day, not for these.
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"PIP_USER": "0"}
    lines = []
    with subprocess.Popen(
        command,
        cwd=cwd,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                lines.append(line)
                if line.strip().startswith(("Downloading ", "Cloning ", "Building wheel", "Installing collected")):
                    say(f"  {line.strip()}")
            process.wait()
        except BaseException:
            process.kill()  # at Ctrl-C too: what it writes is removed next
            process.wait()
            raise
    output = "".join(lines)
    if process.returncode:
        raise UserError(
            "environment", f"{trouble}. It ended with: {_last_words(output) or f'exit status {process.returncode}'}"
        )
    return output


def _last_words(output: str) -> str:
    useful = [line for line in output.splitlines() if line.strip() and not line.startswith(("WARNING:", "[notice]"))]
    return "\n".join(useful)[-LAST_WORDS:].strip()


def _interpreter(folder: Path) -> Path:
    return folder / "bin/python"


def _site_packages(folder: Path) -> Path:
    return Path(sysconfig.get_path("purelib", scheme="venv", vars={"base": str(folder)}))


# -- the code of the workers ------------------------------------------------------------------------------------------


def source_path(home: Path) -> Path:
    """A folder that holds nothing but a link to this very fastdiff package, for PYTHONPATH of the workers.

    Both sides run the same code of fastdiff, whatever is installed there; and nothing else of this environment
    comes along, as it would with the folder that the package lies in.
    """
    package = Path(fastdiff.__file__).parent.resolve()
    home = home.absolute()
    target = home / "source" / package.name
    if target.resolve() == package:
        return target.parent
    fresh = home / f".source.{os.getpid()}"
    try:
        _ready_home(home)
        target.parent.mkdir(exist_ok=True)
        try:
            fresh.symlink_to(package, target_is_directory=True)
        except (OSError, NotImplementedError):  # a file system without links
            shutil.copytree(package, fresh, ignore=shutil.ignore_patterns("__pycache__"))
        if target.is_dir() and not target.is_symlink():  # such a copy, and only a link can be replaced in one step
            shutil.rmtree(target)
        fresh.replace(target)
    except OSError as error:
        raise UserError(
            "environment",
            f"{target} cannot be written ({error.strerror}); make room or get the right to, and try again.",
        ) from None
    finally:
        _remove(fresh)
    return target.parent


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
