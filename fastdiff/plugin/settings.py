"""The settings of a session: fastdiff's options, each given on the command line or in the ini file under one name."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fastdiff.compare.policy import FEWEST_PAIRS
from fastdiff.host.environment import DEVICE
from fastdiff.models import SIDE
from fastdiff.models.toml import models as read_models
from fastdiff.record.errors import UserError, unknown
from fastdiff.record.pairs import WHOLE_BLOCKS
from fastdiff.record.project import tables
from fastdiff.report.chart import require_picture
from fastdiff.stages import LADDERS
from fastdiff.stages.toml import whole
from fastdiff.trial.faults import parse

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fastdiff.models import Model
    from fastdiff.trial.faults import Fault

CONFIRM = ("auto", "all", "none")
DEFAULT_ROUNDS = 5
"""Enough for a median and quartiles; more rounds in one process say little about the next process."""


@dataclass(frozen=True)
class Option:
    """`--fastdiff-NAME` and the ini setting `fastdiff_NAME`."""

    name: str
    metavar: str
    help: str
    read: Callable[[str], Any] = str

    @property
    def flag(self) -> str:
        return f"--fastdiff-{self.name.replace('_', '-')}"

    @property
    def ini(self) -> str:
        return f"fastdiff_{self.name}"


def _yes_or_no(text: str) -> bool:
    known = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
    if text.lower() not in known:
        raise ValueError
    return known[text.lower()]


def _names(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(text.replace(",", " ").split()))
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
    _device: "auto, cpu, cuda or cuda:N",
}

OPTIONS = (
    Option("model", "NAMES", "Models to measure, separated by commas (default: shapes, the embedded one).", _names),
    Option(
        "weights",
        "WEIGHTS",
        "Where weights come from: auto, hub, dummy (the true architecture, random values), twin (a small copy of the "
        "architecture, random values) or a folder in diffusers' layout (default: auto, the model's own place).",
    ),
    Option("ladder", "NAME", "Ladder to measure: published (the default), or techniques, which save memory.", _ladder),
    Option(
        "stage",
        "NAMES",
        "Stages to measure, separated by commas (default: all of the ladder; `fastdiff ladder` lists all).",
        _names,
    ),
    Option("device", "DEVICE", "Device to measure on: auto, cpu, cuda or cuda:N (default: auto).", _device),
    Option(
        "emulate",
        "",
        "Also use data types for which this CPU has no instructions, such as bfloat16 without AVX512; torch emulates "
        "them, many times slower than float32 (default: stages stay in float32).",
        _yes_or_no,
    ),
    Option("steps", "N", "Denoising steps of a call (default: the model's own).", _count),
    Option(
        "size", "PIXELS", f"Width and height of the picture, a multiple of {SIDE} (default: the model's own).", _side
    ),
    Option("batch", "N", "Pictures per call (default: 1).", _count),
    Option("rounds", "N", f"Timed calls of each stage (default: {DEFAULT_ROUNDS}).", _count),
    Option(
        "against",
        "SPEC",
        "Compare each stage with another environment in pairs of processes, instead of with a baseline: a requirement "
        "such as torch==2.12.1, an interpreter, or a requirements file (docs/guides/ab-and-bisect.md).",
        _words,
    ),
    Option(
        "confirm",
        "WHEN",
        "When --benchmark-compare makes the accepted run's software again and measures stages in pairs with it: auto "
        "(if any software differs), all (always) or none (never: the accepted run's stored seconds decide) (default: "
        "auto).",
        _confirm,
    ),
    Option(
        "max_time",
        "MINUTES",
        "Minutes after which --benchmark-compare begins no more pairs; a stage that was not reached is UNSURE "
        "(default: 15).",
        _count,
    ),
    Option(
        "accepted_python",
        "PATH",
        "An interpreter or an environment that was kept of the accepted run, where uv cannot make it again (conda, "
        "system packages); fastdiff names the packages that differ.",
        Path,
    ),
    Option("pairs", "N", "Largest number of pairs of processes for a stage (default: 12).", _pairs),
    Option("calls", "N", f"Calls of each process of a pair, a multiple of {WHOLE_BLOCKS} (default: 24).", _calls),
    Option(
        "cache",
        "FOLDER",
        "Where compiled code is kept (default: TORCHINDUCTOR_CACHE_DIR if it is set, else .fastdiff/compile-cache).",
        Path,
    ),
    Option("markdown", "FILE", "Write the ladder and the verdicts as markdown to this file.", Path),
    Option("chart", "FILE", "Draw the ladder as a bar chart into this file (.png, .svg, .jpeg or .pdf).", _picture),
    Option(
        "strict",
        "",
        "For CI: fail on every verdict except SAME, and on skipped stages that are not skipped in the baseline.",
        _yes_or_no,
    ),
    Option(
        "inject",
        "FAULTS",
        "Inject faults to test the gate, for instance slow:30%%@sdpa (docs/guides/faults.md).",
        parse,
    ),
)


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


def add_options(parser: pytest.Parser) -> None:
    group = parser.getgroup("fastdiff", "fastdiff: is the pipeline still fast, and is the picture still the same?")
    for option in OPTIONS:
        if option.read is _yes_or_no:
            group.addoption(option.flag, action="store_const", const="true", default=None, help=option.help)
        else:
            group.addoption(option.flag, metavar=option.metavar, default=None, help=option.help)
        parser.addini(option.ini, option.help.replace("%%", "%"), default="")


def settings(config: pytest.Config) -> Settings:
    """The command line wins over the ini file, the ini file over the defaults."""
    asked = {}
    for option in OPTIONS:
        for text, place in ((config.getoption(option.flag), option.flag), (config.getini(option.ini), option.ini)):
            if text:
                try:
                    asked[option.name] = option.read(text)
                except UserError as error:
                    raise pytest.UsageError(f"{place}: {error}") from None
                except ValueError:
                    wanted = EXPECTS.get(option.read, "another value")
                    raise pytest.UsageError(f"{place}: {text!r} is not {wanted}.") from None
                break
    return Settings(**asked)


OF_PAIRS = ("pairs", "calls")
NOT_AGAIN = ("against", "confirm", "max_time", *OF_PAIRS, "strict", "markdown", "chart")
"""Options that are about the whole session, not about how a stage is measured."""


def given_options(config: pytest.Config, names: Sequence[str] = ()) -> list[str]:
    """fastdiff's options of the command line, for a command that measures the same."""
    again = names or [option.name for option in OPTIONS if option.name not in NOT_AGAIN]
    given = [(option, config.getoption(option.flag)) for option in OPTIONS if option.name in again]
    return [f"{option.flag}={text}" if option.metavar else option.flag for option, text in given if text]


