"""The search for what is slow, with packages, releases and commits whose speed is known; nothing is made or timed."""

from __future__ import annotations

import json
import math
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastdiff.compare.verdicts import FAST, SAME, SLOW, UNSURE, VOID
from fastdiff.experiments.bisect import Bench, Candidate, Difference, search, slower
from fastdiff.experiments.groups import units
from fastdiff.experiments.halving import first_bad, most_questions
from fastdiff.record import bisection as record
from fastdiff.record.bisection import MEASURED, UNUSABLE, Found, Member, Range, Step
from fastdiff.record.errors import UserError
from fastdiff.report import bisection
from fastdiff.report.steps import Shell

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

SIX = ("a", "b", "c", "d", "e", "f")
BAND = 0.05
ASKED = {"old": "then", "new": "now", "stage": "compile"}

unhurried = settings(deadline=None, max_examples=50)
"""A busy machine is no failure, and an example of a search writes a file for every step."""


def package(name: str, old: str = "1.0", new: str = "2.0") -> Member:
    return Member("package", name, old, new)


def a_step(candidate: str, ratio: float, half: float = 0.01, level: Any = "members") -> Step:
    low, high = ratio * (1 - half), ratio * (1 + half)
    if low > 1 + BAND:
        word = SLOW
    elif high < 1 / (1 + BAND):
        word = FAST
    else:
        word = SAME if low >= 1 / (1 + BAND) and high <= 1 + BAND else UNSURE
    return Step(candidate, level, MEASURED, word, ratio, low, high, f"{100 * (ratio - 1):+.1f} %", seconds=2.0)


@dataclass
class World:
    """`slow`: sets of names, each of which makes it slower by its factor where all of it is the new side's. `broken`
    says which sets do not run. Of the guilty package releases from `slow_release` on are slow, and of the code commits
    from `slow_commit` on. Ctrl-C is pressed instead of step `interrupt`."""

    slow: Mapping[tuple[str, ...], float]
    members: tuple[Member, ...] = tuple(map(package, SIX))
    bound: frozenset[tuple[str, str]] = frozenset()
    lasting: tuple[str, ...] = ()
    broken: Callable[[Collection[str]], bool] = lambda _: False
    releases: tuple[str, ...] = ()
    commits: tuple[str, ...] = ()
    slow_release: int = 0
    slow_commit: int = 0
    unusable: frozenset[int] = frozenset()
    """Places of releases and commits that do not run."""
    interrupt: int | None = None
    half: float = 0.01
    asked: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    def measure(self, candidate: Candidate) -> Step:
        if len(self.asked) == self.interrupt:
            raise KeyboardInterrupt
        self.asked.append(candidate.text)
        ratio = self._ratio(candidate)
        if ratio is None:
            return Step(candidate.text, candidate.level, UNUSABLE, reason="no import", seconds=2.0)
        step = a_step(candidate.text, ratio, self.half, candidate.level)
        return replace(step, words=(f"/envs/{candidate.text}/bin/python",))

    def _ratio(self, candidate: Candidate) -> float | None:
        texts, first = (self.releases, self.slow_release) if candidate.release else (self.commits, self.slow_commit)
        if candidate.level in ("releases", "commits"):
            place = texts.index(candidate.text)
            return None if place in self.unusable else 1.2 if place >= first else 1.0
        if candidate.level == "members" and self.broken(candidate.taken):
            return None
        lasting = self.slow.get(("lasting",), 1.0) if candidate.level == "whole" else 1.0
        return lasting * math.prod(factor for names, factor in self.slow.items() if set(names) <= candidate.taken)

    def search(self, keep: Path | None = None, asked: Mapping[str, str] = ASKED) -> Found:
        bench = Bench("now", self.measure, lambda _: self.releases, lambda: self.commits)
        difference = Difference(self.members, self.bound, self.lasting)
        with tempfile.TemporaryDirectory() as folder:
            found = search(difference, bench, keep or Path(folder) / "x.json", asked, self.lines.append)
            return replace(found, old=("then",))


def names(found: Found) -> list[str]:
    return [member.name for member in found.guilty]


def text(found: Found) -> list[str]:
    return bisection.text(found, "--stage sdpa", 12, Shell())


