"""`python -m fastdiff.cli`."""

from fastdiff.cli import program

program()
