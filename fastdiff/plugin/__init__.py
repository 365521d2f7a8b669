"""The pytest plugin: options, fixtures, hooks. What they do lives in `fastdiff.plugin.suite` and the rooms below it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fastdiff.host.environment import device_slug
from fastdiff.plugin import specs as hooks
from fastdiff.plugin.settings import add_options, check, device_asked, is_asked, project_folder, settings
from fastdiff.record import baselines
from fastdiff.record.writing import write_text

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from fastdiff.plugin.suite import Subject, Suite
    from fastdiff.trial.live import LiveStage, Reference


class Judged(pytest.fail.Exception):  # type: ignore[name-defined]
    """A verdict failed a test. What the test measured is whole, and somebody may accept it."""

    __module__ = "builtins"  # as pytest does it, so that the report shows the sentence and no path


REFUSED = pytest.StashKey[pytest.UsageError]()
"""What is wrong with a name or a ladder that only the collected conftests know."""
SUITE = pytest.StashKey["Suite"]()
COMPARING = pytest.StashKey[bool]()
"""Whether `--benchmark-compare` or `--fastdiff-against` was given: then verdicts decide."""
DEFAULT_STORAGE = "file://./.benchmarks"
"""pytest-benchmark's own; any other value is somebody's wish and stays."""
NO_OTHER_STORAGE = "Can't compare. No benchmark files"
"""What pytest-benchmark warns of where its own storage is empty."""


def pytest_addoption(parser: pytest.Parser) -> None:
    add_options(parser)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    pluginmanager.add_hookspecs(hooks)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    # Inside a test pytest resets Python's warning filters, so the known noise is named to pytest as well.
    from fastdiff.models.noise import KNOWN_WARNINGS

    for pattern in KNOWN_WARNINGS:
        config.addinivalue_line("filterwarnings", f"ignore:{pattern}")
    point_at_baselines(config)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Wrong values and impossible recipes of a file are answered before anything is collected, without torch."""
    if is_asked(session.config):
        check(session.config)


# -- fixtures ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def stage(request: pytest.FixtureRequest) -> Iterator[LiveStage]:
    """An optimization stage: built, proven, called once, and ready to draw. Built once for all tests that use it."""
    suite = suite_of(request.config)
    if hasattr(request.config, "workerinput"):
        pytest.fail("fastdiff measures one stage at a time, and parallel workers disturb each other: drop -n.", False)
    with suite.live(request.param) as live:
        yield live


@pytest.fixture(scope="session")
def reference(request: pytest.FixtureRequest, stage: LiveStage) -> Reference:
    """The pictures of the ladder's first stage, drawn in this session for the same request."""
    suite = suite_of(request.config)
    if why := suite.incomparable(stage):
        pytest.skip(why)
    return suite.reference(stage.model)


# -- collection -------------------------------------------------------------------------------------------------------


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "stage" in metafunc.fixturenames and not names_stages_itself(metafunc):
        try:
            subjects = suite_of(metafunc.config).subjects
        except pytest.UsageError as error:
            # Raised here it would be a traceback of this file's collection; see pytest_collection_modifyitems.
            metafunc.config.stash[REFUSED] = error
            subjects = []
        metafunc.parametrize("stage", subjects, ids=[s.id for s in subjects], indirect=True, scope="session")


def names_stages_itself(metafunc: pytest.Metafunc) -> bool:
    """A suite may have a parameter of its own that happens to have this name."""
    marks = metafunc.definition.iter_markers("parametrize")
    names = [mark.args[0] if mark.args else mark.kwargs.get("argnames", ()) for mark in marks]
    return any("stage" in (name.replace(",", " ").split() if isinstance(name, str) else name) for name in names)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if REFUSED in config.stash:
        raise config.stash[REFUSED]
    for item in items:
        subject = subject_of(item)
        if subject is not None and "benchmark" in fixtures_of(item):
            from fastdiff.instruments.latency import synchronised_clock

            own = item.get_closest_marker("benchmark")
            asked = {"timer": synchronised_clock, "group": subject.model.name} | dict(own.kwargs if own else {})
            item.add_marker(pytest.mark.benchmark(**asked), append=False)