# -- what differs -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("guilty", SIX)
def test_one_slow_package_of_six_is_found_in_few_steps(guilty: str) -> None:
    world = World({(guilty,): 1.2})
    found = world.search()
    assert names(found) == [guilty]
    assert found.shown_by is not None
    assert found.shown_by.candidate == guilty, "its ratio is that of it alone"
    assert world.asked[0] == "now"
    assert len(world.asked) <= 5
    assert f"the cause is {guilty} 1.0 -> 2.0: +20.0 %" in text(found)
    assert text(found)[-1] == (f"next: fastdiff ab --old then --new /envs/{guilty}/bin/python --stage sdpa --pairs 12")


@unhurried
@given(st.sets(st.sampled_from(SIX), min_size=1, max_size=3))
def test_a_set_that_is_only_slow_together_is_found(together: set[str]) -> None:
    world = World({tuple(together): 1.2})
    found = world.search()
    assert names(found) == sorted(together)
    assert len(set(world.asked)) == len(world.asked)


def test_a_pair_is_told_as_one() -> None:
    (line,) = [line for line in text(World({("b", "e"): 1.2}).search()) if "only together" in line]
    assert line == "the cause is b 1.0 -> 2.0 and e 1.0 -> 2.0, only together: +20.0 %"


@unhurried
@given(st.sampled_from(SIX), st.sets(st.frozensets(st.sampled_from(SIX), min_size=1, max_size=5), max_size=20))
def test_where_sets_do_not_run_the_guilty_one_is_in_the_answer(guilty: str, broken: set[frozenset[str]]) -> None:
    world = World({(guilty,): 1.2}, broken=lambda taken: frozenset(taken) in broken)
    found = world.search()
    assert guilty in names(found)
    assert len(set(world.asked)) == len(world.asked)
    if not broken:
        assert names(found) == [guilty]


def test_what_runs_only_apart_from_its_neighbours_is_found_all_the_same() -> None:
    """c needs d, and no package says so: {.., c} without d does not run."""
    found = World({("d",): 1.2}, broken=lambda taken: "c" in taken and "d" not in taken).search()
    assert names(found) == ["d"]


def test_what_cannot_be_told_apart_is_named_as_a_whole() -> None:
    world = World({("c",): 1.2}, broken=lambda taken: ("c" in taken) != ("d" in taken))
    found = world.search()
    assert names(found) == ["c", "d"]
    assert any(line.startswith("sets of only some of these do not run (") for line in text(found))


def test_two_causes_are_told_apart_by_what_one_of_them_explains() -> None:
    found = World({("b",): 1.1, ("e",): 1.15}).search()
    assert names(found) == ["b"]
    assert any(
        line.startswith("this explains +10.0 % of +26.5 %: something else is slower, too") for line in text(found)
    )
    assert text(found)[-1] == "next: fastdiff bisect /envs/b/bin/python /envs/now/bin/python --stage sdpa --pairs 12"


def test_likely_ones_are_asked_about_first() -> None:
    members = tuple(map(package, ("torch", *(f"p{place}" for place in range(8)))))
    world = World({("torch",): 1.2}, members)
    assert names(world.search()) == ["torch"]
    assert world.asked == ["now", "torch"]


def test_what_goes_together_as_packages_say_is_tried_together() -> None:
    """diffusers' new release needs the new hub, and the old transformers needs the old one."""
    bound = frozenset({("diffusers", "hub"), ("hub", "transformers")})
    members = tuple(map(package, ("diffusers", "hub", "transformers", "numpy", "tqdm")))

    def broken(taken: Collection[str]) -> bool:
        return any(one in taken and other not in taken for one, other in bound)

    world = World({("diffusers",): 1.2}, members, bound, broken=broken)
    assert names(world.search()) == ["diffusers"]
    assert not [asked for asked in world.asked if broken(asked.split(", "))]


def test_each_comes_after_what_it_needs_and_circles_are_one() -> None:
    members = tuple(map(package, ("torch", "x", "y", "z")))
    found = units(members, {("torch", "z"), ("x", "y"), ("y", "x")})
    assert [[member.name for member in unit.members] for unit in found] == [["z"], ["torch"], ["x", "y"]]
    assert found[1].needs == {"torch", "z"}


def test_what_packages_say_may_be_too_strict() -> None:
    members = tuple(map(package, ("x", "y", "z")))
    world = World({("y",): 1.2}, members, frozenset({("x", "y"), ("y", "x")}))
    assert names(world.search()) == ["y"]
    assert world.asked == ["now", "x, y", "x", "y"]


