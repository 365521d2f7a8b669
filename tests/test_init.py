"""`fastdiff init`: a project of one's own, from nothing."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

import fastdiff.plugin.session  # noqa: F401  (stays loaded between the runs inside this process)
from fastdiff import cli
from fastdiff.cli import starter

REPOSITORY = Path(__file__).parents[1]
REUSED = yaml.safe_load((REPOSITORY / ".github/workflows/pull-request.yml").read_text())
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def init(root: Path) -> list[str]:
    done = CliRunner().invoke(cli.app, ["init", "--root", str(root)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout.splitlines()


def everything(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()}


def workflow(root: Path) -> dict[str, object]:
    return yaml.safe_load((root / starter.WORKFLOW).read_text())["jobs"]["fastdiff"]


def test_an_empty_folder_becomes_a_project(tmp_path: Path) -> None:
    lines = init(tmp_path)
    found = everything(tmp_path)
    suite = {path.name: path.read_text() for path in (REPOSITORY / "perf_tests").glob("test_*.py")}
    assert {name: found.pop(f"perf_tests/{name}") for name in suite} == suite
    own = {"perf_tests/__init__.py", "perf_tests/pipelines.py", "perf_tests/conftest.py"}
    assert set(found) == {*own, starter.WORKFLOW, ".gitignore"}
    assert found[".gitignore"].splitlines() == ["runs/", ".fastdiff/", ".benchmarks/", "__pycache__/"]
    assert [line.split()[1] for line in lines[:10]] == [
        "perf_tests/__init__.py",
        *(f"perf_tests/{name}" for name in sorted(suite)),
        "perf_tests/pipelines.py",
        "perf_tests/conftest.py",
        starter.WORKFLOW,
        ".gitignore",
    ]
    assert f"next: cd {tmp_path} && pytest perf_tests --benchmark-compare" in lines


def test_the_suite_is_collected(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_memory="def test_memory(): pass")  # of the same name as one of ours
    init(pytester.path)
    result = pytester.runpytest_inprocess("-p", "no:hypothesispytest", "--collect-only", "-q", "--benchmark-compare")
    assert result.ret == 0
    result.stdout.fnmatch_lines_random(
        ["test_memory.py::test_memory", "perf_tests/test_latency.py::test_latency[[]shapes-fp32[]]"]
    )


def test_the_commented_model_works_when_the_comment_signs_are_taken_away(pytester: pytest.Pytester) -> None:
    init(pytester.path)
    conftest = pytester.path / "perf_tests" / "conftest.py"
    conftest.write_text(re.sub("^# ?", "", conftest.read_text(), flags=re.MULTILINE))
    asked = ("perf_tests", "--fastdiff-model=mine", "--collect-only", "-q", "-p", "no:hypothesispytest")
    result = pytester.runpytest_inprocess(*asked)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*test_latency[[]mine-fp32[]]", "*test_latency[[]mine-channels-last[]]"])


def test_the_commented_pipeline_works_when_the_comment_signs_are_taken_away(pytester: pytest.Pytester) -> None:
    init(pytester.path)
    file = pytester.path / "perf_tests" / "pipelines.py"
    head, _, rest = file.read_text().partition("\n\n")
    file.write_text(re.sub("^# ?", "", rest, flags=re.MULTILINE))
    command = head.splitlines()[1].removeprefix("#   pytest ").split()
    result = pytester.runpytest_inprocess(*command, "--collect-only", "-q", "-p", "no:hypothesispytest")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*test_latency[[]mine-fp32[]]", "*test_latency[[]mine-sdpa[]]"])


@pytest.mark.parametrize("git", [True, False])
def test_a_project_without_git_is_told_what_is_lost(tmp_path: Path, git: bool) -> None:
    if git:
        subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    said = [line for line in init(tmp_path) if "no git repository" in line]
    assert bool(said) is not git


def test_nothing_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "perf_tests").mkdir()
    (tmp_path / "perf_tests" / "conftest.py").write_text("mine")
    (tmp_path / ".gitignore").write_text("runs\nweights/")
    lines = init(tmp_path)
    assert (tmp_path / "perf_tests" / "conftest.py").read_text() == "mine"
    assert "kept   perf_tests/conftest.py" in lines
    assert (tmp_path / ".gitignore").read_text().split() == [
        "runs",
        "weights/",
        ".fastdiff/",
        ".benchmarks/",
        "__pycache__/",
    ]
    before = everything(tmp_path)
    assert {line.split()[0] for line in init(tmp_path)[:10]} == {"kept"}
    assert everything(tmp_path) == before


def test_a_suite_of_the_projects_own_stays_alone(tmp_path: Path) -> None:
    (tmp_path / "perf_tests").mkdir()
    (tmp_path / "perf_tests" / "test_mine.py").write_text("def test_applied(stage): pass")
    init(tmp_path)
    assert [path.name for path in (tmp_path / "perf_tests").glob("test_*")] == ["test_mine.py"]


@pytest.mark.parametrize("name", ["perf_tests", ".github", ".gitignore"])
def test_nothing_is_written_through_a_link_that_leads_out(tmp_path: Path, name: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / name).symlink_to(tmp_path / "elsewhere" / ("x" if name == ".gitignore" else ""))
    done = CliRunner().invoke(cli.app, ["init", "--root", str(tmp_path / "project")])
    assert done.exit_code == 2
    assert "is a link that leads out of" in done.stderr
    assert not list((tmp_path / "elsewhere").iterdir())


# -- what it finds out ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("project", "installs"),
    [
        ({}, "torch"),
        ({"requirements.txt": "torch"}, "-r requirements.txt"),
        ({"pyproject.toml": "[tool.x]", "requirements.txt": ""}, "-r requirements.txt"),
        ({"pyproject.toml": "[project]\nname = 'x'", "requirements.txt": ""}, "-e ."),
        ({"setup.py": ""}, "-e ."),
        ({"pyproject.toml": "[broken"}, "torch"),
    ],
)
def test_the_workflow_installs_what_the_project_is(tmp_path: Path, project: dict[str, str], installs: str) -> None:
    for name, text in project.items():
        (tmp_path / name).write_text(text)
    init(tmp_path)
    job = workflow(tmp_path)
    assert job["with"]["install"] == installs  # type: ignore[index]
    assert set(job["with"]) <= set(REUSED[True]["workflow_call"]["inputs"])  # type: ignore[call-overload]
    assert job["permissions"] == REUSED["jobs"]["pairs"]["permissions"]


@pytest.mark.parametrize(
    ("told", "uses"),
    [
        (
            {"url": "https://github.com/some-one/fastdiff.git", "vcs_info": {"vcs": "git", "commit_id": COMMIT}},
            ("some-one/fastdiff", COMMIT),
        ),
        ({"url": "https://example.com/fastdiff.whl"}, starter.UNKNOWN),
        ({"url": "file:///nowhere", "dir_info": {}}, starter.UNKNOWN),
        (None, starter.UNKNOWN),
    ],
)
def test_the_workflow_is_that_of_the_installed_commit(
    monkeypatch: pytest.MonkeyPatch, told: object, uses: tuple[str, str]
) -> None:
    class Installed:
        def read_text(self, name: str) -> str | None:
            return json.dumps(told) if told else None

    monkeypatch.setattr(starter, "distribution", lambda _: Installed())
    assert starter.origin() == uses


def test_a_clone_knows_its_own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git = ("git", "-C", str(tmp_path), "-c", "user.name=x", "-c", "user.email=x@y")
    for words in (("init", "-q"), ("commit", "-q", "--allow-empty", "-m", "x")):
        subprocess.run([*git, *words], check=True)
    subprocess.run([*git, "remote", "add", "origin", "git@github.com:some-one/fastdiff.git"], check=True)

    class Installed:
        def read_text(self, name: str) -> str:
            return json.dumps({"url": f"file://{tmp_path}", "dir_info": {"editable": True}})

    monkeypatch.setattr(starter, "distribution", lambda _: Installed())
    repository, ref = starter.origin()
    assert (repository, len(ref)) == ("some-one/fastdiff", 40)


def test_a_pipeline_in_the_project_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "weights" / "cats"
    folder.mkdir(parents=True)
    (folder / "model_index.json").write_text('{"_class_name": "FluxPipeline"}')
    init(tmp_path)
    assert 'Model("cats", "FluxPipeline", "weights/cats", request)' in (tmp_path / "perf_tests/conftest.py").read_text()


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"_class_name": "x\\"); import os"}'])
def test_a_pipeline_that_is_none_is_not(tmp_path: Path, text: str) -> None:
    (tmp_path / "model_index.json").write_text(text)
    init(tmp_path)
    assert 'Model("mine", ' in (tmp_path / "perf_tests/conftest.py").read_text()


@pytest.mark.parametrize(("settings", "said"), [("[tool.pytest]\ntestpaths = ['tests']", False), ("", True)])
def test_it_warns_where_every_session_would_measure(tmp_path: Path, settings: str, said: bool) -> None:
    (tmp_path / "pyproject.toml").write_text(settings)
    assert any("testpaths" in line for line in init(tmp_path)) == said
