"""Counts repeat exactly, from call to call and from process to process, and counting leaves compiled code alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from here import HERE, NATIVE

from fastdiff.instruments import components, counts, fingerprint, memory
from fastdiff.models.anatomy import Anatomy
from fastdiff.models.libraries import torch
from fastdiff.record.errors import UserError
from fastdiff.stages.recipe import Recipe
from fastdiff.trial.live import LiveStage, graph_failed, out_of_memory

if TYPE_CHECKING:
    from fastdiff.models import Model

PROCESSES = 3

COUNT = """
import json, sys
from fastdiff.instruments import counts, memory
from fastdiff.trial.live import LiveStage
from fastdiff.models import Model, Request
from here import HERE
model = Model("tiny", "StableDiffusionXLPipeline", sys.argv[1], Request("a red circle", steps=2, size=64, guidance=4.0))
live = LiveStage(model, HERE["sdpa"], "cpu", model.request, rounds=1)
live.first_call()
found = counts.count(live.built, live.generate, 2).facts | counts.inductor()
found |= memory.measure(live.built, live.generate).peaks
live.close()
print(json.dumps(found))
"""


@pytest.mark.compile
def test_fresh_processes_count_the_same(tiny: Model) -> None:
    """Hashes differ from process to process, as they do from night to night."""
    found = []
    for number in range(PROCESSES):
        environment = os.environ | {
            "PYTHONHASHSEED": str(number),
            "PYTHONPATH": f"{Path(__file__).parent}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
        }
        asked = [sys.executable, "-c", COUNT, tiny.source]
        told = subprocess.run(asked, env=environment, capture_output=True, text=True, check=True).stdout
        found.append(json.loads(told.splitlines()[-1]))
    assert found == [found[0]] * PROCESSES
    assert found[0]["flops"] > 1e9
    assert found[0]["generated_kernels"] == 0


def test_every_stage_does_the_same_arithmetic(tiny: Model) -> None:
    """Fusing and int8 change how, not how much; compiled stages are counted without compiling anything."""
    found: dict[str, dict[str, Any]] = {}
    for name in ("fp32", "sdpa", "int8"):
        live = LiveStage(tiny, HERE[name], "cpu", tiny.request, rounds=1)
        found[name] = counts.count(live.built, live.generate, 2).facts
        assert live.fingerprint.compilation.graphs == 0
        live.close()
    assert len({facts["flops"] for facts in found.values()}) == 1
    assert len({facts["operators"] for facts in found.values()}) == len(found)
    kernels = {name: int(facts["attention_kernels"][0].split(" x ")[1]) for name, facts in found.items()}
    assert kernels["fp32"] < kernels["sdpa"] == kernels["int8"]
    assert found["sdpa"]["attention_kernels"][0].startswith("_scaled_dot_product_flash_attention")


def test_twice_the_steps_is_twice_the_denoising(live: LiveStage) -> None:
    flops = []
    for steps in (1, 2, 3):
        live.request = live.request.changed(steps=steps)
        flops.append(counts.count(live.built, live.generate, steps).facts["flops"])
    assert flops[2] - flops[1] == flops[1] - flops[0] > flops[0] / 2


def test_arithmetic_of_what_torch_has_no_formula_for() -> None:
    nothing: Any = SimpleNamespace(step=print, decode=print)
    pipeline = SimpleNamespace(encode_prompt=print, progress_bar=print, scheduler=nothing, vae=nothing)
    built: Any = SimpleNamespace(device="cpu", anatomy=Anatomy(pipeline), pipeline=pipeline, recipe=Recipe())
    query, key = torch.zeros(1, 2, 16, 8), torch.zeros(1, 2, 32, 8)
    attention = counts.count(built, lambda: torch.nn.functional.scaled_dot_product_attention(query, key, key), 1).facts
    assert attention["flops"] == 2 * (2 * 2 * 16 * 8 * 32), "two products, two heads"
    left, right = torch.zeros(32, 16, dtype=torch.int8), torch.zeros(16, 8, dtype=torch.int8)
    assert counts.count(built, lambda: torch._int_mm(left, right), 1).facts == {
        "flops": 2 * 32 * 16 * 8,
        "flops_in_a_step": 0,
        "operators": 1,
        "operators_in_a_step": 0,
        "attention_kernels": [],
    }


def test_attention_in_inference_mode_is_counted_by_its_kernel() -> None:
    """There a composite operator arrives whole."""
    nothing: Any = SimpleNamespace(step=print)
    pipeline = SimpleNamespace(progress_bar=print, scheduler=nothing)
    built: Any = SimpleNamespace(device="cpu", anatomy=Anatomy(pipeline), pipeline=pipeline, recipe=Recipe())
    query = torch.zeros(1, 2, 16, 8)

    @torch.inference_mode()
    def call() -> None:
        pipeline.progress_bar(end="")
        torch.nn.functional.scaled_dot_product_attention(query, query, query)
        pipeline.scheduler.step(end="")

    found = counts.count(built, call, 1)
    assert (found.effects.attention, len(found.facts["attention_kernels"])) == (1, 1)  # type: ignore[arg-type]


def test_a_first_step_whose_beginning_is_not_known_shows_nothing() -> None:
    """It has everything that came before, such as the attention of text encoders."""
    nothing: Any = SimpleNamespace(step=print)
    pipeline = SimpleNamespace(scheduler=nothing)
    built: Any = SimpleNamespace(device="cpu", anatomy=Anatomy(pipeline), pipeline=pipeline, recipe=Recipe())
    query, square = torch.zeros(1, 2, 16, 8), torch.zeros(8, 8)

    def call() -> None:
        torch.nn.functional.scaled_dot_product_attention(query, query, query)
        for _ in range(3):
            torch.mm(square, square)
            pipeline.scheduler.step(end="")

    found = counts.count(built, call, 3).effects
    assert (found.attention, found.steps, found.lighter_steps) == (0, 2, 0)
    pipeline.progress_bar = print
    built.anatomy = Anatomy(pipeline)
    assert counts.count(built, lambda: (pipeline.progress_bar(end=""), call()), 3).effects.attention == 1


@pytest.mark.compile
@pytest.mark.timeout(1800)
def test_no_pass_disturbs_compiled_code(tiny: Model) -> None:
    """The one test here that waits for a real compiler; the code is the same as in the tests of building."""
    live = LiveStage(tiny, HERE[NATIVE[-1]], "cpu", tiny.request, rounds=1)
    live.first_call()
    made = counts.inductor()
    assert min(made.values()) > 0
    compiled = live.built.denoiser._compiled_call_impl, live.built.pipeline.vae.decode
    eager = counts.count(live.built, live.generate, 2).facts
    parts = components.measure(live.built, live.generate)
    peak = memory.measure(live.built, live.generate)
    live.generate()
    assert (live.built.denoiser._compiled_call_impl, live.built.pipeline.vae.decode) == compiled
    assert live.unapplied == []
    assert live.fingerprint.recompiles == 0
    assert counts.inductor() == made
    assert len(parts.steps_s) == tiny.request.steps
    assert peak.peak_bytes > 0
    live.close()
    plain = LiveStage(tiny, HERE["sdpa"], "cpu", tiny.request, rounds=1)
    assert counts.count(plain.built, plain.generate, 2).facts["flops"] == eager["flops"]
    plain.close()


def test_of_candidates_that_race_nothing_is_counted() -> None:
    """Which kernel wins is decided by microseconds: a number of kernels would change every night."""
    assert set(counts.inductor(tuned=True)) == {"calls_captured"}


def test_only_caches_of_whole_graphs_tell_cold_from_warm(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a GPU's counters stood after a warm start: each kernel had missed a cache of its own."""
    from torch._dynamo.utils import counters

    warm = {"fxgraph_cache_hit": 2, "async_compile_cache_miss": 47, "async_compile_cache_hit": 29}
    monkeypatch.setitem(counters, "inductor", Counter(warm))
    monkeypatch.setitem(counters, "aot_autograd", Counter({"autograd_cache_hit": 1}))
    assert fingerprint.compilation().cache == "warm"


