"""The embedded model: a text-to-image model of SDXL's architecture, small enough to live in the package.

`weights/` is what `from_pretrained` loads; `tools/shapes` made it.
"""

from pathlib import Path

FOLDER = Path(__file__).parent / "weights"
TINY_AUTOENCODER = FOLDER / "tiny_autoencoder"
"""In the place of the model's own where a stage asks for it; the pipeline itself does not name it."""
