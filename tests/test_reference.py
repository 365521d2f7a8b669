"""The pages that are made from the options and commands are those of today's code."""

from __future__ import annotations

import pytest

from fastdiff.plugin.options import OPTIONS
from tools import reference


@pytest.mark.pinned
@pytest.mark.parametrize("name", reference.PAGES)
def test_a_page_is_fresh(name: str) -> None:
    assert (reference.FOLDER / name).read_text() == reference.PAGES[name](), "python -m tools.reference"


@pytest.mark.parametrize("name", reference.PAGES)
def test_its_lines_are_short(name: str) -> None:
    assert max(map(len, (reference.FOLDER / name).read_text().splitlines())) <= reference.WIDTH


def test_every_option_and_every_command_is_there() -> None:
    options, commands = reference.options(), reference.commands()
    assert all(f"**`{option.flag}" in options for option in OPTIONS)
    for words in ("fastdiff ab", "fastdiff side build", "fastdiff bisect"):
        assert f"## {words}\n" in commands
    assert "fastdiff accept RUN --reason TEXT [OPTIONS]" in commands
    assert "- **`--side, --no-side`**: " in commands