def pytest_deselected(items: list[pytest.Item]) -> None:
    """What -k, -m and --deselect take away: a stage without its picture's test is not the whole stage."""
    for item in items:
        if subject := subject_of(item):
            suite_of(item.config).ledger.deselected.setdefault(subject.id, []).append(item.name.partition("[")[0])


def pytest_collection_finish(session: pytest.Session) -> None:
    if SUITE in session.config.stash:
        suite = suite_of(session.config)
        suite.reference_wanted = any("reference" in fixtures_of(item) for item in session.items)
        subjects = [(subject_of(item), item.nodeid) for item in session.items]
        suite.last_tests = {subject.id: nodeid for subject, nodeid in subjects if subject is not None}
        suite.ledger.expected = tuple(suite.last_tests)


def pytest_report_collectionfinish(config: pytest.Config) -> list[str]:
    return suite_of(config).headlines if SUITE in config.stash else []


# -- running ----------------------------------------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Nothing is timed or compared that was not proven to be applied; what a test measured is kept, then judged."""
    subject, live = subject_of(item), live_of(item)
    if subject is None or live is None:
        return (yield)
    if {"benchmark", "reference"} & fixtures_of(item) and live.unapplied:
        pytest.fail(f"not measured, because {live.id} was not applied: {live.unapplied[0]}", pytrace=False)
    suite = suite_of(item.config)
    benchmark = getattr(item, "funcargs", {}).get("benchmark")
    live.forget_rounds()
    try:
        result = yield
    except BaseException:
        suite.record(live, samples_of(benchmark), whole=False)
        raise
    suite.record(live, samples_of(benchmark), whole=True)
    if samples_of(benchmark):
        suite.look_further(subject, item.nodeid)
    if benchmark is not None:
        benchmark.extra_info["fastdiff"] = {
            "stage": live.id,
            "load_s": live.load_s,
            "first_call_s": live.first_call_s,
            "cache": live.compilation.cache,
        }
    if failing := suite.ledger.judge(subject.id, timing=benchmark is not None, test=item.nodeid):
        suite.remark(subject, failing[0].verdict.word, state=None)
        raise Judged(suite.ledger.sentences(failing), pytrace=False)
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    report = yield
    subject = subject_of(item)
    judged = call.excinfo is not None and call.excinfo.errisinstance(Judged)
    if subject is not None and report.failed and not judged:
        name = item.name.partition("[")[0]
        remark = {"setup": "not built", "teardown": "left traces"}.get(call.when, f"{name} failed")
        suite_of(item.config).remark(subject, remark)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    """A stage ends with its last test, not with the next one's first: what it leaked is its own failure."""
    leaks = []
    try:
        result = yield
    finally:
        subject = subject_of(item)
        if subject is not None and item.nodeid == suite_of(item.config).last_tests.get(subject.id):
            leaks = suite_of(item.config).end(subject)
            write_run(item.config)
    if subject is not None and leaks:
        told = "; ".join(leaks)
        pytest.fail(f"{subject.id} left global switches changed (they were put back): {told}.", pytrace=False)
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """What was built is said after its first test, when nobody is in the middle of a line."""
    result = yield
    reporter = item.config.pluginmanager.get_plugin("terminalreporter")
    if SUITE in item.config.stash and reporter is not None:
        for line in suite_of(item.config).progress.take_lines():
            if reporter.verbosity >= 0:
                reporter.write_ensure_prefix(line)  # the next test begins the next line
    return result


