"""The settings of a session, read from fastdiff's options on the command line and in the ini file."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fastdiff.compare.policy import FEWEST_PAIRS
from fastdiff.host.environment import DEVICE, DEVICES
from fastdiff.models import IN_FILE, SIDE
from fastdiff.models.toml import models as read_models
from fastdiff.plugin.options import OPTIONS, project_folder
from fastdiff.record.errors import UserError, unknown
from fastdiff.record.pairs import WHOLE_BLOCKS
from fastdiff.record.project import tables
from fastdiff.report.chart import require_picture
from fastdiff.stages import LADDERS
from fastdiff.stages.toml import whole
from fastdiff.trial.faults import parse

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fastdiff.models import Model
    from fastdiff.trial.faults import Fault

CONFIRM = ("auto", "all", "none")
DEFAULT_ROUNDS = 5
"""Enough for a median and quartiles; more rounds in one process say little about the next process."""


def _yes_or_no(text: str) -> bool:
    known = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
    if text.lower() not in known:
        raise ValueError
    return known[text.lower()]


def _names(text: str) -> tuple[str, ...]:
    by_path = IN_FILE in text or "/" in text or text.endswith(".py")  # a path may contain spaces
    names = tuple(
        dict.fromkeys(one.strip() for one in (text.split(",") if by_path else text.replace(",", " ").split()))
    )
    if not names:
        raise ValueError
    return names


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def _side(text: str) -> int:
    number = _count(text)
    if number % SIDE:
        raise ValueError
    return number


def _words(text: str) -> tuple[str, ...]:
    words = tuple(shlex.split(text))
    if not words:
        raise ValueError
    return words


def _pairs(text: str) -> int:
    number = int(text)
    if number < FEWEST_PAIRS:
        raise ValueError
    return number


def _calls(text: str) -> int:
    number = _count(text)
    if number % WHOLE_BLOCKS:
        raise ValueError
    return number


def _picture(text: str) -> Path:
    require_picture(path := Path(text))
    return path


def _confirm(text: str) -> str:
    if text not in CONFIRM:
        raise ValueError
    return text


def _ladder(text: str) -> str:
    if text not in LADDERS:
        raise ValueError
    return text


def _device(text: str) -> str:
    if not DEVICE.fullmatch(text):
        raise ValueError
    return text


EXPECTS: dict[Callable[[str], Any], str] = {
    _yes_or_no: "true or false",
    _names: "a list of names, separated by commas",
    _count: "a whole number above zero",
    _calls: f"a multiple of {WHOLE_BLOCKS}",
    _pairs: f"a whole number from {FEWEST_PAIRS} on",
    _words: "words that describe an environment",
    _side: f"a multiple of {SIDE}",
    _confirm: f"one of {', '.join(CONFIRM)}",
    _ladder: f"one of {', '.join(LADDERS)}",
    _device: DEVICES,
}

READ: dict[str, Callable[[str], Any]] = {
    "model": _names,
    "ladder": _ladder,
    "stage": _names,
    "device": _device,
    "emulate": _yes_or_no,
    "steps": _count,
    "size": _side,
    "batch": _count,
    "rounds": _count,
    "against": _words,
    "confirm": _confirm,
    "max_time": _count,
    "accepted_python": Path,
    "pairs": _pairs,
    "calls": _calls,
    "cache": Path,
    "markdown": Path,
    "chart": _picture,
    "strict": _yes_or_no,
    "inject": parse,
}
"""How the text of each option is parsed; other options stay texts."""


@dataclass(frozen=True)
class Settings:
    model: tuple[str, ...] = ("shapes",)
    weights: str = "auto"
    ladder: str = "published"
    stage: tuple[str, ...] = ()
    device: str = "auto"
    emulate: bool = False
    steps: int | None = None
    size: int | None = None
    batch: int | None = None
    rounds: int = DEFAULT_ROUNDS
    against: tuple[str, ...] = ()
    confirm: str = "auto"
    max_time: int = 15
    accepted_python: Path | None = None
    pairs: int | None = None
    calls: int | None = None
    cache: Path | None = None
    markdown: Path | None = None
    chart: Path | None = None
    strict: bool = False
    inject: tuple[Fault, ...] = ()


def settings(config: pytest.Config) -> Settings:
    """The command line wins over the ini file, the ini file over the defaults."""
    asked = {}
    for option in OPTIONS:
        for text, place in ((config.getoption(option.flag), option.flag), (config.getini(option.ini), option.ini)):
            if text:
                read = READ.get(option.name, str)
                try:
                    asked[option.name] = read(text)
                except UserError as error:
                    raise pytest.UsageError(f"{place}: {error}") from None
                except ValueError:
                    wanted = EXPECTS.get(read, "another value")
                    raise pytest.UsageError(f"{place}: {text!r} is not {wanted}.") from None
                break
    return Settings(**asked)


def device_asked(asked: Settings) -> str:
    """The device to measure on. `auto` is resolved through the driver, without importing torch."""
    if asked.device != "auto":
        return asked.device
    from fastdiff.host.environment import device_kind

    return device_kind()


def configured_stages(config: pytest.Config) -> Mapping[str, Mapping[str, Any]]:
    """The tables `[tool.fastdiff.stages.NAME]` of the project's pyproject.toml."""
    return _tables(config)["stages"]


def configured_models(config: pytest.Config) -> list[Model]:
    """The tables `[tool.fastdiff.models.NAME]`, read."""
    return read_models(_tables(config)["models"], config.rootpath)


def configured_policy(config: pytest.Config) -> Mapping[str, Any]:
    """The table `[tool.fastdiff.policy]`: values for everything, for a model, or for a stage."""
    return _tables(config)["policy"]


def _tables(config: pytest.Config) -> dict[str, dict[str, Any]]:
    try:
        return tables(config.rootpath)
    except UserError as error:
        raise pytest.UsageError(str(error)) from None


def check(config: pytest.Config) -> None:
    """Checks all settings from files and the command line for errors; conftests add the rest later."""
    settings(config)
    try:
        configured_models(config)
        asked = settings(config)
        if asked.against:
            from fastdiff.sides.spec import parse as parse_environment

            parse_environment(asked.against, project_folder(config))
        whole(LADDERS[asked.ladder], asked.stage, configured_stages(config))
    except UserError as error:
        option = "--fastdiff-against: " if error.code == "spec" else ""
        raise pytest.UsageError(f"{option}{error}") from None


def require_known(kind: str, asked: tuple[str, ...], known: list[str]) -> None:
    for name in asked:
        if name not in known:
            raise pytest.UsageError(f"--fastdiff-{kind}, or fastdiff_{kind}: {unknown(kind, name, known)}")
