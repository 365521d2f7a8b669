"""The names and help texts of fastdiff's options and ini settings.

Every pytest in this environment imports this file, in any project, so it imports nothing slow.
`fastdiff.plugin.settings` reads the values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pytest


class Option(NamedTuple):
    """`--fastdiff-NAME` and the ini setting `fastdiff_NAME`."""

    name: str
    metavar: str
    """Empty where the option is a switch."""
    help: str

    @property
    def flag(self) -> str:
        return f"--fastdiff-{self.name.replace('_', '-')}"

    @property
    def ini(self) -> str:
        return f"fastdiff_{self.name}"


OPTIONS = (
    Option(
        "model",
        "NAMES",
        "Models to measure, separated by commas: names, hub:ORG/NAME[@REVISION], a folder in diffusers' layout such as "
        "./FOLDER, or FILE.py::NAME for a pipeline of your own (default: shapes, the embedded one).",
    ),
    Option(
        "weights",
        "WEIGHTS",
        "Where weights come from: auto, hub, dummy (the true architecture, random values), twin (a small copy of the "
        "architecture, random values), tiny (the same of a model that is named by its place) or a folder in diffusers' "
        "layout (default: auto, the model's own place).",
    ),
    Option("ladder", "NAME", "Ladder to measure: published (the default), or techniques (which save memory)."),
    Option(
        "stage",
        "NAMES",
        "Stages to measure, separated by commas; `fastdiff ladder` lists them (default: all of the ladder).",
    ),
    Option("device", "DEVICE", "Device to measure on: auto, cpu, cuda, cuda:N or mps (default: auto)."),
    Option(
        "emulate",
        "",
        "Also use data types for which this CPU has no instructions, such as bfloat16 without AVX512; torch emulates "
        "them, many times slower than float32 (default: stages stay in float32).",
    ),
    Option("steps", "N", "Denoising steps per call (default: the model's own)."),
    Option("size", "PIXELS", "Width and height of the picture, a multiple of 64 (default: the model's own)."),
    Option("batch", "N", "Pictures per call (default: 1)."),
    Option("rounds", "N", "Timed calls of each stage (default: 5)."),
    Option(
        "against",
        "SPEC",
        "Compare each stage in pairs of processes with another environment instead of a baseline. SPEC is a "
        "requirement such as torch==2.12.1, an interpreter, or a requirements file (docs/guides/ab-and-bisect.md).",
    ),
    Option(
        "confirm",
        "WHEN",
        "When --benchmark-compare recreates the accepted run's software and measures stages in pairs with it: auto "
        "(if any software differs), all (always) or none (never; the stored times decide) (default: auto).",
    ),
    Option(
        "max_time",
        "MINUTES",
        "Minutes after which --benchmark-compare starts no new pair; a stage that was not reached is UNSURE "
        "(default: 15).",
    ),
    Option(
        "accepted_python",
        "PATH",
        "Interpreter or environment that you kept from the accepted run, if uv cannot recreate it (conda, system "
        "packages); fastdiff lists the packages that differ.",
    ),
    Option(
        "pairs",
        "N",
        "Maximum number of pairs of processes for a stage (default: 12; on a GPU 5, without --fastdiff-against).",
    ),
    Option("calls", "N", "Timed calls of each process of a pair, a multiple of 4 (default: 12 to 96, for 10 s)."),
    Option(
        "cache",
        "FOLDER",
        "Folder for compiled code (default: TORCHINDUCTOR_CACHE_DIR if it is set, else .fastdiff/compile-cache).",
    ),
    Option("markdown", "FILE", "Write the ladder and the verdicts as Markdown to this file."),
    Option("chart", "FILE", "Draw the ladder as a bar chart into this file (.png, .svg, .jpeg or .pdf)."),
    Option(
        "strict",
        "",
        "For CI: fail on every verdict except SAME, and on skipped stages that are not skipped in the baseline.",
    ),
    Option("inject", "FAULTS", "Inject faults to test the gate, for instance slow:30%%@sdpa (docs/guides/faults.md)."),
)


OF_PAIRS = ("pairs", "calls")
NOT_AGAIN = ("against", "confirm", "max_time", *OF_PAIRS, "strict", "markdown", "chart")
"""Options of the whole session; they do not change how a stage is measured."""


def add_options(parser: pytest.Parser) -> None:
    group = parser.getgroup("fastdiff", "fastdiff: is the pipeline still fast, and is the picture still the same?")
    for option in OPTIONS:
        if option.metavar:
            group.addoption(option.flag, metavar=option.metavar, default=None, help=option.help)
        else:
            group.addoption(option.flag, action="store_const", const="true", default=None, help=option.help)
        parser.addini(option.ini, option.help.replace("%%", "%"), default="")


def given_options(config: pytest.Config, names: Sequence[str] = ()) -> list[str]:
    """fastdiff's options as given on the command line, for a command that measures the same."""
    again = names or [option.name for option in OPTIONS if option.name not in NOT_AGAIN]
    given = [(option, config.getoption(option.flag)) for option in OPTIONS if option.name in again]
    return [f"{option.flag}={text}" if option.metavar else option.flag for option, text in given if text]


def is_configured(config: pytest.Config) -> bool:
    """Whether this session sets an option of fastdiff. The rest of the configuration is read when a test needs a
    stage."""
    return any(config.getoption(option.flag) or config.getini(option.ini) for option in OPTIONS)


def project_folder(config: pytest.Config) -> Path:
    """The folder of runs, baselines and compiled code: the project's, or without a project the current one."""
    return config.rootpath if config.inipath else config.invocation_params.dir
