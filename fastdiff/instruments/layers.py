"""The linear layers of a built pipeline: which shapes there are, and how long each takes plain and quantized."""

from __future__ import annotations

import copy
from collections import Counter, defaultdict
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from fastdiff.instruments.latency import synchronised_clock
from fastdiff.models.libraries import torch
from fastdiff.optimize import compilation, quantization
from fastdiff.record.layers import Race, Shape
from fastdiff.stages.filters import Filter

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastdiff.optimize import Built

TURN_S = 0.02
"""A turn repeats products until they take this long: far above the clock's and the scheduler's grain."""
MOST_REPEATS = 1000
MOST_GRAPHS = 100
"""One for each number of rows, in both ways; torch's own limit of 8 is meant for code that varies by mistake."""


def shapes(built: Built, call: Callable[[], object]) -> list[Shape]:
    """Of the layers that `call` uses and that are wide enough for any filter, the most arithmetic first."""
    quantization.convolutions_to_linear(built.parts)
    layers: dict[tuple[int, int], set[Any]] = defaultdict(set)
    products: dict[tuple[int, int], Counter[int]] = defaultdict(Counter)

    def seen(layer: Any, inputs: tuple[Any, ...]) -> None:
        shape = (layer.in_features, layer.out_features)
        layers[shape].add(layer)
        products[shape][inputs[0].numel() // layer.in_features] += 1

    with ExitStack() as hooks:
        for part in built.parts:
            for name, module in part.named_modules():
                if quantization.selected(Filter(), module, name):
                    hooks.callback(module.register_forward_pre_hook(seen).remove)
        call()
    found = [Shape(*shape, len(layers[shape]), dict(sorted(rows.items()))) for shape, rows in products.items()]
    return sorted(found, key=lambda one: -one.inputs * one.outputs * sum(m * n for m, n in one.products.items()))


def race(shape: Shape, kind: str, dtype: str, device: str, turns: int) -> Race:
    """Both ways compiled, as in a stage: there the conversion of what goes in is one kernel with what is around it."""
    import torch._dynamo.config as dynamo

    compilation.forget()  # of the shapes before: all of them share one function
    with torch.no_grad(), dynamo.patch(recompile_limit=MOST_GRAPHS):
        layer = torch.nn.Linear(shape.inputs, shape.outputs, device=device, dtype=getattr(torch, dtype))
        quantized = torch.nn.Sequential(copy.deepcopy(layer))
        quantization.quantize([quantized], kind, Filter())
        ways = [_compiled(torch.nn.Sequential(layer)), _compiled(quantized)]
        inputs = [
            (torch.randn(rows, shape.inputs, device=device, dtype=layer.weight.dtype), count)
            for rows, count in shape.products.items()
        ]
        for way in ways:
            _products_s(way, inputs, repeats=1)  # compiles
        repeats = [_repeats(way, inputs) for way in ways]
        seconds: list[list[float]] = [[], []]
        for turn in range(turns):
            for place in (0, 1) if turn % 2 else (1, 0):
                seconds[place].append(_products_s(ways[place], inputs, repeats[place]))
    return Race(shape, tuple(seconds[0]), tuple(seconds[1]))


def _compiled(layer: Any) -> Callable[[Any], Any]:
    compiled: Callable[[Any], Any] = torch.compile(layer, fullgraph=True, dynamic=False)
    return compiled


def _repeats(way: Callable[[Any], Any], inputs: list[tuple[Any, int]]) -> int:
    """So that the quickest of the products fills a turn; the others take longer."""
    began = synchronised_clock()
    for values, _ in inputs:
        way(values)
    once = max(synchronised_clock() - began, 1e-9) / len(inputs)
    return max(1, min(MOST_REPEATS, round(TURN_S / once)))


def _products_s(way: Callable[[Any], Any], inputs: list[tuple[Any, int]], repeats: int) -> float:
    """Of all products of a call, each timed `repeats` times and counted as often as it occurs."""
    whole = 0.0
    for values, count in inputs:
        began = synchronised_clock()
        for _ in range(repeats):
            way(values)
        whole += count * (synchronised_clock() - began) / repeats
    return whole
