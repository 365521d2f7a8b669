"""Where one component of a pipeline call ends and the next one begins; clocks, allocators and counters listen here."""

from __future__ import annotations

import functools
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fastdiff.models.anatomy import Anatomy, Place

TEXT, DENOISING, DECODE, REST = "text", "denoising", "decode", "rest"
"""The components of a call. `rest` is preparation of latents, post-processing and whatever lies between the others."""

_ABSENT = object()


@contextmanager
def boundaries(where: Anatomy, ended: Callable[[str], None]) -> Iterator[None]:
    """Calls `ended(component)` at the end of every stretch of the one call that is made meanwhile.

    The stretches follow each other without a gap: what is measured between two calls of `ended` adds up to the whole.
    A denoising step lasts from the end of one `scheduler.step` to the end of the next, so guidance and scheduler
    belong to it; the first one begins where the pipeline opens its progress bar.
    Wrapped are only functions that call compiled code, never the ones inside it, so nothing is compiled again. A part
    that the pipeline does not have, or that is not known, is in the stretch of what follows it.
    """
    with ExitStack() as wrapped:
        for place, before, after in (
            (where.text, REST, TEXT),
            (where.begin, REST, None),
            (where.step, None, DENOISING),
            (where.decode, REST, DECODE),
        ):
            if place:
                wrapped.enter_context(_wrapped(place, before, after, ended))
        yield
        ended(REST)


@contextmanager
def _wrapped(place: Place, before: str | None, after: str | None, ended: Callable[[str], None]) -> Iterator[None]:
    """Replaces a method on one instance, and puts back what was there."""
    owner, name, original = place.owner, place.name, place.value

    # The signature must stay visible: pipelines look up which arguments their scheduler takes. The other attributes
    # must not, for they would make the wrapper look like a compiled function.
    @functools.wraps(original, updated=())
    def watched(*args: Any, **kwargs: Any) -> Any:
        if before:
            ended(before)
        result = original(*args, **kwargs)
        if after:
            ended(after)
        return result

    own = vars(owner).get(name, _ABSENT)
    setattr(owner, name, watched)
    try:
        yield
    finally:
        if own is _ABSENT:
            delattr(owner, name)
        else:
            setattr(owner, name, own)
