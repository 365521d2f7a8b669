"""The ladder's table has the right ratios in straight columns, and progress leaves the terminal as it found it."""

import io
import re
import statistics
import time
from dataclasses import replace

import numpy as np
import pytest

from fastdiff.compare.gate import Judgement
from fastdiff.compare.reasons import because
from fastdiff.compare.steps import Accept, Against, Bisect, Measure, MorePairs, Select, Step
from fastdiff.compare.verdicts import Verdict
from fastdiff.report import progress, steps, verdicts
from fastdiff.report.colour import coloured
from fastdiff.report.columns import aligned
from fastdiff.report.ladder import HEADINGS, Rung, markdown, rows, text
from fastdiff.report.progress import Progress
from fastdiff.report.steps import Shell

LADDER = [
    Rung("shapes", "fp32", None, (0.8, 0.8, 0.8), 0.9, "none", 1.0, 1.0),
    Rung("shapes", "bf16", "fp32", (0.4, 0.4, 0.4), 0.5, "none", 0.998, 0.99),
    Rung("shapes", "compile", "bf16", (0.2, 0.2, 0.2), 61.25, "cold", 0.997, 0.98),
    Rung("shapes", "int8", "compile", (0.25, 0.25, 0.25), 6.5, "warm", 0.993, 0.95),
]


def column(rungs: list[Rung], heading: str) -> list[str]:
    return [row[HEADINGS.index(heading)] for row in rows(rungs)]


# -- one rung ---------------------------------------------------------------------------------------------------------


def test_median() -> None:
    assert Rung("m", "s", None, (0.3, 0.1, 0.9)).median_s == 0.3
    assert Rung("m", "s", None, (0.1, 0.3)).median_s == pytest.approx(0.2)
    assert Rung("m", "s", None).median_s is None


def test_spread_is_half_the_distance_of_the_quartiles() -> None:
    samples = (0.31, 0.30, 0.36, 0.33, 0.30, 0.95, 0.32)
    low, high = np.percentile(samples, [25, 75])
    assert Rung("m", "s", None, samples).spread == pytest.approx((high - low) / 2 / statistics.median(samples))


def test_spread_needs_two_samples() -> None:
    assert Rung("m", "s", None).spread is None
    assert Rung("m", "s", None, (0.3,)).spread is None
    assert Rung("m", "s", None, (0.3, 0.3)).spread == 0


def test_one_outlier_does_not_move_the_spread() -> None:
    assert Rung("m", "s", None, (0.3, 0.3, 0.3, 0.3, 9.0)).spread == 0


# -- the table --------------------------------------------------------------------------------------------------------


def test_cells() -> None:
    assert rows(LADDER)[0] == ("fp32", "800 ms", "±0.0%", "-", "-", "900 ms", "1.0000", "1.0000", "")
    assert rows(LADDER)[2][:6] == ("compile", "200 ms", "±0.0%", "2.00x", "4.00x", "61.25 s (cold)")


def test_ratios() -> None:
    assert column(LADDER, "to previous") == ["-", "2.00x", "2.00x", "0.80x"]
    assert column(LADDER, "to first") == ["-", "2.00x", "4.00x", "3.20x"]


def test_previous_is_what_a_stage_follows_not_the_line_above() -> None:
    branch = Rung("shapes", "branch", "fp32", (0.1, 0.1))
    assert column([*LADDER, branch], "to previous")[-1] == "8.00x"


def test_what_the_machine_disturbed_is_compared_with_nothing() -> None:
    rungs = [replace(rung, disturbed=rung.stage == "compile") for rung in LADDER]
    assert column(rungs, "latency") == column(LADDER, "latency")
    assert column(rungs, "to previous") == ["-", "2.00x", "-", "-"]
    assert column(rungs, "to first") == ["-", "2.00x", "-", "3.20x"]
    assert column(rungs, "remark") == ["", "", "disturbed", ""]


