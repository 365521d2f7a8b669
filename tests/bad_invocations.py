"""Hundreds of ways to type a `fastdiff` command wrongly, each tried in this process.

Run as a script in an empty folder it prints a line of JSON for each: the words, the exit code, and what went to
standard error. An invocation that would have begun to measure ends with `STARTED`, one that hangs with `HANGS`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST_S = 20
STARTED, HANGS, TRACEBACK = "STARTED", "HANGS", "TRACEBACK"

PATHS = (
    "",
    "loop",
    "loop/x",
    "dangling",
    "pipe",
    "zero",
    "/dev/zero",
    "folder",
    "nowhere/x",
    "half.json",
    "x" * 300,
    "\udcff",
    "\x1b[31mred",
    "a\nb",
)
NUMBERS = (
    "",
    " ",
    "x",
    "-1",
    "0",
    "1e400",
    "1e-400",
    "²",
    "9" * 5000,
    "nan",
    "inf",
    "-inf",
    "0x10",
    "1.5",
    "½",
    "\udcff",
)
MINUTES = ("0", "1e400", "1e-400", "9" * 5000, "inf", "1.5")
"""What --max-time takes of these."""
WORDS = (
    "../x",
    "a\nb",
    "\x1b[31mred",
    "\udcff",
    "²",
    "x" * 5000,
    "'",
    '"',
    "a b",
    "🦜",
    "::error::a::",
    "a/b",
    "=",
    "@",
)
FILES = [".fastdiff", "dangling", "folder", "half.json", "loop", "pipe", "pyproject.toml", "rows", "run.json", "zero"]
"""What the folder holds afterwards: `.fastdiff` has the lock of `accept`."""
PROJECTS = {
    "utf-16": "[tool.fastdiff]".encode("utf-16"),
    "latin-1": "a = 'é'".encode("latin-1"),
    "no TOML": b"[tool",
    "a number": b"tool = 5",
    "another number": b"[tool]\nfastdiff = 5",
    "a list": b"[tool.fastdiff]\nmodels = [1]",
    "a number of models": b"[tool.fastdiff]\nstages = 5",
    "a model as a number": b"[tool.fastdiff.models]\nx = 5",
    "a stage as a number": b"[tool.fastdiff.stages]\nx = 5",
    "a misspelt key": b"[tool.fastdiff]\nmodel = 5",
    "a deep list": b"a = " + b"[" * 100_000,
    "a large number": b"[tool.fastdiff.stages.x]\nfollows = 1" + b"0" * 5000,
    "an evil name": b'[tool.fastdiff.models."../../evil"]\npipeline = "x"',
    "an escape": b'[tool.fastdiff.models."\\u001b[31m"]\npipeline = "x"',
    "a null character": b'[tool.fastdiff.models.x]\npipeline = "a\\u0000b"',
}
PAIRED = {
    "ab": (),
    "calibrate": (),
    "bisect": ("torch==2.12.0", "torch==2.13.0"),
}


def invocations() -> Iterator[tuple[str, ...]]:
    yield from _of_paths()
    yield from _of_numbers()
    yield from _of_words()


def _of_paths() -> Iterator[tuple[str, ...]]:
    for path in PATHS:
        yield ("accept", path, "--reason", "x")
        yield ("accept", path, "--reason", "x", "--force")
        yield ("accept", "run.json", "--reason", "x", "--noise-of", path)
        yield ("collate", path)
        yield ("published", path)
        yield ("collate", "rows", "--csv", f"{path}/x.csv")
        yield ("collate", "rows", "--chart", path)
        yield ("collate", "rows", "--chart", f"{path}/x.png")
        yield ("run", "--out", path, "--steps", "0")
        if path not in ("", "folder"):
            yield ("accept", "run.json", "--reason", "x", "--root", path)
            for command in ("baselines", "runs", "models", "ladder", "init"):
                yield (command, "--root", path)
            for command, needed in PAIRED.items():
                yield (command, *needed, "--root", path)
        for command, needed in PAIRED.items():
            yield (command, *needed, "--weights", path)
        for side in ("--old", "--new"):
            yield ("ab", side, path)


def _of_numbers() -> Iterator[tuple[str, ...]]:
    counts = ("--steps", "--size", "--batch")
    for number in NUMBERS:
        for option in (*counts, "--rounds"):
            yield ("run", option, number)
        for command, needed in PAIRED.items():
            for option in (*counts, "--calls", "--pairs"):
                yield (command, *needed, option, number)
        yield ("calibrate", "--planned-pairs", number)
        for command in ("ab", "bisect"):
            if number != "1.5":
                yield (command, *PAIRED[command], "--band", number)
        if number not in MINUTES:
            yield ("ab", "--max-time", number)


def _of_words() -> Iterator[tuple[str, ...]]:
    for word in WORDS:
        yield (word,)
        yield ("accept", "run.json", "--reason", "x", "--stage", word)
        yield ("accept", "run.json", "--reason", "x", "--force", "--name", "/" + " " * len(word))
        for option in ("--model", "--device", "--dtype", "--compile-mode", "--quantize", "--weights"):
            yield ("run", option, word)
        yield ("run", "--stage", word)
        yield ("experiment", word)
        yield ("experiment", "sdxl", "--device", word)
        for command, needed in PAIRED.items():
            for option in ("--model", "--device", "--stage"):
                yield (command, *needed, option, word)
        for option in ("--old", "--new", "--old-stage", "--inject"):
            yield ("ab", option, word)
        yield ("bisect", word, ".")
        yield ("bisect", ".", word)
    for word in ("", " "):
        yield ("bisect", word, ".")
    yield ("accept", "run.json", "--reason", "")
    yield ("accept", "run.json", "--reason", " \n ")


class Ended(BaseException):
    """What no `except Exception` of a command catches."""


def _start(*_: object, **__: object) -> None:
    raise Ended(STARTED)


def _hang(*_: object) -> None:
    raise Ended(HANGS)


def tried(words: tuple[str, ...]) -> dict[str, object]:
    from typer.testing import CliRunner

    from fastdiff.cli import app

    signal.alarm(LONGEST_S)
    try:
        done = CliRunner().invoke(app, words)
    except Ended as end:
        return {"words": words, "code": str(end), "error": ""}
    finally:
        signal.alarm(0)
    if isinstance(done.exception, SystemExit | None):
        return {"words": words, "code": done.exit_code, "error": done.stderr}
    return {"words": words, "code": TRACEBACK, "error": "".join(traceback.format_exception(done.exception))}


def _strange_files() -> None:
    Path("loop").symlink_to("loop")
    Path("dangling").symlink_to("nowhere")
    os.mkfifo("pipe")
    Path("zero").symlink_to("/dev/zero")
    Path("folder").mkdir()
    Path("rows").mkdir()
    Path("half.json").write_text('{"fastdiff": {"devi')


def main() -> None:
    if any(Path().iterdir()):
        sys.exit("this writes strange files, and its own pyproject.toml: run it in an empty folder")
    from test_record import a_run, benchmarks_of

    from fastdiff.experiments import published
    from fastdiff.record.files import write

    _strange_files()
    write(Path("run.json"), benchmarks_of(a_run()), a_run())
    published.measure = _start  # type: ignore[assignment]
    subprocess.Popen.__init__ = _start  # type: ignore[method-assign, assignment]
    signal.signal(signal.SIGALRM, _hang)
    for words in invocations():
        print(json.dumps(tried(words)), flush=True)
    for project, content in PROJECTS.items():
        Path("pyproject.toml").write_bytes(content)
        for words in (("run", "--model=mine"), ("ab", "--stage=mine", "--emulate"), ("calibrate", "--emulate")):
            print(json.dumps(tried(words) | {"project": project}), flush=True)


if __name__ == "__main__":
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    main()