# -- the end ----------------------------------------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> Generator[None, object, object]:
    """Names what was expected and did not come, decides what it means, and completes the run file."""
    suite = session.config.stash.get(SUITE, None)
    ran = exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED) and not session.config.option.collectonly
    if suite is not None and (suite.ledger.records or (ran and suite.comparing)):
        interrupted = not ran or bool(session.shouldstop or session.shouldfail)
        if suite.ledger.finish(interrupted=interrupted) and exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        write_run(session.config)
        _without_other_storage(session.config)
        if suite.settings.strict and suite.ledger.troubles and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED  # whoever is strict wants the run, too
    return (yield)


def _without_other_storage(config: pytest.Config) -> None:
    """A project without an accepted run hears that its times are NEW, and not of a folder that is nobody's."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and "warnings" in reporter.stats:
        said = [one for one in reporter.stats["warnings"] if NO_OTHER_STORAGE not in one.message]
        reporter.stats["warnings"] = said


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    suite = config.stash.get(SUITE, None)
    if suite is None or not (suite.ledger.records or suite.ledger.judgements):
        return
    for model in suite.models:
        rungs = suite.ladder_of(model)
        if rungs:
            terminalreporter.section(f"fastdiff: {suite.heading} of {model.name}", sep="=", bold=True)
            for line in (suite.title(model), suite.without_instructions):
                if line:
                    terminalreporter.write_line(line)
            terminalreporter.write_line("")
            for line in suite.report.text(rungs):
                terminalreporter.write_line(line)
            terminalreporter.write_line("")
    if suite.comparing:
        show_verdicts(terminalreporter, suite)
    if suite.cache_line:
        terminalreporter.write_line(suite.cache_line)
    for line in suite.ledger.closing_lines:
        terminalreporter.write_line(line)
    if suite.settings.markdown:
        lines = []
        for model in suite.models:
            if rungs := suite.ladder_of(model):
                above = [suite.without_instructions, ""] if suite.without_instructions else []
                lines += [f"### {suite.title(model)}", "", *above, *suite.report.markdown(rungs), ""]
        try:
            write_text(config.invocation_params.dir / suite.settings.markdown, "\n".join(lines) + "\n")
        except OSError as error:
            named = suite.settings.markdown
            terminalreporter.write_line(
                f"--fastdiff-markdown {named} cannot be written ({error.strerror}); name another file."
            )


def show_verdicts(terminalreporter: pytest.TerminalReporter, suite: Suite) -> None:
    from fastdiff.report import verdicts
    from fastdiff.report.pairs import limit

    terminalreporter.section("fastdiff: verdicts", sep="=", bold=True)
    terminalreporter.write_line(suite.ledger.compared_with)
    terminalreporter.write_line("")
    for line in verdicts.text(list(suite.ledger.judgements.values()), suite.ledger.shell, suite.ledger.failed):
        terminalreporter.write_line(line)
    terminalreporter.write_line("")
    terminalreporter.write_line(limit(suite.calibration))


# -- the comparison of pytest-benchmark -------------------------------------------------------------------------------


@pytest.hookimpl(tryfirst=True)
def pytest_benchmark_compare_machine_info(config: pytest.Config, machine_info: Any, compared_benchmark: Any) -> None:
    """Another device is an error before any stage is built; everything smaller our own verdicts tell better."""
    accepted = compared_benchmark.get("fastdiff")
    if not isinstance(accepted, dict):
        return
    here = device_slug(device_asked(settings(config)))
    there = accepted.get("device", {}).get("slug", "another device")
    if here != there:
        raise pytest.UsageError(
            f"this is {here}, and the accepted run was made on {there}: times of two devices do not compare; "
            "leave out --benchmark-storage, or name the folder of this device."
        )
    compared_benchmark["machine_info"] = machine_info


# -- who is who -------------------------------------------------------------------------------------------------------


def suite_of(config: pytest.Config) -> Suite:
    """Made when the first test asks for a stage, so that a session without one never notices this plugin."""
    if SUITE not in config.stash:
        # A worker collects as every other does, or xdist would lose its way; its stages refuse to be built.
        if getattr(config.option, "numprocesses", None) and not hasattr(config, "workerinput"):
            raise pytest.UsageError(
                "fastdiff measures one stage at a time, and parallel workers disturb each other: drop -n."
            )
        from fastdiff.plugin.suite import Suite
        from fastdiff.report.progress import Progress

        config.stash[SUITE] = Suite(config, Progress(terminal_of(config)), comparing=config.stash[COMPARING])
    return config.stash[SUITE]


def pytest_benchmark_update_json(config: pytest.Config, output_json: dict[str, Any]) -> None:
    """What pytest-benchmark writes for `--benchmark-json` or `--benchmark-save` is a whole run file, too."""
    if suite := config.stash.get(SUITE, None):
        output_json["fastdiff"] = suite.ledger.as_json()


def point_at_baselines(config: pytest.Config) -> None:
    """Lets `--benchmark-compare` read this device's accepted runs, before pytest-benchmark looks for its own."""
    options = config.option
    if path := getattr(options, "benchmark_json", None):
        Path(path.name if hasattr(path, "name") else path).parent.mkdir(parents=True, exist_ok=True)
    comparing = bool(getattr(options, "benchmark_compare", None))
    config.stash[COMPARING] = comparing or bool(settings(config).against)
    if not comparing or not (project_folder(config) / baselines.FOLDER).is_dir():
        return
    if options.benchmark_storage != DEFAULT_STORAGE:
        return
    if options.benchmark_autosave or options.benchmark_save:
        raise pytest.UsageError(
            "--benchmark-save and --benchmark-autosave would write into baselines/, which only an accepted run enters; "
            "use --benchmark-json FILE."
        )
    from fastdiff.plugin.ledger import compared_with

    device = device_asked(settings(config))
    folder = baselines.folder_of(project_folder(config), device_slug(device))
    options.benchmark_storage = f"file://{folder}"
    # Read here as well, because pytest-benchmark reads next, and with less care.
    if compared_with(config, device) is None:
        options.benchmark_compare = None  # pytest-benchmark would warn where our verdicts say NEW


