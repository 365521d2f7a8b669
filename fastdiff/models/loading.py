"""Turns an entry of the catalogue into a pipeline on the CPU, in the dtype that was asked for."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from fastdiff.models.libraries import diffusers, torch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastdiff.models import Model


class WeightsError(RuntimeError):
    """The weights are not to be had; the message says in one sentence why and what to do."""


def load(model: Model, dtype: str, autoencoder: str = "own") -> Any:
    """Real loading code for every model: the embedded one goes through `from_pretrained` as a hub model does."""
    folder = model.folder
    if folder is not None and not (folder / "model_index.json").is_file():
        raise WeightsError(f"{folder} is not a pipeline in diffusers' layout: it has no model_index.json.")
    torch_dtype = getattr(torch, dtype)
    parts: dict[str, Any] = dict.fromkeys(model.without)
    with _quiet_bars(), _clear_errors(model):
        if autoencoder == "tiny":
            if model.tiny_autoencoder is None:
                raise WeightsError(f'the model {model.name!r} has no tiny autoencoder; set autoencoder = "own".')
            parts["vae"] = diffusers.AutoencoderTiny.from_pretrained(model.tiny_autoencoder, dtype=torch_dtype)
        elif model.vae is not None:
            parts["vae"] = diffusers.AutoencoderKL.from_pretrained(model.vae, dtype=torch_dtype)
        pipeline_class = getattr(diffusers, model.pipeline)
        pipeline = pipeline_class.from_pretrained(
            model.source, dtype=torch_dtype, use_safetensors=True, local_files_only=folder is not None, **parts
        )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@contextmanager
def _clear_errors(model: Model) -> Iterator[None]:
    try:
        yield
    except (OSError, ImportError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        if model.folder is not None:
            raise WeightsError(f"the weights in {model.folder} could not be loaded ({reason}).") from error
        raise WeightsError(
            f"the weights of {model.name!r} could not be loaded from {model.source} ({reason}); "
            "check the connection and HF_TOKEN, or take the model that needs no download: --fastdiff-model shapes."
        ) from error


@contextmanager
def _quiet_bars() -> Iterator[None]:
    """Loading bars of files and parts are noise here: fastdiff shows its own progress."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    shown = [
        (library, library.is_progress_bar_enabled())
        for library in (diffusers_logging, transformers_logging)
        if hasattr(library, "is_progress_bar_enabled")
    ]
    for library in (diffusers_logging, transformers_logging):
        library.disable_progress_bar()
    try:
        yield
    finally:
        for library, was_shown in shown:
            if was_shown:
                library.enable_progress_bar()
