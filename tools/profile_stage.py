"""`python -m tools.profile_stage sdxl compile`: where one call of a stage spends its time, by kind of work."""

from __future__ import annotations

import argparse
import os
import re
from collections import Counter
from typing import TYPE_CHECKING

from fastdiff.host.processor import emulated
from fastdiff.models import CATALOGUE
from fastdiff.record.errors import unknown
from fastdiff.stages.published import LADDER

if TYPE_CHECKING:
    from fastdiff.record.pairs import Profile

KINDS = (
    ("fused kernels", r"cpp_fused|triton"),  # which are called by the names of all that is in them
    ("convolutions", r"convolution|conv2d"),
    ("attention", r"scaled_dot_product|flash_attention|bmm"),
    ("matrix products", r"\bmm\b|addmm|linear|gemm|int_mm|matmul"),
    ("normalisation", r"\w*_norm|var_mean"),
    ("Python and other libraries", "^outside of operators$"),
    ("copies and layouts", r"copy_|clone|contiguous|reorder|to_copy|\bcat\b|pad"),
)
"""The first pattern that matches names the kind."""
SHOWN = 12


def kind_of(name: str) -> str:
    return next((kind for kind, pattern in KINDS if re.search(pattern, name, re.IGNORECASE)), "other operators")


def table(profile: Profile) -> list[str]:
    whole = sum(one.seconds for one in profile.operators)
    kinds: Counter[str] = Counter()
    for one in profile.operators:
        kinds[kind_of(one.name)] += one.seconds  # type: ignore[assignment]
    lines = ["| kind of work | seconds | share |", "| --- | ---: | ---: |"]
    lines += [f"| {kind} | {seconds:.2f} | {seconds / whole:.0%} |" for kind, seconds in kinds.most_common()]
    lines += ["", "| operator or kernel | seconds | times |", "| --- | ---: | ---: |"]
    return lines + [f"| `{one.name[:80]}` | {one.seconds:.2f} | {one.calls} |" for one in profile.operators[:SHOWN]]


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

    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", os.path.abspath(".fastdiff/compile-cache"))  # noqa: PTH100

    from fastdiff.trial.live import LiveStage

    model = models[options.model].with_weights(options.weights)
    stage = LADDER.native(emulated("cpu"))[options.stage]
    live = LiveStage(model, stage, "cpu", model.request.changed(steps=options.steps, size=options.size), 1)
    try:
        live.first_call()
        live.generate()
        print("\n".join(table(live.profile())))
    finally:
        live.close()


if __name__ == "__main__":
    main()
