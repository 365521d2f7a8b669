"""Text of others (files, prompts, packages, errors), made harmless before it reaches a terminal, a CI log or a page."""

from __future__ import annotations

import re

CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")
"""Escape sequences, line breaks, and what turns the direction of writing."""
WORKFLOW = re.compile(r"::(?=[A-Za-z-]+(?:| .*)::)|##(?=\[)")
"""Where GitHub's log takes a line for a command: `::error::`, `::error title=a:b::`, and the older `##[error]`."""
MARKUP = re.compile(r"[\\`*_\[\]<>~&#$]")
"""What Markdown or HTML could take for its own. A bar is one only in a table, which escapes it itself."""


def clean(text: str) -> str:
    return WORKFLOW.sub(lambda found: " ".join(found[0]), CONTROL.sub(" ", text))


def in_markdown(text: str) -> str:
    """Shown on a page as it is written."""
    return MARKUP.sub(r"\\\g<0>", clean(text))
