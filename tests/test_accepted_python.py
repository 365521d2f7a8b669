"""`--fastdiff-accepted-python`: an environment that the user kept takes the place of the one that uv would make."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from test_accepted_side import FASTDIFF, THING, again, kept_in, ran, repository  # noqa: F401  (fixtures among them)

from fastdiff.host.software import code
from fastdiff.record.errors import UserError
from fastdiff.sides import accepted
from fastdiff.sides.home import kept


@pytest.fixture
def own(kept_in: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:  # noqa: F811
    """It has tinything 2.0, which is all that fastdiff needs here."""
    monkeypatch.setattr(accepted, "needs", lambda: [Requirement("tinything")])
    return again(ran(replace(THING, version="2.0")), tmp_path, kept_in).environment.python


@pytest.mark.parametrize("named", ["interpreter", "folder"])
def test_what_differs_is_named_and_nothing_is_made(named: str, own: Path, kept_in: Path, tmp_path: Path) -> None:  # noqa: F811
    gone = replace(THING, name="conda-only", version="5", local=True)
    asked = own if named == "interpreter" else own.parents[1]
    found = again(ran(THING, gone), tmp_path, kept_in, own=asked)
    assert found.environment.python == own
    assert found.environment.differs == ("conda-only: 5 -> nothing", "tinything: 1.0 -> 2.0")
    assert f"{asked} is not the accepted run's software: conda-only: 5 -> nothing, tinything: " in found.remarks[0]
    assert len(kept()) == 1
    same = again(ran(replace(THING, version="2.0")), tmp_path, kept_in, own=asked)
    assert same.environment.differs == ()
    assert not [remark for remark in same.remarks if "is not the accepted" in remark]


def test_the_project_s_code_is_that_of_then(repository: Path, own: Path, kept_in: Path) -> None:  # noqa: F811
    found = again(ran(THING, FASTDIFF, project=code(repository)), repository, kept_in, own=own).environment
    assert found.source is not None
    assert found.source.is_relative_to(kept_in.parent)
    assert found.differs == ("tinything: 1.0 -> 2.0",), "the project itself is no package that differs"


@pytest.mark.parametrize(
    ("path", "python", "needs", "sentence"),
    [
        ("nowhere", "", "tinything", "nowhere is no Python interpreter, and no folder with bin/python; name one."),
        (".", "", "tinything", "is no Python interpreter"),
        ("{own}", "3.2.1", "tinything", "and the accepted run ran 3.2.1; name an environment of Python 3.2."),
        ("{own}", "", "torch>=2", "lacks what fastdiff needs; do: {own} -m pip install 'torch>=2'"),
    ],
)
def test_what_cannot_take_its_place_is_a_sentence(
    path: str,
    python: str,
    needs: str,
    sentence: str,
    own: Path,
    kept_in: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(accepted, "needs", lambda: [Requirement(needs)])
    monkeypatch.chdir(tmp_path)
    software = ran(THING)
    with pytest.raises(UserError) as caught:
        again(replace(software, python=python or software.python), tmp_path, kept_in, own=Path(path.format(own=own)))
    assert str(caught.value).startswith("--fastdiff-accepted-python: ")
    assert sentence.format(own=own) in str(caught.value)
