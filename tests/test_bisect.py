"""The search for the first bad release, with releases whose speed is known; nothing is installed or timed."""

import json
import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastdiff.compare.verdicts import FAST, SAME, SLOW, UNSURE, VOID
from fastdiff.experiments import bisect
from fastdiff.experiments.bisect import MEASURED, UNUSABLE, Found, Step, candidates, search, slower
from fastdiff.record.errors import UserError
from fastdiff.report import bisection

GOOD = "diffusers==0.0"
STAGE = "--stage sdpa"
BAND = 0.05

unhurried = settings(deadline=None, max_examples=50)
"""A busy machine is no failure, and an example of a search writes a file for every step."""


def specs_of(count: int) -> list[str]:
    return [f"diffusers==0.{place}" for place in range(1, count + 1)]


def a_step(spec: str, ratio: float, half: float = 0.01) -> Step:
    low, high = ratio * (1 - half), ratio * (1 + half)
    if low > 1 + BAND:
        word = SLOW
    elif high < 1 / (1 + BAND):
        word = FAST
    else:
        word = SAME if low >= 1 / (1 + BAND) and high <= 1 + BAND else UNSURE
    return Step(spec, MEASURED, word, ratio, low, high, f"{100 * (ratio - 1):+.1f} %")


class Machine:
    """Measures by looking a ratio up; None does not install. Ctrl-C is pressed instead of step `interrupt`."""

    def __init__(self, ratios: Sequence[float | None], interrupt: int | None = None, half: float = 0.01) -> None:
        self.ratios = dict(zip(specs_of(len(ratios)), ratios, strict=True))
        self.interrupt, self.half = interrupt, half
        self.asked: list[str] = []

    def __call__(self, spec: str) -> Step:
        if len(self.asked) == self.interrupt:
            raise KeyboardInterrupt
        self.asked.append(spec)
        ratio = self.ratios[spec]
        return Step(spec, UNUSABLE, reason="no wheel") if ratio is None else a_step(spec, ratio, self.half)


def found_by(machine: Machine, keep: Path | None = None, say: Callable[[str], None] = lambda line: None) -> Found:
    with tempfile.TemporaryDirectory() as folder:
        return search(list(machine.ratios), machine, keep or Path(folder) / "bisect.json", say, good=GOOD)


def flipping(count: int, first_bad: int, unusable: frozenset[int] = frozenset()) -> list[float | None]:
    """Slower by a fifth from place `first_bad` on; the bad end always works."""
    ratios = [1.2 if place >= first_bad else 1.0 for place in range(count)]
    return [None if place in unusable and place < count - 1 else ratio for place, ratio in enumerate(ratios)]


HISTORIES = st.integers(1, 24).flatmap(
    lambda count: st.tuples(st.just(count), st.integers(0, count - 1), st.frozensets(st.integers(0, count - 1)))
)


# -- the search -------------------------------------------------------------------------------------------------------


@unhurried
@given(HISTORIES)
def test_the_first_bad_release_is_in_the_answer(history: tuple[int, int, frozenset[int]]) -> None:
    first_bad = history[1]
    machine = Machine(flipping(*history))
    specs, found = list(machine.ratios), found_by(machine)
    assert specs[first_bad] in (*found.between, found.culprit)
    assert [step.spec for step in found.steps] == machine.asked
    assert len(set(machine.asked)) == len(machine.asked)
    # Nothing between the last good one and the culprit is left out, and nothing usable is left between them.
    low = specs.index(found.last_good) if found.last_good else -1
    assert found.culprit is not None
    assert found.between == tuple(specs[low + 1 : specs.index(found.culprit)])
    assert all(machine.ratios[spec] is None for spec in found.between)
    assert machine.ratios[found.culprit] == 1.2
    assert found.last_good is None or machine.ratios[found.last_good] == 1.0


@unhurried
@given(HISTORIES)
def test_where_all_are_usable_halving_is_enough(history: tuple[int, int, frozenset[int]]) -> None:
    count, first_bad, _ = history
    machine, lines = Machine(flipping(count, first_bad)), list[str]()
    found = found_by(machine, say=lines.append)
    assert (found.culprit, found.between) == (specs_of(count)[first_bad], ())
    assert found.last_good == (specs_of(count)[first_bad - 1] if first_bad else None)
    most = math.ceil(math.log2(count)) + 1
    assert len(machine.asked) <= most
    # "step 2 of at most 4: ...": every step's promise is about the whole search.
    steps = [line.split() for line in lines if line.startswith("step ")]
    assert [int(words[1]) for words in steps] == list(range(1, len(machine.asked) + 1))
    assert all(len(machine.asked) <= int(words[5].rstrip(":")) <= most for words in steps)