def test_a_stage_slower_than_the_one_it_follows_is_named() -> None:
    assert column(LADDER, "remark") == ["", "", "", "slower than compile here"]


def test_a_remark_of_its_own_goes_first() -> None:
    assert column([*LADDER[:3], replace(LADDER[3], remark="out of memory")], "remark")[-1] == "out of memory"


def test_a_stage_without_its_predecessor_has_no_ratio_to_it() -> None:
    without = [LADDER[0], LADDER[2], LADDER[3]]
    assert column(without, "to previous") == ["-", "-", "0.80x"]
    assert column(without, "to first") == ["-", "4.00x", "3.20x"]


def test_without_the_first_stage_nothing_is_related_to_it() -> None:
    assert column(LADDER[1:], "to first") == ["-", "-", "-"]
    assert column(LADDER[1:], "to previous") == ["-", "2.00x", "0.80x"]


def test_a_stage_that_was_not_measured_leaves_dashes() -> None:
    failed = Rung("shapes", "bf16", "fp32", remark="out of memory")
    table = rows([LADDER[0], failed, LADDER[2]])
    assert table[1] == ("bf16", *["-"] * 7, "out of memory")
    assert table[2][3:5] == ("-", "4.00x")


def test_a_first_stage_that_was_not_measured_is_not_the_first() -> None:
    assert column([replace(LADDER[0], samples_s=()), *LADDER[1:]], "to first") == ["-"] * 4


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.0304, "30 ms"),
        (0.7114, "711 ms"),
        (0.999, "999 ms"),
        (0.9996, "1.00 s"),
        (1.0, "1.00 s"),
        (61.254, "61.25 s"),
    ],
)
def test_durations(seconds: float, shown: str) -> None:
    assert column([Rung("m", "s", None, (seconds,), seconds)], "latency") == [shown]
    assert column([Rung("m", "s", None, (seconds,), seconds)], "first call") == [shown]


def test_first_call_says_the_state_of_the_cache() -> None:
    assert column(LADDER, "first call") == ["900 ms", "500 ms", "61.25 s (cold)", "6.50 s (warm)"]


ODD = [
    *LADDER,
    Rung("shapes", "a-very-long-name-of-a-stage", "int8", (12.5, 13.5, 14.5), 345.6, "warm", 0.1, -0.2, "test failed"),
    Rung("shapes", "x", "gone"),
]


@pytest.mark.parametrize("rungs", [LADDER, ODD, LADDER[:1], []], ids=["ladder", "odd", "one", "none"])
def test_columns_line_up(rungs: list[Rung]) -> None:
    heading, rule, *lines = text(rungs)
    columns = [match.span() for match in re.finditer("-+", rule)]
    assert len(columns) == len(HEADINGS)
    for line, cells in zip([heading, *lines], [HEADINGS, *rows(rungs)], strict=True):
        found = [line[start:end] for start, end in columns]
        assert tuple(cell.strip() for cell in found) == cells
        assert all(not line[end : end + 2].strip() for _, end in columns)
        for number, (start, end) in list(zip(found, columns, strict=True))[1:-1]:
            assert number == number.strip().rjust(end - start)
        assert found[0] == found[0].strip().ljust(len(found[0]))
        assert line == line.rstrip()


@pytest.mark.parametrize("rungs", [LADDER, ODD], ids=["ladder", "odd"])
def test_markdown_is_a_table(rungs: list[Rung]) -> None:
    heading, rule, *lines = markdown(rungs)
    assert cells(heading) == list(HEADINGS)
    assert all(re.fullmatch(r":?-+:?", cell) for cell in cells(rule))
    assert len(cells(rule)) == len(HEADINGS)
    assert [tuple(cells(line)) for line in lines] == rows(rungs)


def test_a_bar_in_a_cell_does_not_break_the_markdown_table() -> None:
    *_, line = markdown([Rung("shapes", "mine", None, remark="a | b")])
    assert len(cells(line)) == len(HEADINGS)


