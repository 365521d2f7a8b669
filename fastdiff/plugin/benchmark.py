"""The bridge to pytest-benchmark: only here are its storage, session, warnings and machine info touched."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fastdiff.host.environment import device_slug
from fastdiff.plugin.settings import device_asked, project_folder, settings
from fastdiff.record import baselines
from fastdiff.record.errors import UserError
from fastdiff.record.run import Sample
from fastdiff.report.clean import clean

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastdiff.plugin.state import SessionState
    from fastdiff.record.run import Baseline
    from fastdiff.trial.live import LiveStage

DEFAULT_STORAGE = "file://./.benchmarks"
"""pytest-benchmark's own; any other value was chosen by the user and stays."""
NO_OTHER_STORAGE = "Can't compare. No benchmark files"
"""What pytest-benchmark warns of where its own storage is empty."""
MACHINE = pytest.StashKey[Any]()


def is_comparing(config: pytest.Config) -> bool:
    """Whether `--benchmark-compare` or `--fastdiff-against` was given: then verdicts decide."""
    return bool(getattr(config.option, "benchmark_compare", None)) or bool(settings(config).against)


def accepted_run(config: pytest.Config, device: str) -> Baseline | None:
    """The accepted run that `--benchmark-compare` names by its number, or the newest one of this device."""
    folder = baselines.folder_of(project_folder(config), device_slug(device))
    named = config.option.benchmark_compare
    try:
        if not isinstance(named, str):
            return baselines.newest(folder)
        paths = [path for path in baselines.accepted(folder) if path.name.startswith(named)]
        if len(paths) != 1:
            there = clean(", ".join(path.name for path in baselines.accepted(folder))) or "none"
            raise pytest.UsageError(f"--benchmark-compare: {named!r} names no accepted run; there are: {there}.")
        return baselines.read(paths[0])
    except UserError as error:
        raise pytest.UsageError(clean(str(error))) from None


def point_at_baselines(config: pytest.Config) -> None:
    """Lets `--benchmark-compare` read this device's accepted runs, before pytest-benchmark looks for its own."""
    options = config.option
    if path := getattr(options, "benchmark_json", None):
        Path(path.name if hasattr(path, "name") else path).parent.mkdir(parents=True, exist_ok=True)
    if not getattr(options, "benchmark_compare", None) or not (project_folder(config) / baselines.FOLDER).is_dir():
        return
    if options.benchmark_storage != DEFAULT_STORAGE:
        return
    if options.benchmark_autosave or options.benchmark_save:
        raise pytest.UsageError(
            "--benchmark-save and --benchmark-autosave would write into baselines/, which only an accepted run enters; "
            "use --benchmark-json FILE."
        )
    device = device_asked(settings(config))
    options.benchmark_storage = f"file://{baselines.folder_of(project_folder(config), device_slug(device))}"
    # Read here as well, because pytest-benchmark reads next, and with less care.
    if accepted_run(config, device) is None:
        options.benchmark_compare = None  # pytest-benchmark would warn where our verdicts say NEW


def require_same_device(config: pytest.Config, accepted: Any) -> None:
    if not isinstance(accepted, dict):
        return
    here = device_slug(device_asked(settings(config)))
    there = accepted.get("device", {}).get("slug", "another device")
    if here != there:
        raise pytest.UsageError(
            f"this is {here}, and the accepted run was made on {there}: times of two devices do not compare; "
            "leave out --benchmark-storage, or name the folder of this device."
        )


def write_run(config: pytest.Config, state: SessionState) -> None:
    """The run file is pytest-benchmark's JSON, with fastdiff's part under a key of its own."""
    session = getattr(config, "_benchmarksession", None)

    def benchmarks() -> dict[str, Any]:
        if session is None:
            return {}
        part: dict[str, Any] = config.hook.pytest_benchmark_generate_json(
            config=config,
            benchmarks=[one for one in session.benchmarks if one],  # one that was stopped before its first round is not
            include_data=True,
            machine_info=_machine_info(config, session.get_machine_info),
            commit_info=state.run().environment.get("commit", {}),
        )
        return part

    state.write(benchmarks)


def _machine_info(config: pytest.Config, ask: Callable[[], Any]) -> Any:
    """pytest-benchmark needs seconds to read the processor's facts, which are the same every time.

    The name of the host stays out: run files are accepted and committed.
    """
    if MACHINE not in config.stash:
        config.stash[MACHINE] = {name: value for name, value in ask().items() if name != "node"}
    return config.stash[MACHINE]


def without_other_storage(config: pytest.Config) -> None:
    """Without an accepted run the verdicts say NEW; a warning about a missing folder beside them would mislead."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and "warnings" in reporter.stats:
        kept = [one for one in reporter.stats["warnings"] if NO_OTHER_STORAGE not in one.message]
        reporter.stats["warnings"] = kept


def take_samples(live: LiveStage, benchmark: Any) -> None:
    """Times that a test took without `stage.measure` are kept as bare samples."""
    measured = getattr(benchmark, "stats", None)  # None where benchmarks are disabled or the test failed before
    if measured is None:
        return
    timed = measured.stats.data
    if live.samples:
        del live.samples[len(timed) :]  # --benchmark-cprofile makes one more call, which is slow
    else:
        live.samples = [Sample(seconds) for seconds in timed]


def note(live: LiveStage, benchmark: Any) -> None:
    """What pytest-benchmark keeps beside the times."""
    benchmark.extra_info["fastdiff"] = {
        "stage": live.id,
        "load_s": live.load_s,
        "first_call_s": live.first_call_s,
        "cache": live.compilation.cache,
    }
