"""docs/reference/supported.md says what pyproject.toml, constraints.txt, the workflows and the code say."""

from __future__ import annotations

import re
import tomllib

import yaml
from packaging.requirements import Requirement
from pages import REPOSITORY, Page

from fastdiff.compare.policy import DEFAULTS
from fastdiff.host.environment import DEVICE
from fastdiff.sides.environment import OLDEST_PYTHON

PAGE = Page(REPOSITORY / "docs" / "reference" / "supported.md")
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
NEEDS = [Requirement(text) for text in PROJECT["dependencies"]]
WORKFLOWS = REPOSITORY / ".github" / "workflows"


def rows(heading: str) -> list[list[str]]:
    section = re.split(r"^## ", PAGE.text, flags=re.MULTILINE)
    (found,) = [part for part in section if part.startswith(heading)]
    table = [line for line in found.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[2:]]


def floor(need: Requirement) -> str:
    """Ranges without an upper end: trying what is newer is what fastdiff is for."""
    (one,) = need.specifier
    assert one.operator == ">="
    return one.version


def test_versions_are_those_of_the_project_and_of_its_pins() -> None:
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert rows("Versions") == [[need.name, floor(need), pins[need.name]] for need in NEEDS]


def test_pythons_are_those_of_the_workflow() -> None:
    tested = yaml.safe_load((WORKFLOWS / "ci.yml").read_text())["jobs"]["test"]["strategy"]["matrix"]["python"]
    named = [one.rpartition(" ")[2] for one in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", one)]
    oldest = ".".join(map(str, OLDEST_PYTHON))
    assert named == tested
    assert PROJECT["requires-python"] == f">={oldest}"
    assert f"Python {oldest} or newer; {' and '.join(tested)} are tested." in PAGE.text


def test_systems_are_those_of_the_classifiers() -> None:
    named = {one.rpartition(" ")[2] for one in PROJECT["classifiers"] if one.startswith("Operating System")}
    states = {system.split()[0]: state for system, state in rows("Systems")}
    assert {name.lower() for name, state in states.items() if not state.startswith("refused")} == {
        name.lower() for name in named
    }
    assert "WSL" in states["Windows"]


def test_devices_are_those_that_an_option_takes() -> None:
    named = [re.findall(r"`(\w+)`", row[0])[0] for row in rows("Devices")]
    assert set(named) == set(DEFAULTS)
    assert all(DEVICE.fullmatch(name) for name in named)


def test_the_floors_are_tested_every_night() -> None:
    jobs = yaml.safe_load((WORKFLOWS / "nightly.yml").read_text())["jobs"]
    scripts = {step.get("run") for job in jobs.values() for step in job["steps"]}
    assert {"make test-nightly", "make test-floors"} <= scripts
