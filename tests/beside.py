"""Packages for one test, from the index, beside those of this environment."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def place_beside(folder: Path, packages: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that the test starts import them, and find their plugins; without an index the test is skipped."""
    pip("install", "--target", str(folder), "--no-deps", *packages)
    path = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", f"{folder}{os.pathsep}{path}" if path else str(folder))


def pip(*words: str) -> None:
    command = [sys.executable, "-m", "pip", *words, "-q", "--disable-pip-version-check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        pytest.skip(f"no index has it: {done.stderr.strip().splitlines()[-1]}")
