"""The pytest plugin: options, fixtures, hooks. What they do lives in `fastdiff.suite` and the rooms below it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fastdiff import hooks
from fastdiff.settings import add_options, check, device_asked, is_asked, settings

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from fastdiff.measure.live import LiveStage, Reference
    from fastdiff.suite import Subject, Suite

REFUSED = pytest.StashKey[pytest.UsageError]()
"""What is wrong with a name or a ladder that only the collected conftests know."""
SUITE = pytest.StashKey["Suite"]()
DEFAULT_STORAGE = "file://./.benchmarks"
"""pytest-benchmark's own; any other value is somebody's wish and stays."""
UNCOMPARED = pytest.StashKey[str]()
"""Why no latency is compared, although a comparison was asked for."""


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
    with suite.live(request.param) as live:
        yield live


@pytest.fixture(scope="session")
def reference(request: pytest.FixtureRequest, stage: LiveStage) -> Reference:
    """The pictures of the ladder's first stage, drawn in this session for the same request."""
    return suite_of(request.config).reference(stage.model)


# -- collection -------------------------------------------------------------------------------------------------------


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "stage" in metafunc.fixturenames:
        try:
            subjects = suite_of(metafunc.config).subjects
        except pytest.UsageError as error:
            # Raised here it would be a traceback of this file's collection; see pytest_collection_modifyitems.
            metafunc.config.stash[REFUSED] = error
            subjects = []
        metafunc.parametrize("stage", subjects, ids=[s.id for s in subjects], indirect=True, scope="session")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if REFUSED in config.stash:
        raise config.stash[REFUSED]
    for item in items:
        subject = subject_of(item)
        if subject is not None and "benchmark" in fixtures_of(item):
            from fastdiff.measure.latency import synchronised_clock

            own = item.get_closest_marker("benchmark")
            asked = {"timer": synchronised_clock, "group": subject.model.name} | dict(own.kwargs if own else {})
            item.add_marker(pytest.mark.benchmark(**asked), append=False)


def pytest_collection_finish(session: pytest.Session) -> None:
    if SUITE in session.config.stash:
        suite = suite_of(session.config)
        suite.reference_wanted = any("reference" in fixtures_of(item) for item in session.items)
        subjects = [(subject_of(item), item.nodeid) for item in session.items]
        suite.last_tests = {subject.id: nodeid for subject, nodeid in subjects if subject is not None}


def pytest_report_collectionfinish(config: pytest.Config) -> str | None:
    return suite_of(config).headline if SUITE in config.stash else None


