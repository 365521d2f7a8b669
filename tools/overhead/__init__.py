"""Measures how much longer a call takes inside a fastdiff session: `python -m tools.overhead`.

`blocks` compares a session's calls with bare calls, in one process. `processes` compares a session with a script that
knows nothing of fastdiff, in fresh processes that take turns. `--disturb` shows that both checks can fail.
"""
