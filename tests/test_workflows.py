"""The workflow files are safe and complete, by two linters and by our own rules, and every check catches its defect.

What `make test` and `make bench` themselves do is tested elsewhere.
"""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

FOLDER = Path(__file__).parents[1] / ".github" / "workflows"
WORKFLOWS = sorted([*FOLDER.glob("*.yml"), *FOLDER.glob("*.yaml")])
CI, GPU = FOLDER / "ci.yml", FOLDER / "nightly-gpu.yml"

Check = Callable[[Path], list[str]]


def load(path: Path) -> dict[str, Any]:
    """BaseLoader keeps every scalar as it is written: PyYAML would otherwise read the key `on` as True."""
    workflow: dict[str, Any] = yaml.load(path.read_text(), Loader=yaml.BaseLoader)
    return workflow


def triggers(workflow: dict[str, Any]) -> set[str]:
    on = workflow["on"]
    return {on} if isinstance(on, str) else set(on)


def steps(workflow: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    return ((name, step) for name, job in workflow["jobs"].items() for step in job.get("steps", []))


def hosted(job: dict[str, Any]) -> bool:
    """Only a label of GitHub's own counts: a runner that we cannot recognize is treated as our machine."""
    return bool(re.fullmatch(r"(ubuntu|windows|macos)-[\w.-]+", str(job.get("runs-on"))))


# The checks: each one answers with a sentence for each defect.


def zizmor(path: Path) -> list[str]:
    tool = Path(sys.executable).with_name("zizmor")
    options = ["--quiet", "--offline", "--no-config", "--no-progress", "--strict-collection", "--persona=regular"]
    return complaints("zizmor", [str(tool), *options, str(path)])


def schema(path: Path) -> list[str]:
    tool = [sys.executable, "-m", "check_jsonschema"]
    return complaints("check-jsonschema", [*tool, "--builtin-schema", "vendor.github-workflows", str(path)])


def complaints(name: str, command: list[str]) -> list[str]:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return [f"{name} is not content:\n{done.stdout}{done.stderr}"] if done.returncode else []


def pinned(path: Path) -> list[str]:
    """Reads lines beside the parsed values, because a YAML parser drops the version comment."""
    lines = path.read_text().splitlines()
    return [
        f"{path.name}:{value.start_mark.line + 1}: {value.value} must be pinned as owner/action@<40 hex digits> # v1.2."
        for value in uses(yaml.compose(path.read_text(), Loader=yaml.BaseLoader))
        if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", value.value)
        or not re.fullmatch(r"\s+# v\d+(\.\d+)*", lines[value.end_mark.line][value.end_mark.column :])
    ]


def uses(node: yaml.Node | None) -> Iterator[yaml.ScalarNode]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == "uses":
                yield value
            yield from uses(value)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from uses(item)


def read_only(path: Path) -> list[str]:
    workflow = load(path)
    asked = {"the workflow": workflow.get("permissions")}
    asked |= {f"job {name}": job["permissions"] for name, job in workflow["jobs"].items() if "permissions" in job}
    return [
        f"{path.name}: {who} must name permissions that are empty or read-only, not {permissions!r}."
        for who, permissions in asked.items()
        if not isinstance(permissions, dict) or not set(permissions.values()) <= {"read", "none"}
    ]


def bounded(path: Path) -> list[str]:
    return [
        f"{path.name}: job {name} needs timeout-minutes, or a hang holds its machine for hours."
        for name, job in load(path)["jobs"].items()
        if "timeout-minutes" not in job
    ]


def no_expression_in_shell(path: Path) -> list[str]:
    return [
        f"{path.name}: job {name} must pass expressions through env, not paste them into `{step['run'].strip()}`."
        for name, step in steps(load(path))
        if "${{" in step.get("run", "")
    ]


def no_stranger_on_our_machine(path: Path) -> list[str]:
    """A list of what is allowed: pull_request is not the only trigger that can carry foreign code."""
    workflow = load(path)
    unsafe = triggers(workflow) - {"schedule", "workflow_dispatch"}
    return [
        f"{path.name}: job {name} runs on our own machine, so {', '.join(sorted(unsafe))} must not start it."
        for name, job in workflow["jobs"].items()
        if unsafe and not hosted(job)
    ]


def alone_on_the_gpu(path: Path) -> list[str]:
    """For the GPU workflow: its jobs run there and nowhere else, one at a time, and never for a fork."""
    workflow = load(path)
    queue = workflow.get("concurrency", {})
    problems = []
    if "group" not in queue or queue.get("cancel-in-progress", "false") != "false":
        problems.append(f"{path.name} needs a concurrency group that waits, or two runs share one GPU.")
    for name, job in workflow["jobs"].items():
        strategy = job.get("strategy", {})
        if job.get("runs-on") != ["self-hosted", "gpu"]:
            problems.append(f"{path.name}: job {name} must run on [self-hosted, gpu], not on {job.get('runs-on')!r}.")
        if strategy.get("max-parallel") != "1":
            problems.append(f"{path.name}: job {name} needs max-parallel: 1, or two timings share one GPU.")
        if strategy.get("fail-fast") != "false":
            problems.append(f"{path.name}: job {name} needs fail-fast: false, or one model's failure hides the others.")
        if "!github.event.repository.fork" not in job.get("if", ""):
            problems.append(f"{path.name}: job {name} needs `if: ${{{{ !github.event.repository.fork }}}}`.")
    return problems


EVERYWHERE: list[Check] = [
    zizmor,
    schema,
    pinned,
    read_only,
    bounded,
    no_expression_in_shell,
    no_stranger_on_our_machine,
]


@pytest.mark.parametrize("check", EVERYWHERE)
@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflow(path: Path, check: Check) -> None:
    problems = check(path)
    assert not problems, "\n".join(problems)


def test_gpu_workflow() -> None:
    problems = alone_on_the_gpu(GPU)
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("command", ["make test", "make test-compile", "make bench"])
def test_ci_runs_the_commands(command: str) -> None:
    scripts = [step.get("run", "") for _, step in steps(load(CI))]
    assert any(command in script for script in scripts), f"ci.yml must run `{command}`, because the README promises it."


# The checks catch what they are for: one defect at a time, put into a file that passes all of them.

SOUND = """\
name: sound
on:
  workflow_dispatch:
permissions: {}
concurrency:
  group: gpu
  cancel-in-progress: false
jobs:
  bench:
    if: ${{ !github.event.repository.fork }}
    runs-on: [self-hosted, gpu]
    timeout-minutes: 5
    permissions:
      contents: read
    strategy:
      fail-fast: false
      max-parallel: 1
      matrix:
        model: [sdxl]
    steps:
      - uses: actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1
        with:
          persist-credentials: false
      - run: make bench
"""
HASH = "3d3c42e5aac5ba805825da76410c181273ba90b1"


@pytest.mark.parametrize("check", [*EVERYWHERE, alone_on_the_gpu])
def test_sound_workflow_passes(check: Check, tmp_path: Path) -> None:
    assert check(written(tmp_path, SOUND)) == []


@pytest.mark.parametrize(
    ("check", "sound", "defect", "sentence"),
    [
        pytest.param(zizmor, "persist-credentials: false", "fetch-depth: 1", "artipacked", id="credentials-kept"),
        pytest.param(zizmor, "workflow_dispatch", "pull_request_target", "dangerous-triggers", id="zizmor-trigger"),
        pytest.param(zizmor, "jobs:", "jobs: [", "invalid YAML", id="not-yaml"),
        pytest.param(schema, "timeout-minutes", "timeout-minute", "timeout-minute", id="misspelled-key"),
        pytest.param(schema, "    runs-on: [self-hosted, gpu]\n", "", "'runs-on' is a required", id="no-runner"),
        pytest.param(pinned, HASH, "v7", "must be pinned", id="tag-instead-of-hash"),
        pytest.param(pinned, HASH, HASH[:12], "must be pinned", id="short-hash"),
        pytest.param(pinned, " # v7.0.1", "", "must be pinned", id="no-version"),
        pytest.param(pinned, "# v7.0.1", "# the newest", "must be pinned", id="comment-without-version"),
        pytest.param(read_only, "permissions: {}\n", "", "not None", id="permissions-of-the-default-token"),
        pytest.param(read_only, "permissions: {}", "permissions: write-all", "write-all", id="all-permissions"),
        pytest.param(read_only, "permissions: {}", "permissions: {issues: write}", "the workflow", id="may-write"),
        pytest.param(read_only, "contents: read", "contents: write", "job bench", id="job-may-write"),
        pytest.param(bounded, "    timeout-minutes: 5\n", "", "timeout-minutes", id="no-timeout"),
        pytest.param(no_expression_in_shell, "make bench", "echo ${{ github.ref }}", "env", id="expression-in-shell"),
        pytest.param(no_stranger_on_our_machine, "workflow_dispatch", "pull_request", "our own", id="pull-request"),
        pytest.param(no_stranger_on_our_machine, "workflow_dispatch", "issue_comment", "our own", id="comment"),
        pytest.param(alone_on_the_gpu, "[self-hosted, gpu]", "ubuntu-24.04", "self-hosted", id="not-on-the-gpu"),
        pytest.param(alone_on_the_gpu, "max-parallel: 1", "max-parallel: 2", "share one GPU", id="two-models-at-once"),
        pytest.param(alone_on_the_gpu, "group: gpu\n  ", "", "share one GPU", id="two-runs-at-once"),
        pytest.param(alone_on_the_gpu, "in-progress: false", "in-progress: true", "waits", id="cancels-a-measurement"),
        pytest.param(alone_on_the_gpu, "fail-fast: false", "fail-fast: true", "fail-fast", id="failure-hides-others"),
        pytest.param(alone_on_the_gpu, "!github.event.repository.fork", "always()", "fork", id="runs-in-forks"),
    ],
)
def test_defect_is_caught(check: Check, sound: str, defect: str, sentence: str, tmp_path: Path) -> None:
    assert sound in SOUND, f"{sound!r} is not in the sound workflow, so this test would prove nothing."
    assert sentence in "\n".join(check(written(tmp_path, SOUND.replace(sound, defect))))


def written(folder: Path, text: str) -> Path:
    # zizmor and the schema treat a file as a workflow by its place.
    path = folder / ".github" / "workflows" / "sample.yml"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return path


# The one shell script that takes what a person typed: run as it stands, with a `make` that only tells its arguments.


@pytest.mark.parametrize(
    ("torch", "arguments"),
    [("", ["bench"]), ("2.15.0", ["bench", "TORCH=2.15.0"])],
    ids=["pinned-torch", "named-torch"],
)
def test_measure_step_calls_make(torch: str, arguments: list[str], tmp_path: Path) -> None:
    done = measure(tmp_path, model="sd15", torch=torch)
    *first, last = done.stdout.splitlines()
    assert first == arguments
    assert last == "ARGS=--fastdiff-model sd15 --fastdiff-device cuda --fastdiff-markdown runs/sd15.md"
    assert "fastdiff accept runs/NAME.json" in (tmp_path / "summary.md").read_text()


def test_measure_step_is_strict_from_the_first_accepted_run_on(tmp_path: Path) -> None:
    (tmp_path / "baselines/nvidia-h200").mkdir(parents=True)
    (tmp_path / "baselines/nvidia-h200/0001_sdxl.json").touch()
    assert measure(tmp_path, model="sd15", torch="").stdout.endswith("runs/sd15.md --fastdiff-strict\n")
    assert not (tmp_path / "summary.md").exists()


@pytest.mark.parametrize("typed", ["$(shell id)", "2.15.0; id", "2.15.0\nid", "`id`"])
def test_measure_step_refuses_what_make_or_a_shell_would_run(typed: str, tmp_path: Path) -> None:
    for done in (measure(tmp_path, model="sd15", torch=typed), measure(tmp_path, model=typed, torch="")):
        assert done.returncode == 2
        assert done.stdout.startswith("::error::")
        assert done.stdout.count("\n") == 1, "A second line could carry a workflow command of the person who typed it."


def measure(folder: Path, model: str, torch: str) -> subprocess.CompletedProcess[str]:
    script = next(step["run"] for _, step in steps(load(GPU)) if "MODEL_NAME" in step.get("env", {}))
    make = folder / "make"
    make.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    make.chmod(0o755)
    environment = {
        "PATH": f"{folder}:{os.environ['PATH']}",
        "HOME": str(folder),
        "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
        "MODEL_NAME": model,
        "TORCH_VERSION": torch,
    }
    # The options that GitHub gives to `shell: bash`.
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=30)
