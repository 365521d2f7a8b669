"""Turns a model into a pipeline in the requested dtype, and says how that one is called."""

from __future__ import annotations

import importlib.util
import inspect
import logging
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastdiff.models import checkpoints, configs, factories, hub, modules, places, usual
from fastdiff.models.anatomy import Anatomy
from fastdiff.models.libraries import diffusers, torch
from fastdiff.record.errors import UserError, first_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastdiff.models import Model, Request
    from fastdiff.models.architectures import Architecture

MADE_UP = "newly initialized"
"""What transformers and diffusers write of weights that a checkpoint lacks."""


def load(model: Model, dtype: str, autoencoder: str = "own", device: str = "cpu", *, place: str | None = None) -> Any:
    """Real loading code for every model: the embedded one goes through `from_pretrained` as a hub model does.

    What is loaded lies on the CPU. Weights that are made here are drawn on `device`, and lie there or in `place`, as do
    those of a user's own function.
    """
    if autoencoder == "tiny" and model.placed:
        raise UserError("recipe", f'no tiny autoencoder of {model.name!r} is known; set autoencoder = "own".')
    if model.factory:
        pipeline = _made(model, dtype, place or device)
    elif model.placed and model.made_here:
        with _quiet_bars():
            pipeline = configs.assemble(model, _class(model), dtype, device, place=place)
    elif model.made_here:
        from fastdiff.models import dummy

        pipeline = dummy.assemble(_architecture(model), dtype, device, autoencoder, place=place)
    else:
        pipeline = _loaded(model, dtype, autoencoder)
    if model.scheduler is not None and type(pipeline.scheduler).__name__ != model.scheduler:
        pipeline.scheduler = getattr(diffusers, model.scheduler).from_config(pipeline.scheduler.config)
    if hasattr(pipeline, "set_progress_bar_config"):
        pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _made(model: Model, dtype: str, place: str) -> Any:
    """By the user's function. What that takes no notice of, device or dtype, is seen to here."""
    factory = factories.factory(model)
    offered = {"device": place, "dtype": getattr(torch, dtype)}
    torch.manual_seed(model.request.seed)
    try:
        pipeline = factory(**_taken(factory.make, offered))
    except OSError as error:  # a file that is missing; any other error is one of its code, and has a traceback
        raise UserError("weights", f"the function of {model.source} could not load it: {first_line(error)}") from error
    if not callable(pipeline):
        returned = "nothing; end it with: return pipe" if pipeline is None else f"the type {type(pipeline).__name__}"
        raise UserError("file", f"the function of {model.source} must return a pipeline, and it returned {returned}")
    left = [value for name, value in offered.items() if name not in inspect.signature(factory.make).parameters]
    for one in left:
        # A pipeline of diffusers moves all of its components; another one may not know how.
        for whole in [pipeline] if hasattr(pipeline, "to") else Anatomy(pipeline).components.values():
            whole.to(one)
    return modules.Alone(pipeline) if factory.is_module else pipeline


def _taken(function: Any, offered: dict[str, Any]) -> dict[str, Any]:
    takes = inspect.signature(function).parameters
    return {name: value for name, value in offered.items() if name in takes}


def anatomy(model: Model, pipeline: Any) -> Anatomy:
    """Where its parts are."""
    if not model.factory:
        return Anatomy(pipeline)
    factory = factories.factory(model)
    return Anatomy(pipeline, factory.parts, (modules.MODULE,) if factory.is_module else factory.compile)


def output_of(model: Model) -> str | Callable[[Any], Any] | None:
    """Where the answer of its pipeline holds the pictures, if the user named that."""
    return factories.factory(model).output if model.factory else None


def given(model: Model, pipeline: Any, dtype: str, device: str) -> Mapping[str, Any]:
    """The arguments of a call that a user's own file gives, or that are made up for a pipeline named by its place."""
    if model.placed:
        return usual.call(pipeline, small=model.weights == "tiny")
    if not model.factory:
        return {}
    factory = factories.factory(model)
    call: Any = factory.call

    def made(wanted: Any) -> Any:
        torch.manual_seed(model.request.seed)
        return call(**_taken(call, {"device": device, "dtype": wanted}))

    if factory.is_module:
        found = modules.inputs(call, made, dtype, device)
        seen_to = callable(call) and "dtype" in inspect.signature(call).parameters
        return found if seen_to else modules.cast(found, dtype)
    if isinstance(call, Mapping):
        return call
    found = made(getattr(torch, dtype))
    if wrong := factories.wrong_call(found):
        raise UserError("recipe", f"{model.name}: {wrong}")
    return found


def _architecture(model: Model) -> Architecture:
    from fastdiff.models.architectures import ARCHITECTURES
    from fastdiff.models.twins import TWINS

    return (TWINS if model.weights == "twin" else ARCHITECTURES)[model.name]


