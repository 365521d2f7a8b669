"""Exit codes of the `fastdiff` commands: 0 nothing found, 1 a finding, 2 it could not be done, 130 interrupted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from fastdiff import cli
from fastdiff.compare.verdicts import SAME, SLOW
from fastdiff.experiments.sessions import PairSession
from fastdiff.record.bisection import MEASURED, Found, Member, Step

if TYPE_CHECKING:
    from pathlib import Path

SLOWER = (Step("torch==2", "whole", MEASURED, SLOW, 1.2),)
FOUND = {
    "nothing": (Found((Step("torch==2", "whole", MEASURED, SAME, 1.0),)), 0),
    "a package": (Found(SLOWER, guilty=(Member("package", "torch", "1", "2"),)), 1),
    "what cannot be swapped": (Found(SLOWER, lasting=("python: 3.11 -> 3.12",), lasting_is_guilty=True), 1),
    "a package, and not its release": (
        Found(SLOWER, guilty=(Member("package", "torch", "1", "2"),), remark="the index does not answer"),
        1,
    ),
    "only that it is slower": (Found(SLOWER, lasting=("python",), remark="nothing can be told apart"), 2),
}


@pytest.mark.parametrize("kind", FOUND)
def test_a_search_ends_with_what_it_has_found(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, code = FOUND[kind]
    monkeypatch.setattr(PairSession, "bisect", lambda *_, **__: found)
    done = CliRunner().invoke(cli.app, ["bisect", "torch==1", "torch==2", "--root", str(tmp_path)])
    assert done.exit_code == code, done.output


def test_a_search_that_is_stopped_was_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(PairSession, "bisect", stop)
    done = CliRunner().invoke(cli.app, ["bisect", "torch==1", "torch==2", "--root", str(tmp_path)])
    assert done.exit_code == 130


def test_a_defect_is_no_finding(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def broken() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(cli, "app", broken)
    with pytest.raises(SystemExit) as end:
        cli.program()
    assert end.value.code == 2
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_the_help_names_the_codes() -> None:
    said = " ".join(CliRunner().invoke(cli.app, ["--help"]).output.split())
    assert "0 no finding, 1 a finding, 2 the command could not do its work, 130 interrupted." in said