def cells(line: str) -> list[str]:
    """GitHub's rule: a bar ends a cell unless a backslash is before it."""
    assert line.startswith("| ")
    assert line.endswith(" |")
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


# -- progress ---------------------------------------------------------------------------------------------------------

BEFORE = "perf_tests/test_latency.py ..."
"""What pytest left on the line, with the cursor behind it."""


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PATIENCE_S", 0.02)
    monkeypatch.setattr(progress, "TICK_S", 0.01)


@pytest.fixture
def terminal() -> io.StringIO:
    return io.StringIO()


def wait_for_ticks(terminal: io.StringIO, count: int = 1) -> None:
    deadline = time.monotonic() + 10
    while terminal.getvalue().count("building") < count:
        assert time.monotonic() < deadline, "no tick within ten seconds"
        time.sleep(0.005)


def line(written: str) -> tuple[str, int]:
    """A terminal in one line: what it shows after BEFORE and everything that was written, and where the cursor is."""
    shown, cursor, saved = list(BEFORE), len(BEFORE), 0
    for code, character in re.findall(r"(\x1b\[\??\d*[a-zA-Z]|\x1b[78]|\r)|(.)", written, re.DOTALL):
        assert character not in ("\n", "\x1b"), "a line of its own, or a code that no terminal knows"
        if code == "\x1b7":
            saved = cursor
        elif code == "\x1b8":
            cursor = saved
        elif code == "\r":
            cursor = 0
        elif code == "\x1b[K":
            del shown[cursor:]
        elif code == "\x1b[2K":
            shown = []
        elif character:
            shown[cursor : cursor + 1] = character
            cursor += 1
    return "".join(shown).rstrip(), cursor


UNTOUCHED = (BEFORE, len(BEFORE))


@pytest.mark.usefixtures("impatient")
def test_what_takes_long_ticks_and_leaves_the_line_as_it_was(terminal: io.StringIO) -> None:
    with Progress(terminal).doing("building"):
        wait_for_ticks(terminal, 3)
        assert re.fullmatch(re.escape(BEFORE) + r" building \.\.\. \d+ s", line(terminal.getvalue())[0])
    assert line(terminal.getvalue()) == UNTOUCHED
    assert terminal.getvalue().count("\x1b[?7l") == terminal.getvalue().count("\x1b[?7h")


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("kind", [KeyboardInterrupt, RuntimeError])
def test_the_remark_is_cleared_when_an_exception_passes_through(
    terminal: io.StringIO, kind: type[BaseException]
) -> None:
    def fails() -> None:
        with Progress(terminal).doing("building"):
            wait_for_ticks(terminal)
            raise kind

    with pytest.raises(kind):
        fails()
    assert line(terminal.getvalue()) == UNTOUCHED


@pytest.mark.usefixtures("impatient")
def test_nothing_ticks_after_the_end(terminal: io.StringIO) -> None:
    with Progress(terminal).doing("building"):
        wait_for_ticks(terminal)
    written = terminal.getvalue()
    time.sleep(0.05)
    assert terminal.getvalue() == written


@pytest.mark.usefixtures("impatient")
def test_one_thing_after_the_other(terminal: io.StringIO) -> None:
    shown = Progress(terminal)
    with shown.doing("loading and preparing"):
        time.sleep(0.1)
    with shown.doing("building"):
        wait_for_ticks(terminal)
        assert "loading" not in line(terminal.getvalue())[0]
    assert line(terminal.getvalue()) == UNTOUCHED


def test_what_is_done_soon_writes_nothing_and_does_not_wait(
    terminal: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "PATIENCE_S", 60.0)
    monkeypatch.setattr(progress, "TICK_S", 0.001)
    began = time.monotonic()
    with Progress(terminal).doing("building"):
        time.sleep(0.05)
        assert terminal.getvalue() == ""
    assert terminal.getvalue() == ""
    assert time.monotonic() - began < 10


