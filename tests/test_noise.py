"""Known noise of the libraries stays away from the user; what is unknown gets through."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from fastdiff.models import Model

MARK = "-- from here on every message is meant --"

SCRIPT = f"""
import sys

from fastdiff.models import Model, Request
from fastdiff.models.libraries import torch
from fastdiff.models.loading import load

pipeline = load(Model("tiny", "StableDiffusionXLPipeline", sys.argv[1], Request("", 2, 64, 4.0)), "bfloat16")
import torchao.quantization

print({MARK!r}, flush=True)
print({MARK!r}, file=sys.stderr, flush=True)

import warnings
from diffusers.utils import logging

logging.get_logger("diffusers.utils.import_utils").warning("the disk is nearly full")
logging.get_logger("diffusers.pipelines.pipeline_utils").warning("the scheduler is out of date")
warnings.warn("this number is not what you think", UserWarning)
"""


@dataclass(frozen=True)
class Heard:
    """What a process wrote, before and after the mark."""

    before: str
    after: str

    @staticmethod
    def of(text: str) -> Heard:
        before, mark, after = text.partition(MARK + "\n")
        assert mark, f"the process never got as far as the mark: {text}"
        return Heard(before, after)


@pytest.fixture(scope="module")
def heard(tiny: Model) -> tuple[Heard, Heard]:
    """Standard output and standard error of a user's process that imports, loads, and then has something to say."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONWARNINGS"}
    process = subprocess.run(
        [sys.executable, "-c", SCRIPT, tiny.source],
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return Heard.of(process.stdout), Heard.of(process.stderr)


def test_importing_and_loading_say_nothing(heard: tuple[Heard, Heard]) -> None:
    assert [one.before for one in heard] == ["", ""]


@pytest.mark.parametrize(
    "message", ["the disk is nearly full", "the scheduler is out of date", "UserWarning: this number is not what you"]
)
def test_real_warnings_get_through(heard: tuple[Heard, Heard], message: str) -> None:
    _, errors = heard
    assert errors.after.count(message) == 1, errors.after


@pytest.fixture
def torch_imported() -> None:
    import fastdiff.models.libraries  # noqa: F401


def test_pytest_does_not_switch_on_the_trace_of_torch(torch_imported: None) -> None:
    """pytest listens to every logger that does not propagate, and torch writes its trace when anybody listens.

    A compilation then costs more time and memory, and a failing test shows a thousand empty lines.
    """
    listeners = [type(handler).__name__ for handler in logging.getLogger("torch.__trace").handlers]
    assert [name for name in listeners if name != "LazyTraceHandler"] == []
