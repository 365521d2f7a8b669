"""Strange files and words of a stranger: each is one sentence, never a traceback, and nothing is written elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from test_record import a_run, a_stage, benchmarks_of

from fastdiff.compare.reasons import because
from fastdiff.models.toml import models
from fastdiff.plugin.settings import _device
from fastdiff.record.errors import UserError
from fastdiff.record.files import write
from fastdiff.record.project import tables
from fastdiff.report.changes import changes
from fastdiff.report.listings import runs_text
from fastdiff.report.published import collate
from fastdiff.report.sentences import sentence
from fastdiff.sides.installed import releases
from fastdiff.stages.published import LADDER
from fastdiff.stages.toml import configured

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MODEL = """
[tool.fastdiff.models."{name}"]
pipeline = "StableDiffusionXLPipeline"
source = "{source}"
request = {{ prompt = "a", steps = 1, size = 64, guidance = 1.0 }}
unsupported = {unsupported}
"""


def described(name: str = "mine", source: str = "a/b", unsupported: str = "[]") -> str:
    return MODEL.format(name=name, source=source, unsupported=unsupported)


def read(project: Path) -> None:
    found = tables(project)
    models(found["models"], project)
    configured(LADDER, found["stages"])


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"[tool", "this is no TOML"),
        ("[tool.fastdiff]".encode("utf-16"), "is not UTF-8 text"),
        (b"tool = 5", "[tool] must be a table"),
        (b"[tool]\nfastdiff = 5", "[tool.fastdiff] must be a table"),
        (b"[tool.fastdiff]\nmodels = 5", "[tool.fastdiff.models] must be a table of tables"),
        (b"[tool.fastdiff]\nmodel = 5", "did you mean 'models'"),
        (b"a = " + b"[" * 100_000, "this is no TOML"),
        (described(name="../../evil").encode(), "'../../evil' is no name for a model"),
        (described(unsupported="[[0]]").encode(), "unsupported is ([0],); give a list of texts"),
        (described(source="a\\u0000b").encode(), "holds a null character"),
        (b'[tool.fastdiff.stages."../x"]\nfollows = "sdpa"', "'../x' is no name for a stage"),
    ],
)
def test_a_strange_pyproject_is_one_sentence(tmp_path: Path, content: bytes, sentence: str) -> None:
    (tmp_path / "pyproject.toml").write_bytes(content)
    with pytest.raises(UserError) as refused:
        read(tmp_path)
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)[:200]


@pytest.mark.parametrize("device", ["cuda:²", "cuda:", "cuda:-1", "gpu", "cpu\n", "cuda:99999"])
def test_a_device_is_named_in_plain_digits(device: str) -> None:
    with pytest.raises(ValueError, match=r"^$"):
        _device(device)
    done = subprocess.run(
        [sys.executable, "-m", "fastdiff.cli", "ab", "--device", device], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "give auto, cpu, cuda or cuda:N" in done.stderr


@pytest.mark.parametrize("package", ["", " ", "-e .", "torch\n", "--index-url=x"])
def test_a_package_is_a_name(package: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no name of a package"):
        releases(package, tmp_path / "python")


def _zero(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _loop(path: Path) -> None:
    path.symlink_to(path)


@pytest.mark.parametrize("make", [os.mkfifo, _zero, _loop, os.mkdir])
def test_what_is_no_file_is_no_row(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "a.csv")
    with pytest.raises(UserError, match=r"a\.csv"):
        collate(tmp_path, tmp_path / "out.csv", tmp_path / "out.png")
    assert not (tmp_path / "out.csv").exists()


EVIL = "\x1b[31mred\n::error::all is lost\r\u202e"


def test_text_of_others_is_no_command_of_a_terminal_or_a_log(tmp_path: Path) -> None:
    run = a_run(a_stage("fp32", 2.0, reason=EVIL), outcome=EVIL)
    write(tmp_path / "runs" / "a.json", benchmarks_of(run), run)
    reasons = [because("not-applied", why=EVIL), because("other-weights", before=EVIL, after="hub")]
    lines = [*runs_text(tmp_path), *changes(None, replace(run, stages=(replace(run.stages[0], state="skipped"),)))]
    lines += [sentence(one) for one in reasons]
    assert any("red" in line for line in lines)
    for line in lines:
        assert not {"\x1b", "\n", "\r", "\u202e"} & set(line)
        assert "::error::" not in line
