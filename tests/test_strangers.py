"""fastdiff is installed beside a suite that has nothing to do with it: then nothing is changed."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

import pytest
from beside import place_beside
from faked import accepted as accepted
from faked import faked as faked

import fastdiff.plugin.session  # noqa: F401  (stays loaded between the runs inside this process)

if TYPE_CHECKING:
    from pathlib import Path

    from faked import Faked

PLAIN = ("-p", "no:fastdiff")
MENTIONED = re.compile(r"passed|warning|error|fail|saved|compar|(?<![\d.,])0001|fastdiff", re.IGNORECASE)
"""Lines of a session that do not depend on times."""


def session(project: pytest.Pytester, *options: str, apart: bool = False) -> pytest.RunResult:
    """`apart`: in a process of its own. Without pytest's cache, so that two sessions of one folder do the same."""
    run = project.runpytest_subprocess if apart else project.runpytest_inprocess
    return run("-p", "no:cacheprovider", "-p", "no:hypothesispytest", *options)


def untouched(project: pytest.Pytester, *sessions: tuple[str, ...], apart: bool = False) -> pytest.RunResult:
    """The last of these sessions with the plugin, after each was found equal to the same without it."""
    plain = [session(project, *options, *PLAIN, apart=apart) for options in sessions]
    saved = saved_in(project)
    shutil.rmtree(project.path / ".benchmarks")
    with_plugin = [session(project, *options, apart=apart) for options in sessions]
    for one, other in zip(with_plugin, plain, strict=True):
        assert one.ret == other.ret, str(one.stdout) + str(one.stderr)
        assert counted(one) == counted(other)
        assert mentioned(one) == mentioned(other)
    assert saved_in(project) == saved
    assert not (project.path / "runs").exists()
    return with_plugin[-1]


def saved_in(project: pytest.Pytester) -> list[str]:
    """What pytest-benchmark has saved; the names of its files end in the time."""
    return sorted(path.name[:5] for path in (project.path / ".benchmarks").rglob("*.json"))


def counted(result: pytest.RunResult) -> list[str]:
    """Where the session comes to its end."""
    return re.findall(r"\d+ [a-z]+(?=,| in )", result.outlines[-1])


def mentioned(result: pytest.RunResult) -> list[str]:
    """Without the list of installed plugins, and without the places in a traceback, which goes through hooks."""
    lines = [line.strip() for line in (*result.outlines, *result.errlines)]
    told = [line for line in lines if MENTIONED.search(line) and not line.startswith(("plugins: ", "File "))]
    return [re.sub(r"[\d.:_]+", "N", line).strip("= ") for line in told]


# -- names of fixtures and parameters ---------------------------------------------------------------------------------

SUITES = {
    "a parameter": """
        @pytest.mark.parametrize("NAME", ["a", "b"])
        def test_one(NAME):
            assert NAME in ("a", "b")
    """,
    "a parameter beside another": """
        @pytest.mark.parametrize(("other", "NAME"), [(1, "a"), (2, "b")])
        def test_one(NAME, other):
            assert (other, NAME) in [(1, "a"), (2, "b")]
    """,
    "parameters from a hook of the file": """
        def pytest_generate_tests(metafunc):
            if "NAME" in metafunc.fixturenames:
                metafunc.parametrize("NAME", ["a", "b"])

        def test_one(NAME):
            assert NAME in ("a", "b")
    """,
    "parameters from a hook of a class": """
        class TestThese:
            def pytest_generate_tests(self, metafunc):
                metafunc.parametrize("NAME", ["a", "b"])

            def test_one(self, NAME):
                assert NAME in ("a", "b")
    """,
    "a fixture": """
        @pytest.fixture
        def NAME():
            return "a"

        def test_one(NAME):
            assert NAME == "a"

        def test_two(NAME):
            assert NAME == "a"
    """,
    "a fixture with parameters": """
        @pytest.fixture(params=["a", "b"])
        def NAME(request):
            return request.param

        def test_one(NAME):
            assert NAME in ("a", "b")
    """,
    "a fixture with parameters from outside": """
        @pytest.fixture
        def NAME(request):
            return request.param * 2

        @pytest.mark.parametrize("NAME", ["a", "b"], indirect=True)
        def test_one(NAME):
            assert NAME in ("aa", "bb")
    """,
    "a fixture that is used by another": """
        @pytest.fixture(scope="module", params=["a", "b"])
        def NAME(request):
            return request.param

        @pytest.fixture
        def user(NAME):
            return NAME

        def test_one(user):
            assert user in ("a", "b")
    """,
    "a fixture of a class": """
        class TestThese:
            @pytest.fixture(params=["a", "b"])
            def NAME(self, request):
                return request.param

            def test_one(self, NAME):
                assert NAME in ("a", "b")
    """,
    "an attribute and a variable": """
        class NAME:
            parts = ["a", "b"]

        @pytest.mark.parametrize("one", NAME.parts)
        def test_one(one):
            assert one in ("a", "b")
    """,
}


