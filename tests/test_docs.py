"""README.md and docs/: links and anchors hold, and every command can be typed, or says that it needs a GPU."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import tomllib
from dataclasses import fields
from typing import TYPE_CHECKING

import commands
import pytest
from faked import CONFTEST, SETTINGS
from faked import faked as faked
from pages import README, REPOSITORY, Page, Typed, pages, typed
from typer.testing import CliRunner

from fastdiff.cli import app
from fastdiff.compare import verdicts
from fastdiff.compare.policy import DEFAULTS, Policy

if TYPE_CHECKING:
    from pathlib import Path

    from faked import Faked

PAGES = pages()
TYPED = list(dict.fromkeys(one for page in PAGES for one in typed(page)))
LISTINGS = ("models", "ladder", "environment", "runs", "baselines", "published", "side list")
"""Commands that measure nothing and build nothing."""
WIDTH = 110
LETTER, FRAME = 12.2, 20
"""Of Rich's pictures: how wide a character of 20 px is, and the frame beside them."""


def of(name: str) -> Page:
    return Page(REPOSITORY / "docs" / name)


# -- links ------------------------------------------------------------------------------------------------------------


def dead(page: Page, known: set[str]) -> list[str]:
    found = []
    for target in page.links:
        path, _, anchor = target.partition("#")
        file = (page.path.parent / path).resolve() if path else page.path
        is_there = file.is_relative_to(REPOSITORY) and str(file.relative_to(REPOSITORY)) in known
        if not is_there or (anchor and anchor not in Page(file).anchors):
            found.append(target)
    return found


@pytest.fixture(scope="session")
def known() -> set[str]:
    """The files of the repository: what is ignored is nowhere but here."""
    words = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_and_anchor_exists(page: Page, known: set[str]) -> None:
    assert not dead(page, known)


def test_a_dead_link_is_noticed(tmp_path: Path, known: set[str]) -> None:
    page = Page(REPOSITORY / "docs" / "guides" / "gate.md")
    for wrong in ("nowhere.md", "#nowhere", "../reference/verdicts.md#nowhere", "../../../README.md"):
        text = f"[a\nlink]({wrong}), and a [good one](faults.md#faults-test-the-gate)"
        broken = type("Broken", (Page,), {"text": text})(page.path)
        assert dead(broken, known) == [wrong]


def test_every_page_is_reached_from_the_readme() -> None:
    reached, left = set(), [README]
    while left:
        if (file := left.pop()) in reached or file.suffix != ".md":
            continue
        reached.add(file)
        left += [(file.parent / target.partition("#")[0]).resolve() for target in Page(file).links if target[0] != "#"]
    assert {page.path for page in PAGES} <= reached


# -- shape ------------------------------------------------------------------------------------------------------------


def test_the_readme_is_short() -> None:
    lines = README.read_text().splitlines()
    assert len(lines) <= 150
    assert max(map(len, lines)) < WIDTH


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_lines_are_short(page: Page) -> None:
    """But for tables, and what a command printed."""
    lines = [line for line in page.prose.splitlines() if not line.lstrip().startswith("|")]
    lines += [line for block in page.blocks("console") for line in block.splitlines()]
    assert not [line for line in lines if len(line) > WIDTH + 2 * ("`" in line)]


def test_the_picture_can_be_read_where_the_readme_is_shown() -> None:
    """At 850 pixels its letters are as large as those of a code block."""
    picture = (REPOSITORY / "docs" / "bench.svg").read_text()
    (width,) = re.findall(r'viewBox="0 0 (\d+)', picture)
    (letters,) = set(re.findall(r"font-size: (20)px", picture))
    assert float(letters) * 850 / float(width) >= 13


# -- commands ---------------------------------------------------------------------------------------------------------


