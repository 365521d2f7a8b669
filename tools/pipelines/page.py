"""The page about the sweep; needs no torch."""

from __future__ import annotations

import textwrap
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

DATA = Path(__file__).parent / "found.toml"
PAGE = Path(__file__).parents[2] / "docs" / "reference" / "pipelines.md"
WIDTH = 110
RUNS = "runs"
WAYS = ("auto", "bfloat16", "tiny")


def read(path: Path = DATA) -> dict[str, dict[str, str]]:
    """What became of each class: with its own weights, in float32 and in bfloat16, and as a tiny copy."""
    return tomllib.loads(path.read_text(encoding="utf-8"))


def page(found: Mapping[str, Mapping[str, str]]) -> str:
    runs = sum(outcome["auto"] == RUNS for outcome in found.values())
    lines = [
        "# Pipeline classes by their place",
        "",
        *_wrapped(
            "Which classes of diffusers fastdiff measures with no file of yours, as [hub:ORG/NAME or a folder]"
            "(../guides/without-a-file.md). The nightly tests save a small pipeline of each class, name its folder and "
            f"run the eager stages. Of {len(found)} classes {runs} run; the sentence beneath the table says what any "
            "other one wants, and [a function of your own](../guides/your-own-pipeline.md) can give it. This page is "
            "made by `python -m tools.pipelines`."
        ),
        "",
        "| class | in float32 | in bfloat16 | `--fastdiff-weights tiny` |",
        "|---|---|---|---|",
        *(f"| `{cls}` | {' | '.join(_cell(outcome[way]) for way in WAYS)} |" for cls, outcome in found.items()),
        "",
        "## Refused",
        "",
    ]
    for cls, outcome in found.items():
        # Where it runs in neither, the reason is the same.
        ways = WAYS if outcome["auto"] == RUNS else ("auto", "tiny")
        for text in dict.fromkeys(outcome[way] for way in ways if outcome[way] != RUNS):
            lines += _wrapped(f"- `{cls}`: {text}", "  ")
    return "\n".join(lines) + "\n"


def toml(found: Mapping[str, Mapping[str, str]]) -> str:
    return "\n".join(_tables(found))


def _tables(found: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    for cls, outcome in found.items():
        yield f"[{cls}]"
        for way, text in outcome.items():
            escaped = text.replace("\\", "\\\\").replace('"', '\\"')
            yield f'{way} = "{escaped}"'
        yield ""


def _cell(outcome: str) -> str:
    return RUNS if outcome == RUNS else "refused"


def _wrapped(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
