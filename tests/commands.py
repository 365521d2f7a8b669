"""Commands that a page names: whether each exists, with every option, model and stage in it."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path

import typer.main

from fastdiff.cli import app
from fastdiff.experiments.series import SERIES
from fastdiff.models import CATALOGUE, places
from fastdiff.plugin.options import OPTIONS
from fastdiff.plugin.settings import READ
from fastdiff.stages import EVERY_STAGE

REPOSITORY = Path(__file__).parents[1]
MODELS = [model.name for model in CATALOGUE]
TARGETS = {line.partition(":")[0] for line in (REPOSITORY / "Makefile").read_text().splitlines() if ":" in line}
MINE = "mine"
"""How pages call a model of the reader's own."""
SUITE = ("--pyargs", "fastdiff.suite")
VARIABLES = r"^([A-Z_]+=\S* )+"
OTHER = {"pip", "export", ".", "ruff", "mypy", "tar", "cp", "git"}
"""Programs whose options are not ours to check."""


def check(command: str) -> None:
    program, *words = shlex.split(re.sub(VARIABLES, "", command))
    if program in OTHER:
        return
    name = re.sub(r"^(?:\S*/)?(\w+?)3?$", r"\1", program)
    {"fastdiff": of_fastdiff, "pytest": of_pytest, "make": of_make, "python": of_python}[name](words)


def is_known(model: str) -> bool:
    """A path names a pipeline in the reader's own file, or a place."""
    return places.names_a_place(model) or model in (MINE, *MODELS)


def of_fastdiff(words: list[str]) -> None:
    command = typer.main.get_command(app)
    while hasattr(command, "commands"):
        name, *words = words
        command = command.commands[name]
    with command.make_context(name, words) as context:
        asked = context.params
    assert is_known(asked.get("model") or MINE)
    assert name != "experiment" or asked["name"] in SERIES
    stages = asked.get("stage") or ()
    for stage in (stages,) if isinstance(stages, str) else stages:
        assert set(stage.split(",")) <= set(EVERY_STAGE)


def of_pytest(words: list[str]) -> None:
    left = iter(words)
    suite = next(left)
    if suite == SUITE[0]:
        assert next(left) == SUITE[1]
    else:
        assert (REPOSITORY / suite).exists()
    known = {option.flag: option for option in OPTIONS}
    for word in left:
        flag, _, value = word.partition("=")
        if flag == "-k":
            assert (REPOSITORY / "perf_tests" / f"test_{next(left)}.py").is_file()
            continue
        if flag == "--benchmark-compare":
            continue
        option = known[flag]
        if not option.metavar:
            continue
        value = value or next(left)
        READ.get(option.name, str)("x.png" if value == "FILE" else value)
        if option.name == "stage":
            assert set(value.split(",")) <= set(EVERY_STAGE)
        if option.name == "model":
            assert all(map(is_known, value.split(",")))


def of_make(words: list[str]) -> None:
    assert words[0] in TARGETS
    assert all("=" in word for word in words[1:])
    for word in words[1:]:
        name, _, value = word.partition("=")
        if name == "ARGS":
            of_pytest(["perf_tests", *shlex.split(value)])


def of_python(words: list[str]) -> None:
    if words[0] != "-m":
        assert (REPOSITORY / words[0]).is_file()
    elif words[1].startswith("tools"):
        assert importlib.util.find_spec(words[1])
