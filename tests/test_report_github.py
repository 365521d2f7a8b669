"""What a CI shows: verdicts as Markdown for its summary, and one annotation for each that fails. Text of others forges
neither."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from faked import accepted as accepted
from faked import faked as faked

from fastdiff.compare.effect import Estimate
from fastdiff.compare.gate import Judgement
from fastdiff.compare.reasons import because
from fastdiff.compare.steps import Accept, Against, Measure
from fastdiff.compare.verdicts import SLOW, Verdict, decide
from fastdiff.report import github, verdicts
from fastdiff.report.clean import clean, in_markdown
from fastdiff.report.steps import Shell

if TYPE_CHECKING:
    from faked import Faked

EVIL = "torn\n::error file=a::forged\r\n##[warning]forged | <b>bold</b> `x` [a](https://b.c) *it* $x$ &amp; a_b"
"""As a file could hold it."""
SHELL = Shell(run_file="runs/x.json")


def judgement(why: str = "why", stage: str = "m-sdpa") -> Judgement:
    return Judgement(stage, "first_call", Verdict(SLOW, because("not-applied", why=why), next=Accept()))


# -- text of others ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "harmless"),
    [
        ("::error::x", ": :error::x"),
        ("::error title=a:b,line=3::x", ": :error title=a:b,line=3::x"),
        ("a ##[error]x", "a # #[error]x"),
        ("a\n::stop-commands::x", "a : :stop-commands::x"),
        ("perf_tests/test_a.py::test_b", "perf_tests/test_a.py::test_b"),
        ("## a heading", "## a heading"),
    ],
)
def test_what_a_log_would_take_for_a_command_is_none(text: str, harmless: str) -> None:
    assert clean(text) == harmless
    assert clean(harmless) == harmless


def test_a_page_shows_text_as_it_is_written() -> None:
    shown = in_markdown(EVIL)
    assert "\n" not in shown
    assert "::error" not in shown
    assert not set("<>`[]*$&_#\\") & set(re.sub(r"\\.", "", shown)), "markup without a backslash before it"
    assert re.sub(r"\\(.)", r"\1", shown) == clean(EVIL), "backslashes are all that is added"


# -- the page ---------------------------------------------------------------------------------------------------------


def test_a_page_has_the_words_the_interval_the_sentences_and_the_commands() -> None:
    slow = decide(Estimate(1.2, 1.15, 1.25, 1.1, 1.3, trials=12), 0.01)
    found = [
        Judgement("m-fp32", "latency", Verdict("SAME", because("facts-equal", count=1))),
        Judgement("m-sdpa", "latency", slow),
        judgement(stage="m-fp32"),
    ]
    lines = verdicts.markdown(found, SHELL)
    assert lines[:2] == ["| stage | latency | first call |", "| --- | --- | --- |"]
    assert lines[2:4] == ["| m-fp32 | SAME | SLOW |", "| m-sdpa | SLOW +20.0 % (+15.0 % .. +25.0 %) | - |"]
    assert lines[4:6] == ["", f"- {verdicts.text(found, SHELL)[5]}"], "the terminal's sentence"
    assert lines[-8:] == [
        "",
        "- SLOW  m-fp32 first call: why",
        "",
        "next, if this is intended:",
        "",
        "```console",
        'fastdiff accept runs/x.json --reason "..."',
        "```",
    ]


def test_a_page_without_a_verdict_says_why() -> None:
    assert verdicts.markdown([], SHELL, ["m-sdpa"]) == [
        "no verdict: m-sdpa could not be measured or compared; the failed tests say why"
    ]


def test_no_text_breaks_out_of_its_line_on_a_page_or_in_a_terminal() -> None:
    """A command may repeat what a baseline's file says."""
    step = Against("m", ("sdpa",), (EVIL,))
    found = [
        judgement(EVIL),
        Judgement("m-fp32", "latency", Verdict(SLOW, because("not-applied", why=EVIL), next=step)),
    ]
    for lines in (
        verdicts.markdown(found, SHELL),
        verdicts.text(found, SHELL),
        verdicts.announced(found[1], SHELL).split("\n"),
    ):
        assert any("torn" in line for line in lines)
        assert all("\n" not in line and "::error file" not in line and "##[" not in line for line in lines)
    page = verdicts.markdown(found, SHELL)
    assert [line for line in page if "<b>" in line and not line.startswith("pytest ")] == []


