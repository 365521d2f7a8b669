"""What fastdiff adds to a timed call: `python -m tools.overhead`. Two checks, each of which can fail.

`blocks` compares calls as a session makes them with bare calls, in one process. `processes` compares a session with a
script that knows nothing of fastdiff, in fresh processes that take turns. `--disturb` shows that both can fail.
"""
