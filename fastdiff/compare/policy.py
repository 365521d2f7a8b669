"""What counts as a difference: the bands of each metric and the confidence of the whole suite, in one place."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from fastdiff.record.errors import UserError, unknown
from fastdiff.record.percent import share

FEWEST_PAIRS = 5
"""With four pairs or fewer, an outlier cannot be recognized, and the interval is too wide to be useful."""
SHARES = {
    **dict.fromkeys(("latency", "paired", "paired_across_stacks", "paired_all_cores", "ladder", "memory"), (0, 1)),
    **dict.fromkeys(("first_call", "paired_first_call", "paired_slow_calls"), (0, 4)),
    **dict.fromkeys(("confidence", "paired_confidence", "same_confidence"), (0.5, 0.9999)),
    "void_share": (0, 1),
}
"""By name, the limit that a share must exceed, and the largest share that is accepted. Tables have percentages.
Neighbours can more than double a first call."""
EXAMPLE = {0: "10%", 0.5: "95%"}
"""By the limit that a share must exceed."""


@dataclass(frozen=True)
class Policy:
    """A band of 0.15 means that ratios from 1 / 1.15 to 1.15 count as the same."""

    latency: float
    ladder: float
    """Band of a stage's speedup over the stage that it follows."""
    first_call: float
    paired_first_call: float
    """Band of first calls in pairs."""
    memory: float
    paired: float = 0.01
    """Band of the latency in pairs, whose two sides are disturbed alike. Users rarely act on less than 1 %."""
    paired_across_stacks: float = 0.02
    """The same if packages differ: another build of the same code differs by 0.5 to 1 %."""
    paired_all_cores: float = 0.05
    """The same for the additional pairs in turns with all cores. They scatter by a few per cent, but effects that
    appear only with all threads are mostly large."""
    paired_slow_calls: float = 0.05
    """Band of the slower half of the calls in pairs, relative to the faster half. It scatters by 0.7 to 4 % between
    pairs; 5 % of it is 2.5 % of the mean of all calls."""
    confidence: float = 0.95
    """Probability that a suite without any change beyond its bands raises no alarm. With more than one false alarm in
    twenty nights, users stop reading them."""
    paired_confidence: float = 0.99
    """The same for pairs, which are precise enough for it."""
    same_confidence: float = 0.95
    """Probability that a change at the edge of its band is not called SAME, for one comparison."""
    void_share: float = 0.5
    """A stage with a larger share of disturbed samples is VOID: the remaining samples are no fair selection."""
    minimum_samples: int = 3
    """The fewest undisturbed samples: a median of fewer is a single sample or the middle of two."""

    def __post_init__(self) -> None:
        for name in SHARES:
            _require(name, getattr(self, name))
        minimum = self.minimum_samples
        if isinstance(minimum, bool) or not isinstance(minimum, int) or minimum < 1:
            raise UserError("recipe", f"policy: minimum_samples is {minimum!r}; give a whole number above zero.")

    def of_pairs(self, *, across: bool) -> float:
        """The band of a latency in pairs. `across`: packages differ; then the band is never the narrower one."""
        return max(self.paired, self.paired_across_stacks) if across else self.paired

    def with_band(self, band: float) -> Policy:
        """This policy with one band for the latency in pairs, whether or not packages differ."""
        return replace(self, paired=band, paired_across_stacks=band)

    def configured(self, table: Mapping[str, Any], model: str, stage: str) -> Policy:
        """This policy with the values of `[tool.fastdiff.policy]`; a model's table overrides them, a stage's both."""
        of_model = _table(table, model)
        of_stage = _table(of_model, stage)
        changes = _numbers(table) | _numbers(of_model) | _numbers(of_stage)
        return replace(self, **changes)


def default(kind: str) -> Policy:
    if kind not in DEFAULTS:
        raise UserError("recipe", unknown("kind of device", kind, DEFAULTS))
    return DEFAULTS[kind]


def check(table: object, models: Collection[str], stages: Collection[str]) -> None:
    """Checks all of `[tool.fastdiff.policy]`; `configured` finds only the errors that concern one stage."""
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
    numbers = {}
    for written, value in table.items():
        if _is_table(table, written):
            continue
        name = written.replace("-", "_")
        if name not in _names():
            raise UserError("recipe", f"policy: {unknown('number', name, _names())}")
        numbers[name] = _share(name, value) if name in SHARES else value
    return numbers


def _share(name: str, value: object) -> float:
    """Of a percentage, as options have it; of 5, or 0.05, it would be a guess which one is meant."""
    try:
        if isinstance(value, str):
            return share(value)
    except ValueError:
        pass
    raise _wrong(name, repr(value))


def _is_table(table: Mapping[str, Any], name: str) -> bool:
    """Whether the value is a table of a model or stage. A table under the name of a number is a wrong number."""
    return isinstance(table[name], Mapping) and name.replace("-", "_") not in _names()


def _names() -> list[str]:
    return [field.name for field in fields(Policy)]


def _require(name: str, value: float) -> None:
    above, most = SHARES[name]
    if not above < value <= most:
        raise _wrong(name, f"{100 * value:g}%")


def _wrong(name: str, value: str) -> UserError:
    above, most = SHARES[name]
    return UserError(
        "recipe",
        f"policy: {name} is {value}; give a percentage above {100 * above:g}% up to {100 * most:g}%, such as "
        f'"{EXAMPLE[above]}".',
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
MPS = replace(CPU, memory=0.05)  # not measured: a laptop's heat, and a driver that hands memory out in large pieces
DEFAULTS = {"cpu": CPU, "cuda": CUDA, "mps": MPS}
