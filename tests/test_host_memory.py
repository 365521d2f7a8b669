"""How much memory is free: of the machine, or of the container if that is less."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fastdiff.host import memory

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "CGROUP", tmp_path / "cgroup")
    (tmp_path / "cgroup" / "memory").mkdir(parents=True)
    return tmp_path


def test_nothing_is_known_where_the_system_says_nothing() -> None:
    assert memory.available_bytes() is None


def test_what_the_machine_has_free(system: Path) -> None:
    (system / "meminfo").write_text("MemTotal:  24000 kB\nMemAvailable:   1000 kB\n")
    assert memory.available_bytes() == 1_024_000
    (system / "cgroup" / "memory.max").write_text("max\n")
    (system / "cgroup" / "memory.current").write_text("5\n")
    assert memory.available_bytes() == 1_024_000


@pytest.mark.parametrize(("limit", "used", "statistics", "cached"), memory.LIMITS)
def test_a_containers_limit_is_less_but_cached_files_do_not_count(
    system: Path, limit: str, used: str, statistics: str, cached: str
) -> None:
    (system / "meminfo").write_text("MemAvailable:   1000 kB\n")
    (system / "cgroup" / limit).write_text("1000\n")
    (system / "cgroup" / used).write_text("400\n")
    (system / "cgroup" / statistics).write_text(f"anon 300\n{cached} 100\nother_{cached} 7\n")
    assert memory.available_bytes() == 700
