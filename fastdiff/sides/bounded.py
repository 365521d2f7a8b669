"""Programs that take long: their lines while they come, and a limit."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

LIMIT_S = 1800.0
"""Ten times what a CUDA torch takes at 10 MB a second."""


@dataclass(frozen=True)
class Ended:
    status: int | None
    """None where it was ended at the limit."""
    output: str

    @property
    def status_text(self) -> str:
        return f"exit status {self.status}"


def run(
    command: Sequence[str], variables: Mapping[str, str], cwd: Path | None, seen: Callable[[str], None] = lambda _: None
) -> Ended:
    """Its output and errors together; `seen` is called with each line. At the limit and at
    Ctrl-C everything that it started ends, too."""
    lines, late = [], threading.Event()
    with subprocess.Popen(
        command,
        cwd=cwd,
        env=dict(variables),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,  # a group of its own, which is ended as a whole
    ) as process:
        assert process.stdout is not None

        def end() -> None:
            late.set()
            _kill(process)

        limit = threading.Timer(LIMIT_S, end)
        limit.start()
        try:
            for line in process.stdout:
                lines.append(line)
                seen(line)
            process.wait()
        except BaseException:
            _kill(process)  # at Ctrl-C too: what it writes is removed next
            process.wait()
            raise
        finally:
            limit.cancel()
    return Ended(None if late.is_set() else process.returncode, "".join(lines))


def _kill(process: subprocess.Popen[str]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