def write_run(config: pytest.Config) -> None:
    suite, session = suite_of(config), getattr(config, "_benchmarksession", None)

    def benchmarks() -> dict[str, Any]:
        if session is None:
            return {}
        part: dict[str, Any] = config.hook.pytest_benchmark_generate_json(
            config=config,
            benchmarks=[one for one in session.benchmarks if one],  # one that was stopped before its first round is not
            include_data=True,
            machine_info=suite.ledger.machine_info(session.get_machine_info),
            commit_info=suite.ledger.run().environment.get("commit", {}),
        )
        return part

    suite.ledger.write(benchmarks)


def subject_of(item: pytest.Item) -> Subject | None:
    callspec = getattr(item, "callspec", None)
    if callspec is None or SUITE not in item.config.stash:
        return None
    from fastdiff.plugin.suite import Subject

    named = callspec.params.get("stage")
    return named if isinstance(named, Subject) else None


def live_of(item: pytest.Item) -> LiveStage | None:
    return getattr(item, "funcargs", {}).get("stage") if subject_of(item) is not None else None


def fixtures_of(item: pytest.Item) -> set[str]:
    return set(getattr(item, "fixturenames", ()))


def samples_of(benchmark: Any) -> tuple[float, ...]:
    """Every sample of pytest-benchmark's fixture; none where benchmarks are disabled or the test failed before."""
    measured = getattr(benchmark, "stats", None)
    return tuple(measured.stats.data) if measured is not None else ()


def terminal_of(config: pytest.Config) -> Any:
    """The person's terminal, past pytest's capturing; None where the output goes elsewhere."""
    capture = config.pluginmanager.get_plugin("capturemanager")
    if config.get_verbosity() < 0 or capture is None or os.environ.get("TERM") in (None, "", "dumb"):
        return None
    with capture.global_and_fixture_disabled():
        if not sys.stdout.isatty():
            return None
        return os.fdopen(os.dup(sys.stdout.fileno()), "w")
