"""The embedded model's tiny autoencoder: it draws what the model's own draws, and the technique takes it."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from here import EMULATED

from fastdiff.models import CATALOGUE
from fastdiff.models.libraries import diffusers, torch
from fastdiff.models.shapes import FOLDER, TINY_AUTOENCODER
from fastdiff.stages.techniques import TECHNIQUES
from fastdiff.trial.live import LiveStage
from tools.shapes import architecture, distil

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np

SHAPES = CATALOGUE[0]
LADDER = TECHNIQUES.native(EMULATED)


@contextmanager
def alive(name: str) -> Iterator[LiveStage]:
    stage = LiveStage(SHAPES, LADDER[name], "cpu", SHAPES.request)
    try:
        yield stage
    finally:
        stage.close()


def test_its_folder_holds_the_architecture_and_less_than_a_megabyte() -> None:
    kept = diffusers.AutoencoderTiny.from_pretrained(TINY_AUTOENCODER, dtype=torch.float32, local_files_only=True)
    shapes, expected = (
        {name: weight.shape for name, weight in autoencoder.state_dict().items()}
        for autoencoder in (kept, architecture.tiny_autoencoder())
    )
    assert shapes == expected
    assert sum(file.stat().st_size for file in TINY_AUTOENCODER.iterdir()) < 1e6


def as_decoded(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2) * 2 - 1


def test_the_technique_takes_it_proves_it_and_keeps_the_picture() -> None:
    """Weights that learnt from encoded pictures alone drew a tenth of this picture's blue as green."""
    with alive("default") as stage:
        default = as_decoded(stage.images)
        stage.claim(LADDER["default+tiny-autoencoder"])
        assert stage.unapplied == ["autoencoder: tiny is not in use."]
    with alive("default+tiny-autoencoder") as stage:
        found = distil.alike(as_decoded(stage.images), default)
        assert found.ssim.min() >= 0.96, found
        assert found.patch_error.max() <= 30, found
        assert stage.unapplied == []
        stage.claim(LADDER["default"])
        assert stage.unapplied == ["autoencoder: tiny is in use, and the recipe does not ask for it."]


@pytest.mark.nightly
def test_its_training_goes_on_and_exports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One picture of each way; what comes out cannot draw, but it is the same format and the same way."""
    model, work = tmp_path / "model", tmp_path / "work"
    shutil.copytree(FOLDER, model, ignore=shutil.ignore_patterns(TINY_AUTOENCODER.name))
    monkeypatch.setattr(distil, "DRAWN_TOGETHER", 1)
    command = ["--work", str(work), "--target", str(model)]
    for pictures, steps in ((2, 2), (4, 3)):
        monkeypatch.setattr(distil, "PLAN", replace(distil.PLAN, pictures=pictures, steps=steps))
        distil.main(command)
        assert torch.load(work / "latents.pt", weights_only=True).shape == (pictures, 4, 32, 32)
        assert torch.load(work / "tiny.pt", weights_only=True)["steps"] == steps
    diffusers.AutoencoderTiny.from_pretrained(model / TINY_AUTOENCODER.name, local_files_only=True)