NAMES = ("stage", "reference", "regression")


@pytest.mark.parametrize("kind", SUITES)
def test_a_name_that_a_suite_has_given_is_its_own(pytester: pytest.Pytester, kind: str) -> None:
    written = "import pytest\n" + re.sub("^        ", "", SUITES[kind], flags=re.MULTILINE)
    pytester.makepyfile(**{f"test_their_{name}": written.replace("NAME", name) for name in NAMES})
    assert untouched(pytester, ()).ret == 0


@pytest.mark.parametrize("name", NAMES)
def test_parameters_from_a_hook_of_a_conftest_are_their_own(pytester: pytest.Pytester, name: str) -> None:
    pytester.makeconftest(
        f"def pytest_generate_tests(metafunc):\n"
        f"    if {name!r} in metafunc.fixturenames:\n"
        f"        metafunc.parametrize({name!r}, ['a', 'b'])\n"
    )
    pytester.makepyfile(f"def test_one({name}): assert {name} in ('a', 'b')")
    untouched(pytester, ()).assert_outcomes(passed=2)


def test_nothing_of_theirs_is_deselected_beside_ours(faked: Faked) -> None:
    """Theirs are called as ours are, and are no comparisons that need --benchmark-compare."""
    (faked.root / "perf_tests" / "test_theirs.py").write_text(
        "import pytest\n"
        "def pytest_generate_tests(metafunc):\n    metafunc.parametrize('regression', ['a', 'b'])\n"
        "def test_theirs(regression): pass\n"
    )
    faked.session().assert_outcomes(passed=10, deselected=2)


# -- options of pytest-benchmark --------------------------------------------------------------------------------------

BENCHMARK = """
from itertools import count
from pathlib import Path

import pytest

SECONDS = count(0, 1.5 if Path("slow").exists() else 1.0)

@pytest.mark.benchmark(timer=lambda: next(SECONDS))
def test_speed(benchmark):
    benchmark.pedantic(sum, ([1],), rounds=5)
"""
AUTOSAVE = ("--benchmark-autosave",)


@pytest.fixture
def benchmarks(pytester: pytest.Pytester) -> pytest.Pytester:
    """A suite of pytest-benchmark's, in a project that has baselines of its own kind."""
    pytester.makeini("[pytest]")
    pytester.mkdir("baselines").joinpath("0001_theirs.json").write_text("{}")
    pytester.makepyfile(BENCHMARK)
    return pytester


def test_a_benchmark_is_saved_and_compared(benchmarks: pytest.Pytester) -> None:
    result = untouched(benchmarks, AUTOSAVE, ("--benchmark-compare", *AUTOSAVE))
    assert result.ret == 0
    result.stdout.fnmatch_lines(["test_speed (0001_*", "test_speed (NOW)*"])
    assert saved_in(benchmarks) == ["0001_", "0002_"]


def test_the_number_of_a_run_is_that_of_their_own(benchmarks: pytest.Pytester) -> None:
    result = untouched(benchmarks, AUTOSAVE, AUTOSAVE, ("--benchmark-compare=0001",))
    result.stdout.fnmatch_lines(["test_speed (0001_*", "test_speed (NOW)*"])
    result.stdout.no_fnmatch_line("test_speed (0002_*")


def test_a_comparison_fails_where_it_would(benchmarks: pytest.Pytester) -> None:
    compared = ("--benchmark-compare", "--benchmark-compare-fail=mean:5%")
    assert untouched(benchmarks, AUTOSAVE, compared, apart=True).ret == 0
    session(benchmarks, *AUTOSAVE)
    benchmarks.path.joinpath("slow").touch()
    slow, plain = session(benchmarks, *compared, apart=True), session(benchmarks, *compared, *PLAIN, apart=True)
    assert slow.ret == plain.ret != 0
    assert any("Performance has regressed" in line for line in slow.errlines)
    assert mentioned(slow) == mentioned(plain)


