"""`python -m tools.pipelines [--sweep]`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tools.pipelines.page import DATA, PAGE, page, read, toml


def sweep() -> dict[str, dict[str, str]]:
    from tools.pipelines.sweep import CLASSES, tried

    found = {}
    for cls in CLASSES:
        with tempfile.TemporaryDirectory() as folder:
            found[cls] = tried(cls, Path(folder).resolve() / cls)
        print(cls, found[cls])
    return found


if __name__ == "__main__":
    if "--sweep" in sys.argv:
        DATA.write_text(toml(sweep()), encoding="utf-8")
    PAGE.write_text(page(read()), encoding="utf-8")
