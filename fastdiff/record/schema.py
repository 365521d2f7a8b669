"""Whether this fastdiff reads a file: one of an older or a newer schema is refused in one sentence."""

from __future__ import annotations

from dataclasses import dataclass

from fastdiff.record.bounds import Count  # noqa: TC001  (msgspec reads it)
from fastdiff.record.errors import UserError
from fastdiff.record.reading import convert
from fastdiff.record.run import SCHEMA

REASONS = {1: "its latencies are too long"}
"""Why a file of that schema cannot be used."""


@dataclass(frozen=True)
class _Any:
    schema: Count = 0


def require_schema(ours: object, key: str) -> None:
    """`ours` is what stands under `key` in the file."""
    schema = convert(ours, _Any, key).schema
    made = f"made with schema {schema}, and this fastdiff reads schema {SCHEMA}"
    if schema > SCHEMA:
        raise UserError("schema", f"{made}; upgrade fastdiff.")
    if schema < SCHEMA:
        reason = f" ({REASONS[schema]})" if schema in REASONS else ""
        raise UserError("schema", f"{made}{reason}; remove the file and measure again.")
