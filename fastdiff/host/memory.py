"""How much memory this process may still use, as the system and its container say."""

from __future__ import annotations

from pathlib import Path

MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")
LIMITS = (("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"))
"""Of version 2 and of version 1."""


def available_bytes() -> int | None:
    """The smaller of what the machine has free and what the container allows; None where the system does not say."""
    known = [count for count in (_of_machine(), *map(_of_container, LIMITS)) if count is not None]
    return min(known, default=None)


def _of_machine() -> int | None:
    if not MEMINFO.exists():
        return None
    for line in MEMINFO.read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _of_container(files: tuple[str, str]) -> int | None:
    limit, used = (CGROUP / name for name in files)
    try:
        return int(limit.read_text()) - int(used.read_text())
    except (OSError, ValueError):  # no such file, or the word "max"
        return None
