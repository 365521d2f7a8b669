"""Text of others (files, prompts, packages, errors), made harmless before it reaches a terminal or a CI log."""

from __future__ import annotations

import re

CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")
"""Escape sequences, line breaks, and what turns the direction of writing."""
WORKFLOW = re.compile(r"::(?=[A-Za-z-]+[^:\n]*::)")
"""How a CI's log takes a line for a command: `::error::`."""


def clean(text: str) -> str:
    return WORKFLOW.sub(": :", CONTROL.sub(" ", text))
