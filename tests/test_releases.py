"""Which releases of a package lie between two ends."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.version import Version

from fastdiff.experiments import releases
from fastdiff.experiments.releases import candidates, of_one_package
from fastdiff.record.errors import UserError

# -- which candidates there are ---------------------------------------------------------------------------------------

RELEASES = ["0.40.0", "0.37.1", "0.38.0", "0.39.0", "0.39.0rc1", "0.40.0.dev0", "0.40.0rc1", "0.40.0.post1", "0.42.1"]
NIGHTLIES = [
    "2.13.0+cpu",
    "2.14.0.dev20261030+cpu",
    "2.15.0.dev20261101+cpu",
    "2.15.0.dev20261102+cpu",
    "2.15.0.dev20261104+cpu",
    "2.14.0+cpu",
]


@pytest.mark.parametrize(
    ("offered", "good", "bad", "expected"),
    [
        (RELEASES, "0.38.0", "0.42.1", ["0.39.0", "0.40.0", "0.40.0.post1", "0.42.1"]),
        (RELEASES, "0.38", "0.39.0", ["0.39.0"]),
        (RELEASES, "0.39.0rc1", "0.40.0", ["0.39.0", "0.40.0rc1", "0.40.0"]),
        (RELEASES, "0.38.0", "0.40.0rc1", ["0.39.0rc1", "0.39.0", "0.40.0rc1"]),
        (RELEASES, "0.39.0rc1", "0.40.0rc1", ["0.39.0", "0.40.0rc1"]),
        (RELEASES, "0.38.0", "0.40.0.dev0", ["0.39.0", "0.40.0.dev0"]),
        ([*RELEASES, "2004d-odd"], "0.40.0.post1", "0.42.1", ["0.42.1"]),
        (NIGHTLIES, "2.13.0", "2.14.0", ["2.14.0+cpu"]),
        (NIGHTLIES, "2026-11-01", "2026-11-04", ["2.15.0.dev20261102+cpu", "2.15.0.dev20261104+cpu"]),
        (NIGHTLIES, "2026-10-30", "2026-11-01", ["2.15.0.dev20261101+cpu"]),
        (NIGHTLIES, "2.15.0.dev20261101", "2.15.0.dev20261102+cpu", ["2.15.0.dev20261102+cpu"]),
        (
            NIGHTLIES,
            "2.13.0",
            "2026-11-01",
            ["2.14.0.dev20261030+cpu", "2.14.0+cpu", "2.15.0.dev20261101+cpu"],
        ),
        (["1.0", "1.0+cpu", "1.1", "1.1+cpu", "1.2", "1.2+cpu"], "1.0", "1.2+cpu", ["1.1+cpu", "1.2+cpu"]),
        (["1.0", "1.0+cpu", "1.1", "1.1+cpu", "1.2", "1.2+cpu"], "1.0", "1.2", ["1.1", "1.2"]),
    ],
)
def test_candidates(offered: list[str], good: str, bad: str, expected: list[str]) -> None:
    assert candidates(offered, good, bad, "torch") == [f"torch=={version}" for version in expected]


@pytest.mark.parametrize(
    ("old", "new", "ends"),
    [
        (["torch==2.12.1"], ["Torch==2.14.1"], ("torch", "2.12.1", "2.14.1")),
        (["torch==2026-11-01"], ["torch==2.15.0.dev20261120+cpu"], ("torch", "2026-11-01", "2.15.0.dev20261120+cpu")),
        (["torch==2.12.1"], ["diffusers==0.42.1"], None),
        (["torch==2.12.1"], ["."], None),
        (["torch==2.12.1", "OMP_NUM_THREADS=1"], ["torch==2.14.1"], None),
        (["torch>=2.12.1"], ["torch==2.14.1"], None),
    ],
)
def test_two_releases_of_one_package_are_a_search_of_releases(
    old: list[str], new: list[str], ends: tuple[str, str, str] | None
) -> None:
    assert of_one_package(old, new) == ends


@pytest.mark.parametrize(
    ("good", "spec"),
    [
        ("2026-11-01", "torch==2.15.0.dev20261101+cpu"),
        ("2.13.0", "torch==2.13.0+cpu"),
        ("2.14.0+cpu", "torch==2.14.0+cpu"),
    ],
)
def test_the_good_end_is_a_release_that_pip_knows(good: str, spec: str) -> None:
    assert releases.spec_of(NIGHTLIES, good, "torch") == spec


def test_yanked_releases_are_left_out_unless_one_is_an_end() -> None:
    yanked = ["0.39.0", "0.42.1"]
    assert candidates(RELEASES, "0.38.0", "0.40.0", "d", yanked) == ["d==0.40.0"]
    assert candidates(RELEASES, "0.40.0", "0.42.1", "d", yanked) == ["d==0.40.0.post1", "d==0.42.1"]
    assert candidates(RELEASES, "0.39.0", "0.40.0", "d", yanked) == ["d==0.40.0"]


@pytest.mark.parametrize(
    ("offered", "good", "bad", "sentence"),
    [
        (RELEASES, "0.38.5", "0.42.1", "d has no release 0.38.5; the nearest ones are 0.38.0 and 0.39.0rc1: name one"),
        (RELEASES, "0.38.0", "0.43.0", "d has no release 0.43.0; the nearest one is 0.42.1: name one of its releases"),
        (RELEASES, "0.1", "0.42.1", "d has no release 0.1; the nearest one is 0.37.1: name .* as OLD"),
        (RELEASES, "latest", "0.42.1", "OLD is 'latest'; expected a version of d such as"),
        (RELEASES, "0.42.1", "0.38.0", "d 0.42.1 is not older than 0.38.0:"),
        (RELEASES, "0.38.0", "0.38", "d 0.38.0 is not older than 0.38:"),
        (RELEASES, "2026-11-01", "0.42.1", "OLD 2026-11-01: the index offers no nightly of d; .* --pre d$"),
        ([], "0.38.0", "0.42.1", "OLD 0.38.0: the index offers no release of d; "),
        (NIGHTLIES, "2026-11-04", "2026-11-01", "d 2026-11-04 is not older than 2026-11-01:"),
        (
            NIGHTLIES,
            "2026-11-01",
            "2026-11-03",
            r"d has no nightly of 2026-11-03; the nearest ones are 2.15.0.dev20261102\+cpu and 2.15.0.dev20261104\+cpu",
        ),
        (NIGHTLIES, "2.15.0.dev20261101+cu130", "2026-11-04", r"d has no release 2.15.0.dev20261101\+cu130; "),
    ],
)
def test_ends_that_do_not_fit_are_one_sentence(offered: list[str], good: str, bad: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        candidates(offered, good, bad, "d")


@settings(deadline=None, max_examples=50)
@given(st.permutations(RELEASES), st.sampled_from(RELEASES), st.sampled_from(RELEASES))
def test_candidates_end_at_the_bad_end_in_the_order_of_versions(order: list[str], good: str, bad: str) -> None:
    oldest_first = sorted(RELEASES, key=Version)
    places = {f"d=={release}": place for place, release in enumerate(oldest_first)}
    if places[f"d=={good}"] >= places[f"d=={bad}"]:
        with pytest.raises(UserError, match="not older"):
            candidates(order, good, bad, "d")
        return
    found = [places[spec] for spec in candidates(order, good, bad, "d")]
    assert found[-1] == places[f"d=={bad}"]
    assert all(places[f"d=={good}"] < older < newer for older, newer in pairwise([*found, math.inf]))
