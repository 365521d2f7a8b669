"""Kept files and what was decided about them: a change of the code changes no verdict by accident."""
