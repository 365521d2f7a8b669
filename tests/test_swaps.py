"""Environments between two sides: real ones, by the real uv, of tiny packages; what is measured is their versions."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from test_accepted_side import commit, git
from test_bisect import ASKED, a_step
from tiny_wheels import wheel

from fastdiff.experiments import swaps as module
from fastdiff.experiments.bisect import Bench, Candidate, search
from fastdiff.experiments.swaps import CODE, Swaps, accepted_code
from fastdiff.host.software import code
from fastdiff.record.bisection import WORKING_TREE, Member, Range, Step
from fastdiff.record.errors import UserError
from fastdiff.record.software import Distribution, Software
from fastdiff.sides import uv
from fastdiff.sides.environment import Environment
from fastdiff.sides.home import VARIABLE, interpreter, site_packages
from fastdiff.sides.installed import packages
from fastdiff.sides.parts import taken_apart

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SIX = tuple(f"tiny{letter}" for letter in "abcdef")


class Sides:
    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.wheels = folder, folder / "wheels"
        self.wheels.mkdir()
        self.lines: list[str] = []
        monkeypatch.setenv("UV_FIND_LINKS", str(self.wheels))
        monkeypatch.setattr("fastdiff.sides.uv._of_pip", lambda: {"no-index": "true"})
        monkeypatch.setenv(VARIABLE, str(folder / "cache"))

    def wheel(self, name: str, *versions: str, needs: Sequence[str] = ()) -> None:
        for version in versions:
            wheel(self.wheels, name, version, needs=needs)

    def side(self, name: str, *requirements: str, **variables: str | None) -> Environment:
        folder = self.folder / name
        uv.make(folder, sys.executable, "no environment", print)
        uv.install(interpreter(folder), requirements, "not installed", print)
        return Environment(name, interpreter(folder), variables, name, (str(interpreter(folder)),))

    def swaps(self, old: Environment, new: Environment) -> Swaps:
        return Swaps(self.folder, old, new, None, (), self.lines.append)


@pytest.fixture
def sides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sides:
    return Sides(tmp_path, monkeypatch)


def of(environment: Environment) -> dict[str, str]:
    return packages(environment.python, {})


def taking(*names: str) -> Candidate:
    return Candidate(", ".join(names), "members", frozenset(names))


def test_the_slow_one_of_six_packages_and_its_first_slow_release_are_found(
    sides: Sides, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in SIX:
        sides.wheel(name, "1.0", "2.0")
    sides.wheel("tinyd", "1.1", "1.2", "1.3")
    old, new = (sides.side(f"side-{end}", *(f"{name}=={end}" for name in SIX)) for end in ("1.0", "2.0"))
    swaps = sides.swaps(old, new)
    monkeypatch.setattr(module, "releases", lambda *_: ["1.0", "1.1", "1.2", "1.3", "2.0"])
    made: list[Path] = []

    def measure(candidate: Candidate) -> Step:
        environment = swaps.environment(candidate)
        made.append(environment.python)
        return a_step(candidate.text, 1.2 if of(environment)["tinyd"] >= "1.2" else 1.0, level=candidate.level)

    bench = Bench("new", measure, swaps.releases, swaps.commits)
    found = search(swaps.difference, bench, sides.folder / "x.json", ASKED, sides.lines.append)
    assert found.guilty == (Member("package", "tinyd", "1.0", "2.0"),)
    assert found.range == Range("releases", "tinyd==1.2", "tinyd==1.1")
    assert len(found.steps) <= 7
    assert len(set(made)) == len(made)


def test_a_mixture_has_exactly_what_is_asked_of_either_side_and_shares_the_files(sides: Sides) -> None:
    for name in ("tinya", "tinyb"):
        sides.wheel(name, "1.0", "2.0")
    sides.wheel("tinygone", "1.0")
    sides.wheel("tinyadded", "1.0")
    old = sides.side("old", "tinya==1.0", "tinyb==1.0", "tinygone")
    new = sides.side("new", "tinya==2.0", "tinyb==2.0", "tinyadded")
    for side, text in ((old, "one = 1\n"), (new, "two = 2\n")):
        (site_packages(side.python.parents[1]) / "sitecustomize.py").write_text(text)
        site = site_packages(side.python.parents[1])
        subprocess.run([side.python, "-m", "py_compile", site / "tinya.py", site / "tinyb.py"], check=True)
    swaps = sides.swaps(old, new)
    texts = [member.text for member in swaps.difference.members]
    assert texts[:4] == [
        "tinya 1.0 -> 2.0",
        "tinyadded nothing -> 1.0",
        "tinyb 1.0 -> 2.0",
        "tinygone 1.0 -> nothing",
    ]
    assert swaps.difference.members[4].kind == "file"
    half = swaps.environment(taking("tinya", "tinygone", "sitecustomize.py"))
    assert {name: version for name, version in of(half).items() if name.startswith("tiny")} == {
        "tinya": "2.0",
        "tinyb": "1.0",
    }
    site = site_packages(half.python.parents[1])
    assert (site / "tinya.py").samefile(site_packages(new.python.parents[1]) / "tinya.py")
    assert (site / "tinyb.py").samefile(site_packages(old.python.parents[1]) / "tinyb.py")
    assert not list(site.glob("tinygone*")) + list(site.glob("__pycache__/tinya*"))
    assert list(site.glob("__pycache__/tinyb*")), "what stays brings its own along"
    assert (site / "sitecustomize.py").read_text() == "two = 2\n"
    assert swaps.environment(taking("tinya", "tinygone", "sitecustomize.py")) == half, "made once"
    whole = swaps.environment(taking(*(member.name for member in swaps.difference.members)))
    assert of(whole) == of(new)
    assert {name: part.version for name, part in taken_apart(old.python).packages.items()}["tinya"] == "1.0"


def test_packages_that_pin_each_other_are_one_and_ranges_bind(sides: Sides) -> None:
    for version in ("1.0", "2.0"):
        sides.wheel("torch", version, needs=[f"triton=={version}"])
        sides.wheel("triton", version)
        sides.wheel("torchvision", version, needs=[f"torch=={version}"])
        sides.wheel("hub", version)
    sides.wheel("diffusers", "1.0", needs=["hub<2"])
    sides.wheel("diffusers", "2.0", needs=["hub>=1"])
    sides.wheel("transformers", "1.0", needs=["hub"])
    sides.wheel("transformers", "2.0", needs=["hub>=2", "numpy; extra == 'x'"])
    names = ("torch", "torchvision", "hub", "diffusers", "transformers")
    old, new = (sides.side(f"side-{end}", *(f"{name}=={end}" for name in names)) for end in ("1.0", "2.0"))
    found = sides.swaps(old, new).difference
    assert [member.text for member in found.members] == [
        "diffusers 1.0 -> 2.0",
        "hub 1.0 -> 2.0",
        "torch 1.0 -> 2.0",
        "transformers 1.0 -> 2.0",
    ]
    assert found.members[2].besides == ("torchvision", "triton")
    assert found.bound == {("hub", "diffusers"), ("transformers", "hub")}
    seen = of(sides.swaps(old, new).environment(taking("torch")))
    assert (seen["torch"], seen["triton"], seen["torchvision"], seen["hub"]) == ("2.0", "2.0", "2.0", "1.0")
    release = Candidate("torch==2.0", "releases", release="torch==2.0")
    seen = of(sides.swaps(old, new).environment(release))
    assert (seen["torch"], seen["triton"], seen["torchvision"], seen["hub"]) == ("2.0", "2.0", "2.0", "1.0")


def test_other_files_of_one_version_differ(sides: Sides) -> None:
    sides.wheel("tinya", "1.0")
    old = sides.side("old", "tinya")
    wheel(sides.wheels, "tinya", "1.0", says="built at home")
    new = sides.side("new", "--no-cache", "tinya")
    (member,) = sides.swaps(old, new).difference.members
    assert member.old.startswith("1.0 (")
    assert member.old != member.new
    assert not sides.swaps(old, old).difference.members


def test_variables_are_swapped_alone(sides: Sides, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOTH", "x")
    monkeypatch.setenv("GONE", "1")
    monkeypatch.delenv("MINE", raising=False)
    sides.wheel("tinya", "1.0")
    old = sides.side("old", "tinya", GONE=None, BOTH="x")
    new = Environment("new", old.python, {"MINE": "2"}, "new", (str(old.python), "MINE=2"))
    swaps = sides.swaps(old, new)
    assert [member.text for member in swaps.difference.members] == ["GONE nothing -> 1", "MINE nothing -> 2"]
    mine = swaps.environment(taking("MINE"))
    assert (mine.python, dict(mine.variables)) == (old.python, {"BOTH": "x", "GONE": None, "MINE": "2"})
    assert mine.words == (), "a variable that is taken away is no word"
    assert swaps.environment(taking("MINE", "GONE")).words == (str(old.python), "MINE=2")
    assert swaps.environment(Candidate("new", "whole")) is new


def test_what_no_installer_can_take_out_is_named(sides: Sides) -> None:
    sides.wheel("tinya", "1.0", "2.0")
    old, new = sides.side("old", "tinya==1.0"), sides.side("new", "tinya==2.0")
    for side in (old, new):
        next(site_packages(side.python.parents[1]).glob("tinya-*/RECORD")).unlink()
    found = sides.swaps(old, new).difference
    assert (found.members, found.lasting) == ((), ("tinya: 1.0 -> 2.0",))


def test_sides_of_two_pythons_are_one_sentence(sides: Sides, monkeypatch: pytest.MonkeyPatch) -> None:
    sides.wheel("tinya", "1.0")
    old = sides.side("old", "tinya")
    versions = iter(["3.11.7", "3.12.1"])
    monkeypatch.setattr("fastdiff.sides.parts.folders", lambda _: (next(versions), "", ()))
    with pytest.raises(UserError, match=r"python 3\.11\.7 -> 3\.12\.1 cannot be swapped"):
        sides.swaps(old, old)


# -- the project's code -----------------------------------------------------------------------------------------------


def test_each_commit_since_the_accepted_one_is_a_side(sides: Sides) -> None:
    sides.wheel("tinya", "1.0")
    project = sides.folder / "project"
    (project / "mine").mkdir(parents=True)
    git(project, "init", "-q", "-b", "main")
    names = []
    for number in range(4):
        (project / "mine/__init__.py").write_text(f"NUMBER = {number}\n")
        names.append(commit(project, f"number {number}"))
    (project / "baselines").mkdir()
    (project / "baselines/x.json").write_text("{}")
    commit(project, "accepted, which changes no code")
    git(project, "checkout", "-q", names[0])
    then = code(project)
    git(project, "checkout", "-q", "main")
    (project / "mine/__init__.py").write_text("NUMBER = 99\n")
    software = Software("3.11.7", (Distribution("mine", "1", editable="."),), then)
    plain = sides.side("old", "tinya")
    old = Environment("accepted", plain.python, {}, "old", ("accepted",), paths=(sides.folder,))
    accepted = accepted_code(software, old, project, project / "baselines/x.json", is_old=True)
    swaps = Swaps(project, old, plain, accepted, (), sides.lines.append)
    assert swaps.difference.members == (Member("code", CODE, names[0][:10], WORKING_TREE),)
    commits = swaps.commits()
    assert [text.partition(" ")[2] for text in commits] == ["number 1", "number 2", "number 3", "working tree"]

    def number(candidate: Candidate) -> str:
        environment = swaps.environment(candidate)
        assert environment.words == ()
        return (environment.paths[-1] / "mine/__init__.py").read_text().split()[-1]

    assert number(Candidate("x", "commits", commit=commits[1].partition(" ")[0])) == "2"
    assert number(taking(CODE)) == "99"
    assert swaps.environment(taking()).paths == old.paths
    with pytest.raises(UserError, match="cannot be checked out"):
        swaps.environment(Candidate("x", "commits", commit="0" * 40))


def test_a_release_that_does_not_install_is_an_error_of_the_environment(sides: Sides) -> None:
    sides.wheel("tinya", "1.0")
    old = sides.side("old", "tinya")
    with pytest.raises(UserError) as refused:
        sides.swaps(old, old).environment(Candidate("tinya==3.0", "releases", release="tinya==3.0"))
    assert refused.value.code == "environment"