# -- annotations ------------------------------------------------------------------------------------------------------


def test_a_failing_verdict_is_one_command_at_its_test() -> None:
    line = github.error(judgement(), SHELL, ("perf_tests/a,b.py", 5))
    assert line == (
        "::error file=perf_tests/a%2Cb.py,line=5,title=m-sdpa first call%3A SLOW::"
        'm-sdpa: first call is SLOW: why%0Anext, if this is intended: fastdiff accept runs/x.json --reason "..."'
    )
    assert github.error(judgement("100 %"), SHELL, None).startswith(
        "::error title=m-sdpa first call%3A SLOW::m-sdpa: first call is SLOW: 100 %25%0Anext"
    )


@pytest.mark.parametrize("text", [EVIL, "%0A::error::x", "a\r\n::error::x"])
def test_forged_text_makes_no_second_command(text: str) -> None:
    """Read as GitHub's runner does."""
    about = Judgement(text, text, Verdict(text, because("not-applied", why=text), next=Measure(text, (text,))))
    line = github.error(about, SHELL, (text, 1))
    assert not {"\n", "\r"} & set(line)
    properties, _, sentence = line.removeprefix("::").partition("::")
    assert [one.partition("=")[0] for one in properties.removeprefix("error ").split(",")] == ["file", "line", "title"]
    for part in re.split("%0D|%0A", sentence):
        assert not part.lstrip().startswith("::")
        assert "##[" not in part


# -- a session --------------------------------------------------------------------------------------------------------


def commands(lines: list[str]) -> list[str]:
    return [line for line in lines if line.lstrip().startswith("::")]


def test_in_a_job_each_failing_verdict_is_shown_at_its_test(accepted: Faked, monkeypatch: pytest.MonkeyPatch) -> None:
    accepted.takes(other=4.0)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    slow = accepted.session("--benchmark-compare")
    line = (
        (accepted.root / "perf_tests" / "test_suite.py")
        .read_text()
        .split("\n")
        .index("def test_not_slower(regression):")
    )
    for command, metric in zip(commands(slow.outlines), ("latency", "ladder"), strict=True):
        assert command.startswith(
            f"::error file=perf_tests/test_suite.py,line={line + 1},title=shapes-other {metric}%3A SLOW::"
            f"shapes-other: {metric} is SLOW: "
        )
    accepted.takes()
    assert commands(accepted.session("--benchmark-compare").outlines) == [], "nothing fails"


def test_without_a_test_of_its_own_a_verdict_is_the_jobs(accepted: Faked, monkeypatch: pytest.MonkeyPatch) -> None:
    accepted.takes(other=4.0)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    result = accepted.session("--benchmark-compare", "-k", "latency")
    assert [one.partition("::shapes")[0] for one in commands(result.outlines)] == [
        f"::error title=shapes-other {metric}%3A SLOW" for metric in ("latency", "ladder")
    ]


def test_outside_of_a_job_no_command_is_printed(accepted: Faked) -> None:
    accepted.takes(other=4.0)
    assert commands(accepted.session("--benchmark-compare").outlines) == []


def test_the_summary_of_a_session_has_the_ladder_and_the_verdicts(accepted: Faked) -> None:
    accepted.takes(other=4.0)
    result = accepted.session("--benchmark-compare", "--fastdiff-markdown=runs/page.md")
    page = (accepted.root / "runs" / "page.md").read_text()
    ladder, _, gate = page.partition("### verdicts\n")
    assert "| stage | latency | spread |" in ladder
    assert f"against {in_markdown(accepted.baseline.name)}, accepted " in gate
    assert "| shapes-other | SLOW +300.0 % " in gate
    (sentence,) = [line for line in result.outlines if line.startswith("SLOW  shapes-other latency: ")]
    assert f"\n- {in_markdown(sentence)}\n" in gate
    command = [line.removeprefix("next: ") for line in result.outlines if line.startswith("next: ")][-1]
    assert f"\n```console\n{command}\n```\n" in gate


def test_without_a_comparison_the_page_is_the_ladder(faked: Faked) -> None:
    faked.session("--fastdiff-markdown=runs/page.md")
    assert "verdicts" not in (faked.root / "runs" / "page.md").read_text()