@pytest.mark.parametrize(("ratio", "word", "commands"), [(1.0, SAME, 0), (0.8, FAST, 1), (1.05, UNSURE, 1)])
def test_without_a_slow_side_there_is_nothing_to_find(ratio: float, word: str, commands: int) -> None:
    world = World({("a",): ratio})
    found = world.search()
    assert world.asked == ["now"]
    assert (found.guilty, found.is_something) == ((), False)
    assert world.lines[-1].startswith(f"nothing to find: now is {word}: ")
    lines = text(found)
    assert any(line.startswith(f"nothing to find: now is {word}: ") for line in lines)
    assert [line.startswith("next: fastdiff ab --old then --new ") for line in lines].count(True) == commands


def test_the_same_software_is_no_search(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the two sides run the same software"):
        World({}, members=()).search(tmp_path / "x.json")
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_swapped_is_the_cause_where_all_else_is_not() -> None:
    lasting = ("python: 3.11.7 -> 3.11.9",)
    world = World({("lasting",): 1.2}, lasting=lasting)
    found = world.search()
    assert world.asked == ["now", "everything that can be swapped"]
    assert found.is_something
    assert "the cause cannot be swapped: python: 3.11.7 -> 3.11.9" in text(found)
    found = World({("c",): 1.2}, lasting=lasting).search()
    assert names(found) == ["c"]
    assert "not swapped, and from the old side in every step: python: 3.11.7 -> 3.11.9" in text(found)
    world = World({("c",): 1.2}, lasting=lasting, broken=lambda taken: True)
    found = world.search()
    assert (found.guilty, found.is_something) == ((), False)
    assert "everything that can be swapped is unusable: no import" in found.remark


def test_a_disturbed_step_tells_nothing() -> None:
    world = World({("c",): 1.2})
    measure = world.measure

    def disturbed(candidate: Candidate) -> Step:
        step = measure(candidate)
        return replace(step, word=VOID, reason="stolen time") if candidate.text == "a, b, c" else step

    world.measure = disturbed  # type: ignore[method-assign]
    assert names(world.search()) == ["c"]
    assert "  a, b, c is VOID: stolen time; this does not decide about it (2 s)" in world.lines


# -- releases and commits ---------------------------------------------------------------------------------------------

CODE = Member("code", "the project's code", "abc", "the working tree")


def releases(count: int) -> tuple[str, ...]:
    return tuple(f"b==1.{place}" for place in range(1, count + 1))


def test_the_releases_of_the_guilty_package_follow_and_its_last_one_is_known_already() -> None:
    world = World({("b",): 1.2}, releases=releases(8), slow_release=4)
    found = world.search()
    assert found.range == Range("releases", "b==1.5", "b==1.4")
    assert "b==1.8" not in world.asked
    lines = text(found)
    assert "the cause is b 1.0 -> 2.0" in lines
    assert "the first slow release is b==1.5, and the last good one b==1.4: +20.0 %" in lines
    assert lines[-1].startswith("next: fastdiff ab --old /envs/b==1.4/bin/python --new /envs/b==1.5/bin/python ")


def test_one_package_alone_goes_straight_to_its_releases() -> None:
    world = World({("b",): 1.2}, members=(package("b"),), releases=(*releases(2), "now"), slow_release=1)
    found = world.search()
    assert world.asked == ["now", "b==1.2", "b==1.1"]
    assert found.range == Range("releases", "b==1.2", "b==1.1")


def test_a_range_is_named_where_releases_do_not_run() -> None:
    found = World({("b",): 1.2}, releases=releases(4), slow_release=2, unusable=frozenset({1, 2})).search()
    assert found.range == Range("releases", "b==1.4", "b==1.1", ("b==1.2", "b==1.3"))
    assert (
        "the first slow release is one of b==1.2, b==1.3, b==1.4: b==1.1 is good, b==1.4 is slow, and nothing is known "
        "of the 2 between them"
    ) in text(found)
    assert sum(line.endswith("unusable: no import") for line in text(found)) == 2


def test_releases_that_cannot_be_listed_leave_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World({("b",): 1.2})

    def no_index(_: Member) -> tuple[str, ...]:
        raise UserError("environment", "pip reached no index; look at the network.")

    bench = Bench("now", world.measure, no_index, tuple)
    with tempfile.TemporaryDirectory() as folder:
        found = search(Difference(world.members), bench, Path(folder) / "x.json", ASKED, world.lines.append)
    assert names(found) == ["b"]
    assert "the search could not go further: pip reached no index; look at the network." in text(found)


def test_the_commits_of_the_code_follow() -> None:
    commits = ("1a first", "2b second", "3c third, which is slow", "4d fourth", "the working tree")
    world = World({(CODE.name,): 1.2}, (*map(package, SIX), CODE), commits=commits, slow_commit=2)
    found = world.search()
    assert found.range == Range("commits", "3c third, which is slow", "2b second")
    lines = text(found)
    assert "the cause is the project's code abc -> the working tree" in lines
    assert "the first slow commit is 3c third, which is slow, and the last good one 2b second: +20.0 %" in lines
    assert lines[-1] == "next: git show 3c"
    found = World({(CODE.name,): 1.2}, (CODE,), commits=commits, slow_commit=4).search()
    assert text(found)[-1] == "next: git diff HEAD"


@unhurried
@given(
    st.integers(1, 24).flatmap(
        lambda count: st.tuples(
            st.just(count), st.integers(0, count - 1), st.frozensets(st.integers(0, count - 1)), st.integers(0, 9)
        )
    )
)
def test_the_first_bad_one_lies_after_the_last_good_one(history: tuple[int, int, frozenset[int], int]) -> None:
    count, first, unusable, heavy = history
    weights = [8.0 if place == heavy else 1.0 for place in range(count)]
    asked: list[int] = []

    def ask(place: int, low: int, high: int) -> bool | None:
        assert low < place < high < count
        asked.append(place)
        return None if place in unusable else place >= first

    low, high = first_bad(weights, ask)
    assert low < first <= high
    assert len(set(asked)) == len(asked)
    assert all(place in unusable for place in range(low + 1, high))
    if not unusable:
        assert (low, high) == (first - 1, first)
        assert len(asked) <= most_questions(weights, -1, count - 1)
    if heavy >= count:
        assert most_questions(weights, -1, count - 1) == math.ceil(math.log2(count))


def test_neighbours_of_what_tells_nothing_are_asked_on_both_sides_in_turn() -> None:
    asked: list[int] = []
    assert first_bad([1.0] * 8, lambda place, low, high: asked.append(place)) == (-1, 7)  # type: ignore[func-returns-value]
    assert asked == [3, 4, 2, 5, 1, 6, 0]


@pytest.mark.parametrize(
    ("ratio", "bad", "side"),
    [(1.08, 1.2, False), (1.09, 1.2, False), (1.10, 1.2, True), (1.40, 2.0, False), (1.45, 2.0, True)],
)
def test_an_unsure_step_goes_to_the_nearer_end(ratio: float, bad: float, side: bool) -> None:
    """The middle is the square root: 1.095 and 1.414."""
    step = a_step("a", ratio, half=0.5)
    assert step.word == UNSURE
    assert slower(step, a_step("b", bad)) is side


def test_how_an_unsure_step_was_decided_is_shown() -> None:
    world = World({("c",): 1.12, ("a",): 1.045})
    found = world.search()
    assert any(line.startswith("  a, b is UNSURE: +4.5 %; counted as good by its ratio") for line in world.lines)
    assert "a, b is UNSURE; the search counted it as good or bad by its ratio" in text(found)


def test_each_step_says_where_it_is_and_what_it_cost() -> None:
    world = World({("b",): 1.2}, releases=releases(2), slow_release=1)
    world.search()
    assert world.lines == [
        "step 1: now (everything that differs)",
        "  now is SLOW: +20.0 % (2 s)",
        "step 2: a, b, c (3 of the 6 differences, at most 2 more of these)",
        "  a, b, c is SLOW: +20.0 % (2 s)",
        "step 3: a, b (2 of the 6 differences, at most 1 more of these)",
        "  a, b is SLOW: +20.0 % (2 s)",
        "step 4: a (1 of the 6 differences)",
        "  a is SAME: +0.0 % (2 s)",
        "step 5: b (1 of the 6 differences)",
        "  b is SLOW: +20.0 % (2 s)",
        "step 6: b==1.1 (between the old side, which is good, and 1.2, which is bad)",
        "  b==1.1 is SAME: +0.0 % (2 s)",
    ]


# -- its file ---------------------------------------------------------------------------------------------------------


def whole_search(**changed: Any) -> World:
    """With steps of two levels."""
    if changed.pop("code", False):
        members, slow = (*map(package, SIX), CODE), {(CODE.name, "d"): 1.2}
        slow = {(CODE.name,): 1.2}
        commits = tuple(f"{place}a change" for place in range(9))
        return World(slow, members, commits=commits, slow_commit=6, **changed)
    return World({("e",): 1.2}, releases=releases(9), slow_release=6, **changed)


@pytest.mark.parametrize("code", [False, True])
def test_after_an_interrupt_in_any_level_nothing_is_measured_twice(code: bool, tmp_path: Path) -> None:
    whole = whole_search(code=code)
    expected = whole.search()
    assert len({step.level for step in expected.steps}) == 3
    for stop in range(len(whole.asked)):
        keep = tmp_path / f"{stop}.json"
        first, second, third = whole_search(code=code, interrupt=stop), whole_search(code=code), whole_search(code=code)
        with pytest.raises(KeyboardInterrupt):
            first.search(keep)
        assert second.search(keep) == expected
        assert first.asked + second.asked == whole.asked
        assert (third.search(keep), third.asked) == (expected, [])
        told = f"{stop} steps are in {keep} and are not measured again"
        assert (second.lines[0] == told) == bool(stop)


def test_everything_of_a_step_comes_back(tmp_path: Path) -> None:
    full = Step("now", "whole", MEASURED, SLOW, 1.2, 1.1, 1.3, "±", ("a: 1 -> 2",), ("5 graphs",), ("x", "A=1"), 7.5)
    record.write(tmp_path / "x.json", ASKED, [full])
    assert record.read(tmp_path / "x.json", ASKED) == (full,)


def test_an_interval_without_an_end_is_kept_as_none(tmp_path: Path) -> None:
    world = World({("a",): 1.05}, half=math.inf)
    found = world.search(tmp_path / "x.json")
    assert found.steps[0].high is None
    assert record.read(tmp_path / "x.json", ASKED) == found.steps


def test_a_file_that_cannot_be_written_is_found_before_anything_is_measured(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file, and no folder")
    world = World({("a",): 1.2})
    with pytest.raises(UserError, match=r"cannot be written \(File exists\); make room there"):
        world.search(tmp_path / "taken" / "bisect.json")
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    with pytest.raises(UserError, match=r"cannot be written \(File exists\); make room there or get the right"):
        world.search(tmp_path / "nowhere" / "bisect.json")
    with pytest.raises(UserError, match=r"is a folder or a device; give a file; remove it"):
        world.search(tmp_path)
    assert world.asked == []


def test_a_side_that_shows_nothing_ends_the_search(tmp_path: Path) -> None:
    world = World({})
    world.measure = lambda candidate: Step(candidate.text, "whole", UNUSABLE, reason="no wheel")  # type: ignore[method-assign]
    with pytest.raises(UserError, match=r"now is unusable: no wheel, and without .* another NEW, or remove"):
        world.search(tmp_path / "x.json")
    again = World({("a",): 1.2})
    with pytest.raises(UserError, match="is unusable"):
        again.search(tmp_path / "x.json")
    assert again.asked == [], "what is in the file is not measured again"


@pytest.mark.parametrize(
    ("asked", "difference"),
    [
        (ASKED | {"old": "accepted (1)"}, "its old is then, and now accepted (1) is asked for"),
        (ASKED | {"stage": "int8"}, "its stage is compile, and now int8 is asked for"),
        (ASKED | {"model": "sdxl"}, "its model is -, and now sdxl is asked for"),
    ],
)
def test_a_file_of_another_search_is_refused(tmp_path: Path, asked: dict[str, str], difference: str) -> None:
    keep = tmp_path / "x.json"
    World({("a",): 1.2}).search(keep)
    before, world = keep.read_bytes(), World({("a",): 1.2})
    with pytest.raises(UserError) as refused:
        world.search(keep, asked)
    assert str(refused.value).startswith(f"{keep} is the file of another search: {difference}")
    assert str(refused.value).endswith(f"remove it to search anew (rm {keep}).")
    assert (keep.read_bytes(), world.asked) == (before, [])


STEP = {"candidate": "now", "level": "whole", "state": MEASURED, "word": SLOW, "ratio": 1.2}
WHOLE = {"made_for": record.MADE_FOR, "asked": ASKED, "steps": [STEP]}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (json.dumps(WHOLE)[:-30], "is no whole file of a search: "),
        ("", "is no whole file of a search: this is not whole JSON"),
        ("\x00\udcff", "is no whole file of a search: "),
        ("[" * 100_000, "is no whole file of a search: "),
        ("[]", "the file is []; expected an object"),
        ('{"benchmarks": []}', "the file.made_for is missing"),
        (json.dumps(WHOLE | {"made_for": "fastdiff bisect 9"}), "made for 'fastdiff bisect 9', and this is"),
        (json.dumps(WHOLE | {"steps": [STEP | {"ratio": "1.2"}]}), 'the file.steps[0].ratio is "1.2"; expected'),
        (json.dumps(WHOLE | {"steps": [STEP | {"ratio": math.nan}]}), "this is not whole JSON"),
        (json.dumps(WHOLE | {"steps": [STEP | {"ratio": -1}]}), "the file.steps[0] has the ratio -1.0; expected a"),
        (json.dumps(WHOLE | {"steps": [STEP | {"state": "odd"}]}), "the file.steps[0] has the state 'odd'"),
        (json.dumps(WHOLE | {"steps": [STEP | {"state": "skipped"}]}), "the file.steps[0] has the state 'skipped'"),
        (json.dumps(WHOLE | {"steps": [STEP | {"word": ""}]}), "and the verdict ''"),
        (json.dumps(WHOLE | {"steps": [STEP | {"level": "odd"}]}), 'the file.steps[0].level is "odd"'),
        (json.dumps(WHOLE | {"steps": [STEP, STEP]}), "the file.steps[1] is about now, as an earlier one"),
    ],
)
def test_a_strange_file_is_one_sentence_and_stays_as_it_is(tmp_path: Path, content: str, sentence: str) -> None:
    keep, world = tmp_path / "x.json", World({("a",): 1.2})
    keep.write_text(content, encoding="utf-8", errors="surrogateescape")
    before = keep.read_bytes()
    with pytest.raises(UserError) as refused:
        world.search(keep)
    assert str(keep) in str(refused.value)
    assert sentence in str(refused.value)
    assert f"(rm {keep})" in str(refused.value)
    assert "\n" not in str(refused.value)
    assert (keep.read_bytes(), world.asked) == (before, [])


