"""Writes docs/reference/documents.md: what the five documents describe, and where each row of it is shown here.

`python -m tools.documents` makes the page out of tools/documents.toml.
"""

from __future__ import annotations

import textwrap
import tomllib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

HERE = Path(__file__).parent
DATA = HERE / "documents.toml"
PAGE = HERE.parent / "docs" / "reference" / "documents.md"
WIDTH = 110

KINDS = {
    "system": "Systems",
    "option": "Options",
    "technique": "Techniques",
    "script": "Scripts",
    "output": "Outputs",
    "number": "Numbers",
    "caveat": "Caveats",
}
STATES = {
    "cpu": "holds, shown on a CPU",
    "gpu": "there, and needs a GPU or the hub",
    "partial": "in part",
    "missing": "missing",
}
AUDITED = {"cpu": 43, "gpu": 9, "partial": 16, "missing": 8}
"""What an audit of 2026-11-29 found in its 76 rows, before the gaps were closed that could be."""


@dataclass(frozen=True)
class Row:
    kind: str
    says: str
    documents: tuple[str, ...]
    state: str
    run: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    gpu: bool = False
    """Whether a GPU has something of its own to show, beside the CPU on which the row holds."""
    note: str = ""

    @property
    def device(self) -> str:
        if self.state == "missing":
            return "Missing"
        if self.state == "gpu":
            return "Not yet run on a GPU, or with the hub"
        begun = "In part, on a CPU" if self.state == "partial" else "On a CPU"
        return begun + ("; not yet run on a GPU" if self.gpu else "")


def read(path: Path = DATA) -> tuple[dict[str, str], list[Row]]:
    """The documents by their names here, and the rows."""
    data = tomllib.loads(path.read_text(encoding="utf-8"))
    rows = []
    for table in data["row"]:
        given: dict[str, Any] = {"documents" if key == "in" else key: value for key, value in table.items()}
        lists: dict[str, Any] = {key: tuple(value) for key, value in given.items() if isinstance(value, list)}
        rows.append(Row(**given | lists))
    return data["documents"], rows


def page(documents: Mapping[str, str], rows: Sequence[Row]) -> str:
    lines = [
        "# What the documents describe, row by row",
        "",
        *_wrapped(
            "fastdiff was made from five documents. Each row below is something that one of them describes, with the "
            "command that shows it here, the test that holds it, and the device on which it ran. **Nothing has run on "
            "a GPU yet.** This page is made by `python -m tools.documents` out of `tools/documents.toml`; a test "
            "checks that every command and every test exists."
        ),
        "",
        *_counts(rows),
        "",
        *(line for name, what in documents.items() for line in _wrapped(f"- **{name}**: {what}", "  ")),
    ]
    number = 0
    for kind, title in KINDS.items():
        lines += ["", f"## {title}", ""]
        for row in (row for row in rows if row.kind == kind):
            number += 1
            lines += _row(number, row)
    return "\n".join(lines) + "\n"


def _counts(rows: Sequence[Row]) -> Iterator[str]:
    now = Counter(row.state for row in rows)
    yield "| | audit of 2026-11-29 | now |"
    yield "|---|---:|---:|"
    for state, words in STATES.items():
        yield f"| {words} | {AUDITED[state]} | {now[state]} |"
    yield f"| all rows | {sum(AUDITED.values())} | {len(rows)} |"


def _row(number: int, row: Row) -> Iterator[str]:
    head = f"{number}. **{row.says}** ({', '.join(row.documents)}). {row.device}."
    yield from _wrapped(f"{head} {row.note}".strip(), "   ")
    for text in (*row.run, *row.test):
        yield from _wrapped(f"   - `{text}`", "     ")


def _wrapped(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


if __name__ == "__main__":
    PAGE.write_text(page(*read()), encoding="utf-8")
