"""docs/reference/documents.md: made from its data, and every command and test that it names exists."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import commands
import pytest

from tools import documents

if TYPE_CHECKING:
    from tools.documents import Row

REPOSITORY = Path(__file__).parents[1]
NAMED, ROWS = documents.read()
COMMANDS = sorted({command for row in ROWS for command in row.run})
TESTS = sorted({test for row in ROWS for test in row.test})


def test_the_page_is_made_of_its_data() -> None:
    assert documents.PAGE.read_text() == documents.page(NAMED, ROWS), "python -m tools.documents"


def test_its_lines_are_short() -> None:
    assert max(map(len, documents.PAGE.read_text().splitlines())) <= documents.WIDTH + len("`" * 2)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.says)
def test_a_row_says_what_it_is(row: Row) -> None:
    assert row.kind in documents.KINDS
    assert row.state in documents.STATES
    assert row.documents
    assert set(row.documents) <= set(NAMED)
    if row.state == "missing":
        assert row.note, "why"
        assert not row.run
    else:
        assert row.run
        assert row.test
    assert row.note or row.state != "partial", "what is missing of it"


def test_no_row_stands_twice() -> None:
    says = [row.says for row in ROWS]
    assert len(says) == len(set(says))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_exists(command: str) -> None:
    commands.check(command)


@pytest.mark.parametrize("test", TESTS)
def test_every_named_test_exists(test: str) -> None:
    file, _, name = test.partition("::")
    tree = ast.parse((REPOSITORY / file).read_text())
    assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_what_does_not_exist_is_noticed() -> None:
    for command in (
        "fastdiff run --no-such",
        "pytest perf_tests --fastdiff-stage nosuch",
        "make nosuch",
        "fastdiff nosuch",
    ):
        with pytest.raises(BaseException):  # noqa: B017, PT011
            test_every_command_exists(command)
