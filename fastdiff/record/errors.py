"""The one error of fastdiff: something that a user can mend."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

Code = Literal[
    "bisect",  # the search cannot start or continue
    "device",  # the device is not there, or cannot do this
    "emulated",  # the CPU has no instructions for this recipe
    "environment",  # an environment could not be made or started
    "experiment",  # pairs that cannot be measured or trusted
    "fault",  # a fault that cannot be injected
    "file",  # a file that cannot be read or written
    "memory",  # it does not fit into memory
    "not-applied",  # a stage is not what its name says
    "not-compiled",  # nothing was compiled where a full graph was requested
    "process",  # another process died, hung, or gave an invalid reply
    "recipe",  # an impossible combination of options
    "run",  # `fastdiff run` measured nothing
    "schema",  # a file of another version of fastdiff
    "side-not-recorded",  # the accepted run does not say which software it ran
    "side-changed-files",  # its code is in no commit
    "side-no-commit",  # its code is in a commit that is not here
    "side-submodules",  # a submodule of its code is not here
    "side-needs-prepare",  # its code has built extensions, and names no command that builds them
    "side-not-prepared",  # that command failed
    "side-local-package",  # one of its packages is nowhere but on its machine
    "side-no-package",  # one of its packages is on no index that can be reached
    "side-no-python",  # its Python cannot be had
    "side-no-room",  # the disk is full
    "spec",  # a SPEC that cannot be read
    "switch",  # a global switch that this torch does not have
    "weights",  # the weights are not available
]


class UserError(Exception):
    """`code` says what kind of trouble it is; `text` and `hint` are for the user: what is wrong, and what mends it."""

    def __init__(self, code: Code, text: str, hint: str = "") -> None:
        super().__init__(f"{text} {hint}".rstrip())
        self.code = code
        self.text = text
        self.hint = hint


def first_line(error: BaseException) -> str:
    """Of its message, or its class where it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def named_line(error: BaseException) -> str:
    """Its class and the first line of its message."""
    return f"{type(error).__name__}: {first_line(error)}"


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """The sentence about an unknown name, with the nearest known one."""
    known = list(known)
    begun = [one for one in known if name and one.startswith(name)]
    near = begun or difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    guess = f"; did you mean {near[0]!r}?" if near else "."
    return f"no {kind} is called {name!r}{guess} There are: {', '.join(known)}."
