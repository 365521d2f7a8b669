"""The bridge to pytest-benchmark: the only module that uses its session and its machine info."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from fastdiff.host.environment import device_slug
from fastdiff.models.noise import KNOWN_WARNINGS
from fastdiff.plugin.options import project_folder
from fastdiff.plugin.settings import settings
from fastdiff.record import baselines
from fastdiff.record.errors import UserError
from fastdiff.record.run import Sample
from fastdiff.report.clean import clean

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fastdiff.plugin.state import SessionState
    from fastdiff.record.run import Baseline
    from fastdiff.trial.live import LiveStage

MACHINE = pytest.StashKey[Any]()


def is_comparing(config: pytest.Config) -> bool:
    """Whether `--benchmark-compare` or `--fastdiff-against` was given, so that verdicts decide."""
    return bool(getattr(config.option, "benchmark_compare", None)) or bool(settings(config).against)


def accepted_run(config: pytest.Config, device: str) -> Baseline | None:
    """The accepted run that `--benchmark-compare` names by its number, or the newest one of this device."""
    here = device_slug(device)
    folder, named = baselines.folder_of(project_folder(config), here), config.option.benchmark_compare
    try:
        found = _numbered(folder, named) if isinstance(named, str) else baselines.newest(folder)
    except UserError as error:
        raise pytest.UsageError(clean(str(error))) from None
    if found is not None and found.run.device.slug != here:
        raise pytest.UsageError(
            f"this is {here}, and {baselines.FOLDER}/{here}/{clean(found.name)} was made on "
            f"{clean(found.run.device.slug)}: times of two devices do not compare; move it to the folder of its device."
        )
    return found


def _numbered(folder: Path, named: str) -> Baseline:
    paths = [path for path in baselines.accepted(folder) if path.name.startswith(named)]
    if len(paths) != 1:
        there = clean(", ".join(path.name for path in baselines.accepted(folder))) or "none"
        raise pytest.UsageError(f"--benchmark-compare: {named!r} names no accepted run; there are: {there}.")
    return baselines.read(paths[0])


def prepare(config: pytest.Config, device: str, accepted: Baseline | None) -> None:
    """Changes to pytest's configuration that only a session with stages needs."""
    # Inside a test pytest resets Python's warning filters, so known warnings are also ignored through pytest.
    for pattern in KNOWN_WARNINGS:
        config.addinivalue_line("filterwarnings", f"ignore:{pattern}")
    if path := getattr(config.option, "benchmark_json", None):
        path.parent.mkdir(parents=True, exist_ok=True)
    if accepted is not None and getattr(config.option, "benchmark_compare", None):
        _compare_with(config, baselines.folder_of(project_folder(config), device_slug(device)), accepted)


def _compare_with(config: pytest.Config, folder: Path, accepted: Baseline) -> None:
    """Adds the accepted run's benchmarks to those that pytest-benchmark found in its own storage."""
    from pytest_benchmark.storage.file import FileStorage

    session = config._benchmarksession  # type: ignore[attr-defined]
    folder = folder.resolve()
    storage: Any = FileStorage(folder, session.logger)  # type: ignore[no-untyped-call]
    for path, kept in storage.load(str(folder / accepted.name)):
        session.compared_mapping[path] = {one["fullname"]: one for one in kept["benchmarks"]}


def write_run(config: pytest.Config, state: SessionState) -> None:
    """The run file is pytest-benchmark's JSON, with fastdiff's part under a key of its own."""
    session = getattr(config, "_benchmarksession", None)

    def benchmarks() -> dict[str, Any]:
        if session is None:
            return {}
        part: dict[str, Any] = config.hook.pytest_benchmark_generate_json(
            config=config,
            benchmarks=[one for one in session.benchmarks if one],  # false if stopped before the first round
            include_data=True,
            machine_info=_machine_info(config, session.get_machine_info),
            commit_info=state.run().environment.get("commit", {}),
        )
        return part

    state.write(benchmarks)


def _machine_info(config: pytest.Config, ask: Callable[[], Any]) -> Any:
    """Cached, because pytest-benchmark needs seconds to read the processor's facts.

    The host name is left out, because run files are accepted and committed.
    """
    if MACHINE not in config.stash:
        config.stash[MACHINE] = {name: value for name, value in ask().items() if name != "node"}
    return config.stash[MACHINE]


def take_samples(live: LiveStage, benchmark: Any) -> None:
    """Times that a test measured without `stage.measure` are kept as plain samples."""
    measured = getattr(benchmark, "stats", None)  # None if benchmarks are disabled or the test failed before
    if measured is None:
        return
    timed = measured.stats.data
    if live.samples:
        del live.samples[len(timed) :]  # --benchmark-cprofile makes one more call, which is slow
    else:
        live.samples = [Sample(seconds) for seconds in timed]


def note(live: LiveStage, benchmark: Any) -> None:
    """Facts that pytest-benchmark stores with the times."""
    benchmark.extra_info["fastdiff"] = {
        "stage": live.id,
        "load_s": live.load_s,
        "first_call_s": live.first_call_s,
        "cache": live.compilation.cache,
    }
