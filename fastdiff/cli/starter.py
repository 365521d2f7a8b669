"""What `fastdiff init` writes into a project: the suite, a model to fill in, a workflow, and what git ignores."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, distribution
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from fastdiff.record.distribution import DISTRIBUTION

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = "perf_tests"
PIPELINES = f"{FOLDER}/pipelines.py"
IGNORED = ("runs/", ".fastdiff/", ".benchmarks/", "__pycache__/")
WORKFLOW = ".github/workflows/performance.yml"
INDEX = "model_index.json"
"""The file that makes a folder a pipeline in diffusers' layout."""
PLACES = ("", "*/", "*/*/", "*/*/*/")
"""How deep a pipeline is looked for; a project may have a large folder of data below."""
UNKNOWN = ("OWNER/fastdiff", "REF")
SETTINGS = ("pyproject.toml", "pytest.toml", "pytest.ini", "tox.ini", "setup.cfg")
"""Where pytest's settings may stand."""
GITHUB = re.compile(r"github\.com[:/]([\w.-]+/[\w.-]+?)(?:\.git)?/?$")
PATIENCE_S = 10

CONFTEST = '''"""Models by their description, and stages of your own. Without a model: `shapes`, fastdiff's own.

Uncomment the first function, then: pytest {folder} --fastdiff-model {name} --benchmark-compare
"""

# from fastdiff import Model, Request
#
#
# def pytest_fastdiff_models():
#     request = Request("a cat", steps=20, size=512, guidance=5.0)
#     return [Model("{name}", "{pipeline}", "{source}", request)]
#
#
# def pytest_fastdiff_ladder(ladder, model):
#     """A stage of your own, measured after the one that it follows."""
#     if "sdpa" in ladder.names:
#         return ladder.extend("channels-last", "the convolutions' layout", follows="sdpa", channels_last=True)
'''

FACTORIES = """# A pipeline of your own is a function that returns it. Uncomment it, commit the file, then:
#   pytest {folder} --fastdiff-model {folder}/pipelines.py::{name} --benchmark-compare

# import fastdiff
# from diffusers import {pipeline}
#
#
# @fastdiff.pipeline("{name}", call=dict(prompt="a cat", num_inference_steps=20))
# def pipeline(dtype):
#     return {pipeline}.from_pretrained("{source}", dtype=dtype)
"""

ACTION = """# Measures each pull request beside its base branch, in pairs of processes, on a hosted machine.
name: performance
on: pull_request
permissions: {{}}
jobs:
  fastdiff:
    permissions:
      contents: read
    uses: {repository}/.github/workflows/pull-request.yml@{ref}
    with:
      install: {install}
      tests: {folder}
      options: --fastdiff-stage sdpa
      python: "{python}"
"""


def whole_files(root: Path) -> dict[str, str]:
    """By path inside the project, what it gets where nothing is there yet. A suite of its own stays alone."""
    suite = {one.name: one.read_text(encoding="utf-8") for one in files("fastdiff.suite").iterdir() if one.is_file()}
    own = {one.name for one in (root / FOLDER).glob("test_*.py")} - suite.keys()
    tests = {f"{FOLDER}/{name}": suite[name] for name in sorted(suite) if name.startswith("test_") and not own}
    package = {f"{FOLDER}/__init__.py": '"""A package, so that its files may have the names of other tests."""\n'}
    models = {PIPELINES: filled(FACTORIES, root), f"{FOLDER}/conftest.py": filled(CONFTEST, root)}
    return {**package, **tests, **models, WORKFLOW: workflow(root)}


def filled(text: str, root: Path) -> str:
    """With the pipeline that lies in the project, if one does."""
    found = {"name": "mine", "pipeline": "StableDiffusionXLPipeline", "source": "weights/mine"} | pipeline(root)
    return text.format(folder=FOLDER, **found)


def in_git(root: Path) -> bool:
    return bool(_git(str(root), "rev-parse", "--git-dir"))


def pipeline(root: Path) -> dict[str, str]:
    for place in PLACES:
        for index in sorted(root.glob(f"{place}{INDEX}")):
            with suppress(OSError, ValueError, AttributeError):
                kind = json.loads(index.read_text(encoding="utf-8")).get("_class_name", "")
                name = index.resolve().parent.name
                if all(re.fullmatch(r"[\w.+-]+", str(word)) for word in (kind, name)):
                    return {"name": name, "pipeline": kind, "source": index.parent.relative_to(root).as_posix()}
    return {}


def workflow(root: Path) -> str:
    repository, ref = origin()
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    return ACTION.format(repository=repository, ref=ref, install=installed(root), folder=FOLDER, python=python)


def installed(root: Path) -> str:
    """What `uv pip install` installs of the project; fastdiff itself is added to it."""
    if (root / "setup.py").is_file() or "project" in _toml(root):
        return "-e ."
    return "-r requirements.txt" if (root / "requirements.txt").is_file() else "torch"


def origin() -> tuple[str, str]:
    """The repository and the commit that this fastdiff was installed from, as far as GitHub has it."""
    with suppress(PackageNotFoundError, ValueError):
        told: dict[str, Any] = json.loads(distribution(DISTRIBUTION).read_text("direct_url.json") or "{}")
        url, commit = str(told.get("url", "")), told.get("vcs_info", {}).get("commit_id", "")
        if url.startswith("file://"):
            folder = url.removeprefix("file://")
            url, commit = _git(folder, "remote", "get-url", "origin"), _git(folder, "rev-parse", "HEAD")
        if commit and (found := GITHUB.search(url)):
            return found[1], commit
    return UNKNOWN


def ignored(text: str) -> list[str]:
    """The lines that a .gitignore lacks."""
    there = {line.strip().strip("/") for line in text.splitlines()}
    return [line for line in IGNORED if line.strip("/") not in there]


def runs_in_every_session(root: Path) -> bool:
    """Whether a bare `pytest` in this project runs the performance tests, too."""
    return not any("testpaths" in _text(root / name) for name in SETTINGS)


def _toml(root: Path) -> dict[str, Any]:
    import tomllib

    with suppress(ValueError):
        return tomllib.loads(_text(root / "pyproject.toml"))
    return {}


def _text(file: Path) -> str:
    with suppress(OSError):
        return file.read_text(encoding="utf-8", errors="replace")
    return ""


def _git(folder: str, *words: str) -> str:
    with suppress(OSError, subprocess.SubprocessError):
        asked = ["git", "-C", folder, *words]
        return subprocess.run(asked, capture_output=True, text=True, timeout=PATIENCE_S, check=True).stdout.strip()
    return ""
