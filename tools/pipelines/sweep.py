"""Tries a class: a small folder of it is measured as a user names it, with its own weights and with made ones."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import TYPE_CHECKING

from fastdiff.host.processor import emulated
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
    from fastdiff.models import Model
    from fastdiff.stages.ladder import Stage

CLASSES = {**UNETS, **TRANSFORMERS, **SEQUENCES}
WEIGHTS = ("auto", "tiny")
EAGER = ("fp32", "bf16", "sdpa")
SIDE = 64
"""The smallest that a session takes: where an autoencoder halves a picture once, attention sees every other pixel."""


def tried(cls: str, folder: Path) -> dict[str, str]:
    """For each kind of weights that it runs, or the sentence that refuses it."""
    torch.manual_seed(0)
    _save(cls, folder)
    (model,) = places.models(str(folder), Path())
    return {weights: _outcome(model.with_weights(weights)).replace(str(folder), "FOLDER") for weights in WEIGHTS}


def _save(cls: str, folder: Path) -> None:
    components = CLASSES[cls]()
    if components is not None:
        getattr(diffusers, cls)(**components).save_pretrained(folder)
        return
    folder.mkdir()
    (folder / "model_index.json").write_text(json.dumps({"_class_name": cls}))


def _outcome(model: Model) -> str:
    takes = inspect.signature(getattr(diffusers, model.pipeline).__call__).parameters
    request = factories.request_of(usual.least(takes))
    request = request.changed(size=SIDE if request.size else None)
    # A small copy that runs in one stage is one; its own weights go through all.
    stages = eager() if model.weights == "auto" else eager()[-1:]
    try:
        for stage in stages:
            with here(Work(model, stage, stage, "cpu", request)) as live:
                assert len(live.images)
                if live.unapplied:
                    return f"{stage.name} is not applied: {' '.join(live.unapplied)}"
    except UserError as error:
        return str(error)
    return RUNS


def eager() -> list[Stage]:
    """The stages without compiled code in the arithmetic that this CPU has."""
    lacking = emulated("cpu")
    ladder = LADDER.native(lacking)
    return [ladder[name] for name in EAGER if name not in ladder.refused(lacking)]
