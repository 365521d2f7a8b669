"""`python -m fastdiff.cli`."""

from fastdiff.cli import app

app()
