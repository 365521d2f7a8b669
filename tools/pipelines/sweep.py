"""Tries a class: a small folder of it is measured as a user names it, with its own weights and with made ones.

In float32, and once in bfloat16, so that every machine finds the same.
"""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import TYPE_CHECKING

from fastdiff.host.processor import NATIVE
from fastdiff.models import factories, places, usual
from fastdiff.models.libraries import diffusers, torch
from fastdiff.record.errors import UserError
from fastdiff.stages.published import LADDER
from fastdiff.trial.live import here
from fastdiff.trial.work import Work
from tools.pipelines.page import RUNS
from tools.pipelines.sequences import SEQUENCES
from tools.pipelines.transformers import TRANSFORMERS
from tools.pipelines.unets import UNETS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fastdiff.models import Model
    from fastdiff.stages.ladder import Stage

CLASSES = {**UNETS, **TRANSFORMERS, **SEQUENCES}
WITHOUT_BFLOAT16 = LADDER.native(NATIVE)
IN_FLOAT32 = tuple(WITHOUT_BFLOAT16[name] for name in ("fp32", "sdpa"))
SIDE = 64
"""The smallest that a session takes: where an autoencoder halves a picture once, attention sees every other pixel."""


def tried(cls: str, folder: Path) -> dict[str, str]:
    """For each kind of weights that it runs, or the sentence that refuses it."""
    torch.manual_seed(0)
    _save(cls, folder)
    (model,) = places.models(str(folder), Path())
    tiny = model.with_weights("tiny")
    found = {
        "auto": _outcome(model, IN_FLOAT32),
        "bfloat16": _outcome(model, [LADDER["bf16"]]),
        "tiny": _outcome(tiny, IN_FLOAT32[-1:]),  # a small copy that runs in one stage is one
    }
    return {way: outcome.replace(str(folder), "FOLDER") for way, outcome in found.items()}


def _save(cls: str, folder: Path) -> None:
    components = CLASSES[cls]()
    if components is not None:
        getattr(diffusers, cls)(**components).save_pretrained(folder)
        return
    folder.mkdir()
    (folder / "model_index.json").write_text(json.dumps({"_class_name": cls}))


def _outcome(model: Model, stages: Iterable[Stage]) -> str:
    takes = inspect.signature(getattr(diffusers, model.pipeline).__call__).parameters
    request = factories.request_of(usual.least(takes))
    request = request.changed(size=SIDE if request.size else None)
    try:
        for stage in stages:
            with here(Work(model, stage, stage, "cpu", request)) as live:
                assert len(live.images)
                if live.unapplied:
                    return f"{stage.name} is not applied: {' '.join(live.unapplied)}"
    except UserError as error:
        return str(error)
    return RUNS
