"""Whether this fastdiff reads a file: one of an older or a newer schema is refused in one sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastdiff.record.checks import shaped
from fastdiff.record.errors import UserError
from fastdiff.record.run import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Mapping


REASONS = {1: "its latencies are too long"}
"""Why a file of that schema cannot be used."""


def require_schema(ours: Mapping[str, Any], key: str) -> None:
    """`ours` is what stands under `key` in the file."""
    schema = shaped(int, ours.get("schema", 0), f"{key}.schema")
    made = f"made with schema {schema}, and this fastdiff reads schema {SCHEMA}"
    if schema > SCHEMA:
        raise UserError("schema", f"{made}; upgrade fastdiff.")
    if schema < SCHEMA:
        reason = f" ({REASONS[schema]})" if schema in REASONS else ""
        raise UserError("schema", f"{made}{reason}; remove the file and measure again.")
