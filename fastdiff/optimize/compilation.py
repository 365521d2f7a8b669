"""torch.compile for the denoiser and the decoder, and the cache that makes the second time quick."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from fastdiff.models.libraries import torch
from fastdiff.record.errors import UserError

if TYPE_CHECKING:
    from fastdiff.models.anatomy import Anatomy, Place
    from fastdiff.stages.recipe import Compile


def compile_parts(where: Anatomy, how: Compile) -> None:
    """Modules in place, so that they keep their class and their configuration; of the autoencoder only `decode`."""
    options: dict[str, Any] = {
        "mode": None if how.mode == "default" else how.mode,
        "fullgraph": how.fullgraph,
        "dynamic": how.dynamic,
    }
    denoised, decoded = where.denoised if how.denoiser else [], where.decoded if how.decoder else None
    if not (denoised or decoded):
        raise UserError(
            "recipe",
            f"{type(where.pipeline).__name__} has neither a denoiser nor a decoder that is known, so nothing can be "
            'compiled; name what is to be: @fastdiff.pipeline(..., compile=["net", "vae.decode"]).',
        )
    for place in denoised:
        _compile(place, regional=how.regional, options=options)
    if decoded:
        _compile(decoded, regional=False, options=options)
    for encoder in where.encoders if how.text else ():
        _install_hooks(encoder)
        encoder.compile(**options)


def _compile(place: Place, *, regional: bool, options: dict[str, Any]) -> None:
    """A module, its repeated blocks, or a method."""
    what = place.value
    if regional and not getattr(what, "_repeated_blocks", None):
        raise UserError(
            "recipe",
            f"{type(what).__name__} does not say which of its blocks repeat, so it has no regions to compile; "
            "set compile.regional = false.",
        )
    if regional:
        what.compile_repeated_blocks(**options)
    elif isinstance(what, torch.nn.Module):
        what.compile(**options)
    else:
        setattr(place.owner, place.name, torch.compile(what, **options))


def _install_hooks(encoder: Any) -> None:
    """transformers does so in the first call, behind a lock that no graph can hold; older releases have none."""
    with suppress(ImportError):
        from transformers.utils.output_capturing import maybe_install_capturing_hooks

        maybe_install_capturing_hooks(encoder)


def switches(how: Compile) -> dict[str, Any]:
    """What is borrowed from inductor and dynamo while the stage lives."""
    return {f"inductor.{name}": value for name, value in how.flags}


def forget() -> None:
    """Drops every compiled graph and counter, so that one stage's never shows up in another's."""
    import torch._dynamo
    from torch._dynamo.utils import counters
    from torch._inductor import metrics

    torch._dynamo.reset()
    counters.clear()
    metrics.reset()
    metrics.generated_cpp_vec_kernel_count = 0  # which torch's own reset forgets
