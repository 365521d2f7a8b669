"""How much memory this process may still use, as the system and its container say."""

from __future__ import annotations

from pathlib import Path

MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")
LIMITS = (
    ("memory.max", "memory.current", "memory.stat", "inactive_file"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat", "total_inactive_file"),
)
"""Of version 2 and of version 1: the limit, what is used, and where it says how much of that is cached files."""


def available_bytes() -> int | None:
    """The smaller of what the machine has free and what the container allows; None where neither is known."""
    known = [count for count in (_of_machine(), *map(_of_container, LIMITS)) if count is not None]
    return min(known, default=None)


def _of_machine() -> int | None:
    if not MEMINFO.exists():
        return None
    for line in MEMINFO.read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _of_container(files: tuple[str, str, str, str]) -> int | None:
    limit, used, statistics, cached = files
    try:
        lines = (CGROUP / statistics).read_text().splitlines()
        given_back = sum(int(line.split()[1]) for line in lines if line.startswith(f"{cached} "))
        return int((CGROUP / limit).read_text()) - int((CGROUP / used).read_text()) + given_back
    except (OSError, ValueError):  # no such file, or the word "max"
        return None
