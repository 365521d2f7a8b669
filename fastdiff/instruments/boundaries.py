"""Where one component of a pipeline call ends and the next one begins; clocks, allocators and counters listen here."""

from __future__ import annotations

import functools
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TEXT, DENOISING, DECODE, REST = "text", "denoising", "decode", "rest"
"""The components of a call. `rest` is preparation of latents, post-processing and whatever lies between the others."""

_ABSENT = object()


@contextmanager
def boundaries(pipeline: Any, ended: Callable[[str], None]) -> Iterator[None]:
    """Calls `ended(component)` at the end of every stretch of the one call that is made meanwhile.

    The stretches follow each other without a gap: what is measured between two calls of `ended` adds up to the whole.
    A denoising step lasts from the end of one `scheduler.step` to the end of the next, so guidance and scheduler
    belong to it; the first one begins where the pipeline opens its progress bar.
    Wrapped are only functions that call compiled code, never the ones inside it, so nothing is compiled again.
    """
    with ExitStack() as wrapped:
        for owner, name, before, after in (
            (pipeline, "encode_prompt", REST, TEXT),
            (pipeline, "progress_bar", REST, None),
            (pipeline.scheduler, "step", None, DENOISING),
            (pipeline.vae, "decode", REST, DECODE),
        ):
            wrapped.enter_context(_wrapped(owner, name, before, after, ended))
        yield
        ended(REST)


@contextmanager
def _wrapped(
    owner: Any, name: str, before: str | None, after: str | None, ended: Callable[[str], None]
) -> Iterator[None]:
    """Replaces a method on one instance, and puts back what was there."""
    original = getattr(owner, name)

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
