"""Writes docs/reference/options.md and docs/reference/commands.md, out of the options and commands themselves.

`python -m tools.reference` writes both; a test holds them equal to the code.
"""

from __future__ import annotations

import inspect
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer.main

from fastdiff.cli import app
from fastdiff.plugin.options import OPTIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(__file__).parent.parent / "docs" / "reference"
WIDTH = 110
MADE = "This page is made by `python -m tools.reference` out of the code, and a test holds the two equal."


def options() -> str:
    """Those of a session."""
    lines = [
        "# Options of a session",
        "",
        *_wrapped(
            "Type an option after `pytest perf_tests`, or set it under the name in brackets in pytest's own "
            f"settings (how: [configuration](configuration.md)). The command line wins. {MADE}"
        ),
        "",
        *_wrapped(
            "pytest-benchmark's own options work as before: `--benchmark-compare` compares with the newest "
            "accepted run ([the gate](../guides/gate.md)), and `--benchmark-json runs/mine.json` keeps every sample. "
            "`-k int8` selects a stage as well; the reference stage is built all the same, for its picture."
        ),
        "",
    ]
    for option in OPTIONS:
        flag = f"{option.flag} {option.metavar}".strip()
        lines += _wrapped(f"- **`{flag}`** (`{option.ini}`): {option.help.replace('%%', '%')}", "  ")
    return "\n".join(lines) + "\n"


def commands() -> str:
    lines = ["# Commands", "", *_wrapped(f"What `fastdiff COMMAND --help` prints. {MADE}")]
    lines += ["", "What they end with: [exit codes](exit-codes.md)."]
    for words, command in _all(typer.main.get_command(app), "fastdiff"):
        lines += ["", f"## {words}", *_described(words, command)]
    return "\n".join(lines) + "\n"


def _all(command: Any, words: str) -> Iterator[tuple[str, Any]]:
    """Every command that does something by itself."""
    for name, below in getattr(command, "commands", {}).items():
        if hasattr(below, "commands"):
            yield from _all(below, f"{words} {name}")
        else:
            yield f"{words} {name}", below


def _described(words: str, command: Any) -> Iterator[str]:
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    given = [_argument(one) if one.required else f"[{_argument(one)}]" for one in arguments]
    asked = [_option(one) for one in command.params if one.required and one not in arguments]
    yield from ("", "```text", " ".join([words, *given, *asked, "[OPTIONS]"]), "```")
    for paragraph in inspect.cleandoc(command.help).split("\n\n"):
        yield from ("", *_paragraph(paragraph))
    if command.params:
        yield ""
    for one in (*arguments, *(one for one in command.params if one not in arguments)):
        name = _argument(one) if one in arguments else _option(one)
        text = (one.help or "").replace("\n", " ")
        yield from _wrapped(f"- **`{name}`**: {text}{_default(one, text)}", "  ")
    if command.epilog:
        yield from ("", *(line for text in command.epilog.split("\n\n") for line in _paragraph(text)))


def _paragraph(text: str) -> list[str]:
    """A paragraph behind typer's mark for text that keeps its lines is an example."""
    if text.startswith("\b\n"):
        return ["```console", *textwrap.dedent(text.removeprefix("\b\n")).splitlines(), "```"]
    return _wrapped(" ".join(text.split()))


def _argument(one: Any) -> str:
    return str(one.metavar or one.name.upper())


def _option(one: Any) -> str:
    if one.is_bool_flag:
        return ", ".join((*one.opts, *one.secondary_opts))
    return f"{one.opts[0]} {one.metavar or one.name.upper().replace('_', '-')}"


def _default(one: Any, text: str) -> str:
    """Where the help text does not say it itself."""
    if one.required or "default:" in text or one.default in (None, "", [], False, 0):
        return ""
    if one.param_type_name == "option" and one.is_bool_flag:
        return f" (default: `{one.opts[0]}`)"
    values = one.default if isinstance(one.default, list) else [one.default]
    return f" (default: {', '.join(f'`{value}`' for value in values)})"


def _wrapped(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


PAGES = {"options.md": options, "commands.md": commands}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page(), encoding="utf-8")
        print(FOLDER / name)
