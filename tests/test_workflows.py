"""The workflow files are safe and complete, by two linters and by our own rules, and every check catches its defect.

What their shell does is tested in test_workflow_scripts.py, and `make test` and `make bench` in test_make.py.
"""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).parents[1]
FOLDER = REPOSITORY / ".github" / "workflows"
WORKFLOWS = sorted([*FOLDER.glob("*.yml"), *FOLDER.glob("*.yaml")])
CI, GPU, PULL_REQUEST = FOLDER / "ci.yml", FOLDER / "nightly-gpu.yml", FOLDER / "pull-request.yml"

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
    if len(workflow["jobs"]) > 1:
        problems.append(f"{path.name} has jobs beside each other; make them one with a matrix, or two share one GPU.")
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


def gives_the_clocks_back(path: Path) -> list[str]:
    """Also after a failure and a cancellation, in every job that locks them."""
    found = []
    for name, job in load(path)["jobs"].items():
        scripts = [(step.get("run", ""), step.get("if", "")) for step in job.get("steps", [])]
        locks = any("clocks.sh lock" in script for script, _ in scripts)
        restores = any("clocks.sh restore" in script and condition == "always()" for script, condition in scripts)
        if locks and not restores:
            found.append(f"{path.name}: job {name} locks the clocks; give them back in a step with `if: always()`.")
    return found


def harmless_to_call(path: Path) -> list[str]:
    """For the workflow that other repositories call: it runs the code of strangers."""
    workflow = load(path)
    problems = []
    if triggers(workflow) != {"workflow_call"}:
        problems.append(f"{path.name} is for other workflows to call, and must have no trigger beside workflow_call.")
    if "secrets" in path.read_text():
        problems.append(f"{path.name} must not name secrets: the code that it runs could send them away.")
    problems += [
        f"{path.name}: job {name} runs the code of strangers, so it must run on a machine of GitHub's."
        for name, job in workflow["jobs"].items()
        if not hosted(job)
    ]
    return problems


EVERYWHERE: list[Check] = [
    zizmor,
    schema,
    pinned,
    read_only,
    bounded,
    no_expression_in_shell,
    no_stranger_on_our_machine,
    gives_the_clocks_back,
]


@pytest.mark.parametrize("check", EVERYWHERE)
@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflow(path: Path, check: Check) -> None:
    problems = check(path)
    assert not problems, "\n".join(problems)


def test_gpu_workflow() -> None:
    problems = alone_on_the_gpu(GPU)
    assert not problems, "\n".join(problems)


def test_the_workflow_that_others_call() -> None:
    problems = harmless_to_call(PULL_REQUEST)
    assert not problems, "\n".join(problems)


def test_the_lines_to_copy_are_few_and_sound(tmp_path: Path) -> None:
    blocks = re.findall(
        r"^```yaml\n(.*?)^```", (REPOSITORY / "docs" / "guides" / "ci.md").read_text(), re.DOTALL | re.MULTILINE
    )
    (lines,) = [block for block in blocks if PULL_REQUEST.name in block]
    assert lines.count("\n") <= 10
    path = written(tmp_path, lines.replace("@REF", f"@{HASH}"))
    problems = [problem for check in (zizmor, schema, read_only) for problem in check(path)]
    assert not problems, "\n".join(problems)
    workflow, called = load(path), load(PULL_REQUEST)
    assert triggers(workflow) == {"pull_request"}
    for job in workflow["jobs"].values():
        assert job["uses"].startswith(f"OWNER/fastdiff/{PULL_REQUEST.relative_to(REPOSITORY)}@")
        assert set(job["with"]) <= set(called["on"]["workflow_call"]["inputs"])
        assert job["permissions"] == called["jobs"]["pairs"]["permissions"], "a caller may give too little"


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
      - run: bash .github/scripts/clocks.sh lock
      - run: make bench
      - run: bash .github/scripts/clocks.sh restore
        if: always()
"""
CALLED = """\
name: called
on:
  workflow_call:
permissions: {}
jobs:
  pairs:
    runs-on: ubuntu-24.04
    steps:
      - run: make bench
"""
HASH = "3d3c42e5aac5ba805825da76410c181273ba90b1"


@pytest.mark.parametrize("check", [*EVERYWHERE, alone_on_the_gpu])
def test_sound_workflow_passes(check: Check, tmp_path: Path) -> None:
    assert check(written(tmp_path, SOUND)) == []


def test_sound_workflow_may_be_called(tmp_path: Path) -> None:
    assert harmless_to_call(written(tmp_path, CALLED)) == []


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
        pytest.param(
            alone_on_the_gpu, "jobs:\n", "jobs:\n  other: {runs-on: gpu}\n", "beside each other", id="two-jobs-at-once"
        ),
        pytest.param(gives_the_clocks_back, "clocks.sh restore", "clocks.sh", "give them back", id="clocks-stay"),
        pytest.param(gives_the_clocks_back, "if: always()", "if: success()", "always()", id="clocks-stay-when-red"),
    ],
)
def test_defect_is_caught(check: Check, sound: str, defect: str, sentence: str, tmp_path: Path) -> None:
    assert sound in SOUND, f"{sound!r} is not in the sound workflow, so this test would prove nothing."
    assert sentence in "\n".join(check(written(tmp_path, SOUND.replace(sound, defect))))


@pytest.mark.parametrize(
    ("sound", "defect", "sentence"),
    [
        pytest.param("workflow_call", "pull_request", "no trigger", id="not-to-call"),
        pytest.param("workflow_call:", "workflow_call:\n  pull_request_target:", "no trigger", id="for-strangers"),
        pytest.param("make bench", "echo ${{ secrets.TOKEN }}", "secrets", id="secret"),
        pytest.param("ubuntu-24.04", "self-hosted", "of GitHub's", id="our-machine"),
    ],
)
def test_defect_of_the_called_workflow_is_caught(sound: str, defect: str, sentence: str, tmp_path: Path) -> None:
    assert sound in CALLED
    assert sentence in "\n".join(harmless_to_call(written(tmp_path, CALLED.replace(sound, defect))))


def written(folder: Path, text: str) -> Path:
    # zizmor and the schema treat a file as a workflow by its place.
    path = folder / ".github" / "workflows" / "sample.yml"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return path
