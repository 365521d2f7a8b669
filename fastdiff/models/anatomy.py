"""Where the parts of a built pipeline are: found by the names that diffusers gives them, or named by the user."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastdiff.models.factories import DECODE, STEP, TEXT
from fastdiff.models.libraries import torch
from fastdiff.record.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DENOISERS = ("unet", "transformer", "transformer_2", "prior")
"""Wan 2.2 has two transformers, one after the other; Kandinsky and Würstchen begin with a prior."""
DECODERS = ("vae", "vqvae", "movq", "vqgan")
ENCODERS = ("text_encoder", "text_encoder_2", "text_encoder_3")


@dataclass(frozen=True)
class Place:
    """A method or a module of a pipeline, by its owner, so that another one can be put there."""

    owner: Any
    name: str

    @property
    def value(self) -> Any:
        return getattr(self.owner, self.name)


class Anatomy:
    """Of one pipeline. A part that it does not have is None."""

    def __init__(self, pipeline: Any, parts: Mapping[str, str] | None = None, compiled: Sequence[str] = ()) -> None:
        self.pipeline = pipeline
        found = {
            TEXT: self._found("encode_prompt"),
            STEP: self._found("scheduler.step"),
            DECODE: next((place for name in DECODERS if (place := self._found(f"{name}.decode"))), None),
        }
        found |= {part: self._named(place) for part, place in (parts or {}).items()}
        self.text, self.step, self.decode = found[TEXT], found[STEP], found[DECODE]
        self.begin = self._found("progress_bar")
        """Opened where the first step begins."""
        self._compiled = [self._named(name) for name in compiled]

    def _found(self, path: str) -> Place | None:
        owner, (*way, name) = self.pipeline, path.split(".")
        for one in way:
            owner = getattr(owner, one, None)
        return Place(owner, name) if callable(getattr(owner, name, None)) else None

    def _named(self, path: str) -> Place:
        place = self._found(path)
        if place is None:
            raise UserError("recipe", f"{type(self.pipeline).__name__} has no {path} that can be called; name another.")
        return place

    @property
    def denoised(self) -> list[Place]:
        """What is compiled as the denoiser: the modules that are known by name, or what the user named."""
        if not self._compiled:
            return [Place(self.pipeline, name) for name in DENOISERS if self._module(name) is not None]
        return [place for place in self._compiled if not self._decodes(place)]

    @property
    def decoded(self) -> Place | None:
        """What is compiled as the decoder."""
        return next(filter(self._decodes, self._compiled), None) if self._compiled else self.decode

    def _decodes(self, place: Place) -> bool:
        return place == self.decode or (_is_module(place.value) and place.value is self.decoder)

    @property
    def denoisers(self) -> list[Any]:
        """The modules among them; of a method the module that has it."""
        found = [place.value if _is_module(place.value) else place.owner for place in self.denoised]
        return list({id(one): one for one in found if _is_module(one)}.values())

    @property
    def decoder(self) -> Any:
        return self.decode.owner if self.decode is not None and _is_module(self.decode.owner) else None

    @property
    def optimized(self) -> list[Any]:
        """What the ladder optimizes."""
        return [*self.denoisers, *([self.decoder] if self.decoder is not None else [])]

    @property
    def encoders(self) -> list[Any]:
        """Of text."""
        return [module for name in ENCODERS if (module := self._module(name)) is not None]

    @property
    def components(self) -> dict[str, Any]:
        """Every module that the pipeline holds, by name."""
        whole = getattr(self.pipeline, "components", None)
        named = whole if isinstance(whole, dict) else getattr(self.pipeline, "__dict__", {})
        found = {name: one for name, one in sorted(named.items()) if _is_module(one)}
        children = dict(self.pipeline.named_children()) if _is_module(self.pipeline) else {}
        return found or children

    def _module(self, name: str) -> Any:
        found = getattr(self.pipeline, name, None)
        return found if _is_module(found) else None


def _is_module(one: Any) -> bool:
    return isinstance(one, torch.nn.Module)
