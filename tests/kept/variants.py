"""Variants of the kept files, each one edit away: the same every time, so their verdicts can be written down."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HERE = Path(__file__).parent
FACTORS = (0.4, 0.62, 0.8, 1.0, 1.1, 1.3, 1.45, 1.6, 2.5)
CHANGES = (0.97, 0.995, 1.0, 1.004, 1.011, 1.02, 1.05)
"""New to old, of pairs."""

Json = dict[str, Any]


def accepted() -> Json:
    return json.loads((HERE / "accepted.json").read_text())


def runs() -> Iterator[tuple[str, Json, Json]]:
    """Name, file of the run and file of the accepted run."""
    for name, of_run, of_accepted in _run_edits():
        run, base = accepted(), accepted()
        del run["fastdiff"]["accepted"], run["fastdiff"]["noise"]
        of_run(run["fastdiff"])
        of_accepted(base["fastdiff"])
        yield name, run, base


def _run_edits() -> Iterator[tuple[str, Callable[[Json], None], Callable[[Json], None]]]:
    def same(_: Json) -> None:
        pass

    for factor in FACTORS:
        yield f"sdpa takes {factor} times as long", lambda run, f=factor: _times(run, "sdpa", f), same
        yield f"first call of compile takes {factor}", lambda run, f=factor: _first_call(run, "compile", f), same
        yield (
            f"sdpa takes {factor}, noise was not measured",
            lambda run, f=factor: _times(run, "sdpa", f),
            lambda base: base.update(noise=None),
        )
        yield (
            f"the machine takes {factor}",
            lambda run, f=factor: [_times(run, s["stage"], f) for s in run["stages"]],
            same,
        )
    for share in (0.9, 0.995, 1.005, 1.02, 1.5):
        yield f"sdpa needs {share} of the memory", lambda run, s=share: _memory(run, "sdpa", s), same
    for void in (2, 3, 5):
        yield f"{void} samples of sdpa are void", lambda run, v=void: _void(run, "sdpa", v), same
        yield f"{void} samples of the accepted sdpa are void", same, lambda base, v=void: _void(base, "sdpa", v)
    yield "a fact changes", lambda run: _stage(run, "sdpa")["fingerprint"].update(flops=1), same
    yield (
        "a fact and a version change",
        lambda run: (_stage(run, "sdpa")["fingerprint"].update(flops=1), _version(run, torch="2.14.1+cpu")),
        same,
    )
    yield "only a version changes", lambda run: _version(run, torch="2.14.1+cpu"), same
    yield (
        "slower with another version",
        lambda run: (_times(run, "sdpa", 2.5), _version(run, torch="2.14.1+cpu")),
        same,
    )
    yield (
        "slower with a nightly",
        lambda run: (_times(run, "sdpa", 2.5), _version(run, torch="2.15.0.dev20261101+cpu")),
        same,
    )
    yield (
        "the graph breaks",
        lambda run: _stage(run, "compile")["fingerprint"].update(breaks=2, break_reasons=["x"]),
        same,
    )
    yield "compiled again", lambda run: _stage(run, "compile")["fingerprint"].update(recompiles=1), same
    yield "not applied", lambda run: _stage(run, "sdpa").update(unapplied=["attention: no kernel of sdpa ran"]), same
    yield "a stage vanishes", lambda run: run["stages"].remove(_stage(run, "sdpa")), same
    yield "a stage failed", lambda run: _stage(run, "sdpa").update(state="failed", reason="not built", samples=[]), same
    yield "a stage is skipped", lambda run: _stage(run, "sdpa").update(state="skipped", reason="x", samples=[]), same
    yield "a skipped stage is skipped for another reason", lambda run: _stage(run, "bf16").update(reason="x"), same
    yield "a stage was not timed", lambda run: _stage(run, "sdpa").update(samples=[]), same
    yield "a stage was not accepted", same, lambda base: base["stages"].remove(_stage(base, "sdpa"))
    yield "another request", lambda run: _stage(run, "sdpa")["request"].update(steps=4), same
    yield "another recipe", lambda run: _stage(run, "sdpa")["recipe"].update(channels_last=True), same
    yield "other weights", lambda run: _stage(run, "sdpa").update(weights="dummy"), same
    yield "another device", lambda run: run["device"].update(slug="other", name="other"), same
    yield "another boot", lambda run: (run["environment"].update(boot="x"), _times(run, "sdpa", 1.6)), same
    yield "memory measured in another way", lambda run: _stage(run, "sdpa")["memory"].update(measure="other"), same
    yield "pictures of a batch", lambda run: _stage(run, "compile")["request"].update(batch=2), same
    yield "a first call that was cold", lambda run: _stage(run, "compile").update(cache="cold"), same
    yield "accepted in part", same, lambda base: _stage(base, "sdpa").update(origin="other.json", where={"boot": "x"})
    yield (
        "slower with an injected fault",
        lambda run: (_times(run, "sdpa", 2.5), _stage(run, "sdpa").update(injected="slow:150%")),
        same,
    )


def pairs() -> Iterator[tuple[str, Json]]:
    """Name and file of an experiment."""
    for change in CHANGES:
        for count, most in ((5, 12), (8, 12), (12, 12), (4, 12), (6, 5)):
            for scatter in (0.003, 0.02):
                name = f"{change} after {count} pairs of {most}, scatter {scatter}"
                yield name, _experiment(change, count, most, scatter)
    for name, edit in (
        ("first calls are slower", lambda one: _each(one, lambda pair: pair["new"].update(first_call_s=9.0))),
        ("not applied", lambda one: one.update(unapplied="new is not what its name says")),
        ("pictures differ", lambda one: one.update(pictures={"ssim": 0.9, "worst_tile": 0.2, "shortfall": "SSIM 0.9"})),
        ("memory grows", lambda one: one["pairs"][0]["new"]["memory"].update(peak_bytes=99_000_000)),
        ("facts differ", lambda one: one["pairs"][0]["new"]["fingerprint"].update(flops=1)),
        ("no pair", lambda one: one.update(pairs=[], failures=["old was killed by SIGKILL"])),
        (
            "whole processes in turn",
            lambda one: (_each(one, lambda pair: pair.update(starts="", way="apart")), one.update(way="apart")),
        ),
        ("complete", lambda one: one.update(complete=True)),
        ("of a suite of six", lambda one: one.update(comparisons=6)),
        ("a fault", lambda one: one.update(injected="slow:2%")),
    ):
        experiment = _experiment(1.02, 8, 12, 0.003)
        edit(experiment["fastdiff-ab"])
        yield name, experiment


def _experiment(change: float, count: int, most: int, scatter: float) -> Json:
    chance = random.Random(f"{change} {count} {most} {scatter}")
    whole: Json = json.loads((HERE / "pairs.json").read_text())
    ours = whole["fastdiff-ab"]
    template, blocks = ours["pairs"][0], 6
    ours.update(calls=2 * blocks, complete=False, judgements=[], pairs=[])
    ours["looks"] = [5] if most == 5 else [5, 8, 12]
    for number in range(count):
        pair = copy.deepcopy(template)
        shift = change * (1 + chance.gauss(0, scatter))
        pair["starts"] = "".join(chance.choice("on") for _ in range(blocks))
        for name, factor in (("old", 1.0), ("new", shift)):
            first = pair[name]["samples"][0]
            pair[name]["samples"] = [
                first | {"wall_s": 0.5 * factor * (1 + chance.gauss(0, 0.01))} for _ in range(2 * blocks)
            ]
            if number:
                pair[name].update(memory=None, fingerprint={}, components=None)
        ours["pairs"].append(pair)
    return whole


def _stage(run: Json, name: str) -> Json:
    return next(stage for stage in run["stages"] if stage["stage"] == name)


def _times(run: Json, name: str, factor: float) -> None:
    for one in _stage(run, name)["samples"]:
        one["wall_s"] *= factor


def _all_times(run: Json, factor: float) -> None:
    for stage in run["stages"]:
        _times(run, stage["stage"], factor)


def _first_call(run: Json, name: str, factor: float) -> None:
    _stage(run, name)["first_call_s"] *= factor


def _memory(run: Json, name: str, factor: float) -> None:
    memory = _stage(run, name)["memory"]
    memory["peak_bytes"] = round(factor * (memory["peak_bytes"] + memory["weights_bytes"]) - memory["weights_bytes"])


def _void(run: Json, name: str, count: int) -> None:
    for one in _stage(run, name)["samples"][:count]:
        one["void"] = "the hypervisor took 30% of the machine"


def _version(run: Json, **versions: str) -> None:
    run["environment"]["versions"].update(versions)


def _each(experiment: Json, edit: Callable[[Json], object]) -> None:
    for pair in experiment["pairs"]:
        edit(pair)
