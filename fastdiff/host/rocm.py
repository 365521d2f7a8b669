"""GPUs of AMD, which torch calls cuda and which NVML does not know: as Linux lists them."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

NODES = Path("/sys/class/kfd/kfd/topology/nodes")


def gpu_names() -> list[str]:
    """By their instruction set, for instance "AMD gfx90a", in the driver's order; processors are nodes as well."""
    found = []
    for node in sorted(NODES.glob("[0-9]*"), key=lambda one: int(one.name)):
        with suppress(OSError, ValueError, KeyError):
            facts = dict(line.split() for line in (node / "properties").read_text().splitlines())
            if int(facts["simd_count"]):
                version = int(facts["gfx_target_version"])
                found.append(f"AMD gfx{version // 10000}{version // 100 % 100:x}{version % 100:x}")
    return found
