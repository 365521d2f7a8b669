"""Models that are named by their place: `hub:ORG/NAME[@REVISION]`, or a folder in diffusers' layout.

Reads the index there and knows no torch: a session says at once what cannot be measured. `loading` loads what was
named, and `usual` makes up the arguments of its calls.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from fastdiff.models import Model, Request, checkpoints, factories, hub
from fastdiff.record.bounds import NAME
from fastdiff.record.errors import UserError
from fastdiff.record.reading import load

HUB, AT = "hub:", "@"
REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")
LONGEST = 100
"""Characters of a name that files are called by."""


def names_a_place(name: str) -> bool:
    """Whether this is no name of a model, but the place of one: a file, a folder, a repository on the hub."""
    return factories.is_path(name) or name.startswith((HUB, ".", "~")) or "/" in name


def names_no_commit(name: str) -> bool:
    """Whether it is what the hub has today."""
    return name.startswith(HUB) and AT not in name


def models(name: str, *folders: Path) -> list[Model]:
    """What a file, a folder (seen from one of `folders`) or the hub has under this name; a file may have several."""
    if factories.is_path(name):
        return factories.models(name, *folders)
    return [_in_a_repository(name.removeprefix(HUB)) if name.startswith(HUB) else _in_a_folder(name, folders)]


def index(model: Model) -> dict[str, Any]:
    """What the pipeline is made of: the content of model_index.json."""
    source = model.source
    return _read(_index_on_the_hub(source, model.revision) if _on_the_hub(model) else _index_in(Path(source)))


def _on_the_hub(model: Model) -> bool:
    return not Path(model.source).is_absolute()


def configs(model: Model) -> Path:
    """The folder with everything but the weights, which is fetched from the hub where it is not here."""
    if not _on_the_hub(model):
        return Path(model.source)
    return hub.configs(model.source, model.revision)


def _in_a_repository(name: str) -> Model:
    repository, _, revision = name.partition(AT)
    if not REPOSITORY.fullmatch(repository):
        raise UserError(
            "weights", f"{HUB}{name} is no repository on the hub; write {HUB}ORG/NAME or {HUB}ORG/NAME@REVISION."
        )
    file = _index_on_the_hub(repository, revision or None)
    # The commit, so that every process of this session, and the other side of a pair, has the same weights.
    return _model(repository.replace("/", "--"), file, repository, revision=file.parent.name, weights="hub")


def _in_a_folder(name: str, folders: tuple[Path, ...]) -> Model:
    path = Path(name).expanduser()
    found = next((folder / path for folder in folders if (folder / path).is_dir()), None)
    if found is None:
        hub = f"; a repository on the hub is {HUB}{name}" if REPOSITORY.fullmatch(name) else ""
        raise UserError("file", f"there is no folder {name} in {' or '.join(dict.fromkeys(map(str, folders)))}{hub}.")
    folder = found.resolve()
    return _model(folder.name, _index_in(folder), str(folder))


def _model(name: str, file: Path, source: str, **where: Any) -> Model:
    cls = _read(file).get("_class_name")
    if isinstance(cls, list):
        raise UserError(
            "weights",
            f"{source} has a pipeline in code of its own, {' '.join(map(str, cls))}, and fastdiff runs no code from a "
            "checkpoint; if you trust it, load it in a function of your own: fastdiff init",
        )
    if not isinstance(cls, str):
        raise UserError("weights", f"{source}: {hub.INDEX} names no pipeline class; save it with save_pretrained.")
    request = Request(None, None, None, None)
    return Model(_legal(name), cls, source, request, placed=True, **where)


def _legal(name: str) -> str:
    """A name that files can have."""
    legal = re.sub(r"[^A-Za-z0-9._+-]+", "-", name).lstrip("._+-")[:LONGEST].rstrip("-")
    if not NAME.fullmatch(legal):
        raise UserError(
            "weights", f"results would be kept under the name {name!r}, which has no letter or digit; rename it."
        )
    return legal


def _index_in(folder: Path) -> Path:
    file = folder / hub.INDEX
    if not file.is_file():
        raise UserError(
            "weights",
            f"{folder} is no pipeline in diffusers' layout, because it has no {hub.INDEX}; name the folder "
            "that save_pretrained wrote, or load it in a function of your own: fastdiff init",
        )
    return file


def _index_on_the_hub(repository: str, revision: str | None) -> Path:
    return hub.index(repository, revision, otherwise="name a folder: ./FOLDER")


def _read(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = load(file.resolve(), checkpoints.LARGEST_INDEX)  # a file of the hub's cache is a link
    return found
