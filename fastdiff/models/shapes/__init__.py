"""The embedded model: a text-to-image model of SDXL's architecture, small enough to live in the package.

`weights/` is what `from_pretrained` loads; `tools/shapes` made it.
"""

from pathlib import Path

FOLDER = Path(__file__).parent / "weights"
