"""Which pipeline classes of diffusers run where only their place is named: a sweep, and the page about it.

`python -m tools.pipelines` makes docs/reference/pipelines.md out of found.toml; with `--sweep` it tries every class
first, for some minutes, and writes what it found into that file.
"""
