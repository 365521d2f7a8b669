"""Sessions that start warm: a process that has imported torch and diffusers forks one for every session.

The import takes more than half of a short session. What is about the import itself (its noise, its cost, the order of
hashes), about signals or about a GPU that is in use already starts Python anew.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

READ_AT_IMPORT = (
    *("OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_"),
    *("TORCH", "PYTORCH_", "PYTHON", "CUDA_"),
    *("HF_", "TRANSFORMERS_", "DIFFUSERS_"),
)
"""Beginnings of variables that the libraries read when they are imported: sessions share a process where they agree."""

LAST_WORDS = 2000

Key = tuple[tuple[str, str], ...]
_servers: dict[Key, subprocess.Popen[str]] = {}


def pytest(*arguments: str, cwd: Path, env: dict[str, str], timeout: float = 1200) -> subprocess.CompletedProcess[str]:
    """As `subprocess.run([sys.executable, "-m", "pytest", *arguments], cwd=cwd, env=env)` with captured text."""
    key = tuple(sorted((name, value) for name, value in env.items() if name.startswith(READ_AT_IMPORT)))
    with tempfile.TemporaryDirectory() as folder:
        outputs = [Path(folder) / name for name in ("stdout", "stderr")]
        asked = {"arguments": arguments, "cwd": str(cwd), "env": env, "outputs": [str(path) for path in outputs]}
        try:
            code = _answer(_server(key, env), json.dumps(asked), timeout)
        except BaseException as error:  # or its answer, come too late, would be taken for the next one's
            _end(key)
            for path in outputs:
                if path.exists():
                    error.add_note(f"{path.name} of {arguments}: {path.read_text()[-LAST_WORDS:]}")
            raise
        stdout, stderr = (path.read_text() for path in outputs)
    return subprocess.CompletedProcess(["pytest", *arguments], code, stdout, stderr)


def _server(key: Key, env: dict[str, str]) -> subprocess.Popen[str]:
    if key not in _servers:
        _servers[key] = subprocess.Popen(
            [sys.executable, __file__],
            # A process that asks the driver whether there is a GPU, as an import may, leaves none to its forks.
            env=env | {"PYTORCH_NVML_BASED_CUDA_CHECK": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        atexit.register(_end, key)
    return _servers[key]


def _answer(server: subprocess.Popen[str], line: str, timeout: float) -> int:
    """The session's exit code."""
    assert server.stdin
    assert server.stdout
    server.stdin.write(line + "\n")
    server.stdin.flush()
    if not select.select([server.stdout], [], [], timeout)[0]:
        raise TimeoutError(f"a session was not over after {timeout:g} s.")
    answer = server.stdout.readline()
    if not answer:
        raise RuntimeError("the process that starts sessions is gone; standard error has its last words.")
    return int(answer)


def _end(key: Key) -> None:
    """With the session that it is at."""
    if server := _servers.pop(key, None):
        os.killpg(server.pid, signal.SIGKILL)
        server.communicate()


# -- the other process ------------------------------------------------------------------------------------------------


def _serve() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what an import prints is no answer
    _import_quietly()
    gc.collect()
    gc.freeze()  # or the first collection in each fork would copy the whole memory, page by page
    for line in sys.stdin:
        child = os.fork()
        if not child:
            _become(json.loads(line))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), file=answers, flush=True)


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
