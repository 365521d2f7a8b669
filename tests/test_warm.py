"""Sessions that start warm are sessions: nothing of one is left for the next, and one that hangs is ended."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
import warm

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.nightly
"""It is about the tests' own helper, and waits for sessions that hang."""

MODULE = """
import os
import signal
import sys
import time


def test_fresh():
    assert "fastdiff.models.libraries" not in sys.modules
    assert os.environ.pop("WHOSE") == "mine"
    sys.modules["fastdiff.models.libraries"] = None
    print("seen")


def test_hangs():
    time.sleep(600)


def test_dies():
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "test_it.py").write_text(MODULE)
    return tmp_path


def test_every_session_is_fresh_and_the_next_one_goes_on(folder: Path) -> None:
    def session(name: str, whose: str = "mine", timeout: float = 60) -> tuple[int, str]:
        done = warm.pytest("-q", "-s", "-k", name, cwd=folder, env=os.environ | {"WHOSE": whose}, timeout=timeout)
        return done.returncode, done.stdout

    for _ in range(2):
        code, stdout = session("fresh")
        assert code == 0, stdout
        assert "seen" in stdout
    assert session("fresh", "another's")[0] == 1
    assert session("dies")[0] == -9
    with pytest.raises(TimeoutError, match="not over after 2 s") as error:
        session("hangs", timeout=2)
    assert "stdout of" in "".join(error.value.__notes__)
    assert session("fresh")[0] == 0
