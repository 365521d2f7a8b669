"""`fastdiff models`: list the catalogue."""

from __future__ import annotations

from pathlib import Path

from fastdiff.cli.common import aloud, one_sentence


def models() -> None:
    """List the catalogue: every model with its default request and where its weights come from."""
    from fastdiff.models import CATALOGUE
    from fastdiff.models.toml import models
    from fastdiff.record.project import tables

    with one_sentence():
        known = [*CATALOGUE, *models(tables(Path.cwd())["models"], Path.cwd())]
    width = max(len(model.name) for model in known)
    for model in known:
        asked = model.request
        source = "embedded" if model.folder else model.source
        aloud(f"{model.name:<{width}}  {asked.size:>4} px  {asked.steps:>2} steps  {source}")
