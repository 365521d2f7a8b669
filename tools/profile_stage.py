"""`python -m tools.profile_stage sdxl compile`: where one call of a stage spends its time, by kind of work."""

from __future__ import annotations

import argparse
import os
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from fastdiff.host.processor import emulated
from fastdiff.models import CATALOGUE
from fastdiff.record.errors import unknown
from fastdiff.stages.published import LADDER

if TYPE_CHECKING:
    from collections.abc import Iterable

KINDS = (
    ("fused kernels", r"cpp_fused|triton"),  # which are called by the names of all that is in them
    ("convolutions", r"convolution|conv2d"),
    ("attention", r"scaled_dot_product|flash_attention|bmm"),
    ("matrix products", r"\bmm\b|addmm|linear|gemm|int_mm|matmul"),
    ("normalisation", r"\w*_norm|var_mean"),
    ("copies and layouts", r"copy_|clone|contiguous|reorder|to_copy|\bcat\b|pad"),
)
"""The first pattern that matches names the kind."""
SHOWN = 12


def kind_of(name: str) -> str:
    return next((kind for kind, pattern in KINDS if re.search(pattern, name, re.IGNORECASE)), "other operators")


def profiled(live: Any) -> list[tuple[str, float, int]]:
    """Name, seconds of its own, and how often, of every operator and compiled kernel of one call."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU]) as found:
        live.generate()
    events = found.key_averages()
    return [(one.key, one.self_cpu_time_total / 1e6, one.count) for one in events]


def table(events: Iterable[tuple[str, float, int]]) -> list[str]:
    events = sorted(events, key=lambda one: -one[1])
    whole = sum(seconds for _, seconds, _ in events)
    kinds: Counter[str] = Counter()
    for name, seconds, _ in events:
        kinds[kind_of(name)] += seconds  # type: ignore[assignment]
    lines = ["| kind of work | seconds | share |", "| --- | ---: | ---: |"]
    lines += [f"| {kind} | {seconds:.2f} | {seconds / whole:.0%} |" for kind, seconds in kinds.most_common()]
    lines += ["", "| operator or kernel | seconds | times |", "| --- | ---: | ---: |"]
    return lines + [f"| `{name[:80]}` | {seconds:.2f} | {count} |" for name, seconds, count in events[:SHOWN]]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.profile_stage", description=__doc__)
    parser.add_argument("model")
    parser.add_argument("stage")
    parser.add_argument("--weights", default="dummy")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--steps", type=int, default=2)
    options = parser.parse_args()
    models = {model.name: model for model in CATALOGUE}
    if options.model not in models:
        parser.error(unknown("model", options.model, models))
    if options.stage not in LADDER.names:
        parser.error(unknown("stage", options.stage, LADDER.names))

    # Compiled kernels show up in a profile only where their code announces them.
    os.environ["TORCHINDUCTOR_CPP_ENABLE_KERNEL_PROFILE"] = "1"
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", os.path.abspath(".fastdiff/compile-cache"))  # noqa: PTH100

    from fastdiff.trial.live import LiveStage

    model = models[options.model].with_weights(options.weights)
    stage = LADDER.native(emulated("cpu"))[options.stage]
    live = LiveStage(model, stage, "cpu", model.request.changed(steps=options.steps, size=options.size), 1)
    try:
        live.first_call()
        live.generate()
        print("\n".join(table(profiled(live))))
    finally:
        live.close()


if __name__ == "__main__":
    main()
