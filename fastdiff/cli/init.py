"""`fastdiff init`: the files of a project of one's own."""

from __future__ import annotations

import shlex
from pathlib import Path

from fastdiff.cli.common import aloud, one_sentence
from fastdiff.cli.options import ROOT


def init(root: Path = ROOT) -> None:
    """Write what a project needs to measure its pipeline: tests, a model to fill in, a workflow, lines for git.

    Existing files are not changed; only .gitignore gets the missing lines.

    Example: fastdiff init
    """
    with one_sentence():
        from fastdiff.cli import starter
        from fastdiff.record.project import require_folder

        require_folder(root)
        for name, text in starter.whole_files(root).items():
            aloud(f"{_written(root, name, text)}  {name}")
        aloud(f"{_git_ignores(root)}  .gitignore")
        for line in _next(root):
            aloud(line)


def _written(root: Path, name: str, text: str) -> str:
    """Never over a file, nor through a link that leads out of the project."""
    from fastdiff.record.writing import require_inside

    path = root / name
    require_inside(path.parent, root)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        return "kept "
    return "wrote"


def _git_ignores(root: Path) -> str:
    from fastdiff.cli import starter
    from fastdiff.record.writing import require_inside

    path = root / ".gitignore"
    require_inside(path, root)
    text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    lacking = starter.ignored(text)
    if not lacking:
        return "kept "
    with path.open("a", encoding="utf-8") as file:
        file.write(("\n" if text and not text.endswith("\n") else "") + "\n".join(lacking) + "\n")
    return "wrote"


def _next(root: Path) -> list[str]:
    from fastdiff.cli import starter

    elsewhere = "" if root == Path() else f"cd {shlex.quote(str(root))} && "
    lines = ["", f"next: {elsewhere}pytest {starter.FOLDER} --benchmark-compare"]
    lines += ['next: fastdiff accept "$(ls -t runs/*.json | head -n 1)" --reason "the first baseline"']
    lines += ['next: git add -A && git commit -m "a first baseline"']
    if starter.UNKNOWN[0] in (root / starter.WORKFLOW).read_text(encoding="utf-8"):
        owner, ref = starter.UNKNOWN
        lines += [f"In {starter.WORKFLOW}, replace {owner} and {ref} by the repository and the commit of fastdiff."]
    if starter.runs_in_every_session(root):
        lines += [f"`pytest` alone runs {starter.FOLDER}/ too, unless pytest's setting testpaths names other folders."]
    if not starter.in_git(root):
        lines += ["This folder is in no git repository, so fastdiff cannot tell which code ran; begin with: git init"]
    return [*lines, f"The first command measures the small model of fastdiff; your own: {starter.PIPELINES}."]
