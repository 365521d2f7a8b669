"""Turns an entry of the catalogue into a pipeline in the requested dtype."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from fastdiff.models.libraries import diffusers, torch
from fastdiff.record.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastdiff.models import Model, Request
    from fastdiff.models.architectures import Architecture


def load(model: Model, dtype: str, autoencoder: str = "own", device: str = "cpu", *, place: str | None = None) -> Any:
    """Real loading code for every model: the embedded one goes through `from_pretrained` as a hub model does.

    What is loaded lies on the CPU. Weights that are made here are drawn on `device`, and lie there or in `place`.
    """
    if model.made_here:
        from fastdiff.models import dummy

        pipeline = dummy.assemble(_architecture(model), dtype, device, autoencoder, place=place)
    else:
        pipeline = _loaded(model, dtype, autoencoder)
    if model.scheduler is not None and type(pipeline.scheduler).__name__ != model.scheduler:
        pipeline.scheduler = getattr(diffusers, model.scheduler).from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _architecture(model: Model) -> Architecture:
    from fastdiff.models.architectures import ARCHITECTURES
    from fastdiff.models.twins import TWINS

    return (TWINS if model.weights == "twin" else ARCHITECTURES)[model.name]


def call_options(model: Model) -> dict[str, Any]:
    """Arguments of every call besides the request, so that it draws in the requested size."""
    from fastdiff.models.architectures import ARCHITECTURES

    own = ARCHITECTURES.get(model.name)
    if own is not None and own.pipeline == model.pipeline:
        return dict(_architecture(model).call if model.made_here else own.call)
    kin = next((one for one in ARCHITECTURES.values() if one.pipeline == model.pipeline), None)
    # How many tokens it reads belongs to a model, not to its pipeline.
    return {name: value for name, value in kin.call.items() if name != "max_sequence_length"} if kin else {}


def stand_ins(model: Model, request: Request, dtype: str, device: str) -> dict[str, Any] | None:
    """What the pipeline is called with in place of a prompt, where the text encoders are left out; else None."""
    from fastdiff.models import dummy

    return dummy.conditioning(_architecture(model), request, dtype, device) if model.made_here else None


def _loaded(model: Model, dtype: str, autoencoder: str) -> Any:
    if not hasattr(diffusers, model.pipeline):
        raise UserError(
            "weights",
            f"diffusers {diffusers.__version__} has no pipeline class {model.pipeline!r}; "
            f"check `pipeline` of the model {model.name!r}.",
        )
    folder = model.folder
    if folder is not None and not (folder / "model_index.json").is_file():
        raise UserError("weights", f"{folder} is not a pipeline in diffusers' layout: it has no model_index.json.")
    # Weights and nothing else: neither pickles, which are programs, nor code from the hub.
    safely = {"dtype": getattr(torch, dtype), "use_safetensors": True}
    parts: dict[str, Any] = dict.fromkeys(model.without)
    if autoencoder == "tiny" and model.tiny_autoencoder is None:
        raise UserError("recipe", f'the model {model.name!r} has no tiny autoencoder; set autoencoder = "own".')
    with _quiet_bars(), _clear_errors(model):
        if autoencoder == "tiny":
            parts["vae"] = diffusers.AutoencoderTiny.from_pretrained(
                model.tiny_autoencoder, revision=model.tiny_revision, **safely
            )
        elif model.vae is not None and autoencoder != "pipeline":
            parts["vae"] = diffusers.AutoencoderKL.from_pretrained(model.vae, revision=model.vae_revision, **safely)
        return getattr(diffusers, model.pipeline).from_pretrained(
            model.source,
            revision=model.revision,
            trust_remote_code=False,
            local_files_only=folder is not None,
            **safely,
            **parts,
        )


@contextmanager
def _clear_errors(model: Model) -> Iterator[None]:
    try:
        yield
    except (OSError, ImportError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        if model.folder is not None:
            raise UserError("weights", f"the weights in {model.folder} could not be loaded ({reason}).") from error
        raise UserError(
            "weights",
            f"the weights of {model.name!r} could not be loaded from {model.source} ({reason}); "
            "check the connection and HF_TOKEN, or do without: --fastdiff-weights dummy, or --fastdiff-model shapes.",
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
