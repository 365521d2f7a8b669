"""Pipelines of a checkpoint's configurations alone, with random weights: in full size, or shrunk to be tried out.

The configurations become parts as those of `architectures` are, and `dummy` makes the modules of both.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from fastdiff.models import dummy, places, shrinking
from fastdiff.models.architectures import Part
from fastdiff.models.libraries import diffusers, named, torch, transformers
from fastdiff.record.errors import UserError, named_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from fastdiff.models import Model

LEFT_OUT = ("safety_checker",)
"""With random weights it would blacken pictures at random."""
WITHOUT = {"requires_safety_checker": False}
SMALL = 300e6
"""Weights of a part that is still called small: embeddings of 256,000 words, of a width of 576, are half of it."""
AUTOMATIC = "Auto"
"""How transformers calls classes that look up in a configuration which class is meant. save_pretrained names none."""
UNSAID = ("architectures", "model_type", "transformers_version", "dtype", "torch_dtype", "_name_or_path")
"""What a configuration of transformers has besides the words of its class."""


def assemble(model: Model, cls: Any, dtype: str, device: str, *, place: str | None = None) -> Any:
    """The pipeline with weights that are drawn as those of a described architecture; see `dummy`."""
    try:
        parts, others = _read(places.index(model), places.configs(model))
        if model.weights == "tiny":
            parts = shrinking.shrunk(parts)
        skeletons = {name: dummy.skeleton(part, dtype) for name, part in parts.items()}
        if model.weights == "tiny":
            _require_small(skeletons)
        if place is None:
            dummy.require_room(skeletons.values(), dtype, device, "--fastdiff-weights tiny")
        modules = {name: dummy.filled(one, dtype, device, place=place) for name, one in skeletons.items()}
        return cls(**_absent(cls, others | modules), **others, **modules)
    except (UserError, torch.OutOfMemoryError):  # a full GPU is no matter of configurations, and a RuntimeError
        raise
    except (AttributeError, ImportError, KeyError, OSError, RuntimeError, TypeError, ValueError) as error:
        reason = named_line(error)
        raise UserError(
            "weights",
            f"no {model.pipeline} can be made of the configurations of {model.name!r} with {model.weights} weights "
            f"({reason}); take its own: --fastdiff-weights auto",
        ) from error


def _absent(cls: Any, given: Mapping[str, Any]) -> dict[str, None]:
    """What a pipeline can do without and its index does not name, as `from_pretrained` has it."""
    takes = inspect.signature(cls.__init__).parameters
    return {name: None for name in cls._optional_components if name in takes and name not in given}


def _require_small(skeletons: Mapping[str, Any]) -> None:
    for name, module in skeletons.items():
        weights = sum(parameter.numel() for parameter in module.parameters())
        if weights > SMALL:
            raise UserError(
                "weights",
                f"the rules that fastdiff has for a small copy do not know {type(module).__name__}: its {name} would "
                f"still have {weights / 1e6:.0f} million weights; take the full size: --fastdiff-weights dummy",
            )


def require_no_code(index: Mapping[str, Any], source: str) -> None:
    """A part whose class is in neither library is code of the checkpoint's own, which is never run. transformers'
    automatic classes would offer on the terminal to run such code."""
    for name, library, cls in _classes(index):
        if library == "transformers" and cls.startswith(AUTOMATIC):
            raise UserError(
                "weights",
                f"{source} leaves the class of its {name} to {cls}, which may be code of its own, and fastdiff runs no "
                "code from a checkpoint; if you trust it, load it in a function of your own: fastdiff init",
            )
        if named(library) is None:
            raise UserError(
                "weights",
                f"{source} has its {name} in code of its own, {library} {cls}, and fastdiff runs no code from a "
                "checkpoint; if you trust it, load it in a function of your own: fastdiff init",
            )
        if not isinstance(getattr(named(library), cls, None), type):
            raise UserError(
                "weights",
                f"diffusers {diffusers.__version__} and transformers {transformers.__version__} have no class {cls}, "
                f"which {source} has as its {name}; pip install -U diffusers transformers",
            )


def _classes(index: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for name, value in index.items():
        if isinstance(value, list) and len(value) == 2 and all(isinstance(one, str) for one in value):
            yield name, *value


def _read(index: Mapping[str, Any], folder: Path) -> tuple[dict[str, Part], dict[str, Any]]:
    """The modules as parts; schedulers, tokenizers and options as they are."""
    others: dict[str, Any] = {
        name: None if isinstance(value, list) else value for name, value in index.items() if not name.startswith("_")
    }
    parts = {}
    for name, library, cls in _classes(index):
        if name in LEFT_OUT:
            others |= {option: value for option, value in WITHOUT.items() if option in index}
            continue
        found = getattr(named(library), cls)
        if issubclass(found, diffusers.ModelMixin):
            config = found.extract_init_dict(found.load_config(folder / name))[0]
            parts[name] = Part(library, cls, _defaults(found) | config)
        elif issubclass(found, transformers.PreTrainedModel):
            config = found.config_class.from_pretrained(folder / name).to_dict()
            parts[name] = Part(library, cls, {key: value for key, value in config.items() if key not in UNSAID})
        else:
            others[name] = found.from_pretrained(folder / name)
    return parts, {name: value for name, value in others.items() if name not in parts}


def _defaults(cls: Any) -> dict[str, Any]:
    """Of a class of diffusers, whose older configurations do not name them."""
    takes = inspect.signature(cls.__init__).parameters
    return {name: one.default for name, one in takes.items() if one.default is not inspect.Parameter.empty}
