"""The pytest plugin: options, fixtures and hooks. What a session does is in `fastdiff.plugin.session`.

Every pytest in this environment loads this file, even for suites that do not use fastdiff. So slow imports happen only
when the first test needs a stage.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Literal

import pytest

from fastdiff.plugin import specs
from fastdiff.plugin.options import add_options, is_configured
from fastdiff.plugin.waiting import give_back, hold_back

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from fastdiff.plugin.selection import Subject
    from fastdiff.plugin.session import Regression, Session
    from fastdiff.trial.live import LiveStage
    from fastdiff.trial.reference import Reference

REFUSED = pytest.StashKey[pytest.UsageError]()
"""The error in a name or a ladder; it is known only when the conftests are collected."""
SESSION = pytest.StashKey["Session"]()
FAILED = pytest.StashKey[bool]()
"""Whether a test failed when it was last run."""
LEFT_OUT = pytest.StashKey[bool]()
"""Whether tests that compare were deselected because the session compares nothing."""
NOT_COMPARED = "fastdiff: comparisons are off; --benchmark-compare turns them on"
SCOPES: dict[str, Literal["session", "function"]] = {"stage": "session", "regression": "function"}
NO_WORKERS = "fastdiff measures one stage at a time, and parallel workers disturb each other: drop -n."


# -- the start --------------------------------------------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    add_options(parser)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    pluginmanager.add_hookspecs(specs)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    hold_back(config)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Reports wrong values and impossible recipes before anything is collected, without importing torch."""
    if is_configured(session.config):
        from fastdiff.plugin.settings import check

        check(session.config)


# -- fixtures ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def stage(request: pytest.FixtureRequest) -> Iterator[LiveStage]:
    """An optimization stage: built, proven, called once, and ready to draw. Built once for all tests that use it."""
    if hasattr(request.config, "workerinput"):
        pytest.fail(NO_WORKERS, pytrace=False)
    with session_of(request.config).stages.live(request.param) as live:
        yield live


@pytest.fixture(scope="session")
def reference(request: pytest.FixtureRequest, stage: LiveStage) -> Reference:
    """The pictures of the ladder's first stage, drawn in this session for the same request."""
    stages = session_of(request.config).stages
    if why := stages.incomparable(stage):
        pytest.skip(why)
    return stages.reference(stage.model)


@pytest.fixture
def regression(request: pytest.FixtureRequest) -> Regression:
    """A stage's comparison with the accepted run, or with the other environment, after all stages have ended."""
    from fastdiff.plugin.session import Regression

    return Regression(session_of(request.config), request.param, request.node.nodeid)


# -- collection -------------------------------------------------------------------------------------------------------


