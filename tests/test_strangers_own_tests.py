"""pytest-benchmark's own tests come out the same with fastdiff installed as without."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tarfile
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree

import pytest
from beside import pip, place_beside

pytestmark = [pytest.mark.nightly, pytest.mark.alone]

NEEDS = ("aspectlib", "elasticsearch", "freezegun", "hunter", "pygal", "fields")
"""Of its tests; those of which more is missing are left out, on both sides."""
MEASURING = "tests/test_calibration.py"
"""Of its files the one that measures the machine for minutes, and knows no plugin."""
FEWEST = 100
"""Fewer that pass would show nothing."""
LONGEST_S = 1200


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """Its sdist, which has its tests."""
    release = f"pytest-benchmark=={version('pytest-benchmark')}"
    pip("download", "--no-binary=:all:", "--no-deps", "-d", str(tmp_path), release)
    (packed,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(packed) as opened:
        opened.extractall(tmp_path, filter="data")
    return Path(str(packed).removesuffix(".tar.gz"))


def environment(folder: Path, *, with_fastdiff: bool) -> str:
    """One with the packages of this one, by links; fastdiff's plugin is found by its entry point there."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    site = Path(sysconfig.get_path("purelib", scheme="venv", vars={"base": str(folder)}))
    for one in Path(sysconfig.get_path("purelib")).iterdir():
        if with_fastdiff or "fastdiff" not in one.name:
            (site / one.name).symlink_to(one)
    return str(folder / "bin" / "python")


def outcomes(python: str, tests: Path, found: Path) -> dict[str, str]:
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-o", "addopts="]
    command += ["--continue-on-collection-errors", f"--junit-xml={found}", f"--ignore={MEASURING}", "tests"]
    done = subprocess.run(command, cwd=tests, capture_output=True, text=True, timeout=LONGEST_S, check=False)
    assert found.exists(), done.stdout + done.stderr
    return {
        f"{case.get('classname')}::{case.get('name')}": "+".join(part.tag for part in case) or "passed"
        for case in ElementTree.parse(found).iter("testcase")
    }


def test_they_come_out_the_same(theirs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place_beside(tmp_path / "needs", NEEDS, monkeypatch)
    found = {}
    for name in ("with", "without"):
        python = environment(tmp_path / name, with_fastdiff=name == "with")
        options = subprocess.check_output([python, "-m", "pytest", "--help"], cwd=tmp_path, text=True)
        assert ("--fastdiff-model" in options) == (name == "with")
        found[name] = outcomes(python, theirs, tmp_path / f"{name}.xml")
    assert Counter(found["with"].values())["passed"] > FEWEST
    assert found["with"] == found["without"]
