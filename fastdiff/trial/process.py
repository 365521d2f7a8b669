"""A worker process: started with a given interpreter, controlled by lines of JSON, and always ended."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from fastdiff.record.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from fastdiff.record.errors import Code

PROTOCOL = 4
"""Version of the protocol between this process and its worker. Increase it if the timed work changes, because the
samples of two versions are then not comparable, and if an older worker would misread the work. A new action that times
nothing needs no new version, if its caller can handle a refusal."""
PATIENCE_S = {
    "hello": 600.0,
    "load": 600.0,
    "build": 3600.0,
    "settle": 1800.0,
    "examine": 1800.0,
    "profile": 600.0,
    "sample": 600.0,
    "inject": 60.0,
    "move": 60.0,
}
"""Time limit of each reply. Building compiles: max-autotune of a full-size model took minutes; a call never takes
ten."""
LAST_WORDS = 500
"""Characters of a dead process's output that are shown."""
LONGEST_LINE = 16 * 1024**2
"""A trial has about 10 kB; a process that writes a longer line than this is not a worker."""


class Process:
    """A worker process. It and its children are ended when the block ends."""

    def __init__(
        self, name: str, python: Path, variables: Mapping[str, str | None], cores: Collection[int] = ()
    ) -> None:
        """`variables`: changes to this process's environment; None removes a variable. The worker starts in the same
        folder, so that relative paths mean the same. Without `cores` it may use all cores."""
        self.name = name
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  (closed in __exit__; what it says has no end known now)
        self._rest = b""
        self._folders: tuple[Path, ...] | None = None
        # -P: a folder of the project may have the name of a package, and without -P the current folder comes first.
        command = [str(python), "-P", "-m", "fastdiff.trial.worker", str(os.getpid()), *map(str, cores)]
        try:
            self._process = subprocess.Popen(
                command,
                env={name: value for name, value in {**os.environ, **variables}.items() if value is not None},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._said,
                start_new_session=True,  # Ctrl-C is for the parent; and the whole group can be ended
            )
        except OSError as error:
            self._said.close()
            raise UserError("process", f"{name}: {python} cannot be started ({error.strerror}).") from None
        with suppress(UserError):  # if the process died at once, reading its reply raises the error
            self.begin("hello")  # its interpreter starts while this process continues

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
        """Sends the request and does not wait for the reply."""
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
            text = line[:80].decode(errors="replace")
            raise UserError("process", f"{self.name}: invalid reply to {action!r}: {text!r}")
        if "error" in found:
            code: Code = "memory" if found.get("memory") else "process"
            raise UserError(code, f"{self.name}: {action} failed: {found['error']}")
        return found

    def greet(self) -> tuple[Path, ...]:
        """Checks that the worker's fastdiff has the same protocol version. Returns the folders from which the worker is
        going to import its libraries."""
        if self._folders is not None:
            return self._folders
        answer = self.answer("hello")
        found = answer.get("protocol")
        if found != PROTOCOL:
            raise UserError(
                "process",
                f"{self.name} speaks protocol {found!r} of fastdiff's worker and this process {PROTOCOL}; "
                "install the same fastdiff there.",
            )
        self._folders = tuple(Path(str(one)) for one in answer.get("folders", ()))
        return self._folders

    def _line(self, action: str, until: float) -> bytes:
        assert self._process.stdout is not None
        file = self._process.stdout.fileno()
        while b"\n" not in self._rest:
            ready, _, _ = select.select([file], [], [], max(0.0, until - time.monotonic()))
            if not ready:
                waited = PATIENCE_S[action]
                raise UserError("process", f"{self.name} hung: no reply to {action!r} in {waited:.0f} s")
            part = os.read(file, 65536)
            if not part:
                raise self._death(action)
            self._rest += part
            if len(self._rest) > LONGEST_LINE:
                raise UserError(
                    "process", f"{self.name}: the reply to {action!r} is longer than {LONGEST_LINE:,} bytes"
                )
        line, _, self._rest = self._rest.partition(b"\n")
        return line

    def _death(self, action: str) -> UserError:
        """The error for a worker that ended. SIGKILL comes only from a system whose memory is full."""
        try:
            code = self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            return UserError("process", f"{self.name} closed its pipe during {action!r}")
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
        self._said.seek(0)
        words = self._said.read().decode(errors="replace").strip()[-LAST_WORDS:]
        last = f"; its last output: {words}" if words else ""
        what: Code = "memory" if code == -signal.SIGKILL else "process"
        return UserError(what, f"{self.name} {how} during {action!r}{last}")
