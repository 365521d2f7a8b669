"""Percent as options take it: `5%`, with its sign, so that 5 is never read as 500 % and 0.05 never as 5 %."""

from __future__ import annotations


def share(text: str) -> float:
    """0.05 for `5%`; a ValueError where it is not written so."""
    number, sign, rest = text.strip().partition("%")
    if not sign or rest:
        raise ValueError(text)
    return float(number) / 100