@pytest.mark.usefixtures("impatient")
def test_without_a_terminal_nothing_is_written(capfd: pytest.CaptureFixture[str]) -> None:
    with Progress().doing("building"):
        time.sleep(0.1)
    assert capfd.readouterr() == ("", "")


def test_finished_lines_wait_until_they_are_taken(terminal: io.StringIO, capfd: pytest.CaptureFixture[str]) -> None:
    shown = Progress(terminal)
    shown.say("built")
    shown.say("drawn")
    assert terminal.getvalue() == ""
    assert shown.take_lines() == ["built", "drawn"]
    assert shown.take_lines() == []
    assert capfd.readouterr() == ("", "")


def test_a_stage_that_failed_is_not_an_accepted_gap() -> None:
    (line,) = verdicts.text([], Shell(), ["m-sdpa"])
    assert line == "no verdict: m-sdpa could not be measured or compared; the failed tests say why"
    assert "accepted" in verdicts.text([], Shell())[0]


def test_accepting_a_regression_is_no_advice() -> None:
    def judgement(stage: str, word: str, next: Step, *, excused: bool = False) -> Judgement:
        verdict = Verdict(word, because("not-applied", why="why"), next=next, excused=excused)
        return Judgement(f"m-{stage}", "fingerprint", verdict)

    measure, accept = Measure("m", ("sdpa",)), Accept("m-fp32")
    lines = verdicts.text([judgement("fp32", "CHANGED", accept), judgement("sdpa", "SLOW", measure)], Shell())
    commands = [line.partition(":")[0] for line in lines if line.startswith("next")]
    assert commands == ["next", "next, if this is intended"], "and it comes last"
    assert "next, if this is intended: fastdiff accept" in verdicts.announced(
        judgement("fp32", "CHANGED", accept), Shell()
    )
    for fine in (judgement("fp32", "NEW", accept), judgement("fp32", "CHANGED", accept, excused=True)):
        assert any(line.startswith("next: fastdiff accept") for line in verdicts.text([fine], Shell()))
        assert "next: fastdiff accept" in verdicts.announced(fine, Shell())
    whole = verdicts.text([judgement("int8", "NEW", Accept()), judgement("sdpa", "SLOW", measure)], Shell())
    assert whole[-1].startswith("next, if this is intended: fastdiff accept"), "which accepts what is slow, too"
    page = verdicts.markdown([judgement("fp32", "CHANGED", accept)], Shell())
    assert page[-5:-3] == ["next, if this is intended:", ""]


def test_what_mends_several_stages_is_typed_once() -> None:
    def judgement(stage: str, word: str, next: Step | None, reason: str = "why") -> Judgement:
        return Judgement(f"m-{stage}", "latency", Verdict(word, because("not-applied", why=reason), next=next))

    shell = Shell(run_file="runs/x.json")
    found = [
        judgement("fp32", "SAME", None),
        judgement("bf16", "UNSURE", Measure("m", ("bf16",), pairs=True), "so"),
        judgement("sdpa", "NEW", Accept()),
        judgement("compile", "SLOW", Measure("m", ("sdpa", "compile"))),
        judgement("int8", "NEW", Accept()),
        judgement("fused", "SLOW", Measure("m", ("bf16", "fused"))),
        judgement("odd", "VOID", None),
    ]
    many = [judgement(f"s{n}", "UNSURE", Measure("m", (f"s{n}",)), f"{n} %") for n in range(4)]
    again = "next: pytest perf_tests --benchmark-compare --fastdiff-model m --fastdiff-stage"
    assert verdicts.text(many, shell)[-4:] == [
        "",
        "UNSURE  m-s0 latency: 0 %",
        "UNSURE  3 more (see the table); the reasons are in runs/x.json",
        f"{again} s0,s1,s2,s3",
    ]
    lines = verdicts.text(found, shell)
    assert lines[lines.index("", 3) :] == [
        "",
        "UNSURE  m-bf16 latency: so",
        "SLOW  m-compile latency: why",
        "SLOW  m-fused latency: why",
        f"{again} bf16,sdpa,compile,fused --fastdiff-confirm all",
        "",
        "VOID  m-odd latency: why",
        "",
        "NEW  m-sdpa latency and 1 more: why",
        'next, if this is intended: fastdiff accept runs/x.json --reason "..."',
    ]


