"""The console script as a person types it: the one that is installed beside this Python."""

import importlib.metadata
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest
from here import EMULATED

from fastdiff import __version__
from fastdiff.host.environment import device_slug
from fastdiff.models import CATALOGUE
from fastdiff.stages.beyond import BEYOND
from fastdiff.stages.published import LADDER
from fastdiff.stages.techniques import TECHNIQUES

COMMANDS = ("init", "models", "ladder", "environment", "accept", "baselines", "runs", "run", "collate", "layers")


def fastdiff(*args: str) -> subprocess.CompletedProcess[str]:
    """In a narrow, colourless terminal, whatever runs the tests."""
    colours = ("GITHUB_ACTIONS", "FORCE_COLOR", "PY_COLORS", "CLICOLOR_FORCE")
    environment = {name: value for name, value in os.environ.items() if name not in colours}
    environment |= {"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "100"}
    script = Path(sys.executable).with_name("fastdiff")
    return subprocess.run([str(script), *args], env=environment, capture_output=True, text=True, timeout=60)


def shown(*args: str) -> str:
    done = fastdiff(*args)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_help_states_the_purpose_and_lists_every_command() -> None:
    text = shown("--help")
    assert "Is the diffusion pipeline still fast, and does it still draw the same picture?" in text
    assert "--version" in text
    for command in COMMANDS:
        assert re.search(rf"\b{command} +[A-Z]", text), command


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_is_a_sentence(command: str) -> None:
    assert re.search(r"^\W*[A-Z][^.]+\.\W*$", shown(command, "--help"), re.MULTILINE)


def test_version() -> None:
    assert shown("--version") == f"fastdiff {__version__}\n"
    assert importlib.metadata.version("pytest-fastdiff") == __version__


def test_models_lists_the_catalogue_in_columns() -> None:
    lines = shown("models").splitlines()
    assert [line.split()[0] for line in lines] == [model.name for model in CATALOGUE]
    for line, model in zip(lines, CATALOGUE, strict=True):
        assert re.search(rf" {model.request.size} px +{model.request.steps} steps  \S+$", line)
    assert lines[0].endswith(" embedded")
    assert lines[1].endswith(f" {CATALOGUE[1].source}")
    for unit in (" px", " steps"):
        assert len({line.index(unit) for line in lines}) == 1


def test_ladder_lists_the_stages_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    lines = shown("ladder").splitlines()
    named = [line.split()[0] for line in lines if line.startswith("  ")]
    beyond = [step.name for _, step in BEYOND]
    assert named == [*LADDER.names, *beyond, *TECHNIQUES.names]
    assert lines[0] == "the ladder:"
    told = lines[1 : 1 + len(LADDER.names)]
    for line, stage in zip(told, LADDER.native(EMULATED), strict=True):
        assert stage.adds in line
        assert line.endswith(f"(follows {stage.follows})") or stage.follows is None
    assert len({line.index(stage.adds) for line, stage in zip(told, LADDER, strict=True)}) == 1


def test_environment_names_the_device_its_folder_and_the_versions() -> None:
    lines = dict(line.split(maxsplit=1) for line in shown("environment").splitlines())
    device = re.fullmatch(r"\S.* \((cpu|cuda)\)", lines["device"])
    assert device is not None
    assert lines["baselines"] == f"baselines/{device_slug(device[1])}"
    assert lines["python"] == platform.python_version()
    for library in ("torch", "diffusers", "transformers", "torchao"):
        assert lines[library] == importlib.metadata.version(library)


def test_without_a_gpu_that_may_be_seen_the_device_is_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert re.search(r"^device .* cores?(, [\w ]+)? \(cpu\)$", shown("environment"), re.MULTILINE)


def test_an_unknown_command_is_answered_with_the_nearest() -> None:
    done = fastdiff("modles")
    assert done.returncode == 2
    assert "No such command 'modles'" in done.stderr
    assert "'models'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("args", [("--nonsense",), ("models", "--nonsense"), ("models", "shapes")])
def test_unknown_arguments_are_refused(args: tuple[str, ...]) -> None:
    done = fastdiff(*args)
    assert done.returncode == 2
    assert args[-1] in done.stderr


def test_no_command_shows_the_help() -> None:
    done = fastdiff()
    assert done.returncode == 2
    assert "Usage: fastdiff" in done.stdout + done.stderr
    assert "environment" in done.stdout + done.stderr
