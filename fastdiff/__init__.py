"""fastdiff tells whether a diffusion pipeline is still fast and still draws the same picture."""

__version__ = "0.1.0"
