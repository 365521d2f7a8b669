"""fastdiff tells whether a diffusion pipeline is still fast and still draws the same picture.

What is named in `__all__` is public: a project's conftest.py adds models and stages with it. Everything else may change
with any release. Importing it does not import torch.
"""

__version__ = "0.1.0"

from fastdiff.models import Model, Request
from fastdiff.record.budget import Budget
from fastdiff.record.errors import UserError
from fastdiff.stages.ladder import Ladder, Stage, ladder, stage
from fastdiff.stages.recipe import Compile, Recipe

__all__ = [
    "Budget",
    "Compile",
    "Ladder",
    "Model",
    "Recipe",
    "Request",
    "Stage",
    "UserError",
    "__version__",
    "ladder",
    "stage",
]
