"""The names of fastdiff's distribution, which are not what Python imports, and the other project of one of them."""

from pathlib import Path

DISTRIBUTION = "pytest-fastdiff"
FORMER = "fastdiff"
"""In runs that were accepted before the distribution was renamed. On the index it is another project."""
OURS = frozenset({DISTRIBUTION, FORMER})
BESIDE = Path(__file__).parents[2]
"""Where this package lies, and with it what its installer keeps of it and of others."""


def clash() -> str:
    """What is wrong where that project lies in the same folder, and what mends it; empty where it does not."""
    if not any(BESIDE.glob(f"{FORMER}-*.dist-info")):
        return ""
    return (
        f"another project called {FORMER} is installed in {BESIDE}, and the files of one overwrite the other's; "
        f"do: pip uninstall -y {FORMER} && pip install --force-reinstall --no-deps {DISTRIBUTION}"
    )