def is_asked(config: pytest.Config) -> bool:
    """Whether this session names an option of fastdiff. What else its files say is read when a test needs a stage."""
    return any(config.getoption(option.flag) or config.getini(option.ini) for option in OPTIONS)


def device_asked(asked: Settings) -> str:
    """The device to measure on; `auto` is what the driver has; torch is not imported for it."""
    if asked.device != "auto":
        return asked.device
    from fastdiff.host.environment import device_kind

    return device_kind()


def project_folder(config: pytest.Config) -> Path:
    """Where runs, baselines and compiled code are kept: the project, or, without one, where pytest was started."""
    return config.rootpath if config.inipath else config.invocation_params.dir


def configured_stages(config: pytest.Config) -> Mapping[str, Mapping[str, Any]]:
    """The tables `[tool.fastdiff.stages.NAME]` of the project's pyproject.toml."""
    return _tables(config)["stages"]


def configured_models(config: pytest.Config) -> list[Model]:
    """The tables `[tool.fastdiff.models.NAME]`, read."""
    return read_models(_tables(config)["models"], config.rootpath)


def configured_policy(config: pytest.Config) -> Mapping[str, Any]:
    """The table `[tool.fastdiff.policy]`: what is allowed, for everything, a model, or a stage."""
    return _tables(config)["policy"]


def _tables(config: pytest.Config) -> dict[str, dict[str, Any]]:
    try:
        return tables(config.rootpath)
    except UserError as error:
        raise pytest.UsageError(str(error)) from None


def check(config: pytest.Config) -> None:
    """Reads everything that a file or the command line says, for the errors alone; conftests add the rest later."""
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
