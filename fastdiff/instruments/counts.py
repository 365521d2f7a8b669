"""What one call does, counted: arithmetic, operators, kernels, waits for the GPU. Counts have no noise."""

from __future__ import annotations

import warnings
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from fastdiff.instruments.boundaries import DENOISING, boundaries
from fastdiff.instruments.fingerprint import Effects
from fastdiff.models.libraries import torch
from fastdiff.models.modules import Alone

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastdiff.optimize import Built

SYNC_WARNING = "called a synchronizing CUDA operation"
"""What torch says at every wait while it is asked to warn of them."""


ATTENTION = "_scaled_dot_product"
"""How the names of torch's attention kernels begin. Where none of them fits, torch computes plain products."""


@dataclass(frozen=True)
class Counts:
    facts: dict[str, int | str | list[str]]
    """By name; the same from call to call."""
    effects: Effects


def count(built: Built, call: Callable[[], object], steps: int) -> Counts:
    """Of a call of `steps` steps; `call` makes two of them, on a GPU twice.

    `flops` counts matrix products, convolutions and attention; `operators` every dispatched one of aten. Both are those
    of the call without its compiled code, in which they would be hidden. Counting is slow, and the steps after the
    first are alike, so the second one stands for all of them.
    """
    found = _eager(built, call, steps)
    if torch.device(built.device).type == "cuda":
        waits = _syncs(built, call)
        graphs, skipped = _cuda_graphs(built)
        # A scheduler may look up its place in the first step; what the last one does, each does.
        facts = {"syncs_in_loop": sum(waits), "syncs_in_a_step": waits[-1] if waits else 0, "cuda_graphs": graphs}
        effects = replace(found.effects, cuda_graphs=graphs, cuda_graphs_skipped=skipped)
        found = Counts(found.facts | facts, effects)
    return found


def none(why: str) -> Counts:
    """Of a call that fails while it is counted."""
    return Counts({}, Effects(uncounted=why))


def inductor(*, tuned: bool = False) -> dict[str, int]:
    """What dynamo and inductor made since the stage was built; the same from a cold and from a warm cache.

    Where kernels are `tuned`, every candidate of a race counts as generated, and who wins is a matter of
    microseconds: then how many were made or come from a library is no fact.
    """
    from torch._dynamo.utils import counters
    from torch._inductor import metrics

    captured = {"calls_captured": counters["stats"]["calls_captured"]}
    if tuned:
        return captured
    return captured | {
        "generated_kernels": metrics.generated_kernel_count,
        "vectorised_kernels": metrics.generated_cpp_vec_kernel_count,
        "extern_kernels": counters["inductor"]["extern_calls"],
    }


def _eager(built: Built, call: Callable[[], object], steps: int) -> Counts:
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils.flop_counter import FlopCounterMode

    aten = torch.ops.aten
    counted: Counter[str] = Counter()
    marks: list[tuple[str, int, Counter[str]]] = []

    class Operators(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func is aten.scaled_dot_product_attention.default:  # arrives whole in inference mode
                with self:
                    return func.decompose(*args, **(kwargs or {}))
            if func.namespace == "aten":
                counted[func.overloadpacket.__name__] += 1
            return func(*args, **(kwargs or {}))

    # torch has no formula for the two operators that carry the ladder's last stages on a CPU, nor for MPS's attention.
    kernels = (aten._scaled_dot_product_flash_attention_for_cpu, aten._scaled_dot_product_attention_math_for_mps)
    formulas = {**dict.fromkeys(kernels, _attention_flops), aten._int_mm: _product_flops}
    # The flop counter takes composite operators apart, so it stands behind the one that counts what is dispatched.
    with (
        torch.compiler.set_stance("force_eager"),
        FlopCounterMode(display=False, custom_mapping=formulas) as flops,
        Operators(),
        boundaries(built.anatomy, lambda component: marks.append((component, flops.get_total_flops(), counted.copy()))),
    ):
        call()
    before = [("", 0, Counter[str]()), *marks]
    stretches = [(now[0], now[1] - last[1], now[2] - last[2]) for last, now in zip(before, marks, strict=False)]
    in_a_step = [stretch for stretch in stretches if stretch[0] == DENOISING]
    # Where the first step begins is not always known; then it has everything that came before.
    seen = in_a_step if built.anatomy.begin else in_a_step[1:]
    effects = _effects(seen, counted if isinstance(built.pipeline, Alone) else None)
    more = max(steps - len(in_a_step), 0)
    step_flops, step_operators = in_a_step[-1][1:] if in_a_step else (0, Counter[str]())
    for name, count_ in step_operators.items():
        counted[name] += more * count_
    attention = sorted(name for name in counted if name.startswith(ATTENTION))
    facts = {
        "flops": flops.get_total_flops() + more * step_flops,
        "flops_in_a_step": step_flops,
        "operators": counted.total(),
        "operators_in_a_step": step_operators.total(),
        "attention_kernels": [f"{name} x {counted[name]}" for name in attention],
    }
    return Counts(facts, effects)


def _effects(in_a_step: list[tuple[str, int, Counter[str]]], whole: Counter[str] | None) -> Effects:
    """`whole`: the operators of a call without steps, if all of them are those of one module."""
    arithmetic = [flops for _, flops, _ in in_a_step]
    operators = [found for _, _, found in in_a_step] or ([] if whole is None else [whole])
    attention = [sum(found[name] for name in found if name.startswith(ATTENTION)) for found in operators]
    return Effects(
        attention=max(attention, default=None),
        steps=len(in_a_step),
        lighter_steps=sum(flops < max(arithmetic) for flops in arithmetic),
    )


def _attention_flops(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    from torch.utils.flop_counter import sdpa_flop_count

    return int(sdpa_flop_count(query, key, value))


def _product_flops(left: Any, right: Any, *_: Any, **__: Any) -> int:
    return int(2 * left[0] * left[1] * right[1])


def _syncs(built: Built, call: Callable[[], object]) -> list[int]:
    """How often the host waits for the GPU in each denoising step of one `call`."""
    steps: list[int] = []
    seen = 0
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")

        def ended(component: str) -> None:
            nonlocal seen
            waits = sum(SYNC_WARNING in str(warning.message) for warning in warned)
            steps.extend([waits - seen] if component == DENOISING else [])
            seen = waits

        torch.cuda.set_sync_debug_mode("warn")
        try:
            with boundaries(built.anatomy, ended):
                call()
        finally:
            torch.cuda.set_sync_debug_mode(before)
    return steps


def _cuda_graphs(built: Built) -> tuple[int, int]:
    """How many CUDA graphs inductor has captured, and how often it skipped one, about which it only writes a log."""
    from torch._dynamo.utils import counters
    from torch._inductor.cudagraph_trees import get_manager

    manager = get_manager(torch.device(built.device).index or 0, create_if_none_exists=False)
    captured = sum(1 + root.num_descendants() for root in manager.get_roots()) if manager else 0
    return captured, counters["inductor"]["cudagraph_skips"]
