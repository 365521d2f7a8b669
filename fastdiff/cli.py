"""The `fastdiff` command: thin; each subcommand calls the room that does the work."""

from __future__ import annotations

import io
import shlex
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from fastdiff import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastdiff.experiments.sessions import Session

TROUBLE = 2
"""The exit code of a command that could not do its work; 1 is that of one that did, and found something."""

app = typer.Typer(
    help="Is the diffusion pipeline still fast, and does it still draw the same picture?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fastdiff {__version__}")
        raise typer.Exit


@contextmanager
def _one_sentence(kept: str = "nothing of this was kept.") -> Iterator[None]:
    """What a person can do something about ends the command with a sentence, not with a traceback."""
    from fastdiff.experiments.errors import ExperimentError
    from fastdiff.experiments.published import RunError
    from fastdiff.faults import FaultError
    from fastdiff.models import MemoryShortError, WeightsError
    from fastdiff.recipes import RecipeError
    from fastdiff.record.checks import RecordError

    try:
        yield
    except RecordError as error:
        said = str(error)
    except (ExperimentError, FaultError, MemoryShortError, RecipeError, RunError, WeightsError) as error:
        # These sentences are told to pytest as well, where every option has a prefix.
        said = str(error).replace("--fastdiff-", "--")
    except KeyboardInterrupt as stop:
        typer.echo(f"\n{stop if stop.args else f'stopped; {kept}'}", err=True)
        raise typer.Exit(130) from None
    except OSError as error:
        said = f"{error.filename}: {error.strerror}" if error.filename else f"a file cannot be written ({error})."
    else:
        return
    typer.echo(said, err=True)
    raise typer.Exit(TROUBLE)


@app.callback()
def main(
    _version: bool = typer.Option(False, "--version", callback=_print_version, is_eager=True, help="Show the version."),
) -> None:
    # Run files may hold text that no terminal can show, and a terminal may know few characters.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@app.command()
def models() -> None:
    """List the catalogue: every model with its default request and where its weights come from."""
    from fastdiff.configuration import models, tables
    from fastdiff.models import CATALOGUE

    with _one_sentence():
        known = [*CATALOGUE, *models(tables(Path.cwd())["models"], Path.cwd())]
    width = max(len(model.name) for model in known)
    for model in known:
        asked = model.request
        source = "embedded" if model.folder else model.source
        typer.echo(f"{model.name:<{width}}  {asked.size:>4} px  {asked.steps:>2} steps  {source}")


@app.command()
def ladder() -> None:
    """List the stages: of the ladder, beyond it, and the memory techniques; what each adds, and to which one."""
    from fastdiff.configuration import configured, tables
    from fastdiff.host.processor import emulated
    from fastdiff.measure.environment import device_kind
    from fastdiff.recipes import BEYOND, EVERY_STAGE, LADDER, TECHNIQUES, with_named, without_instructions

    lacking = emulated(device_kind())
    with _one_sentence():
        ladder = configured(LADDER, tables(Path.cwd())["stages"]).native(lacking)
    width = max(len(name) for name in (*EVERY_STAGE, *ladder.names))
    beyond = with_named(LADDER, [step.name for _, step in BEYOND]).native(lacking).stages[len(LADDER.stages) :]
    for title, stages in (
        ("the ladder", ladder.stages),
        ("beyond it, with --fastdiff-stage NAME", beyond),
        ("the techniques, with --fastdiff-ladder techniques", TECHNIQUES.native(lacking).stages),
    ):
        typer.echo(f"{title}:")
        for stage in stages:
            follows = f" (follows {stage.follows})" if stage.follows else ""
            typer.echo(f"  {stage.name:<{width}}  {stage.adds}{follows}")
    if here := without_instructions(lacking, ladder.refused(lacking)):
        typer.echo(here)


@app.command()
def environment() -> None:
    """Show the device that would be measured, its folder in baselines/, and the versions of the libraries."""
    from fastdiff.host.processor import emulated
    from fastdiff.measure.environment import device_kind, device_name, device_slug, versions

    device = device_kind()
    typer.echo(f"device     {device_name(device)} ({device})")
    typer.echo(f"baselines  baselines/{device_slug(device)}")
    if lacking := emulated(device):
        typer.echo(f"emulated   {', '.join(lacking)} (no instructions for it; see `fastdiff ladder`)")
    for library, version in versions().items():
        typer.echo(f"{library:<17}{version}")


RUN = typer.Argument(help="The run file, for instance runs/20261120T155223Z.json.")
ONLY = typer.Option([], metavar="STAGE", help="Accept this stage alone. May be repeated.")
NOISE_OF = typer.Option(
    [],
    metavar="RUN",
    help="A run of another fresh process, or a pattern in quotes like 'runs/*.json', to measure the noise over. "
    "May be repeated.",
)
ROOT = typer.Option(Path(), help="Folder of the project, in which runs/ and baselines/ lie.")


