"""Progress: on a terminal a remark with the elapsed seconds, everywhere finished lines."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterator

TICK_S = 0.5
PATIENCE_S = 1.0
"""What is done sooner needs no remark."""

_KEEP, _BACK = "\x1b7\x1b[?7l", "\x1b[K\x1b[?7h\x1b8"
"""Around a remark: remember the cursor and do not wrap; clear what is behind, wrap again, go back."""
_CLEAR = "\x1b[K"


class Progress:
    """`terminal` shows what is being done behind the line that is there already; None (a pipe, a file) shows nothing.

    Finished lines wait in `lines` until no other line is half written.
    """

    def __init__(self, terminal: TextIO | None = None) -> None:
        self.lines: list[str] = []
        self._terminal = terminal

    def say(self, line: str) -> None:
        self.lines.append(line)

    def take_lines(self) -> list[str]:
        lines, self.lines = self.lines, []
        return lines

    @contextmanager
    def doing(self, what: str) -> Iterator[None]:
        if self._terminal is None:
            yield
            return
        done = threading.Event()
        ticker = threading.Thread(target=self._tick, args=(self._terminal, what, done), daemon=True)
        ticker.start()
        try:
            yield
        finally:
            done.set()
            ticker.join()

    def _tick(self, terminal: TextIO, what: str, done: threading.Event) -> None:
        began = time.monotonic()
        wait = PATIENCE_S
        while not done.wait(wait):
            # One write a tick, so that an interrupt never leaves half a code behind.
            terminal.write(f"{_KEEP} {what} ... {time.monotonic() - began:.0f} s{_BACK}")
            terminal.flush()
            wait = TICK_S
        if wait == TICK_S:
            terminal.write(_CLEAR)
            terminal.flush()