def test_unusable_neighbours_are_tried_on_both_sides_in_turn() -> None:
    machine = Machine(flipping(8, 0, frozenset(range(7))))
    found = found_by(machine)
    places = [int(spec.rpartition(".")[2]) for spec in machine.asked]
    assert places == [8, 4, 5, 3, 6, 2, 7, 1]
    assert (found.last_good, found.culprit) == (None, "diffusers==0.8")
    assert found.between == tuple(specs_of(7))


@pytest.mark.parametrize(("ratio", "word"), [(1.0, SAME), (0.8, FAST), (1.05, UNSURE)])
def test_without_a_bad_end_there_is_nothing_to_find(ratio: float, word: str) -> None:
    lines: list[str] = []
    machine = Machine([1.2, 1.2, ratio])
    found = found_by(machine, say=lines.append)
    assert machine.asked == ["diffusers==0.3"]
    assert (found.culprit, found.last_good, found.between) == (None, None, ())
    assert lines[-1].startswith(f"nothing to find: diffusers==0.3 is {word}: ")


def test_a_bad_end_that_shows_nothing_ends_the_search(tmp_path: Path) -> None:
    keep = tmp_path / "bisect.json"
    with pytest.raises(UserError, match=r"0\.2 is unusable: no wheel, and without .* another --bad, or remove"):
        found_by(Machine([1.0, None]), keep)
    again = Machine([1.0, 1.2])
    with pytest.raises(UserError, match="is unusable"):
        found_by(again, keep)
    assert again.asked == [], "what is in the file is not measured again"


