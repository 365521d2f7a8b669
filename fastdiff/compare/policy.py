"""What counts as a difference: the bands of each metric and the confidence of the whole suite, in one place."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from fastdiff.record.errors import UserError, unknown

FEWEST_PAIRS = 5
"""Of four pairs or fewer nothing shows which one is wild, and an interval is wide beyond use."""
BANDS = {
    "latency": 1,
    "paired": 1,
    "paired_across_stacks": 1,
    "paired_all_cores": 1,
    "ladder": 1,
    "first_call": 4,
    "paired_first_call": 4,
    "memory": 1,
}
"""By name, the widest that is no mistake: 5 is meant as 5 %. A neighbour makes a first call more than twice as long."""


@dataclass(frozen=True)
class Policy:
    """A band of 0.15 means: up to 15 % more (or the inverse of it) is the same."""

    latency: float
    ladder: float
    """Of a stage's gain on the stage that it follows."""
    first_call: float
    paired_first_call: float
    """Of first calls in pairs."""
    memory: float
    paired: float = 0.01
    """Of the latency of two sides that were measured in pairs, which a neighbour disturbs alike: 1 % is the least that
    people act upon."""
    paired_across_stacks: float = 0.02
    """The same where the two sides have other packages: another build of the same code differs by 0.5 to 1 %."""
    paired_all_cores: float = 0.05
    """The same in turns with all cores, beside halves: turns scatter by some per cent, and what only shows with several
    threads is mostly large."""
    confidence: float = 0.95
    """That a suite without any change beyond its bands raises no alarm at all: one false alarm in twenty nights is
    the most that people put up with before they stop reading."""
    paired_confidence: float = 0.99
    """The same of pairs, which are sharp enough for it."""
    same_confidence: float = 0.95
    """That one comparison with a change at the edge of its band is not called the same."""
    void_share: float = 0.5
    """A stage with a larger share of disturbed samples is VOID: what is left was chosen by the disturbance."""
    minimum_samples: int = 3
    """Undisturbed ones; a median of fewer is one sample or the middle of two."""

    def __post_init__(self) -> None:
        for name, widest in BANDS.items():
            _require(name, getattr(self, name), above=0, up_to=widest, example="0.10, which means 10 %")
        for name in ("confidence", "paired_confidence", "same_confidence"):
            _require(name, getattr(self, name), above=0.5, up_to=0.9999, example="0.95")
        _require("void_share", self.void_share, above=0, up_to=1, example="0.5")
        minimum = self.minimum_samples
        if isinstance(minimum, bool) or not isinstance(minimum, int) or minimum < 1:
            raise UserError("recipe", f"policy: minimum_samples is {minimum!r}; give a whole number above zero.")

    def of_pairs(self, *, across: bool) -> float:
        """The band of a latency in pairs; `across`: between two stacks, which never have the narrower one."""
        return max(self.paired, self.paired_across_stacks) if across else self.paired

    def with_band(self, band: float) -> Policy:
        """The latency of all pairs is judged by this band."""
        return replace(self, paired=band, paired_across_stacks=band)

    def configured(self, table: Mapping[str, Any], model: str, stage: str) -> Policy:
        """This policy with `[tool.fastdiff.policy]` over it; a model's table wins, and a stage's in it wins again."""
        of_model = _table(table, model)
        of_stage = _table(of_model, stage)
        changes = _numbers(table) | _numbers(of_model) | _numbers(of_stage)
        return replace(self, **changes)


def default(kind: str) -> Policy:
    if kind not in DEFAULTS:
        raise UserError("recipe", unknown("kind of device", kind, DEFAULTS))
    return DEFAULTS[kind]


def check(table: object, models: Collection[str], stages: Collection[str]) -> None:
    """Reads the whole of `[tool.fastdiff.policy]` for its errors; `configured` finds those of one stage only."""
    if not isinstance(table, Mapping):
        raise UserError("recipe", f"policy is {table!r}; give a table.")
    CPU.configured(table, "", "")
    for model in _tables(table, "model or number", models):
        CPU.configured(table, model, "")
        for stage in _tables(table[model], "stage or number", stages):
            CPU.configured(table, model, stage)
            _tables(table[model][stage], "number", ())


def _tables(table: Mapping[str, Any], kind: str, known: Collection[str]) -> list[str]:
    """The names in a table that are tables themselves."""
    found = [name for name in table if _is_table(table, name)]
    for name in found:
        if name not in known:
            raise UserError("recipe", f"policy: {unknown(kind, name, [*known, *_names()])}")
    return found


def _table(table: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return table[name] if name in table and _is_table(table, name) else {}


def _numbers(table: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers of a table itself; tables in it belong to models and stages."""
    numbers = {name.replace("-", "_"): value for name, value in table.items() if not _is_table(table, name)}
    for name in numbers:
        if name not in _names():
            raise UserError("recipe", f"policy: {unknown('number', name, _names())}")
    return numbers


def _is_table(table: Mapping[str, Any], name: str) -> bool:
    """A table under a number's name is a wrong number."""
    return isinstance(table[name], Mapping) and name.replace("-", "_") not in _names()


def _names() -> list[str]:
    return [field.name for field in fields(Policy)]


def _require(name: str, value: object, *, above: float, up_to: float, example: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not above < value <= up_to:
        raise UserError(
            "recipe", f"policy: {name} is {value!r}; give a number above {above:g} up to {up_to:g}, such as {example}."
        )


CPU = Policy(
    latency=0.50,  # two evenings of one shared machine differed by 44 %; what is smaller only pairs can see
    ladder=0.50,  # as latency: minutes lie between two stages of a ladder
    first_call=1.50,  # two evenings of one shared machine: 1.5 to 2.2 times as long
    paired_first_call=0.50,  # neighbours come and go between two turns as well
    memory=0.01,  # live tensors are exact; 1 % lets a small buffer pass
)
CUDA = Policy(
    latency=0.10,  # not measured: wide, because what is smaller only pairs can see
    ladder=0.10,  # as latency
    first_call=0.30,  # not measured: a GPU's host is mostly less crowded than a shared CPU
    paired_first_call=0.30,  # as above
    memory=0.02,  # the caching allocator rounds block sizes
)
DEFAULTS = {"cpu": CPU, "cuda": CUDA}
