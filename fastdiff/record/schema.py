"""Whether this fastdiff reads a file: one of an older or a newer schema is refused in one sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastdiff.record.checks import RecordError, shaped
from fastdiff.record.run import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Mapping


class SchemaError(RecordError):
    """The file is whole, and another fastdiff wrote it."""


def require_schema(ours: Mapping[str, Any], key: str) -> None:
    """`ours` is what stands under `key` in the file."""
    schema = shaped(int, ours.get("schema", SCHEMA), f"{key}.schema")
    made = f"made with schema {schema}, and this fastdiff reads schema {SCHEMA}"
    if schema > SCHEMA:
        raise SchemaError(f"{made}; upgrade fastdiff.")
    if schema < SCHEMA:
        raise SchemaError(f"{made}, because earlier latencies were too long; remove the file and measure again.")
