"""The other end of `fastdiff.trial.process`: a process that builds one stage and measures it.

`python -m fastdiff.trial.worker` reads one JSON object per line from standard input, `{"do": "build", ...}`, and
replies to each with one line. Output of libraries goes to standard error, so that it cannot be confused with a reply.
The process ends when its standard input is closed, so that nothing keeps running after the parent process.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import sys
import sysconfig
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastdiff.host import cores as host
from fastdiff.trial.process import PROTOCOL

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastdiff.trial.live import LiveStage

PR_SET_PDEATHSIG = 1
"""Linux: the prctl option that sets the signal to receive when the parent process ends."""


class Worker:
    """One method for each action; `fastdiff.trial.runner` documents them."""

    def __init__(self) -> None:
        self._opened = ExitStack()
        self._stage: LiveStage | None = None

    @property
    def stage(self) -> LiveStage:
        if self._stage is None:
            raise RuntimeError("nothing was built yet; send build first.")
        return self._stage

    def hello(self) -> dict[str, Any]:
        """Replies with the folders of the libraries, before any library is imported."""
        python = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib")}
        folders = [path for path in sys.path if path not in python and os.path.isdir(path)]  # noqa: PTH112  (texts)
        return {"protocol": PROTOCOL, "folders": folders}

    def load(self, recipe: dict[str, Any]) -> dict[str, Any]:
        """Imports what takes seconds to import, so that two workers can do that at the same time, and returns how this
        fastdiff reads the recipe: an older one does not know every optimization."""
        import fastdiff.trial.live  # noqa: F401
        from fastdiff.record.reading import convert
        from fastdiff.stages.recipe import Recipe

        return {"recipe": convert(recipe, Recipe, "recipe").as_kept()}

    def move(self, cores: list[int]) -> dict[str, Any]:
        host.move(cores)
        return {}

    def build(self, **asked: Any) -> dict[str, Any]:
        from fastdiff.host.environment import environment
        from fastdiff.host.software import installed
        from fastdiff.record.reading import convert
        from fastdiff.trial.live import here
        from fastdiff.trial.work import Work

        work = convert(asked, Work, "work")
        self._stage = self._opened.enter_context(here(work))
        return {
            "trial": asdict(self.stage.trial()),
            "environment": environment(work.device),
            "packages": {name: one.version for name, one in installed().items()},
        }

    def settle(self) -> dict[str, Any]:
        self.stage.settle()
        return {}

    def sample(self, at: float = 0.0) -> dict[str, Any]:
        return {"sample": asdict(self.stage.sample(at))}

    def inject(self, faults: str) -> dict[str, Any]:
        from fastdiff.trial.faults import parse, put_in

        put_in(parse(faults), self.stage)
        return {}

    def examine(self, pictures: str) -> dict[str, Any]:
        self.stage.examine(Path(pictures) if pictures else None)
        return {"trial": asdict(self.stage.trial())}

    def profile(self) -> dict[str, Any]:
        return {"profile": asdict(self.stage.profile())}


def _answer(worker: Worker, line: str) -> dict[str, Any]:
    """The reply to one request. Errors are replies, too: the process runs until its input ends."""
    try:
        asked = json.loads(line)
        action: Callable[..., dict[str, Any]] = getattr(worker, asked.pop("do"))
        return action(**asked)
    except Exception as error:
        from fastdiff.record.errors import UserError, first_line, named_line
        from fastdiff.trial.live import out_of_memory

        line = first_line(error) if isinstance(error, UserError) else named_line(error)
        return {"error": line, "memory": out_of_memory(error)}


def _die_with_parent(parent: int) -> None:
    """Ends this process with its parent, if the system supports that; otherwise it ends when its input is closed."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("the parent process exited, or is not the parent (a wrapper?); name the interpreter itself")


def main() -> None:
    if len(sys.argv) > 1:
        _die_with_parent(int(sys.argv[1]))
    if len(sys.argv) > 2:  # before torch is imported, which counts the cores that it may use
        host.move([int(core) for core in sys.argv[2:]])
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    worker = Worker()
    for line in sys.stdin:
        print(json.dumps(_answer(worker, line)), file=answers, flush=True)


if __name__ == "__main__":
    main()