def test_the_file_of_the_table_above_is_taken_where_it_is_whole(tmp_path: Path) -> None:
    """So that each line of the table is refused for its own fault."""
    keep, world = tmp_path / "x.json", World({("a",): 1.2})
    keep.write_text(json.dumps(WHOLE))
    assert names(world.search(keep)) == ["a"]
    assert "now" not in world.asked


# -- the answer -------------------------------------------------------------------------------------------------------


def test_the_answer_is_a_table_a_sentence_and_the_next_command() -> None:
    many = ", ".join(f"nvidia-{place}" for place in range(5))
    steps = (
        replace(a_step(".", 1.2, level="whole"), words=(".",)),
        a_step(many, 1.0),
        Step("torch", "members", UNUSABLE, reason="ImportError:\nlibcudart", seconds=11),
        replace(
            a_step("diffusers", 1.2),
            difference=("diffusers: 0.8 -> 0.10",),
            changes=("graphs: 1 -> 3",),
            words=("/envs/d/bin/python", "A=b c"),
        ),
    )
    guilty = Member("package", "diffusers", "0.8", "0.10", ("a", "b", "c", "d"))
    found = Found(steps, (guilty,), steps[3], old=("accepted",))
    assert text(found) == [
        "tried on the old side                    new / old        interval  seconds  verdict",
        "---------------------------------------  ---------  --------------  -------  --------------------------------",
        ".                                            1.200  1.188 .. 1.212        2  SLOW",
        "nvidia-0, nvidia-1, nvidia-2 and 2 more      1.000  0.990 .. 1.010        2  SAME",
        "torch                                            -               -       11  unusable: ImportError: libcudart",
        "diffusers                                    1.200  1.188 .. 1.212        2  SLOW",
        "",
        "old: accepted",
        "new: .",
        "",
        "the cause is diffusers 0.8 -> 0.10 (with a, b, c and 1 more): +20.0 %",
        "",
        "what else changed:",
        "  graphs: 1 -> 3",
        "",
        "4 steps, 17 s",
        "next: fastdiff ab --old accepted --new /envs/d/bin/python --new 'A=b c' --stage sdpa --pairs 12",
    ]