NOTHING = ["*Can't compare. No benchmark files*"]


def test_a_comparison_with_nothing_warns_as_it_would(benchmarks: pytest.Pytester) -> None:
    untouched(benchmarks, ("--benchmark-compare",), apart=True).stderr.fnmatch_lines(NOTHING)


def test_it_warns_beside_accepted_runs_where_no_test_needs_a_stage(accepted: Faked) -> None:
    accepted.pytester.makepyfile(test_theirs=BENCHMARK)
    session = accepted.pytester.runpytest_subprocess
    session("test_theirs.py", "--benchmark-compare").stderr.fnmatch_lines(NOTHING)
    session("perf_tests", "--benchmark-compare").stderr.no_fnmatch_line(*NOTHING)


def test_a_file_in_a_missing_folder_is_the_same_error(benchmarks: pytest.Pytester) -> None:
    assert untouched(benchmarks, ("--benchmark-json=nowhere/file.json",), apart=True).ret != 0


def test_their_benchmarks_beside_ours(accepted: Faked) -> None:
    """Theirs are compared with what was saved, ours with what was accepted, and neither folder gets the other's."""
    (accepted.root / "perf_tests" / "test_theirs.py").write_text(BENCHMARK)
    accepted.session(*AUTOSAVE)
    result = accepted.session("--benchmark-compare", *AUTOSAVE)
    assert result.ret == 0
    assert len([line for line in result.outlines if line.startswith("test_speed (0001_")]) == 1
    assert len([line for line in result.outlines if line.startswith("test_latency[shapes-fp32] (0001_shapes")]) == 1
    assert saved_in(accepted.pytester) == ["0001_", "0002_"]
    assert [path.name for path in accepted.baseline.parent.glob("*.json")] == ["0001_shapes.json"]


# -- files and warnings -----------------------------------------------------------------------------------------------


def test_a_warning_that_is_an_error_stays_one(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nfilterwarnings = error")
    pytester.makepyfile("import warnings\ndef test_one(): warnings.warn('`torch.jit.script` is deprecated')")
    untouched(pytester, ()).assert_outcomes(failed=1)


@pytest.mark.parametrize("text", ["[tool]\nfastdiff = 3", "[tool.fastdiff.stages]\nx = 3"])
def test_a_pyproject_that_pytest_does_not_read_is_not_read(pytester: pytest.Pytester, text: str) -> None:
    """Another program of the index is called fastdiff, too."""
    pytester.makeini("[pytest]")
    pytester.makepyprojecttoml(text)
    pytester.makepyfile("def test_one(): pass")
    untouched(pytester, ()).assert_outcomes(passed=1)


# -- beside other plugins ---------------------------------------------------------------------------------------------

PLUGINS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "xdist": ((), ("-n", "2")),
    "pytest_timeout": ((), ("--timeout", "60")),
    "pytest_randomly": (("pytest-randomly",), ("-p", "randomly", "--randomly-seed=7")),
    "pytest_rerunfailures": (("pytest-rerunfailures",), ("--reruns", "1")),
    "pytest_cov": (("pytest-cov", "coverage"), ("--cov", ".")),
}
"""By the module, what has to be installed for it, and options that make it do something. pytest-randomly is none of the
tools of these tests, because it would shuffle them."""
BESIDE = """
import pytest

@pytest.fixture(scope="session", params=["a", "b"])
def stage(request):
    return request.param

@pytest.mark.parametrize("reference", [1, 2])
def test_one(stage, reference):
    assert stage in ("a", "b") and reference

def test_two(stage):
    assert stage == "a"

def test_three(benchmark):
    benchmark.pedantic(sum, ([1],), rounds=2)
"""


@pytest.mark.nightly
@pytest.mark.parametrize("plugin", PLUGINS)
def test_beside_another_plugin(
    pytester: pytest.Pytester, plugin: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages, options = PLUGINS[plugin]
    if packages:
        place_beside(tmp_path / "beside", packages, monkeypatch)
    pytester.makepyfile(BESIDE)
    result = untouched(pytester, options, apart=True)
    result.stdout.fnmatch_lines(["*1 failed, 6 passed*"])
