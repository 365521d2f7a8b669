"""`fastdiff run`: measure one setting."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from fastdiff.cli.common import INTERRUPTED, aloud, aside, one_sentence
from fastdiff.cli.options import DEVICE, ROOT, SIZE, STEPS, WEIGHTS

if TYPE_CHECKING:
    from fastdiff.experiments.published import Outcome
    from fastdiff.report.published import Row

MODEL = typer.Option(
    "",
    "--model",
    metavar="NAME",
    help="A model of the catalogue or of pyproject.toml, hub:ORG/NAME[@REVISION], ./FOLDER in diffusers' layout, or "
    "FILE.py::NAME (default: what --ckpt is, or the embedded one).",
)
CKPT = typer.Option("", "--ckpt", metavar="ID|FOLDER", help="A checkpoint: a name on the hub or a folder.")
PROMPT = typer.Option("", metavar="TEXT", help="What to draw (default: the model's own prompt).")
STAGE = typer.Option(
    "", metavar="NAME", help="Use the setting of a stage (`fastdiff ladder` lists them) instead of the options below."
)
DTYPE = typer.Option(
    "bfloat16", metavar="DTYPE", help="Precision of weights and arithmetic: bfloat16, float16 or float32."
)
NO_SDPA = typer.Option(False, "--no-sdpa", help="Compute attention step by step, without scaled_dot_product_attention.")
BATCH = typer.Option(1, min=1, metavar="N", help="Pictures per call.")
FUSE_QKV = typer.Option(False, "--fuse-qkv", help="Compute query, key and value in one matrix product.")
UPCAST_VAE = typer.Option(False, "--upcast-vae", help="Decode with the model's own autoencoder, in float32.")
DENOISER = typer.Option(False, "--compile-denoiser", help="Compile the UNet or the transformer as a full graph.")
DECODER = typer.Option(False, "--compile-decoder", help="Compile the autoencoder's decoder as a full graph.")
MODE = typer.Option(
    "",
    metavar="MODE",
    help="Mode of the compiler: default, reduce-overhead, max-autotune or max-autotune-no-cudagraphs (a CPU always "
    "uses default).",
)
FLAGS = typer.Option(False, "--inductor-flags", help="Set the published inductor flags for this measurement.")
QUANTIZE = typer.Option(
    "none", metavar="KIND", help="Quantize: int8-dynamic, int8-weight-only, int4-weight-only or float8-dynamic."
)
ROUNDS = typer.Option(5, min=1, metavar="N", help="Timed calls, after the first call and the warm-up.")
TAG = typer.Option("", metavar="TEXT", help="A label of your own: a column of the row, and the end of the file names.")
OUT = typer.Option(Path("results"), metavar="FOLDER", help="Folder for the row, the picture and the trace.")
TRACE = typer.Option(False, "--trace", help="Record a profiler trace of one extra call, for chrome://tracing.")


def run(
    model: str = MODEL,
    ckpt: str = CKPT,
    weights: str = WEIGHTS,
    prompt: str = PROMPT,
    stage: str = STAGE,
    dtype: str = DTYPE,
    no_sdpa: bool = NO_SDPA,
    batch: int = BATCH,
    steps: int | None = STEPS,
    size: int | None = SIZE,
    fuse_qkv: bool = FUSE_QKV,
    upcast_vae: bool = UPCAST_VAE,
    compile_denoiser: bool = DENOISER,
    compile_decoder: bool = DECODER,
    compile_mode: str = MODE,
    inductor_flags: bool = FLAGS,
    quantize: str = QUANTIZE,
    rounds: int = ROUNDS,
    device: str = DEVICE,
    tag: str = TAG,
    out: Path = OUT,
    trace: bool = TRACE,
    root: Path = ROOT,
) -> None:
    """Measure one setting like the published benchmark script: a CSV row, a picture, and an optional trace.

    Example: fastdiff run --dtype float32 --no-sdpa
    """
    with one_sentence():
        from fastdiff.cli import row
        from fastdiff.experiments import published
        from fastdiff.models.toml import models as read_models
        from fastdiff.record.errors import UserError
        from fastdiff.record.project import cache_folder, compile_cache, require_folder, tables
        from fastdiff.report import published as results
        from fastdiff.report.progress import Progress

        require_folder(root)
        switches: dict[str, Any] = {
            "dtype": dtype,
            "sdpa": not no_sdpa,
            "fuse_qkv": fuse_qkv,
            "upcast_vae": upcast_vae,
            "compile_denoiser": compile_denoiser,
            "compile_decoder": compile_decoder,
            "compile_mode": compile_mode,
            "inductor_flags": inductor_flags,
            "quantize": quantize,
        }
        if stage and published.recipe(**switches) != published.recipe():
            raise UserError("recipe", f"--stage {stage} is a whole setting; leave out the options that change it.")
        recipe = published.staged(stage, device, root) if stage else published.recipe(**switches)
        own = read_models(tables(root)["models"], root)
        asked = published.setting(
            published.model(model, ckpt, weights, own),
            recipe,
            prompt=prompt,
            batch=batch,
            steps=steps,
            size=size,
            device=device,
            rounds=rounds,
            tag=tag,
            stage=stage,
        )

        for line in row.headline(asked):
            aside(line)
        with results.kept(out, asked.name):
            pass  # raises before anything is measured if the folder cannot be written to
        progress = Progress(sys.stderr if sys.stderr.isatty() else None)
        with compile_cache(cache_folder(root)) if recipe.compile else nullcontext():
            outcome = published.measure(asked, trace=trace, say=aside, progress=progress)
        with results.kept(out, outcome.name) as place:
            kept = _keep(place, outcome)
        for line in results.summary(kept, out / outcome.name, outcome.drawn, trace=trace):
            aloud(line)
        if outcome.stopped:
            raise typer.Exit(INTERRUPTED)


def _keep(place: Path, outcome: Outcome) -> Row:
    """Writes the picture (of a batch also `NAME-1.png` and so on), or the tensors, and the row; a full disk loses no
    numbers."""
    from fastdiff.cli import row
    from fastdiff.record import outputs
    from fastdiff.record.errors import UserError
    from fastdiff.report import published as results

    name, found = outcome.name, row.row(outcome)
    file = f"{name}.trace.json"
    try:
        if outcome.trace is not None:
            outcome.trace(place / file)
            if not (place / file).is_file():
                raise OSError("torch left no file; is the disk full?")
        file = f"{name}.{outcome.drawn}"
        outputs.keep(place, name, outcome.images)
        file = f"{name}.csv"
        results.write(place / file, [found])
    except OSError as error:
        sentence = (
            f"{place.parent / file} cannot be written ({error.strerror or error}), so no file was kept; save the two "
            f"lines above as {name}.csv, or make room and measure again: fastdiff run --out FOLDER"
        )
        raise UserError(
            "file", "\n".join([*results.figures(found), "", *results.as_csv([found]).splitlines(), "", sentence])
        ) from error
    return found