def test_without_a_candidate_there_is_no_search(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no candidate to measure"):
        search([], Machine([]), tmp_path / "bisect.json", print)


@pytest.mark.parametrize(
    ("ratio", "bad", "side"),
    [(1.08, 1.2, False), (1.09, 1.2, False), (1.10, 1.2, True), (1.40, 2.0, False), (1.45, 2.0, True)],
)
def test_an_unsure_step_goes_to_the_nearer_end(ratio: float, bad: float, side: bool) -> None:
    """The middle is the square root: 1.095 and 1.414."""
    step = a_step("diffusers==0.1", ratio, half=0.5)
    assert step.word == UNSURE
    assert slower(step, a_step("diffusers==0.2", bad)) is side


def test_how_an_unsure_step_was_decided_is_shown() -> None:
    lines: list[str] = []
    found = found_by(Machine([1.0, 1.049, 1.051, 1.12]), say=lines.append)
    assert any(line.startswith("  diffusers==0.3 is UNSURE: +5.1 %; taken for good") for line in lines)
    assert (found.last_good, found.culprit) == ("diffusers==0.3", "diffusers==0.4")
    assert "diffusers==0.3 is UNSURE and was taken for good: its ratio is nearer to 1." in bisection.text(
        found, GOOD, STAGE
    )


def test_a_disturbed_measurement_is_neither_good_nor_bad(tmp_path: Path) -> None:
    machine = Machine([1.0, 1.0, 1.2, 1.2])

    def disturbed(spec: str) -> Step:
        step = machine(spec)
        return replace(step, word=VOID, reason="stolen time") if spec == "diffusers==0.3" else step

    lines: list[str] = []
    found = search(list(machine.ratios), disturbed, tmp_path / "bisect.json", lines.append)
    assert found.between == ("diffusers==0.3",)
    assert "  diffusers==0.3 is VOID: stolen time; this tells nothing about it" in lines
    assert any(line.endswith("VOID: stolen time") for line in bisection.text(found, GOOD, STAGE))


def test_what_flips_is_the_callers_choice(tmp_path: Path) -> None:
    machine = Machine([1.0, 0.8, 0.8, 0.8, 0.8])
    found = search(list(machine.ratios), machine, tmp_path / "a.json", print, lambda step, bad: step.word == FAST)
    assert (found.last_good, found.culprit) == ("diffusers==0.1", "diffusers==0.2")


def test_each_step_says_where_it_is() -> None:
    lines: list[str] = []
    found_by(Machine([1.0, None, 1.2]), say=lines.append)
    assert lines == [
        "step 1 of at most 3: diffusers==0.3 (the bad end)",
        "  diffusers==0.3 is SLOW: +20.0 %",
        "step 2 of at most 3: diffusers==0.2 (between 0.0, which is good, and 0.3, which is bad)",
        "  diffusers==0.2 is unusable: no wheel",
        "step 3 of at most 3: diffusers==0.1 (between 0.0, which is good, and 0.3, which is bad)",
        "  diffusers==0.1 is SAME: +0.0 %",
    ]


# -- its memory -------------------------------------------------------------------------------------------------------


@unhurried
@given(HISTORIES, st.integers(0, 40))
def test_after_an_interrupt_nothing_is_measured_twice(history: tuple[int, int, frozenset[int]], interrupt: int) -> None:
    ratios = flipping(*history)
    whole = Machine(ratios)
    expected = found_by(whole)
    first, second = Machine(ratios, interrupt % len(whole.asked)), Machine(ratios)
    with tempfile.TemporaryDirectory() as folder:
        keep = Path(folder) / "bisect.json"
        with pytest.raises(KeyboardInterrupt):
            found_by(first, keep)
        lines: list[str] = []
        assert found_by(second, keep, lines.append) == expected
        third = Machine(ratios)
        assert found_by(third, keep) == expected
    assert first.asked + second.asked == whole.asked
    assert third.asked == []
    told = f"{len(first.asked)} of {len(ratios)} candidates are in {keep} and are not measured again"
    assert (lines[0] == told) == bool(first.asked)


def test_everything_of_a_step_comes_back(tmp_path: Path) -> None:
    full = Step("diffusers==0.1", MEASURED, SLOW, 1.2, 1.1, 1.3, "±", ("a: 1 -> 2", "b: - -> 1"), ("5 graphs",), 7.5)
    searched = [search(["diffusers==0.1"], lambda spec: full, tmp_path / "bisect.json", print) for _ in range(2)]
    assert [found.steps for found in searched] == [(full,), (full,)]


def test_an_interval_without_an_end_is_kept_as_none(tmp_path: Path) -> None:
    wide = Step("diffusers==0.1", MEASURED, UNSURE, 1.2, 0.0, math.inf, "one pair")
    searched = [search(["diffusers==0.1"], lambda spec: wide, tmp_path / "bisect.json", print) for _ in range(2)]
    assert searched[0].steps == searched[1].steps == (replace(wide, high=None),)


def test_a_file_that_cannot_be_written_is_found_before_anything_is_measured(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file, and no folder")
    machine = Machine([1.0, 1.2])
    with pytest.raises(UserError, match=r"cannot be written \(File exists\); make room there"):
        found_by(machine, tmp_path / "taken" / "bisect.json")
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    with pytest.raises(UserError, match=r"cannot be written \(File exists\); make room there or get the right"):
        found_by(machine, tmp_path / "nowhere" / "bisect.json")
    with pytest.raises(UserError, match=r"is a folder or a device; give a file; remove it"):
        found_by(machine, tmp_path)
    assert machine.asked == []


@pytest.mark.parametrize(
    ("specs", "good", "asked", "difference"),
    [
        (specs_of(4), GOOD, {"stage": "compile"}, "it has 3 candidates from diffusers==0.1 to diffusers==0.3"),
        (specs_of(3), "diffusers==0.0.1", {"stage": "compile"}, "its good is diffusers==0.0, and now diffusers==0.0.1"),
        (specs_of(3), GOOD, {"stage": "int8"}, "its stage is compile, and now int8 is asked for"),
        (specs_of(3), GOOD, {"stage": "compile", "model": "sdxl"}, "its model is -, and now sdxl is asked for"),
    ],
)
def test_a_file_of_another_search_is_refused(
    tmp_path: Path, specs: list[str], good: str, asked: dict[str, str], difference: str
) -> None:
    keep = tmp_path / "bisect.json"
    search(specs_of(3), Machine([1.0, 1.2, 1.2]), keep, print, good=GOOD, asked={"stage": "compile"})
    before, machine = keep.read_bytes(), Machine([1.0, 1.2, 1.2, 1.2])
    with pytest.raises(UserError) as refused:
        search(specs, machine, keep, print, good=good, asked=asked)
    assert str(refused.value).startswith(f"{keep} is the file of another search: {difference}")
    assert str(refused.value).endswith(f"remove it to search anew (rm {keep}).")
    assert (keep.read_bytes(), machine.asked) == (before, [])


STEP = {"spec": "diffusers==0.3", "state": MEASURED, "word": SLOW, "ratio": 1.2}
WHOLE = {"made_for": bisect.MADE_FOR, "asked": {"good": GOOD}, "specs": specs_of(3), "steps": [STEP]}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (json.dumps(WHOLE)[:-30], "is no whole file of a bisection: "),
        ("", "is no whole file of a bisection: this is not whole JSON"),
        ("\x00\udcff", "is no whole file of a bisection: "),
        ("[" * 100_000, "is no whole file of a bisection: "),
        ("[]", "the file is []; expected an object"),
        ('{"benchmarks": []}', "the file.made_for is missing"),
        (json.dumps(WHOLE | {"made_for": "fastdiff bisect 9"}), "made for 'fastdiff bisect 9', and this is"),
        (json.dumps(WHOLE | {"specs": []}), "it has no candidates, and now 3 candidates from"),
        (json.dumps(WHOLE | {"steps": [STEP | {"ratio": "1.2"}]}), 'the file.steps[0].ratio is "1.2"; expected'),
        (json.dumps(WHOLE | {"steps": [STEP | {"ratio": math.nan}]}), "this is not whole JSON"),
        (json.dumps(WHOLE | {"steps": [STEP | {"ratio": -1}]}), "the file.steps[0] has the ratio -1.0; expected a"),
        (json.dumps(WHOLE | {"steps": [STEP | {"state": "odd"}]}), "the file.steps[0] has the state 'odd'"),
        (json.dumps(WHOLE | {"steps": [STEP | {"state": "skipped"}]}), "the file.steps[0] has the state 'skipped'"),
        (json.dumps(WHOLE | {"steps": [STEP | {"word": ""}]}), "and the verdict ''"),
        (json.dumps(WHOLE | {"steps": [STEP | {"spec": "torch==1"}]}), "about torch==1, which is no candidate"),
        (json.dumps(WHOLE | {"steps": [STEP, STEP]}), "the file.steps[1] is about diffusers==0.3, as an earlier one"),
    ],
)
def test_a_strange_file_is_one_sentence_and_stays_as_it_is(tmp_path: Path, content: str, sentence: str) -> None:
    keep, machine = tmp_path / "bisect.json", Machine([1.0, 1.2, 1.2])
    keep.write_text(content, encoding="utf-8", errors="surrogateescape")
    before = keep.read_bytes()
    with pytest.raises(UserError) as refused:
        found_by(machine, keep)
    assert str(keep) in str(refused.value)
    assert sentence in str(refused.value)
    assert f"(rm {keep})" in str(refused.value)
    assert "\n" not in str(refused.value)
    assert (keep.read_bytes(), machine.asked) == (before, [])


