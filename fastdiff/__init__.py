"""fastdiff tells whether a diffusion pipeline is still fast and still draws the same picture.

What is named in `__all__` is public: a project's conftest.py adds models and stages with it. Everything else may change
with any release. Names are imported when they are used, so that `import fastdiff` costs nothing, and never torch.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from fastdiff.models import Model, Request
    from fastdiff.models.factories import module, pipeline
    from fastdiff.record.budget import Budget
    from fastdiff.record.errors import UserError
    from fastdiff.stages.filters import Filter
    from fastdiff.stages.ladder import Ladder, Stage, ladder, stage
    from fastdiff.stages.recipe import Compile, Recipe

__all__ = [
    "Budget",
    "Compile",
    "Filter",
    "Ladder",
    "Model",
    "Recipe",
    "Request",
    "Stage",
    "UserError",
    "__version__",
    "ladder",
    "module",
    "pipeline",
    "stage",
]

_HOMES = {
    "Budget": "fastdiff.record.budget",
    "Compile": "fastdiff.stages.recipe",
    "Filter": "fastdiff.stages.filters",
    "Ladder": "fastdiff.stages.ladder",
    "Model": "fastdiff.models",
    "Recipe": "fastdiff.stages.recipe",
    "Request": "fastdiff.models",
    "Stage": "fastdiff.stages.ladder",
    "UserError": "fastdiff.record.errors",
    "ladder": "fastdiff.stages.ladder",
    "module": "fastdiff.models.factories",
    "pipeline": "fastdiff.models.factories",
    "stage": "fastdiff.stages.ladder",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'fastdiff' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
