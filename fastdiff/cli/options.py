"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path

import typer

from fastdiff.compare.policy import FEWEST_PAIRS

ROOT = typer.Option(
    Path(),
    metavar="FOLDER",
    help="Folder of the project: its pyproject.toml, runs/ and baselines/ (default: this one).",
)
JSON = typer.Option(False, "--json", help="Print the facts as JSON.")
MODEL = typer.Option(
    "shapes",
    "--model",
    metavar="NAME",
    help="A model of the catalogue or of pyproject.toml (`fastdiff models` lists them), hub:ORG/NAME[@REVISION], "
    "./FOLDER in diffusers' layout, or FILE.py::NAME.",
)
WEIGHTS = typer.Option(
    "auto", metavar="WEIGHTS", help="Where the weights come from: auto, hub, dummy, twin, tiny, or a folder."
)
STEPS = typer.Option(None, min=1, metavar="N", help="Denoising steps (default: the model's own).")
SIZE = typer.Option(
    None, min=1, metavar="PIXELS", help="Width and height of the picture, a multiple of 64 (default: the model's own)."
)
DEVICE = typer.Option("auto", metavar="DEVICE", help="Device to measure on: auto, cpu, cuda, cuda:N or mps.")
CALLS = typer.Option(
    None,
    min=4,
    metavar="N",
    help="Timed calls of each side in a pair, a multiple of 4 (default: what both sides make in 10 s, 12 to 96).",
)
A_BATCH = typer.Option(None, "--batch", min=1, metavar="N", help="Pictures per call (default: 1).")
PAIRS = typer.Option(
    12, "--pairs", metavar="N", help=f"Maximum number of pairs of processes for a stage, {FEWEST_PAIRS} or more."
)
BAND = typer.Option(
    None,
    "--band",
    metavar="PERCENT",
    help="Differences up to this, for instance 5%, are SAME; a wider band needs fewer pairs (default: 1%, or "
    "`paired` of the project's policy; 2%, or `paired-across-stacks`, where packages differ).",
)
EMULATE = typer.Option(
    False,
    "--emulate",
    help="Also use data types that this CPU can only emulate, such as bfloat16 without AVX512 (default: float32).",
)
FRESH = typer.Option(False, "--fresh", help="Start again, even if a stopped run of the same command could continue.")