def test_the_file_of_the_table_above_is_taken_where_it_is_whole(tmp_path: Path) -> None:
    """So that each line of the table is refused for its own fault."""
    keep, machine = tmp_path / "bisect.json", Machine([1.0, 1.2, 1.2])
    keep.write_text(json.dumps(WHOLE))
    assert found_by(machine, keep).culprit == "diffusers==0.2"
    assert "diffusers==0.3" not in machine.asked


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
    ("releases", "good", "bad", "expected"),
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
def test_candidates(releases: list[str], good: str, bad: str, expected: list[str]) -> None:
    assert candidates(releases, good, bad, "torch") == [f"torch=={version}" for version in expected]


@pytest.mark.parametrize(
    ("good", "spec"),
    [
        ("2026-11-01", "torch==2.15.0.dev20261101+cpu"),
        ("2.13.0", "torch==2.13.0+cpu"),
        ("2.14.0+cpu", "torch==2.14.0+cpu"),
    ],
)
def test_the_good_end_is_a_release_that_pip_knows(good: str, spec: str) -> None:
    assert bisect.spec_of(NIGHTLIES, good, "torch") == spec


def test_yanked_releases_are_left_out_unless_one_is_an_end() -> None:
    yanked = ["0.39.0", "0.42.1"]
    assert candidates(RELEASES, "0.38.0", "0.40.0", "d", yanked) == ["d==0.40.0"]
    assert candidates(RELEASES, "0.40.0", "0.42.1", "d", yanked) == ["d==0.40.0.post1", "d==0.42.1"]
    assert candidates(RELEASES, "0.39.0", "0.40.0", "d", yanked) == ["d==0.40.0"]


