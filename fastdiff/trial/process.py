"""The process of one side: started under its own interpreter, asked by lines, and ended whatever happens."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

from fastdiff.record.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from fastdiff.record.errors import Code

PATIENCE_S = {"build": 3600.0, "warm_up": 1800.0, "examine": 1800.0, "call": 600.0, "inject": 60.0}
"""For each answer. Building compiles: max-autotune of a full-size model took minutes; a call never takes ten."""
LAST_WORDS = 500
"""Characters of what a process said before it ended that are worth showing."""
LONGEST_LINE = 16 * 1024**2
"""A record of a stage has some 10 kB; who says more in one line is not a worker."""


class SideProcess:
    """A worker; `with SideProcess(...) as side: side.ask("call")`. Nothing of it is left when the block ends."""

    def __init__(self, name: str, python: Path, variables: Mapping[str, str]) -> None:
        """It starts where this process is, so that relative names mean the same."""
        self.name = name
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  (closed in __exit__; what it says has no end known now)
        self._rest = b""
        # -P: a project may have a folder whose name is a package's, and the present folder would come first.
        command = [str(python), "-P", "-m", "fastdiff.trial.worker", str(os.getpid())]
        try:
            self._process = subprocess.Popen(
                command,
                env={**os.environ, **variables},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._said,
                start_new_session=True,  # Ctrl-C is for whoever asks; and the whole group can be ended
            )
        except OSError as error:
            self._said.close()
            raise UserError("process", f"{name}: {python} cannot be started ({error.strerror}).") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError):
                pipe.close()  # type: ignore[union-attr]
        # The group, because compiling starts processes of its own.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._said.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, action: str, **details: Any) -> dict[str, Any]:
        self.begin(action, **details)
        return self.answer(action)

    def begin(self, action: str, **details: Any) -> None:
        """Asks, and does not wait."""
        try:
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps({"do": action, **details}).encode() + b"\n")
            self._process.stdin.flush()
        except OSError:
            raise self._death(action) from None

    def answer(self, action: str) -> dict[str, Any]:
        line = self._line(action, time.monotonic() + PATIENCE_S[action])
        try:
            found = json.loads(line)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            said = line[:80].decode(errors="replace")
            raise UserError("process", f"{self.name} answered nonsense when asked to {_told(action)}: {said!r}")
        if "error" in found:
            code: Code = "memory" if found.get("memory") else "process"
            raise UserError(code, f"{self.name} cannot {_told(action)}: {found['error']}")
        return found

    def seconds(self, action: str = "call") -> float:
        """Of one call; nonsense about time is refused as everything else is."""
        found = self.ask(action).get("seconds")
        if isinstance(found, bool) or not isinstance(found, int | float) or not 0 < found < float("inf"):
            raise UserError("process", f"{self.name} says that a call took {found!r} seconds")
        return float(found)

    def _line(self, action: str, until: float) -> bytes:
        assert self._process.stdout is not None
        file = self._process.stdout.fileno()
        while b"\n" not in self._rest:
            ready, _, _ = select.select([file], [], [], max(0.0, until - time.monotonic()))
            if not ready:
                waited = PATIENCE_S[action]
                raise UserError(
                    "process", f"{self.name} hung: no answer in {waited:.0f} s when asked to {_told(action)}"
                )
            part = os.read(file, 65536)
            if not part:
                raise self._death(action)
            self._rest += part
            if len(self._rest) > LONGEST_LINE:
                raise UserError(
                    "process", f"{self.name} answered more than {LONGEST_LINE:,} bytes when asked to {_told(action)}"
                )
        line, _, self._rest = self._rest.partition(b"\n")
        return line

    def _death(self, action: str) -> UserError:
        """Nobody kills a worker but whoever asks, or a system whose memory is full."""
        try:
            code = self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            return UserError("process", f"{self.name} closed its pipe when asked to {_told(action)}")
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
        self._said.seek(0)
        words = self._said.read().decode(errors="replace").strip()[-LAST_WORDS:]
        last = f"; its last words: {words}" if words else ""
        what: Code = "memory" if code == -signal.SIGKILL else "process"
        return UserError(what, f"{self.name} {how} when asked to {_told(action)}{last}")


def _told(action: str) -> str:
    return action.replace("_", " ")


def record_of(answer: dict[str, Any], name: str) -> Any:
    """The stage's record in an answer."""
    from fastdiff.record.reading import convert
    from fastdiff.record.run import StageRecord

    try:
        return convert(answer.get("record"), StageRecord, name)
    except UserError as error:
        raise UserError("process", f"{name} answered with a record that is none: {error}") from None
