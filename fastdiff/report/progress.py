"""Says what takes long while it takes long: a ticking line on a terminal, finished lines everywhere."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TICK_S = 0.5
PATIENCE_S = 1.0
"""What is done sooner needs no line."""


class Progress:
    def __init__(self, write_line: Callable[[str], None], terminal: TextIO | None = None) -> None:
        """`terminal` receives the ticking line; None (a pipe, a log file) means finished lines only."""
        self._write_line, self._terminal = write_line, terminal

    def say(self, line: str) -> None:
        self._write_line(line)

    @contextmanager
    def doing(self, what: str) -> Iterator[None]:
        done = threading.Event()
        ticker = threading.Thread(target=self._tick, args=(what, done), daemon=True)
        if self._terminal is not None:
            ticker.start()
        try:
            yield
        finally:
            done.set()
            if self._terminal is not None:
                ticker.join()

    def _tick(self, what: str, done: threading.Event) -> None:
        assert self._terminal is not None
        began = time.monotonic()
        shown = False
        if done.wait(PATIENCE_S):
            return
        try:
            while not done.wait(TICK_S):
                self._terminal.write(f"\r\x1b[2K{what} ... {time.monotonic() - began:.0f} s")
                self._terminal.flush()
                shown = True
        finally:
            if shown:
                self._terminal.write("\r\x1b[2K")
                self._terminal.flush()