def call_options(model: Model) -> dict[str, Any]:
    """Arguments of every call besides the request, so that it draws in the requested size."""
    from fastdiff.models.architectures import ARCHITECTURES

    if model.placed:
        return {}
    own = ARCHITECTURES.get(model.name)
    if own is not None and own.pipeline == model.pipeline:
        return dict(_architecture(model).call if model.made_here else own.call)
    kin = next((one for one in ARCHITECTURES.values() if one.pipeline == model.pipeline), None)
    # How many tokens it reads belongs to a model, not to its pipeline.
    return {name: value for name, value in kin.call.items() if name != "max_sequence_length"} if kin else {}


def stand_ins(model: Model, request: Request, dtype: str, device: str) -> dict[str, Any] | None:
    """What the pipeline is called with in place of a prompt, where the text encoders are left out; else None."""
    from fastdiff.models import dummy

    if model.placed or not model.made_here:
        return None
    return dummy.conditioning(_architecture(model), request, dtype, device)


def _class(model: Model) -> Any:
    """Of its pipeline; what is named by its place may have any class, and parts of any other."""
    if not hasattr(diffusers, model.pipeline):
        mend = "pip install -U diffusers" if model.placed else f"check `pipeline` of the model {model.name!r}."
        raise UserError(
            "weights", f"diffusers {diffusers.__version__} has no pipeline class {model.pipeline!r}; {mend}"
        )
    cls = getattr(diffusers, model.pipeline)
    if missing := [name for name in getattr(cls, "_backends", ()) if importlib.util.find_spec(name) is None]:
        # diffusers has an empty class in the place of each that it cannot import.
        packages = " ".join(missing)
        raise UserError("weights", f"{model.pipeline} needs {packages}, which is not installed; pip install {packages}")
    if not (isinstance(cls, type) and issubclass(cls, diffusers.DiffusionPipeline)):
        raise UserError("weights", f"{model.pipeline}, the class of {model.name!r}, is no pipeline of diffusers.")
    if model.placed:
        configs.require_no_code(places.index(model), model.source)
    return cls


def _loaded(model: Model, dtype: str, autoencoder: str) -> Any:
    cls = _class(model)
    folder = model.folder
    if folder is not None and not (folder / hub.INDEX).is_file():
        raise UserError("weights", f"{folder} is not a pipeline in diffusers' layout: it has no {hub.INDEX}.")
    # Weights and nothing else: neither pickles, which are programs, nor code from the hub.
    safely = {"dtype": getattr(torch, dtype), "use_safetensors": True}
    parts: dict[str, Any] = dict.fromkeys(model.without)
    if autoencoder == "tiny" and model.tiny_autoencoder is None:
        raise UserError("recipe", f'the model {model.name!r} has no tiny autoencoder; set autoencoder = "own".')
    with _quiet_bars(), _clear_errors(model), _nothing_made_up(model):
        if autoencoder == "tiny":
            parts["vae"] = diffusers.AutoencoderTiny.from_pretrained(
                model.tiny_autoencoder, revision=model.tiny_revision, **safely
            )
        elif model.vae is not None and autoencoder != "pipeline":
            parts["vae"] = diffusers.AutoencoderKL.from_pretrained(model.vae, revision=model.vae_revision, **safely)
        found = {"revision": model.revision, "trust_remote_code": False, "local_files_only": folder is not None}
        try:
            return cls.from_pretrained(model.source, **found, **safely, **parts)
        except (OSError, ValueError):
            # Files in half precision serve every dtype where there are no others.
            variant = checkpoints.variant(checkpoints.files(model.source, model.revision))
            if variant is None:
                raise
            return cls.from_pretrained(model.source, variant=variant, **found, **safely, **parts)


@contextmanager
def _clear_errors(model: Model) -> Iterator[None]:
    try:
        yield
    except (OSError, ImportError, ValueError) as error:
        reason = first_line(error)
        if model.folder is not None:
            mend = "; without them: --fastdiff-weights dummy" if model.placed else "."
            raise UserError("weights", f"the weights in {model.folder} could not be loaded ({reason}){mend}") from error
        nowhere = not (model.revision or model.weights == "hub" or Path(model.source).exists())
        asked = "there is no such folder, so the hub was asked: " if nowhere else ""
        raise UserError(
            "weights",
            f"the weights of {model.name!r} could not be loaded from {model.source} ({asked}{reason}); "
            "check the connection and HF_TOKEN, or do without: --fastdiff-weights dummy, or --fastdiff-model shapes.",
        ) from error


@contextmanager
def _nothing_made_up(model: Model) -> Iterator[None]:
    """Refuses a checkpoint some of whose weights a library draws at random, about which it only writes a log."""
    said: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if MADE_UP in record.getMessage():
                said.append(record.name.partition(".")[0])

    listener = Listener()
    before = {logger: logger.level for logger in map(logging.getLogger, ("transformers", "diffusers"))}
    for logger, level in before.items():
        logger.addHandler(listener)
        logger.setLevel(min(level, logging.WARNING))
    try:
        yield
    finally:
        for logger, level in before.items():
            logger.removeHandler(listener)
            logger.setLevel(level)
    if said:
        raise UserError(
            "weights",
            f"{said[0]} {version(said[0])} found no numbers for some weights of {model.source}, and drew them at "
            f"random: its checkpoint is not whole, or a newer {said[0]} has saved it: pip install -U {said[0]}",
        )


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
