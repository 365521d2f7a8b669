"""Strange files and words of a stranger: each is one sentence, never a traceback, and nothing is written elsewhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from test_record import DEVICE, a_run, a_stage, benchmarks_of
from typer.testing import CliRunner

from fastdiff.cli import app
from fastdiff.cli.accept import accept_run
from fastdiff.compare.reasons import because
from fastdiff.models.toml import models
from fastdiff.plugin.settings import _device
from fastdiff.record import baselines
from fastdiff.record.errors import UserError
from fastdiff.record.files import write
from fastdiff.record.project import tables
from fastdiff.report.changes import changes
from fastdiff.report.listings import baselines_text, runs_text
from fastdiff.report.published import collate
from fastdiff.report.sentences import sentence
from fastdiff.sides.home import ready_home
from fastdiff.sides.installed import releases
from fastdiff.stages.published import LADDER
from fastdiff.stages.toml import configured

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from click.testing import Result

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
        (b"a = 1" + b"0" * 5000, "this is no TOML"),
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
    assert "give auto, cpu, cuda, cuda:N or mps" in done.stderr


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
        collate(tmp_path, tmp_path / "out.csv", [tmp_path / "out.png"])
    assert not (tmp_path / "out.csv").exists()


# -- what a pull request may bring ------------------------------------------------------------------------------------


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """With an accepted run, and a newer one that is not accepted yet."""
    root = tmp_path / "project"
    for name in ("a", "b"):
        path = root / "runs" / f"{name}.json"
        write(path, benchmarks_of(a_run()), a_run())
        path.with_suffix("").mkdir()
        (path.with_suffix("") / "shapes-fp32.png").write_text(name)
    accept_run(root / "runs" / "a.json", "the first", root=root, say=str)
    return root


def accept_again(root: Path, *options: str) -> Result:
    return CliRunner().invoke(
        app, ["accept", str(root / "runs" / "b.json"), "--reason", "x", "--root", str(root), *options]
    )


def files_of(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def moved_out(path: Path) -> Path:
    """The file or folder lies outside of the project now, and a link to it is where it was."""
    outside = path.parents[len(path.parts) - 1 - path.parts.index("project")] / "outside"
    path.rename(outside)
    path.symlink_to(outside)
    return outside


@pytest.mark.parametrize("name", ["", DEVICE.slug, f"{DEVICE.slug}/log.jsonl", f"{DEVICE.slug}/0001_shapes.json"])
def test_an_acceptance_follows_no_link_out_of_the_project(project: Path, name: str) -> None:
    outside = moved_out(project / "baselines" / name)
    before = files_of(outside) if outside.is_dir() else outside.read_bytes()
    there = files_of(project)
    done = accept_again(project, "--force")
    assert (done.exit_code, done.output.count("is a link")) == (2, 1), done.output
    assert (files_of(outside) if outside.is_dir() else outside.read_bytes()) == before
    assert files_of(project).keys() - there.keys() <= {".fastdiff/accept.lock"}


def test_pictures_behind_a_link_are_not_brought_in(project: Path) -> None:
    moved_out(project / "baselines" / DEVICE.slug / "0001_shapes")
    done = accept_again(project, "--stage", "int8")
    assert (done.exit_code, "is a link that leads out of" in done.output) == (2, True)


def test_a_lock_that_is_a_link_is_refused(project: Path) -> None:
    outside = moved_out(project / ".fastdiff" / "accept.lock")
    outside.unlink()
    assert "is a link, a pipe or a folder" in accept_again(project).output
    assert not outside.exists()


def test_lists_and_comparisons_do_not_read_through_a_link(project: Path) -> None:
    moved_out(project / "baselines" / DEVICE.slug)
    assert "is a link that" in " ".join(map(str.strip, baselines_text(project)))
    with pytest.raises(UserError, match="is a link that leads out of"):
        baselines.read(baselines.accepted(project / "baselines" / DEVICE.slug)[0])


def test_a_link_in_the_folder_of_environments_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / ".gitignore").symlink_to(tmp_path / "victim")
    ready_home(tmp_path / "home")
    assert not (tmp_path / "victim").exists()


@pytest.mark.parametrize("words", [("ab",), ("calibrate",), ("bisect", "torch==1", "torch==2")])
def test_a_mistyped_project_is_not_made(tmp_path: Path, words: tuple[str, ...]) -> None:
    done = CliRunner().invoke(app, [*words, "--root", str(tmp_path / "typo")])
    assert done.exit_code == 2
    assert done.stderr.startswith(f"there is no folder {tmp_path / 'typo'}; ")
    assert not (tmp_path / "typo").exists()


@pytest.mark.parametrize("number", [10**400, 1e308, -(10**400)])
@pytest.mark.parametrize(
    "place",
    [
        ("fastdiff", "stages", 1, "samples", 0, "wall_s"),
        ("fastdiff", "stages", 1, "memory", "peak_bytes"),
        ("fastdiff", "stages", 1, "quality", "ssim"),
        ("fastdiff", "stages", 1, "recipe", "anything"),
        ("fastdiff", "environment", "anything"),
        ("benchmarks", 0, "stats", "median"),
        ("machine_info", "anything"),
    ],
)
def test_a_number_beyond_all_bounds_is_refused_at_an_acceptance(
    project: Path, place: tuple[str | int, ...], number: float
) -> None:
    path, before = project / "runs" / "b.json", files_of(project / "baselines")
    value = whole = json.loads(path.read_text())
    for key in place[:-1]:
        value = value[key]
    value[place[-1]] = number
    path.write_text(json.dumps(whole))
    done = accept_again(project, "--force")
    assert done.exit_code == 2
    assert "b.json: " in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert files_of(project / "baselines") == before


def test_a_refused_acceptance_leaves_what_was_accepted(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = files_of(project / "baselines")
    listdir, scandir = os.listdir, os.scandir

    def refuse(path: object = ".") -> None:
        if str(path).endswith(DEVICE.slug):
            raise PermissionError(13, os.strerror(13))

    with monkeypatch.context() as patch:
        patch.setattr(os, "listdir", lambda path=".": refuse(path) or listdir(path))
        patch.setattr(os, "scandir", lambda path=".": refuse(path) or scandir(path))
        done = accept_again(project, "--force")
    assert (done.exit_code, "cannot be listed (Permission denied)" in done.output) == (2, True)
    assert files_of(project / "baselines") == before


def test_without_its_line_in_the_log_nothing_is_accepted(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = files_of(project / "baselines")
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, content: write(file, content[: len(content) // 2]))
    done = accept_again(project)
    assert (done.exit_code, "log.jsonl cannot be written (No space left on device); nothing was" in done.output) == (
        2,
        True,
    )
    assert files_of(project / "baselines") == before


EVIL = "\x1b[31mred\n::error::all is lost\r\u202e"


def is_plain(text: str) -> bool:
    return not {"\x1b", "\r", "\u202e"} & set(text) and "::error::" not in text


def test_what_an_acceptance_shows_is_plain_text(project: Path) -> None:
    path = project / "runs" / "b.json"
    for run in (
        a_run(complete=False, outcome=EVIL),
        a_run(a_stage(state="failed", reason=EVIL)),
        a_run(a_stage(unapplied=(EVIL,), leaks=(EVIL,))),
        a_run(a_stage(quality=replace(a_stage().quality, passed=False, reason=EVIL))),
    ):
        write(path, benchmarks_of(run), run)
        done = accept_again(project)
        assert done.exit_code == 2
        assert "red" in done.output
        assert is_plain(done.output), done.output


def test_names_of_files_and_models_are_plain_text(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pull request names its files as it likes."""
    accepted = project / "baselines" / DEVICE.slug
    (accepted / "0001_shapes.json").rename(accepted / f"0001_{EVIL}.json".replace("\n", ""))
    accepted.rename(accepted.with_name(EVIL.replace("/", "")))
    (project / "pyproject.toml").write_text(
        described(source=EVIL.encode("unicode_escape").decode().replace("x1b", "u001b"))
    )
    monkeypatch.chdir(project)
    for command in ("baselines", "models"):
        done = CliRunner().invoke(app, [command])
        assert (done.exit_code, is_plain(done.output)) == (0, True), done.output
        assert "red" in done.output
    (project / "baselines" / EVIL / f"0001_{EVIL}.json".replace("\n", "")).write_text("{")
    done = CliRunner().invoke(app, ["baselines"])
    assert is_plain(done.output)


def test_text_of_others_is_no_command_of_a_terminal_or_a_log(tmp_path: Path) -> None:
    run = a_run(a_stage("fp32", 2.0, reason=EVIL), outcome=EVIL)
    write(tmp_path / "runs" / "a.json", benchmarks_of(run), run)
    reasons = [because("not-applied", why=EVIL), because("other-weights", before=EVIL, after="hub")]
    lines = [*runs_text(tmp_path), *changes(None, replace(run, stages=(replace(run.stages[0], state="skipped"),)))]
    lines += [sentence(one) for one in reasons]
    assert any("red" in line for line in lines)
    for line in lines:
        assert "\n" not in line
        assert is_plain(line)
