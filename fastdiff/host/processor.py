"""What the processor calls itself and can do, as far as the system says so.

Linux does; elsewhere little is known, and nothing is taken to be missing.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
from contextlib import suppress
from pathlib import Path

from fastdiff.host import system

CPUINFO = Path("/proc/cpuinfo")
PATIENCE_S = 10

AVX512 = frozenset({"avx512f", "avx512bw", "avx512vl", "avx512dq"})
"""What torch and its libraries ask for together before they take their AVX512 kernels."""
INSTRUCTIONS = {
    "AVX512": AVX512 | {"avx512_vnni"},
    "AVX512 without VNNI": AVX512,
    "AVX2": frozenset({"avx2", "fma"}),
    "BF16": frozenset({"asimd", "bf16"}),
}
"""By a name, what tells the kernels apart that are chosen, the most of it first; the last one is ARM's."""
NATIVE = {
    "bfloat16": (AVX512, frozenset({"avx_ne_convert", "avx_vnni_int8"}), frozenset({"bf16"})),
    "int8": (AVX512 | {"avx512_vnni"}, frozenset({"asimd"})),
}
"""Instructions with any set of which torch has kernels for such arithmetic; without, it computes in plain loops. The
last set of each is ARM's, of whose int8 nothing is known."""

CHOOSING = {"avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_bf16", "amx_int8"}
CHOOSING |= {"asimddp", "bf16", "i8mm", "sve", "sve2"}
"""Of what Linux lists, on x86 and on ARM, the instructions by which oneDNN and others choose among kernels of bfloat16
and int8. Finer than the device's name, because a hypervisor may hide any of them."""


def brand() -> str:
    if CPUINFO.exists():
        found = re.search(r"^model name\s*:\s*(.+)$", CPUINFO.read_text(), re.MULTILINE)
        if found:
            return found[1].strip()
    if system.PLATFORM == "darwin":  # where all that Python knows is "arm"
        with suppress(OSError, subprocess.SubprocessError):
            command = ["sysctl", "-n", "machdep.cpu.brand_string"]
            if name := subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=True).stdout:
                return name.strip()
    return platform.processor() or platform.machine() or "unknown CPU"


def features() -> frozenset[str]:
    """As Linux lists them, on x86 as `flags` and on ARM as `Features`; nothing elsewhere."""
    text = CPUINFO.read_text() if CPUINFO.exists() else ""
    found = re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)
    return frozenset(found[1].split()) if found else frozenset()


def instructions() -> str:
    """The most of INSTRUCTIONS that is there; empty where none of it is."""
    there = features()
    return next((name for name, needed in INSTRUCTIONS.items() if needed <= there), "")


def choosing() -> str | None:
    """Those of CHOOSING that are there, as one text."""
    return " ".join(sorted(CHOOSING & features())) or None


def emulated(device: str) -> tuple[str, ...]:
    """The arithmetic for which a CPU has no instructions, so that it takes many times as long as float32 there.

    Empty on a GPU, and where the system does not say what its processor can do. A variable that forbids instructions
    which exist is ignored: a user who sets one wants to see its effect.
    """
    there = features()
    if not device.startswith("cpu") or not there:
        return ()
    return tuple(kind for kind, ways in NATIVE.items() if not any(needed <= there for needed in ways))


def generation() -> str | None:
    """Generations of one brand name differ: an AMD EPYC of family 25 and one of family 26 are two machines."""
    if not CPUINFO.exists():
        return None
    text = CPUINFO.read_text()
    found = [re.search(rf"^{name}\s*:\s*(\S+)", text, re.MULTILINE) for name in ("cpu family", "model", "stepping")]
    return "/".join(one[1] for one in found if one) or None


def virtual() -> bool:
    """Whether it is a share of a larger machine."""
    return "hypervisor" in features()


def usable_cores() -> set[int]:
    """The cores that this process may use, which a container or taskset can make fewer than there are."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
