"""Sessions that start warm: a process that has imported torch and diffusers forks one for every session.

The import takes more than half of a short session. A fork from before any work is a fresh process in everything else;
what is about the import itself (its noise, its cost) or about signals starts Python anew.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import signal
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

READ_AT_IMPORT = ("OMP_", "MKL_", "OPENBLAS_", "TORCH", "PYTHON")
"""Beginnings of variables that the libraries read when they are imported: sessions share a process where they agree."""

Key = tuple[tuple[str, str], ...]
_servers: dict[Key, subprocess.Popen[str]] = {}


def pytest(*arguments: str, cwd: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """As `subprocess.run([sys.executable, "-m", "pytest", *arguments], cwd=cwd, env=env)` with captured text."""
    key = tuple(sorted((name, value) for name, value in env.items() if name.startswith(READ_AT_IMPORT)))
    with tempfile.TemporaryDirectory() as folder:
        outputs = [Path(folder) / name for name in ("stdout", "stderr")]
        asked = {"arguments": arguments, "cwd": str(cwd), "env": env, "outputs": [str(path) for path in outputs]}
        try:
            code = int(_answer(_server(key, env), json.dumps(asked)))
        except BaseException:  # a timeout, for instance: its answer would be taken for the next one's
            _end(key)
            raise
        stdout, stderr = (path.read_text() for path in outputs)
    return subprocess.CompletedProcess(["pytest", *arguments], code, stdout, stderr)


def _server(key: Key, env: dict[str, str]) -> subprocess.Popen[str]:
    if key not in _servers:
        _servers[key] = subprocess.Popen(
            [sys.executable, __file__],
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        atexit.register(_end, key)
    return _servers[key]


def _answer(server: subprocess.Popen[str], line: str) -> str:
    assert server.stdin
    assert server.stdout
    server.stdin.write(line + "\n")
    server.stdin.flush()
    return server.stdout.readline()


def _end(key: Key) -> None:
    """With the session that it is at."""
    if server := _servers.pop(key, None):
        os.killpg(server.pid, signal.SIGKILL)
        server.communicate()


# -- the other process ------------------------------------------------------------------------------------------------


def _serve() -> None:
    _import_quietly()
    gc.collect()
    gc.freeze()  # or the first collection in each fork would copy the whole memory, page by page
    for line in sys.stdin:
        child = os.fork()
        if not child:
            _become(json.loads(line))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _import_quietly() -> None:
    """Nothing of fastdiff's own: pytest rewrites the assertions of its plugins while it imports them."""
    shown = os.dup(2)  # the libraries' loggers keep `sys.stderr`, so only where it leads may change
    with Path(os.devnull).open("w") as nothing:
        os.dup2(nothing.fileno(), 2)
    try:
        import_module("skimage.metrics")
        diffusers = import_module("diffusers")
        _ = diffusers.StableDiffusionXLPipeline, diffusers.AutoencoderKL
    finally:
        os.dup2(shown, 2)
        os.close(shown)


def _become(asked: dict[str, Any]) -> None:
    """The session that was asked for; never returns."""
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    for number, path in enumerate((os.devnull, *asked["outputs"])):
        with Path(path).open("w" if number else "r") as file:
            os.dup2(file.fileno(), number)
    sys.argv = ["pytest", *asked["arguments"]]
    sys.path[0] = asked["cwd"]  # as `python -m` has it
    sys.exit(import_module("pytest").console_main())


if __name__ == "__main__":
    _serve()
