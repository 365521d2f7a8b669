"""What `fastdiff run` leaves where: compiled code in the sessions' cache, and nothing half done among the results."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from test_published import failed, fastdiff, outcome, setting  # noqa: F401  (fixtures)

from fastdiff.experiments import published
from fastdiff.record.project import CACHE_VARIABLE

if TYPE_CHECKING:
    from pathlib import Path

COMPILED = ("--compile-denoiser", "--compile-decoder")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, in which `fastdiff run` is started."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(CACHE_VARIABLE)
    return tmp_path


@pytest.fixture
def seen(
    outcome: published.Outcome,  # noqa: F811
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> dict[str, Any]:
    """What there was while the clock ran."""
    found: dict[str, Any] = {}

    def measure(*_: object, **__: object) -> published.Outcome:
        found["cache"] = os.environ.get(CACHE_VARIABLE)
        found["results"] = [path.name for path in (project / "results").iterdir()]
        return outcome

    monkeypatch.setattr(published, "measure", measure)
    return found


def test_compiled_code_is_kept_where_sessions_keep_theirs(seen: dict[str, Any], project: Path) -> None:
    assert fastdiff("run", "--device", "cpu", *COMPILED).exit_code == 0
    assert seen["cache"] == str(project / ".fastdiff" / "compile-cache")
    assert CACHE_VARIABLE not in os.environ, "borrowed, and given back"


def test_the_variable_names_another_cache(seen: dict[str, Any], project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(project / "elsewhere"))
    assert fastdiff("run", "--device", "cpu", *COMPILED).exit_code == 0
    assert seen["cache"] == str(project / "elsewhere")
    assert not (project / ".fastdiff").exists()


def test_a_cache_that_cannot_be_made_is_one_sentence(seen: dict[str, Any], project: Path) -> None:
    (project / ".fastdiff").write_text("no folder")
    done = fastdiff("run", "--device", "cpu", *COMPILED)
    assert (done.exit_code, seen) == (2, {})
    assert done.stderr.splitlines()[-1].endswith("name another folder.")


def test_what_compiles_nothing_makes_no_cache(seen: dict[str, Any], project: Path) -> None:
    assert fastdiff("run", "--device", "cpu").exit_code == 0
    assert seen["cache"] is None
    assert sorted(path.name for path in project.iterdir()) == ["results"]


def test_nothing_lies_among_the_results_while_the_clock_runs(seen: dict[str, Any], project: Path) -> None:
    """A killed process cannot tidy up."""
    assert fastdiff("run", "--device", "cpu").exit_code == 0
    assert seen["results"] == []
    assert {path.suffix for path in (project / "results").iterdir()} == {".csv", ".png"}


def test_ctrl_c_leaves_nothing(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> published.Outcome:
        raise KeyboardInterrupt

    monkeypatch.setattr(published, "measure", interrupted)
    assert fastdiff("run", "--device", "cpu").exit_code == 130
    assert list((project / "results").iterdir()) == []


def test_results_that_cannot_be_written_are_refused_before_the_clock_runs(seen: dict[str, Any], project: Path) -> None:
    (project / "results").write_text("no folder")
    done = fastdiff("run", "--device", "cpu")
    assert (done.exit_code, seen) == (2, {})


def test_too_few_steps_for_a_scheduler_are_one_sentence(tmp_path: Path) -> None:
    """PixArt in one step: diffusers ends in a tuple that is too short."""
    twin = ("--model", "pixart-alpha", "--weights", "twin", "--dtype", "float32", "--size", 64, "--device", "cpu")
    done = fastdiff("run", *twin, "--steps", 1, "--out", tmp_path)
    assert failed(done, tmp_path) == (
        "PixArtAlphaPipeline cannot draw in 1 step with DPMSolverMultistepScheduler (tuple index out of range); "
        "give --steps 2 or more."
    )