HERE = Shell(("perf_tests",), ("--fastdiff-size=64", "--fastdiff-stage=sdpa,bf16"), "../project", "runs/x.json")


@pytest.mark.parametrize(
    ("step", "shell", "line"),
    [
        (Measure(), Shell(()), "pytest --benchmark-compare"),
        (Measure(), HERE, "pytest perf_tests --benchmark-compare --fastdiff-size=64 --fastdiff-stage=sdpa,bf16"),
        (
            Measure("m", ("sdpa",), pairs=True, emulate=True),
            HERE,
            "pytest perf_tests --benchmark-compare --fastdiff-model m --fastdiff-stage sdpa --fastdiff-confirm all "
            "--fastdiff-emulate --fastdiff-size=64",
        ),
        (
            Select("m-sdpa"),
            HERE,
            "pytest perf_tests --benchmark-compare -k m-sdpa --fastdiff-size=64 --fastdiff-stage=sdpa,bf16",
        ),
        (Accept(), HERE, 'fastdiff accept runs/x.json --reason "..." --root=../project'),
        (Accept("m-sdpa"), Shell(), 'fastdiff accept RUN --stage m-sdpa --reason "..."'),
        (
            Against("m", ("sdpa",), ("torch==2.12.1", "diffusers==0.40.0")),
            Shell(given=("--fastdiff-against=torch==2.11",)),
            "pytest perf_tests --fastdiff-model m --fastdiff-stage sdpa "
            "--fastdiff-against 'torch==2.12.1 diffusers==0.40.0'",
        ),
        (
            MorePairs("m-sdpa", ("torch==2.12.1",), (".",), "--stage sdpa", 24),
            Shell(),
            "fastdiff ab --old torch==2.12.1 --new . --stage sdpa --pairs 24",
        ),
        (
            MorePairs("m-sdpa", ("torch==2.12.1",), (".",), "--stage sdpa", 24),
            Shell(given=("--fastdiff-against=torch==2.12.1", "--fastdiff-pairs=4"), session={"m-sdpa": ("m", "sdpa")}),
            "pytest perf_tests --fastdiff-model m --fastdiff-stage sdpa --fastdiff-pairs=24 "
            "--fastdiff-against=torch==2.12.1",
        ),
        (
            Bisect(("accepted",), (".", "A=b c"), "--stage sdpa", 8),
            Shell(root="../project"),
            "fastdiff bisect accepted '. '\"'\"'A=b c'\"'\"'' --stage sdpa --pairs 8 --root=../project",
        ),
    ],
)
def test_each_step_is_a_command_that_repeats_what_was_typed(step: Step, shell: Shell, line: str) -> None:
    assert steps.command(step, shell) == line


# -- colours ----------------------------------------------------------------------------------------------------------


def test_the_word_is_coloured_and_nothing_else() -> None:
    line = "SLOW  m-s latency: +30 % [bold]SLOWER[/bold]"
    shown = coloured(line)
    assert shown.startswith("\x1b[1;31mSLOW\x1b[0m")
    assert re.sub(r"\x1b\[[0-9;]*m", "", shown) == line, "brackets are no markup"
    assert shown.count("\x1b[1;31m") == 1, "a longer word is another one"
    assert coloured("no verdict here") == "no verdict here"


def test_wide_characters_stand_in_columns() -> None:
    assert aligned([["名", "1"], ["ab", "22"], ["[x]", "3"]], {1}) == ["名    1", "ab   22", "[x]   3"]