# -- running ----------------------------------------------------------------------------------------------------------


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> None:
    """Nothing is timed or compared that was not proven to be applied."""
    live = live_of(item)
    if live is not None and {"benchmark", "reference"} & fixtures_of(item) and live.unapplied:
        pytest.fail(f"not measured, because {live.id} was not applied: {live.unapplied[0]}", pytrace=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    report = yield
    subject = subject_of(item)
    if subject is not None:
        suite = suite_of(item.config)
        live = live_of(item)
        if call.when == "call" and live is not None:
            benchmark = getattr(item, "funcargs", {}).get("benchmark")
            suite.record(subject, live, samples_of(benchmark))
            if benchmark is not None:
                benchmark.extra_info["fastdiff"] = {
                    "load_s": live.load_s,
                    "first_call_s": live.first_call_s,
                    "cache": live.compilation.cache,
                    "fingerprint": live.fingerprint.as_dict(),
                }
        if report.failed:
            name = item.name.partition("[")[0]
            suite.remark(subject, {"setup": "not built", "teardown": "left traces"}.get(call.when, f"{name} failed"))
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    """A stage ends with its last test, not with the next one's first: what it leaked is its own failure."""
    result = yield
    live = live_of(item)
    if live is not None and item.nodeid == suite_of(item.config).last_tests.get(live.id) and (leaks := live.close()):
        pytest.fail(f"{live.id} left global switches changed (they were put back): {'; '.join(leaks)}.", pytrace=False)
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """What was built is said after its first test, when nobody is in the middle of a line."""
    result = yield
    reporter = item.config.pluginmanager.get_plugin("terminalreporter")
    if SUITE in item.config.stash and reporter is not None:
        for line in suite_of(item.config).progress.take_lines():
            if reporter.verbosity >= 0:
                reporter.ensure_newline()
                reporter.write_line(line)
    return result


# -- the end ----------------------------------------------------------------------------------------------------------


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    suite = config.stash.get(SUITE, None)
    if suite is None or not suite.rungs:
        return
    from fastdiff.report import ladder

    for model in suite.models:
        rungs = suite.ladder_of(model)
        if rungs:
            terminalreporter.section(f"fastdiff: the ladder of {model.name}", sep="=", bold=True)
            terminalreporter.write_line(suite.title(model))
            terminalreporter.write_line("")
            for line in ladder.text(rungs):
                terminalreporter.write_line(line)
            terminalreporter.write_line("")
    if UNCOMPARED in config.stash:
        terminalreporter.write_line(config.stash[UNCOMPARED])
    if suite.cache_line:
        terminalreporter.write_line(suite.cache_line)
    if suite.settings.markdown:
        lines = []
        for model in suite.models:
            if rungs := suite.ladder_of(model):
                lines += [f"### {suite.title(model)}", "", *ladder.markdown(rungs), ""]
        target = config.invocation_params.dir / suite.settings.markdown
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text("\n".join(lines) + "\n", encoding="utf-8")


# -- who is who -------------------------------------------------------------------------------------------------------


def suite_of(config: pytest.Config) -> Suite:
    """Made when the first test asks for a stage, so that a session without one never notices this plugin."""
    if SUITE not in config.stash:
        if getattr(config.option, "numprocesses", None) or hasattr(config, "workerinput"):
            raise pytest.UsageError(
                "fastdiff measures one stage at a time, and parallel workers disturb each other: drop -n."
            )
        from fastdiff.report.progress import Progress
        from fastdiff.suite import Suite

        config.stash[SUITE] = Suite(config, Progress(terminal_of(config)))
    return config.stash[SUITE]


def point_at_baselines(config: pytest.Config) -> None:
    """Lets `--benchmark-compare` read this device's accepted runs, before pytest-benchmark looks for its own."""
    from fastdiff.record.baselines import FOLDER

    options = config.option
    if path := getattr(options, "benchmark_json", None):
        Path(path.name if hasattr(path, "name") else path).parent.mkdir(parents=True, exist_ok=True)
    if not getattr(options, "benchmark_compare", None) or not (config.rootpath / FOLDER).is_dir():
        return
    if options.benchmark_storage != DEFAULT_STORAGE:
        return
    from fastdiff.record.baselines import accepted, folder_of

    if options.benchmark_autosave or options.benchmark_save:
        raise pytest.UsageError(
            "--benchmark-save and --benchmark-autosave would write into baselines/, which only an accepted run enters; "
            "use --benchmark-json FILE."
        )
    from fastdiff.measure.environment import device_slug

    folder = folder_of(config.rootpath, device_slug(device_asked(settings(config))))
    options.benchmark_storage = f"file://{folder}"
    if not accepted(folder):
        options.benchmark_compare = None
        shown = folder.relative_to(config.rootpath)
        config.stash[UNCOMPARED] = f"latency: not compared, because {shown} holds no accepted run of this device yet"


def subject_of(item: pytest.Item) -> Subject | None:
    callspec = getattr(item, "callspec", None)
    return callspec.params.get("stage") if callspec is not None and SUITE in item.config.stash else None


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
    if config.get_verbosity() < 0 or capture is None:
        return None
    with capture.global_and_fixture_disabled():
        if not sys.stdout.isatty():
            return None
        return os.fdopen(os.dup(sys.stdout.fileno()), "w")
