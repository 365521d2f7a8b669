"""The pages of the documentation, taken apart: blocks, prose, links, anchors, and the commands to type."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

REPOSITORY = Path(__file__).parents[1]
README = REPOSITORY / "README.md"
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^()\s]+)\)")
ON_A_GPU = re.compile(r"# on a GPU\b")
"""A line of a console block with this comment marks what follows it in the block."""


@dataclass(frozen=True)
class Page:
    path: Path

    @property
    def name(self) -> str:
        return str(self.path.relative_to(REPOSITORY))

    @property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @property
    def prose(self) -> str:
        return FENCE.sub("", self.text)

    def blocks(self, kind: str) -> list[str]:
        return [text for info, text in FENCE.findall(self.text) if info == kind]

    @property
    def links(self) -> list[str]:
        """To other files of the repository, and to anchors."""
        return [target for target in LINK.findall(self.prose) if "://" not in target]

    @property
    def anchors(self) -> set[str]:
        """As GitHub makes them of headings."""
        found: set[str] = set()
        for heading in re.findall(r"^#+ (.+)$", self.prose, re.MULTILINE):
            words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
            slug = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
            found.add(next(name for name in (slug, *(f"{slug}-{n}" for n in range(1, 99))) if name not in found))
        return found


@dataclass(frozen=True)
class Typed:
    """A command of a console block."""

    command: str
    page: str
    on_a_gpu: bool

    def __str__(self) -> str:
        return f"{self.page}: {self.command}"


def pages() -> list[Page]:
    return [Page(path) for path in (README, *sorted((REPOSITORY / "docs").rglob("*.md")))]


def typed(page: Page) -> Iterator[Typed]:
    for block in page.blocks("console"):
        on_a_gpu = False
        for line in block.replace("\\\n", " ").splitlines():
            on_a_gpu = on_a_gpu or bool(ON_A_GPU.match(line))
            for part in without_comment(line).split("&&"):
                if part.strip():
                    yield Typed(" ".join(part.split()), page.name, on_a_gpu)


def without_comment(line: str) -> str:
    return re.split(r"(?:^|\s)#(?:\s|$)", line)[0]
