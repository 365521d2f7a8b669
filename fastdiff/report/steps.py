"""The next step as a command to type."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from fastdiff.compare.steps import Accept, Against, Bisect, Measure, MorePairs, Select

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fastdiff.compare.steps import Step


@dataclass(frozen=True)
class Shell:
    """The parts of the user's command that the next command repeats."""

    paths: tuple[str, ...] = ("perf_tests",)
    """Of pytest."""
    given: tuple[str, ...] = ()
    """Options that change how a stage is measured."""
    root: str = ""
    """The project's folder, if it is not the current one."""
    run_file: str = "RUN"
    session: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Model and stage by id, if a pytest session measures the pairs and not `fastdiff ab`."""
    files: Mapping[str, str] = field(default_factory=dict)
    """How the user's own pipelines are written on a command line, by name."""

    def model(self, name: str) -> str:
        return shlex.quote(self.files.get(name, name))


def command(step: Step, shell: Shell) -> str:
    match step:
        case Measure():
            return _pytest(shell, "--benchmark-compare", *_measure(step, shell))
        case Select():
            return _pytest(shell, "--benchmark-compare", "-k", step.id)
        case Against():
            what = ("--fastdiff-model", shell.model(step.model), "--fastdiff-stage", ",".join(step.stages))
            return _pytest(shell, *what, "--fastdiff-against", shlex.quote(" ".join(step.requirements)))
        case MorePairs() if step.id in shell.session:
            model, stage = shell.session[step.id]
            pairs = f"--fastdiff-pairs={step.most}"
            against = any(option.startswith("--fastdiff-against") for option in shell.given)
            compared = [] if against else ["--benchmark-compare"]
            return _pytest(shell, *compared, "--fastdiff-model", shell.model(model), "--fastdiff-stage", stage, pairs)
        case MorePairs():
            sides = [f"--{side} {shlex.quote(word)}" for side in ("old", "new") for word in getattr(step, side)]
            return _fastdiff(shell, "ab", *sides, step.options, f"--pairs {step.most}")
        case Bisect():
            sides = [shlex.quote(shlex.join(words)) for words in (step.old, step.new)]
            return _fastdiff(shell, "bisect", *sides, step.options, f"--pairs {step.most}")
        case Accept():
            only = [f"--stage {step.only}"] if step.only else []
            return _fastdiff(shell, "accept", shell.run_file, *only, '--reason "..."')


def together(steps: Sequence[Step]) -> Step:
    """Merges steps that are `alike`: all of their stages, and pairs if any of them wants pairs."""
    first = steps[0]
    if isinstance(first, Measure | Against):
        stages = dict.fromkeys(stage for step in steps for stage in step.stages)  # type: ignore[union-attr]
        first = replace(first, stages=tuple(stages))
    if isinstance(first, Measure):
        first = replace(first, pairs=any(isinstance(step, Measure) and step.pairs for step in steps))
    return first


def alike(step: Step | None) -> Step | None:
    """Equal for steps that one command can do."""
    if isinstance(step, Measure):
        return replace(step, stages=("...",) if step.stages else (), pairs=False)
    return replace(step, stages=()) if isinstance(step, Against) else step


def _measure(step: Measure, shell: Shell) -> list[str]:
    words = ["--fastdiff-model", shell.model(step.model)] if step.model else []
    words += ["--fastdiff-stage", ",".join(step.stages)] if step.stages else []
    words += ["--fastdiff-confirm", "all"] if step.pairs else []
    return [*words, "--fastdiff-emulate"] if step.emulate else words


def _pytest(shell: Shell, *words: str) -> str:
    """With the options of the session, so that the next one measures the same work."""
    flags = {word.partition("=")[0] for word in words}
    again = [shlex.quote(option) for option in shell.given if option.partition("=")[0] not in flags]
    return " ".join([shlex.join(["pytest", *shell.paths]), *words, *again])


def _fastdiff(shell: Shell, *words: str) -> str:
    root = [shlex.quote(f"--root={shell.root}")] if shell.root else []
    return " ".join(["fastdiff", *(word for word in words if word), *root])
