"""`fastdiff models`: list the catalogue."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from fastdiff.cli.common import aloud, as_json, one_sentence
from fastdiff.cli.options import JSON, ROOT


def models(json: bool = JSON, root: Path = ROOT) -> None:
    """List the catalogue: every model with its default request and where its weights come from.

    Example: fastdiff models --json
    """
    from fastdiff.models import CATALOGUE
    from fastdiff.models.toml import models
    from fastdiff.record.project import require_folder, tables

    with one_sentence():
        require_folder(root)
        known = [*CATALOGUE, *models(tables(root)["models"], root)]
    sources = {model.name: "embedded" if model.folder else model.source for model in known}
    if json:
        as_json(
            [
                {
                    "name": model.name,
                    "pipeline": model.pipeline,
                    "source": sources[model.name],
                    "request": asdict(model.request),
                }
                for model in known
            ]
        )
        return
    width = max(len(model.name) for model in known)
    for model in known:
        asked = model.request
        size, steps = (f"{one or '':>{places}}" for one, places in ((asked.size, 4), (asked.steps, 2)))
        aloud(f"{model.name:<{width}}  {size} px  {steps} steps  {sources[model.name]}")
