"""The embedded model: a text-to-image model of SDXL's architecture, small enough to live in the package.

`pictures` draws what it was trained on, `architecture` says how it is built, `train` trains it, `score` says how
good it is. `weights/` is what `from_pretrained` loads.
"""

from pathlib import Path

FOLDER = Path(__file__).parent / "weights"