@app.command()
def accept(
    run: Path = RUN,
    reason: str = typer.Option(help="Why this is the new normal; it is kept."),
    only: list[str] = ONLY,
    noise_of: list[str] = NOISE_OF,
    force: bool = typer.Option(False, "--force", help="Accept whatever speaks against it, and keep what that was."),
    name: str = typer.Option("", help="Name in the new baseline's file name; the models if not given."),
    root: Path = ROOT,
) -> None:
    """Make a run the baseline of its device, after showing what changes."""
    with _one_sentence():
        from glob import glob

        from fastdiff.record.accept import accept

        # What matches nothing stays as it is, so that reading it says what is wrong.
        trials = [Path(found) for pattern in noise_of for found in sorted(glob(pattern)) or [pattern]]  # noqa: PTH207
        accept(
            run,
            reason,
            root=root,
            only=[id_ for part in only for id_ in part.split(",")],
            noise_of=trials,
            force=force,
            name=name,
            say=typer.echo,
        )


@app.command()
def baselines(root: Path = ROOT) -> None:
    """List the accepted runs of every device: who accepted what, when and why, and how the noise is known."""
    with _one_sentence():
        from fastdiff.record.listings import baselines_text

        for line in baselines_text(root):
            typer.echo(line)


@app.command()
def runs(root: Path = ROOT) -> None:
    """List the run files with their outcome and stages."""
    with _one_sentence():
        from fastdiff.record.listings import runs_text

        for line in runs_text(root):
            typer.echo(line)


MODEL = typer.Option(
    "shapes", "--model", help="A model of the catalogue or of pyproject.toml; `fastdiff models` lists them."
)
CKPT = typer.Option(
    "", "--ckpt", metavar="ID|FOLDER", help="A checkpoint of --model's kind: a name on the hub or a folder."
)
WEIGHTS = typer.Option("auto", help="Where the weights come from: auto, hub, dummy, twin, or a folder.")
PROMPT = typer.Option("", help="What to draw (default: the model's own prompt).")
DTYPE = typer.Option("bf16", help="Precision of weights and arithmetic: bf16, fp16 or fp32.")
NO_SDPA = typer.Option(False, "--no-sdpa", help="Write attention out, without scaled_dot_product_attention.")
BATCH = typer.Option(1, min=1, help="Pictures of a call.")
STEPS = typer.Option(None, min=1, help="Denoising steps (default: the model's own).")
SIZE = typer.Option(
    None, min=1, metavar="PIXELS", help="Side of the picture, a multiple of 64 (default: the model's own)."
)
FUSE_QKV = typer.Option(False, "--fuse-qkv", help="One matrix product for query, key and value.")
UPCAST_VAE = typer.Option(False, "--upcast-vae", help="The model's own autoencoder, in float32.")
DENOISER = typer.Option(False, "--compile-denoiser", help="Compile the UNet or the transformer as a full graph.")
DECODER = typer.Option(False, "--compile-decoder", help="Compile the autoencoder's decoder as a full graph.")
MODE = typer.Option(
    "", help="How: default, reduce-overhead, max-autotune or max-autotune-no-cudagraphs (a CPU takes default)."
)
FLAGS = typer.Option(False, "--inductor-flags", help="Set the published flags of inductor while this runs.")
QUANTIZE = typer.Option(
    "none", metavar="KIND", help="Fewer bits: int8-dynamic, int8-weight-only, int4-weight-only or float8-dynamic."
)
ROUNDS = typer.Option(5, min=1, help="Timed calls, after the first call and the warm-up.")
DEVICE = typer.Option("auto", help="Device to measure on: auto, cpu, cuda or cuda:N.")
TAG = typer.Option("", help="A word of your own; a column of the row, and the end of the files' names.")
OUT = typer.Option(Path("results"), metavar="FOLDER", help="Where the row, the picture and the trace go.")
TRACE = typer.Option(False, "--trace", help="Keep a profiler's trace of one more call, for chrome://tracing.")