@pytest.mark.parametrize(
    ("releases", "good", "bad", "sentence"),
    [
        (RELEASES, "0.38.5", "0.42.1", "d has no release 0.38.5; the nearest ones are 0.38.0 and 0.39.0rc1: name one"),
        (RELEASES, "0.38.0", "0.43.0", "d has no release 0.43.0; the nearest one is 0.42.1: name one of its releases"),
        (RELEASES, "0.1", "0.42.1", "d has no release 0.1; the nearest one is 0.37.1: name .* as --good"),
        (RELEASES, "latest", "0.42.1", "--good is 'latest'; expected a version of d such as"),
        (RELEASES, "0.42.1", "0.38.0", "--good 0.42.1 is not older than --bad 0.38.0"),
        (RELEASES, "0.38.0", "0.38", "--good 0.38.0 is not older than --bad 0.38:"),
        (RELEASES, "2026-11-01", "0.42.1", "--good 2026-11-01: the index offers no nightly of d; .* --pre d$"),
        ([], "0.38.0", "0.42.1", "--good 0.38.0: the index offers no release of d; "),
        (NIGHTLIES, "2026-11-04", "2026-11-01", "--good 2026-11-04 is not older than --bad 2026-11-01"),
        (
            NIGHTLIES,
            "2026-11-01",
            "2026-11-03",
            r"d has no nightly of 2026-11-03; the nearest ones are 2.15.0.dev20261102\+cpu and 2.15.0.dev20261104\+cpu",
        ),
        (NIGHTLIES, "2.15.0.dev20261101+cu130", "2026-11-04", r"d has no release 2.15.0.dev20261101\+cu130; "),
    ],
)
def test_ends_that_do_not_fit_are_one_sentence(releases: list[str], good: str, bad: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        candidates(releases, good, bad, "d")


@unhurried
@given(st.permutations(RELEASES), st.sampled_from(RELEASES), st.sampled_from(RELEASES))
def test_candidates_end_at_the_bad_end_in_the_order_of_versions(order: list[str], good: str, bad: str) -> None:
    oldest_first = sorted(RELEASES, key=bisect.Version)
    places = {f"d=={release}": place for place, release in enumerate(oldest_first)}
    if places[f"d=={good}"] >= places[f"d=={bad}"]:
        with pytest.raises(UserError, match="not older"):
            candidates(order, good, bad, "d")
        return
    found = [places[spec] for spec in candidates(order, good, bad, "d")]
    assert found[-1] == places[f"d=={bad}"]
    assert all(places[f"d=={good}"] < older < newer for older, newer in pairwise([*found, math.inf]))


# -- the answer -------------------------------------------------------------------------------------------------------


def test_the_answer_names_the_release_and_the_next_command() -> None:
    good, culprit = a_step("diffusers==0.9", 1.0), a_step("diffusers==0.10", 1.2)
    culprit = replace(culprit, difference=("diffusers: 0.8 -> 0.10", "tokenizers: 1 -> 2"), changes=("graphs: 1 -> 3",))
    steps = (a_step("diffusers==0.11", 1.21), good, culprit)
    assert bisection.text(Found("diffusers==0.10", "diffusers==0.9", (), steps), "diffusers==0.8", STAGE) == [
        "candidate        new / old        interval  verdict",
        "---------------  ---------  --------------  ------------",
        "diffusers==0.8           -               -  the good end",
        "diffusers==0.9       1.000  0.990 .. 1.010  SAME",
        "diffusers==0.10      1.200  1.188 .. 1.212  SLOW",
        "diffusers==0.11      1.210  1.198 .. 1.222  SLOW",
        "",
        "the first bad release is diffusers==0.10, and the last good one diffusers==0.9: +20.0 %",
        "",
        "environment, diffusers==0.8 -> diffusers==0.10:",
        "  diffusers: 0.8 -> 0.10",
        "  tokenizers: 1 -> 2",
        "",
        "what else changed:",
        "  graphs: 1 -> 3",
        "",
        "next: fastdiff ab --old diffusers==0.9 --new diffusers==0.10 --stage sdpa",
    ]


def test_the_answer_names_a_range_where_releases_are_unusable() -> None:
    found = found_by(Machine([1.0, None, None, 1.2]))
    lines = bisection.text(found, GOOD, STAGE)
    assert (
        "the first bad release is one of diffusers==0.2, diffusers==0.3, diffusers==0.4: diffusers==0.1 is good, "
        "diffusers==0.4 is bad, and nothing is known of the 2 between them."
    ) in lines
    assert sum(line.endswith("unusable: no wheel") for line in lines) == 2


def test_the_good_end_is_the_last_good_one_where_the_first_candidate_is_bad() -> None:
    lines = bisection.text(found_by(Machine([1.2, 1.2])), GOOD, STAGE)
    assert f"the first bad release is diffusers==0.1, and the last good one {GOOD}: +20.0 %" in lines


@pytest.mark.parametrize(("ratio", "word", "commands"), [(1.0, SAME, 0), (0.8, FAST, 1), (1.05, UNSURE, 1)])
def test_the_answer_where_nothing_flips(ratio: float, word: str, commands: int) -> None:
    lines = bisection.text(found_by(Machine([1.2, ratio])), GOOD, STAGE)
    assert any(line.startswith(f"nothing to find: diffusers==0.2 is {word}: ") for line in lines)
    assert lines.count(f"next: fastdiff ab --old {GOOD} --new diffusers==0.2 --stage sdpa") == commands
