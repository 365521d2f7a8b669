"""GitHub Actions: a failing verdict as a workflow command, which becomes an annotation at its test."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastdiff.report.verdicts import announced

if TYPE_CHECKING:
    from fastdiff.compare.gate import Judgement
    from fastdiff.report.steps import Shell

    Place = tuple[str, int]
    """A file as seen from the project, and a line."""

IN_A_JOB = "GITHUB_ACTIONS"
"""The variable that is `true` in a job. Elsewhere a command would be a strange line."""
OF_TEXT = {"%": "%25", "\r": "%0D", "\n": "%0A"}
OF_PROPERTIES = OF_TEXT | {":": "%3A", ",": "%2C"}
"""As the runner reads them back."""


def error(judgement: Judgement, shell: Shell, place: Place | None) -> str:
    """Always one line. Without a place the annotation belongs to the job."""
    file, line = place or ("", 0)
    title = f"{judgement.stage} {judgement.metric.replace('_', ' ')}: {judgement.verdict.word}"
    about = {"file": file, "line": str(line), "title": title} if place else {"title": title}
    listed = ",".join(f"{name}={_escaped(text, OF_PROPERTIES)}" for name, text in about.items())
    return f"::error {listed}::{_escaped(announced(judgement, shell), OF_TEXT)}"


def _escaped(text: str, by: dict[str, str]) -> str:
    return "".join(by.get(letter, letter) for letter in text)