@app.command()
def run(
    model: str = MODEL,
    ckpt: str = CKPT,
    weights: str = WEIGHTS,
    prompt: str = PROMPT,
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
) -> None:
    """Measure one setting, as the published benchmark script did: a CSV row, a picture, and a trace on demand."""
    with _one_sentence():
        from fastdiff import configuration
        from fastdiff.experiments import published
        from fastdiff.report import published as results
        from fastdiff.report.progress import Progress

        recipe = published.recipe(
            dtype=dtype,
            sdpa=not no_sdpa,
            fuse_qkv=fuse_qkv,
            upcast_vae=upcast_vae,
            compile_denoiser=compile_denoiser,
            compile_decoder=compile_decoder,
            compile_mode=compile_mode,
            inductor_flags=inductor_flags,
            quantize=quantize,
        )
        own = configuration.models(configuration.tables(Path.cwd())["models"], Path.cwd())
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
        )

        def say(line: str) -> None:
            typer.echo(line, err=True)

        for line in results.headline(asked):
            say(line)
        with results.kept(out, asked.name) as place:
            path = place / f"{asked.name}.trace.json" if trace else None
            progress = Progress(sys.stderr if sys.stderr.isatty() else None)
            outcome = published.measure(asked, trace=path, say=say, progress=progress)
            row = results.keep(place, outcome)
        for line in results.summary(row, out / outcome.name, trace=trace):
            typer.echo(line)
        if outcome.stopped:
            raise typer.Exit(130)


FOLDER = typer.Argument(help="Folder with the CSV files of `fastdiff run`, or of the published scripts.")
MERGED = typer.Option(Path("results.csv"), "--out", metavar="FILE", help="The CSV into which they are merged.")
CHART = typer.Option(Path("results.png"), metavar="FILE", help="The bar chart: .png, .svg or .pdf.")
TITLE = typer.Option("", help="Title of the chart (default: what all settings share).")


@app.command()
def collate(folder: Path = FOLDER, out: Path = MERGED, chart: Path = CHART, title: str = TITLE) -> None:
    """Merge the rows of a folder into one CSV, and draw a bar for each setting."""
    with _one_sentence():
        from fastdiff.report.published import collate

        for line in collate(folder, out, chart, title):
            typer.echo(line)


OLD = typer.Option(
    ["."],
    metavar="SPEC",
    help="The old side: '.' (this environment), a Python interpreter, a virtual environment, a requirement such as "
    "torch==2.12.1 or a wheel (this environment with only that changed), a requirements file, a variable, NAME=VALUE, "
    "or an option of pip such as --index-url=URL. May be repeated.",
)
NEW = typer.Option(["."], metavar="SPEC", help="The new side, in the same words (default: this environment).")
STAGES = typer.Option([], "--stage", metavar="NAMES", help="Stages, separated by commas (default: all of the ladder).")
SDPA_STAGE = typer.Option(["sdpa"], "--stage", metavar="NAMES", help="Stages, separated by commas.")
OLD_STAGE = typer.Option("", metavar="NAME", help="Another stage for the old side: an A/B of two recipes.")
CALLS = typer.Option(24, min=2, help="Calls of each side in a pair, an even number.")
A_BATCH = typer.Option(None, "--batch", min=1, help="Pictures of a call (default: 1).")
MOST_PAIRS = typer.Option(12, "--max-pairs", min=3, help="The most pairs of processes for each stage.")
MOST_TIME = typer.Option(
    0.0,
    "--max-time",
    min=0,
    metavar="MINUTES",
    help="Begin no pair after so long, of all stages together (0: no limit).",
)
BAND = typer.Option(
    None,
    "--band",
    min=0.01,
    max=100,
    metavar="PERCENT",
    help="Up to how many per cent a difference does not matter; a wide band is decided in fewer pairs (default: 1, or "
    "`paired` of the project's policy).",
)
EMULATE = typer.Option(
    False,
    "--emulate",
    help="Ask a CPU also for what it has no instructions for, such as bfloat16 (default: float32 there).",
)
INJECT = typer.Option("", metavar="FAULTS", help="Put faults into the new side, for instance slow:5%.")
FRESH = typer.Option(False, "--fresh", help="Begin anew, although a stopped experiment of the same question is there.")
STRICT = typer.Option(False, "--strict", help="Whatever is not SAME fails.")
MARKDOWN = typer.Option(None, metavar="FILE", help="Write the report as markdown, too.")


PIP = typer.Option([], metavar="OPTION", help="For pip, such as --index-url=URL or --pre. May be repeated.")
ALSO = typer.Option([], metavar="SPEC", help="What every side has besides, such as a variable. May be repeated.")


