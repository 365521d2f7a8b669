"""One side of a pair: a process that builds a stage and draws when it is asked to.

`python -m fastdiff.trial.worker` reads a JSON object from each line of standard input, `{"do": "build", ...}`,
and answers each with one line. What libraries print goes to standard error, because a stray line among the answers
would be taken for one. It ends with its standard input, so that nothing is left running when whoever asks is gone.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import signal
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastdiff.trial.live import LiveStage

PR_SET_PDEATHSIG = 1
"""Linux: the number of prctl's option that names a signal for when the parent dies."""


class Worker:
    """The answers to what can be asked."""

    def __init__(self) -> None:
        self.live: LiveStage | None = None

    @property
    def stage(self) -> LiveStage:
        if self.live is None:
            raise RuntimeError("nothing was built yet; ask to build first.")
        return self.live

    def build(
        self,
        model: dict[str, Any],
        stage: dict[str, Any],
        built: dict[str, Any],
        device: str,
        request: dict[str, Any],
        faults: str,
    ) -> dict[str, Any]:
        """Builds `built`, which is `stage` unless a fault leaves it unapplied; then the first call."""
        from fastdiff.host.environment import environment
        from fastdiff.models import Model, Request
        from fastdiff.record.reading import convert
        from fastdiff.stages.ladder import Stage
        from fastdiff.trial.faults import parse, put_in
        from fastdiff.trial.live import LiveStage

        asked, applied = convert(stage, Stage, "stage"), convert(built, Stage, "built")
        self.live = LiveStage(
            convert(model, Model, "model"), applied, device, convert(request, Request, "request"), rounds=1
        )
        if applied != asked:
            self.live.claim(asked)
        put_in(parse(faults) if faults else (), self.live)
        self.live.first_call()
        return {
            "record": asdict(self.live.record()),
            "environment": environment(device),
            "packages": _packages(),
            "unapplied": self.live.unapplied,
        }

    def warm_up(self) -> dict[str, Any]:
        """A second drawing, which the pictures come from, and calls until they settle."""
        _ = self.stage.images
        self.stage.settle()
        return {}

    def call(self) -> dict[str, Any]:
        from fastdiff.instruments.latency import synchronised_clock

        began = synchronised_clock()
        self.stage.generate()
        return {"seconds": synchronised_clock() - began}

    def inject(self, faults: str) -> dict[str, Any]:
        """Another amount of a fault that was built in."""
        from fastdiff.trial.faults import parse, put_in

        put_in(parse(faults), self.stage)
        return {}

    def examine(self, pictures: str) -> dict[str, Any]:
        """What is seen in passes of their own; the pictures go into a file."""
        import numpy as np

        self.stage.count()
        self.stage.take_apart()
        _ = self.stage.memory
        np.save(pictures, self.stage.images)
        return {"record": asdict(self.stage.record())}


def _packages() -> dict[str, str]:
    from importlib.metadata import distributions

    found: dict[str, str] = {}
    for one in distributions():
        name, version = one.metadata["Name"], one.version
        if name and version:  # a removal that was interrupted leaves neither
            # The first on the path is the one that is imported.
            found.setdefault(re.sub(r"[-_.]+", "-", name).lower(), version)
    return dict(sorted(found.items()))


def _answer(worker: Worker, line: str) -> dict[str, Any]:
    """Errors are answers: the process lives on until its input ends."""
    try:
        asked = json.loads(line)
        action: Callable[..., dict[str, Any]] = getattr(worker, asked.pop("do"))
        return action(**asked)
    except Exception as error:
        from fastdiff.record.errors import UserError
        from fastdiff.trial.live import out_of_memory

        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
        return {"error": f"{kind}{said}", "memory": out_of_memory(error)}


def _die_with_parent(parent: int) -> None:
    """Where the system can do that; elsewhere the end of the input has to do."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("whoever started this worker is gone, or is not its parent; name the interpreter itself")


def main() -> None:
    if len(sys.argv) > 1:
        _die_with_parent(int(sys.argv[1]))
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    worker = Worker()
    for line in sys.stdin:
        print(json.dumps(_answer(worker, line)), file=answers, flush=True)


if __name__ == "__main__":
    main()