def needs_a_gpu(command: str) -> bool:
    if "gpu_check" in command or command.startswith("make gpu-check"):
        return not re.search(r"--rehearse|REHEARSE|gpu_check\.wheels", command)
    return bool(re.search(r"--(fastdiff-)?device[ =]cuda|make bench-gpu|nvidia-smi", command))


@pytest.mark.parametrize("one", TYPED, ids=str)
def test_every_command_exists(one: Typed) -> None:
    commands.check(one.command)


@pytest.mark.parametrize("one", [one for one in TYPED if needs_a_gpu(one.command)], ids=str)
def test_a_command_that_needs_a_gpu_says_so(one: Typed) -> None:
    assert one.on_a_gpu


def sessions() -> list[Typed]:
    """Those that this machine can run in a second: without a GPU, without environments of their own, and without what
    is named by its place, which tests/test_own_pipelines.py and tests/test_places.py have."""
    typed = [one for one in TYPED if one.command.startswith("pytest ") and "fastdiff" in one.command]
    known = [one for one in typed if not re.search(r"--fastdiff-model[ =]\S*[/:]", one.command)]
    return [one for one in known if not one.on_a_gpu and "--fastdiff-against" not in one.command]


@pytest.mark.parametrize("one", sessions(), ids=str)
def test_every_session_runs(one: Typed, faked: Faked) -> None:
    """On the fake runner, with the models and stages that its page describes."""
    tables = [block for block in Page(REPOSITORY / one.page).blocks("toml") if f".{commands.MINE}" in block]
    (faked.root / "conftest.py").write_text(CONFTEST.replace("def pytest_fastdiff_ladder", "def no_stage_of_its_own"))
    (faked.root / "pyproject.toml").write_text("\n".join([SETTINGS.replace("fastdiff_stage", "#"), *tables[:1]]))
    options = [word for word in shlex.split(one.command)[1:] if word not in ("perf_tests", *commands.SUITE)]
    result = faked.session(*options)
    assert result.ret in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED), "\n".join(result.outlines)
    states = [stage["state"] for stage in faked.run["stages"]]
    assert "measured" in states
    assert set(states) <= {"measured", "skipped"}


@pytest.mark.parametrize("listing", LISTINGS)
def test_every_listing_runs(listing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FASTDIFF_CACHE", str(tmp_path))
    done = CliRunner().invoke(app, listing.split(), catch_exceptions=False)
    assert done.exit_code == 0, done.output


def test_the_two_commands_are_in_the_readme() -> None:
    written = [one.command for one in TYPED if one.page == "README.md"]
    assert {"make bench", "make test"} <= set(written)
    assert "make test" in (REPOSITORY / ".ci" / "run").read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_code_can_be_read(page: Page) -> None:
    for block in page.blocks("python"):
        ast.parse(block)
    for block in page.blocks("toml"):
        tomllib.loads(block)


# -- what must stand in a table ---------------------------------------------------------------------------------------


def test_every_verdict_is_explained() -> None:
    words = {value for name, value in vars(verdicts).items() if name.isupper() and name == value}
    assert len(words) == 11
    for page in (of("reference/verdicts.md"), Page(README)):
        first = {word for row in re.findall(r"^\| ([A-Z, ]+) \|", page.text, re.MULTILINE) for word in row.split(", ")}
        assert first == words


def test_every_number_of_a_policy_is_a_key_of_the_configuration() -> None:
    text = of("reference/configuration.md").text
    for field in fields(Policy):
        assert f"`{field.name.replace('_', '-')}`" in text
    cpu, gpu = DEFAULTS["cpu"], DEFAULTS["cuda"]
    assert f"| latency, ladder | ±{cpu.latency:.0%} | ±{gpu.latency:.0%} |".replace("%", " %") in text
    assert f"| memory | ±{cpu.memory:.0%} | ±{gpu.memory:.0%} |".replace("%", " %") in text
    assert (
        f"| first call | up to {1 + cpu.first_call} times as long | ±{gpu.first_call:.0%} |".replace("%", " %") in text
    )