@pytest.hookimpl(trylast=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Runs after all other hooks: an argument that they have parametrized is no longer fastdiff's fixture."""
    if not SCOPES.keys() & set(metafunc.fixturenames):
        return
    metafunc.definition._fixtureinfo.prune_dependency_tree()
    ours = {name: scope for name, scope in SCOPES.items() if name in metafunc.fixturenames and is_ours(metafunc, name)}
    if len(ours) > 1:
        metafunc.config.stash[REFUSED] = pytest.UsageError(
            f"{metafunc.definition.nodeid} has `stage` and `regression` among its arguments; take one of them: "
            "a comparison needs the machine for itself, after the last stage has ended."
        )
    for name, scope in ours.items():
        try:
            subjects = session_of(metafunc.config).selection.subjects
        except pytest.UsageError as error:
            # Raised here, it would show as a traceback of this file's collection; see pytest_collection_modifyitems.
            metafunc.config.stash[REFUSED] = error
            subjects = []
        metafunc.parametrize(name, subjects, ids=[s.id for s in subjects], indirect=True, scope=scope)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if REFUSED in config.stash:
        raise config.stash[REFUSED]
    if SESSION not in config.stash:
        return
    if not session_of(config).comparing:  # then there is nothing to compare with
        without = [item for item in items if compares(item)]
        items[:] = [item for item in items if not compares(item)]
        if without:
            config.hook.pytest_deselected(items=without)
            config.stash[LEFT_OUT] = True
    for item in items:
        subject = subject_of(item)
        if subject is not None and "benchmark" in fixtures_of(item):
            from fastdiff.instruments.latency import synchronised_clock

            own = item.get_closest_marker("benchmark")
            asked = {"timer": synchronised_clock, "group": subject.model.name} | dict(own.kwargs if own else {})
            item.add_marker(pytest.mark.benchmark(**asked), append=False)


def pytest_deselected(items: list[pytest.Item]) -> None:
    """Records tests that -k, -m and --deselect remove: a stage without all of its tests is incomplete."""
    for item in items:
        if subject := subject_of(item):
            session_of(item.config).deselected.setdefault(subject.id, []).append(item.name.partition("[")[0])


@pytest.hookimpl(tryfirst=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Moves `regression` tests to the end, whatever the order was: by then every stage has ended."""
    if SESSION not in session.config.stash:
        return
    session.items.sort(key=compares)  # stable: the others keep their order
    subjects = [(subject_of(item), item.nodeid) for item in session.items]
    session_of(session.config).collected(
        [(subject.id, nodeid) for subject, nodeid in subjects if subject is not None],
        [subject.id for item in session.items if (subject := subject_of(item, "regression"))],
        places={item.nodeid: (item.location[0], (item.location[1] or 0) + 1) for item in session.items},
        reference_wanted=any("reference" in fixtures_of(item) for item in session.items),
    )


def pytest_report_collectionfinish(config: pytest.Config) -> list[str]:
    if SESSION not in config.stash:
        return []
    left_out = [NOT_COMPARED] if config.stash.get(LEFT_OUT, False) else []
    return [*config.stash[SESSION].selection.headlines, *left_out]


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> None:
    if SESSION not in session.config.stash:
        give_back(session.config)


# -- running ----------------------------------------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """A stage that was not applied is neither timed nor used for pictures. Keeps what a test measured, then judges."""
    subject, live = subject_of(item), live_of(item)
    if subject is None or live is None:
        return (yield)
    from fastdiff.plugin import benchmark as bridge

    session, benchmark = session_of(item.config), getattr(item, "funcargs", {}).get("benchmark")
    if {"benchmark", "reference"} & fixtures_of(item):
        if live.unapplied:
            pytest.fail(f"not measured, because {live.id} was not applied: {live.unapplied[0]}", pytrace=False)
        if session.selection.settings.strict and live.unproven:
            pytest.fail(f"{live.id} is not proven, which --fastdiff-strict asks for: {live.unproven[0]}", pytrace=False)
    live.samples = []
    try:
        result = yield
    except BaseException:
        bridge.take_samples(live, benchmark)
        session.measured(live, whole=False)
        raise
    bridge.take_samples(live, benchmark)
    session.measured(live, whole=True)
    if benchmark is not None:
        bridge.note(live, benchmark)
    session.judge_exact(subject, item.nodeid)
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    report = yield
    subject = subject_of(item)
    if call.when == "call":
        item.stash[FAILED] = report.failed
    if subject is not None and report.failed:
        from fastdiff.plugin.session import Judged

        if call.excinfo is None or not call.excinfo.errisinstance(Judged):
            name = item.name.partition("[")[0]
            remark = {"setup": "not built", "teardown": "leaked settings"}.get(call.when, f"{name} failed")
            session_of(item.config).remark(subject, remark)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    """Ends a stage after its last test, not before the next stage, so that a leaked setting fails the right stage.

    If that test failed, the stage is kept for a while, because the test may be run again.
    """
    leaks = []
    try:
        result = yield
    finally:
        subject = subject_of(item)
        if subject is not None and is_last(item, subject) and not item.stash.get(FAILED, False):
            leaks = session_of(item.config).ended(subject)
    if subject is not None and leaks:
        pytest.fail(leaked(subject, leaks), pytrace=False)
    return result


def leaked(subject: Subject, leaks: list[str]) -> str:
    return f"{subject.id} left global switches changed (they were put back): {'; '.join(leaks)}."


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Shows finished progress lines after a test, when pytest is not in the middle of a line."""
    result = yield
    subject = subject_of(item)
    if subject is not None and is_last(item, subject) and subject.id in session_of(item.config).stages.alive:
        session = session_of(item.config)
        if leaks := session.ended(subject):  # the test has failed already
            session.stages.progress.say(leaked(subject, leaks))
    show_progress(item.config)
    return result


# -- the end ----------------------------------------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> Generator[None, object, object]:
    """Reports expected stages that were not measured, decides whether the session fails, and completes the run file."""
    ours = session.config.stash.get(SESSION, None)
    ran = exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED) and not session.config.option.collectonly
    if ours is not None and (ours.state.trials or (ran and ours.comparing)):
        stopped = bool(session.shouldstop or session.shouldfail)
        failing = ours.finished(interrupted=not ran or (stopped and ours.unfinished), stopped=stopped)
        show_progress(session.config)
        failing |= ours.selection.settings.strict and bool(ours.state.troubles)  # strict mode needs the run, too
        if failing and exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        if ran and ours.interrupted:  # in a comparison after the last test
            session.exitstatus = pytest.ExitCode.INTERRUPTED
    return (yield)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    session = config.stash.get(SESSION, None)
    if session is not None and (session.state.trials or session.state.judgements):
        from fastdiff.plugin.summary import show

        show(terminalreporter, session)


# -- pytest-benchmark -------------------------------------------------------------------------------------------------


def pytest_benchmark_update_json(config: pytest.Config, output_json: dict[str, Any]) -> None:
    """What pytest-benchmark writes for `--benchmark-json` or `--benchmark-save` is a whole run file, too."""
    if session := config.stash.get(SESSION, None):
        from fastdiff.record.files import as_dict

        output_json["fastdiff"] = as_dict(session.state.run())


# -- look-ups ---------------------------------------------------------------------------------------------------------


def session_of(config: pytest.Config) -> Session:
    """Created when the first test needs a stage, so that other sessions are not affected by this plugin."""
    if SESSION not in config.stash:
        # All workers must collect the same tests, or xdist stops; the stages of a worker are rejected later.
        if getattr(config.option, "numprocesses", None) and not hasattr(config, "workerinput"):
            raise pytest.UsageError(NO_WORKERS)
        from fastdiff.host.system import require_supported
        from fastdiff.plugin import benchmark as bridge
        from fastdiff.plugin.session import Session
        from fastdiff.record.errors import UserError
        from fastdiff.report.progress import Progress

        try:
            require_supported()
        except UserError as error:
            raise pytest.UsageError(str(error)) from None
        session = Session(config, Progress(terminal_of(config)))
        bridge.prepare(config, session.selection.device, session.judge.baseline)
        config.stash[SESSION] = session
    return config.stash[SESSION]


def is_ours(metafunc: pytest.Metafunc, name: str) -> bool:
    """Whether a test uses fastdiff's fixture: a suite may define another one with this name, or wrap ours."""
    for definition in reversed(metafunc._arg2fixturedefs.get(name) or ()):
        if definition.func.__module__ == __name__:
            return True
        if name not in definition.argnames:
            return False
    return False


def subject_of(item: pytest.Item, fixture: str = "stage") -> Subject | None:
    """The stage that a test needs."""
    callspec = getattr(item, "callspec", None)
    if callspec is None or SESSION not in item.config.stash:
        return None
    from fastdiff.plugin.selection import Subject

    named = callspec.params.get(fixture)
    return named if isinstance(named, Subject) else None


def is_last(item: pytest.Item, subject: Subject) -> bool:
    return item.nodeid == session_of(item.config).last_tests.get(subject.id)


def compares(item: pytest.Item) -> bool:
    return subject_of(item, "regression") is not None


def live_of(item: pytest.Item) -> LiveStage | None:
    return getattr(item, "funcargs", {}).get("stage") if subject_of(item) is not None else None


def fixtures_of(item: pytest.Item) -> set[str]:
    return set(getattr(item, "fixturenames", ()))


def show_progress(config: pytest.Config) -> None:
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if SESSION in config.stash and reporter is not None:
        for line in session_of(config).progress.take_lines():
            if reporter.verbosity >= 0:
                reporter.write_ensure_prefix(line)  # the next test begins the next line


def terminal_of(config: pytest.Config) -> Any:
    """The user's terminal, bypassing pytest's capturing; None if the output goes elsewhere."""
    capture = config.pluginmanager.get_plugin("capturemanager")
    if config.get_verbosity() < 0 or capture is None or os.environ.get("TERM") in (None, "", "dumb"):
        return None
    with capture.global_and_fixture_disabled():
        if not sys.stdout.isatty():
            return None
        return os.fdopen(os.dup(sys.stdout.fileno()), "w")