@app.command()
def ab(
    old: list[str] = OLD,
    new: list[str] = NEW,
    model: str = MODEL,
    weights: str = WEIGHTS,
    stage: list[str] = STAGES,
    old_stage: str = OLD_STAGE,
    device: str = DEVICE,
    steps: int | None = STEPS,
    size: int | None = SIZE,
    batch: int | None = A_BATCH,
    calls: int = CALLS,
    max_pairs: int = MOST_PAIRS,
    max_time: float = MOST_TIME,
    band: float | None = BAND,
    inject: str = INJECT,
    emulate: bool = EMULATE,
    fresh: bool = FRESH,
    strict: bool = STRICT,
    markdown: Path | None = MARKDOWN,
    root: Path = ROOT,
) -> None:
    """Compare two environments: the same stages in both, whose processes take turns call by call."""
    with _one_sentence(kept="every finished pair is kept, and the same command goes on."):
        from fastdiff.experiments.questions import Asked, named_stages
        from fastdiff.experiments.sessions import failing
        from fastdiff.faults import parse
        from fastdiff.record.files import write_text
        from fastdiff.report import pairs

        stages = named_stages(stage)
        asked = Asked(
            model,
            weights,
            stages,
            old_stage,
            device,
            steps,
            size,
            batch,
            calls,
            max_pairs,
            parse(inject) if inject else (),
            _share(band),
            emulate,
        )
        session = _session(root)
        answers = session.compare(asked, old, new, minutes=max_time, fresh=fresh)
        shown = [_shown(answer.path) for answer in answers]
        for line in pairs.text(answers, session.limit(answers), shown):
            typer.echo(line)
        if markdown:
            write_text(markdown, "\n".join(pairs.markdown(answers, session.limit(answers), shown)) + "\n")
        if failing(answers, strict=strict):
            raise typer.Exit(1)


@app.command()
def calibrate(
    model: str = MODEL,
    weights: str = WEIGHTS,
    stage: list[str] = SDPA_STAGE,
    device: str = DEVICE,
    steps: int | None = STEPS,
    size: int | None = SIZE,
    batch: int | None = A_BATCH,
    calls: int = CALLS,
    pairs: int = typer.Option(12, min=5, help="Pairs of processes over which the scatter is measured."),
    max_pairs: int = typer.Option(
        12,
        min=3,
        help="For experiments of at most so many pairs (--max-pairs of `fastdiff ab`) the limit is worked out.",
    ),
    emulate: bool = EMULATE,
    fresh: bool = FRESH,
    root: Path = ROOT,
) -> None:
    """Measure what this machine can see: the same environment on both sides, and the smallest slowdown it finds."""
    with _one_sentence(kept="every finished pair is kept, and the same command goes on."):
        from fastdiff.experiments.questions import Asked, named_stages
        from fastdiff.report.pairs import limit

        stages = named_stages(stage)
        asked = Asked(model, weights, stages, "", device, steps, size, batch, calls, pairs, emulate=emulate)
        for found in _session(root).calibrate(asked, most_pairs=max_pairs, fresh=fresh):
            typer.echo(limit(found))


@app.command()
def bisect(
    package: str = typer.Option(help="The package whose release is looked for."),
    good: str = typer.Option(help="A release (or, for nightlies, a date) that is known to be good."),
    bad: str = typer.Option(help="A later one that is known to be bad."),
    model: str = MODEL,
    weights: str = WEIGHTS,
    stage: str = typer.Option("sdpa", help="The stage that became slower."),
    device: str = DEVICE,
    steps: int | None = STEPS,
    size: int | None = SIZE,
    batch: int | None = A_BATCH,
    calls: int = CALLS,
    max_pairs: int = MOST_PAIRS,
    band: float | None = BAND,
    emulate: bool = EMULATE,
    pip: list[str] = PIP,
    also: list[str] = ALSO,
    root: Path = ROOT,
) -> None:
    """Find the first release of a package with which a stage is slower, by an A/B of each against the good one."""
    with _one_sentence(kept="every finished step is kept, and the same command goes on."):
        from fastdiff.experiments.environments import masked
        from fastdiff.experiments.questions import Asked
        from fastdiff.report import bisection

        asked = Asked(
            model, weights, (stage,), "", device, steps, size, batch, calls, max_pairs, (), _share(band), emulate
        )
        end, found = _session(root).bisect(asked, package, good, bad, pip=pip, also=also)
        said = [f"--{side} {shlex.quote(masked(word))}" for word in (*pip, *also) for side in ("old", "new")]
        for line in bisection.text(found, end, " ".join([*said, asked.options(stage), f"--max-pairs {max_pairs}"])):
            typer.echo(line)
        if found.culprit is None:
            raise typer.Exit(1)


def _session(root: Path) -> Session:
    from fastdiff.experiments.sessions import Session
    from fastdiff.report.progress import Progress

    return Session(root, say=_aside, progress=Progress(sys.stderr if sys.stderr.isatty() else None))


def _share(percent: float | None) -> float | None:
    return None if percent is None else percent / 100


def _shown(path: Path) -> str:
    """As a person would type it."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _aside(line: str) -> None:
    """What is said meanwhile; the answer alone goes to standard output."""
    typer.echo(line, err=True)