def test_trouble_inside_inductor_is_reported_by_its_cause() -> None:
    from torch._inductor.exc import InductorError

    full = InductorError(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), None)
    assert out_of_memory(full)
    assert out_of_memory(UserError("memory", "only 3 GB are free")), "fastdiff's own refusal is one too"
    assert graph_failed(InductorError(ValueError("no lowering"), None))
    assert not graph_failed(ValueError("of our own"))


# -- the GPU, played --------------------------------------------------------------------------------------------------


def wait(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
    """Lets a method wait for a GPU as torch reports it."""
    original = getattr(owner, name)

    def waiting(*args: Any, **kwargs: Any) -> Any:
        if torch.cuda.get_sync_debug_mode():
            warnings.warn("called a synchronizing CUDA operation (Triggered internally)", UserWarning, stacklevel=1)
        return original(*args, **kwargs)

    monkeypatch.setattr(owner, name, waiting)


def test_waits_inside_the_loop_are_counted(live: LiveStage, monkeypatch: pytest.MonkeyPatch) -> None:
    mode = ["default"]
    monkeypatch.setattr(torch.cuda, "get_sync_debug_mode", lambda: 0 if mode[-1] in ("default", 0) else 1)
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", mode.append)
    monkeypatch.setattr(counts, "_cuda_graphs", lambda built: (3, 1))
    for owner, name in [("text_encoder", "forward"), ("unet", "forward"), ("vae", "decode")]:
        wait(monkeypatch, getattr(live.built.pipeline, owner), name)
    built: Any = SimpleNamespace(**vars(live.built) | {"device": "cuda:0"})
    counted = counts.count(built, live.generate, 2)
    found = counted.facts
    assert (found["syncs_in_loop"], found["syncs_in_a_step"]) == (live.request.steps, 1)
    assert found["cuda_graphs"] == counted.effects.cuda_graphs == 3
    assert counted.effects.cuda_graphs_skipped == 1
    assert mode == ["default", "warn", 0]


def test_a_wait_of_the_first_step_alone_is_none_of_every_step(live: LiveStage, monkeypatch: pytest.MonkeyPatch) -> None:
    """As schedulers do that look up where to begin."""
    monkeypatch.setattr(torch.cuda, "get_sync_debug_mode", lambda: 1)
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", lambda _: None)
    monkeypatch.setattr(counts, "_cuda_graphs", lambda _: (0, 0))
    live.built.pipeline.scheduler.set_begin_index = lambda _: None
    wait(monkeypatch, live.built.pipeline.scheduler, "index_for_timestep")
    built: Any = SimpleNamespace(**vars(live.built) | {"device": "cuda:0"})
    found = counts.count(built, live.generate, 2).facts
    assert found["syncs_in_loop"] > 0
    assert found["syncs_in_a_step"] == 0


def test_a_cpu_has_nothing_to_wait_for(live: LiveStage) -> None:
    assert not {"syncs_in_loop", "syncs_in_a_step", "cuda_graphs"} & set(
        counts.count(live.built, live.generate, 2).facts
    )


def test_two_steps_show_what_more_of_them_do(live: LiveStage) -> None:
    """The second step stands for the later ones; here all of them are counted."""
    told = counts.count(live.built, live.generate, 5).facts
    live.request = live.request.changed(steps=5)
    assert told == counts.count(live.built, live.generate, 5).facts
    assert told["flops_in_a_step"] < told["flops"] / 5
