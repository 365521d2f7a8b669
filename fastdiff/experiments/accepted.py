"""Recreates the accepted run's software, so that it can be measured against today's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastdiff.compare.software import A_PATH, NOT_MADE_AGAIN
from fastdiff.host.environment import VARIABLES, device_kind, device_name, device_slug, variables
from fastdiff.record import baselines
from fastdiff.record.errors import UserError
from fastdiff.record.files import read_baseline
from fastdiff.record.project import CACHE_VARIABLE
from fastdiff.record.run import OWN
from fastdiff.sides.accepted import rebuild
from fastdiff.sides.home import home
from fastdiff.trial.process import PROTOCOL

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from fastdiff.sides.accepted import Rebuilt


def accepted_side(
    root: Path, device: str, say: Callable[[str], None], changed: Mapping[str, str] | None = None
) -> Rebuilt:
    """Recreates the software of the newest accepted run of this device, or else of any device: the software can run
    here, too. `changed`: additional variables of this side."""
    return side_of(newest(root, device), root, say, changed)


def side_of(
    path: Path,
    root: Path,
    say: Callable[[str], None],
    changed: Mapping[str, str] | None = None,
    own: Path | None = None,
) -> Rebuilt:
    """`path`: the file of the accepted run. `own`: an environment that the user kept from that run."""
    run = read_baseline(path).run
    wanted = variables_of(run.environment) | dict(changed or {})
    files = any(trial.weights == OWN for trial in run.stages)
    return rebuild(
        run.software, root, home(), say, protocol=PROTOCOL, baseline=path, variables=wanted, own=own, files=files
    )


def newest(root: Path, device: str) -> Path:
    """The file of the newest accepted run of the device, or of any."""
    kind = device_kind() if device == "auto" else device
    folder = baselines.folder_of(root, device_slug(kind))
    found = baselines.newest(folder)
    if found is None:
        every = [(one, folder) for folder in baselines.devices(root) if (one := baselines.newest(folder))]
        if not every:
            raise UserError(
                "file",
                f"nothing was accepted in {root / baselines.FOLDER}, for {device_name(kind)} or another device; "
                'measure, then: fastdiff accept RUN --reason "..."',
            )
        found, folder = max(every, key=lambda one: one[0].run.started)
    return folder / found.name


def variables_of(environment: Mapping[str, Any]) -> dict[str, str | None]:
    """The changes to today's variables; None removes a variable. Variables that name folders stay as they are today."""
    kept, now = environment.get("variables"), variables()
    # A baseline comes with a pull request: only what a run would have kept is taken from it.
    then = {name: text for name, text in kept.items() if VARIABLES.match(name)} if isinstance(kept, dict) else {}
    changed = {name: then.get(name) for name in then.keys() | now.keys() if then.get(name) != now.get(name)}
    return {
        name: value
        for name, value in changed.items()
        if A_PATH not in (value, now.get(name))
        and name not in (CACHE_VARIABLE, *NOT_MADE_AGAIN)
        and (value is None or isinstance(value, str))
    }
