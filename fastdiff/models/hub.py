"""Everything but weights from the model hub: an index, names of files, configurations.

Every error is one sentence. The hub's library tries again for minutes if the hub does not answer, so a line on standard
error explains the wait after a few seconds.
"""

from __future__ import annotations

import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from fastdiff.record.errors import UserError, first_line

if TYPE_CHECKING:
    from collections.abc import Iterator

INDEX = "model_index.json"
CONFIGS = ("*.json", "*.txt", "*.model", "*.jinja")
"""Of a repository without its weights: configurations, and the files of tokenizers."""
PATIENCE_S = 5.0
"""What is answered sooner needs no remark."""


def index(name: str, revision: str | None = None, *, otherwise: str) -> Path:
    """The file lies in a folder called by its commit. `otherwise`: what a person without the hub can do."""
    from huggingface_hub import hf_hub_download

    with _asked(name, f"did not say what {name} is", f"check the name, the connection and HF_TOKEN, or {otherwise}"):
        return Path(hf_hub_download(name, INDEX, revision=revision))


def configs(name: str, revision: str | None) -> Path:
    """The folder with everything but the weights, which is fetched where it is not here."""
    from huggingface_hub import snapshot_download

    with _asked(
        name,
        f"did not give the configurations of {name}",
        "check the connection and HF_TOKEN, or name a folder: ./FOLDER",
    ):
        return Path(snapshot_download(name, revision=revision, allow_patterns=list(CONFIGS)))


def file_names(name: str, revision: str | None) -> list[str]:
    """Of a repository; without a connection those that are in the cache of the hub's library."""
    from huggingface_hub import HfApi, snapshot_download

    try:
        with _asked(name, f"did not list the files of {name}", "check the connection and HF_TOKEN"):
            return list(HfApi().list_repo_files(name, revision=revision))
    except UserError:
        try:
            folder = Path(snapshot_download(name, revision=revision, local_files_only=True))
        except OSError:
            return []
    return names_in(folder)


def names_in(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]


@contextmanager
def _asked(name: str, failed: str, mending: str) -> Iterator[None]:
    remark = threading.Timer(PATIENCE_S, _waiting, [name])
    remark.daemon = True
    remark.start()
    try:
        yield
    except Exception as error:  # the errors of whichever library connects to it have no class in common
        raise UserError("weights", f"the hub {failed} ({first_line(error)}); {mending}") from error
    finally:
        remark.cancel()


def _waiting(name: str) -> None:
    sys.stderr.write(
        f"fastdiff: waiting for the model hub, which was asked about {name}; HF_HUB_OFFLINE=1 uses the cache alone\n"
    )
