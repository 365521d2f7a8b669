"""All commands at once: one name for one thing, an example in every help text, JSON where facts are listed."""

from __future__ import annotations

import json
import re
import shlex
from typing import TYPE_CHECKING, Any

import pytest
import typer.main
from test_record import a_run, benchmarks_of
from typer.testing import CliRunner

from fastdiff.cli import app
from fastdiff.compare.figures import PUBLISHED
from fastdiff.host import system
from fastdiff.models import CATALOGUE
from fastdiff.plugin.options import OPTIONS
from fastdiff.record import distribution
from fastdiff.record.files import write
from fastdiff.stages.published import LADDER

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from click.testing import Result


def _walk(command: Any, *names: str) -> Iterator[tuple[str, Any]]:
    if hasattr(command, "commands"):
        for name, below in command.commands.items():
            yield from _walk(below, *names, name)
    else:
        yield " ".join(names), command


COMMANDS = dict(_walk(typer.main.get_command(app)))
OF_FILES = {"collate", "published", "side list", "side prune"}
"""They read files that are named, or the cache, and nothing of a project."""
OF_FACTS = {"models", "ladder", "environment", "baselines", "runs", "published", "side list"}
SESSION = {option.flag.removeprefix("--fastdiff-"): option.metavar for option in OPTIONS}


def options(name: str) -> dict[str, Any]:
    """By their names without dashes."""
    named = [(param, flag) for param in COMMANDS[name].params for flag in param.opts if flag.startswith("--")]
    return {flag.removeprefix("--"): param for param, flag in named}


def typed(*words: str) -> Result:
    return CliRunner().invoke(app, list(words), catch_exceptions=False)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_help_has_an_example_that_is_understood(name: str) -> None:
    (example,) = re.findall(r"^Example: (fastdiff .+)$", COMMANDS[name].help, re.MULTILINE)
    _, *words = shlex.split(example)
    assert words[: len(name.split())] == name.split()
    with COMMANDS[name].make_context(name, words[len(name.split()) :]):
        pass
    assert example in " ".join(re.sub(r"[│\n]", " ", typed(*name.split(), "--help").output).split())


def test_a_help_text_shows_the_exit_codes_and_the_completion() -> None:
    shown = typed("--help").output
    assert "Exit codes:" in shown
    assert "--install-completion" in shown


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - OF_FILES))
def test_a_command_about_a_project_takes_its_folder(name: str) -> None:
    assert options(name)["root"].metavar == "FOLDER"


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - OF_FILES - {"accept", "environment"}))
def test_a_folder_that_is_none_is_one_sentence(name: str, tmp_path: Path) -> None:
    needed = {"bisect": ("a", "b"), "experiment": ("cpu",)}.get(name, ())
    done = typed(*name.split(), *needed, "--root", str(tmp_path / "nowhere"))
    assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1), done.output
    assert "there is no folder" in done.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_a_name_means_one_thing_everywhere(name: str) -> None:
    for option, param in options(name).items():
        assert param.is_flag or param.metavar, f"--{option} of {name} shows no word for its value"
        for other in COMMANDS:
            twin = options(other).get(option)
            if twin is not None and not param.is_flag:
                assert singular(twin.metavar) == singular(param.metavar), f"--{option} of {name} and of {other}"
        if SESSION.get(option):
            assert singular(param.metavar) == singular(SESSION[option]), f"--{option} of {name} and of sessions"


def singular(metavar: str) -> str:
    return metavar.removesuffix("S")


@pytest.mark.parametrize("wrong", ["5", "0.05", "five%", "%", "5%%", "0%", "101%", "nan%", "-1%"])
def test_a_percentage_has_its_sign(wrong: str, tmp_path: Path) -> None:
    for words in (("--band", wrong), ("--inject", f"slow:{wrong}")):
        if words != ("--inject", "slow:101%"):
            done = typed("ab", "--root", str(tmp_path), *words)
            assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1), done.output
            assert "%" in done.stderr


# -- facts ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text(
        '[tool.fastdiff.models.mine]\npipeline = "FluxPipeline"\nsource = "here"\n'
        'request = { prompt = "a cat", steps = 2, size = 64, guidance = 1 }\n'
        '[tool.fastdiff.stages.own]\nfollows = "sdpa"\ntf32 = false\n'
    )
    write(tmp_path / "runs" / "a.json", benchmarks_of(a_run()), a_run())
    (tmp_path / "runs" / "broken.json").write_text("{")
    accept = ("accept", str(tmp_path / "runs" / "a.json"), "--reason", "as it is", "--no-side", "--force")
    assert typed(*accept, "--root", str(tmp_path)).exit_code == 0
    return tmp_path


def facts(*words: str) -> Any:
    done = typed(*words, "--json")
    assert (done.exit_code, done.stderr) == (0, ""), done.output
    return json.loads(done.stdout)


def test_every_command_that_lists_facts_has_them_as_json() -> None:
    assert {name for name in COMMANDS if "json" in options(name)} == OF_FACTS


def test_the_facts(root: Path) -> None:
    at = ("--root", str(root))
    models = facts("models", *at)
    assert [one["name"] for one in models] == [*(one.name for one in CATALOGUE), "mine"]
    assert models[-1]["request"]["steps"] == 2
    ladder = facts("ladder", *at)
    assert [one["name"] for one in ladder["ladder"]] == [*LADDER.names, "own"]
    assert facts("environment", *at)["baselines"].startswith(str(root))
    whole, broken = facts("runs", *at)
    assert (whole["file"], whole["stages"]) == ("a.json", {"measured": len(a_run().stages)})
    assert "unreadable" in broken
    (accepted,) = facts("baselines", *at)
    assert accepted["stages"] == [stage.id for stage in a_run().stages]
    assert accepted["acceptance"]["reason"] == "as it is"
    assert len(facts("published")["tables"]) == len(PUBLISHED)
    assert isinstance(facts("published", str(root / "runs" / "a.json")), list)


def test_the_cache_as_facts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTDIFF_CACHE", str(tmp_path))
    assert facts("side", "list") == []


# -- other systems ----------------------------------------------------------------------------------------------------


def test_windows_is_refused_in_a_sentence_that_names_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "PLATFORM", "win32")
    done = typed("models")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == "fastdiff does not run on Windows; run it in WSL, the Linux inside: wsl --install.\n"


def test_another_project_of_the_name_is_refused_in_a_sentence_that_mends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distribution, "BESIDE", tmp_path)
    (tmp_path / "pytest_fastdiff-0.1.0.dist-info").mkdir()
    assert typed("models").exit_code == 0
    (tmp_path / "fastdiff-0.3.0.dist-info").mkdir()
    done = typed("models")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == (
        f"another project called fastdiff is installed in {tmp_path}, and the files of one overwrite the other's; "
        "do: pip uninstall -y fastdiff && pip install --force-reinstall --no-deps pytest-fastdiff\n"
    )


def test_the_sentence_is_also_what_the_import_of_the_other_project_comes_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes a function from its own module of this name, over which ours lies."""
    monkeypatch.setattr(distribution, "BESIDE", tmp_path)
    with pytest.raises(ImportError, match="cannot import name 'compare'"):
        from fastdiff.compare import compare
    (tmp_path / "fastdiff-0.3.0.dist-info").mkdir()
    with pytest.raises(ImportError, match="another project called fastdiff is installed"):
        from fastdiff.compare import compare  # noqa: F401
