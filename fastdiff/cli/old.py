"""The published scripts' flags: a command that has one prints the equivalent command of today and does nothing else.

They are not options of their own, because two spellings of one setting would have to be kept in step.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand

from fastdiff.cli.common import TROUBLE, plain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

COMPILING = ("--compile_unet", "--compile_transformer", "--compile_vae", "--compile-denoiser", "--compile-decoder")
KINDS = {"int8dynamic": "int8-dynamic", "int8weightonly": "int8-weight-only", "int4weightonly": "int4-weight-only"}


@dataclass(frozen=True)
class Script:
    name: str
    switches: Mapping[str, Sequence[str]]
    """The replacement of each flag without a value; empty if there is none."""
    values: Mapping[str, str]
    """The replacement of each flag with a value; empty if it is an argument today."""
    remarks: Mapping[str, str] = field(default_factory=dict)


RUN = Script(
    "run_benchmark.py",
    {
        "--no_bf16": ("--dtype", "float32"),
        "--no_sdpa": ("--no-sdpa",),
        "--enable_fused_projections": ("--fuse-qkv",),
        "--upcast_vae": ("--upcast-vae",),
        "--compile_unet": ("--compile-denoiser",),
        "--compile_transformer": ("--compile-denoiser",),
        "--compile_vae": ("--compile-decoder",),
        "--change_comp_config": ("--inductor-flags",),
    },
    {
        "--batch_size": "--batch",
        "--num_inference_steps": "--steps",
        "--compile_mode": "--compile-mode",
        "--do_quant": "--quantize",
    },
)
COLLATE = Script(
    "prepare_results.py",
    {"--push_to_hub": ()},
    {"--base_path": "", "--final_csv_filename": "--csv", "--plot_title": "--title"},
    {"--push_to_hub": "for --push_to_hub: hf upload"},
)
SCRIPTS = {"run": RUN, "collate": COLLATE}


class Command(TyperCommand):
    """A command that knows the flags of the script whose work it does."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        script = SCRIPTS.get(self.name or "")
        if script and (answer := today(script, str(self.name), args)):
            for line in answer:
                typer.echo(plain(line), err=True)
            raise typer.Exit(TROUBLE)
        return super().parse_args(ctx, args)


def today(script: Script, command: str, args: Sequence[str]) -> list[str]:
    """A sentence and the command, ready to copy; nothing where no flag is an old one."""
    given = list(_split(script, args))
    old = {flag for flag, _ in given if flag in script.switches or flag in script.values}
    if not old:
        return []
    idle = _idle(dict(given)) if script is RUN else {}
    words = ["fastdiff", command, *_defaults(script, given)]
    for flag, value in given:
        if flag not in idle:
            words += _today(script, flag, value)
    remarks = [*(f"{flag} had no effect there {why}" for flag, why in idle.items())]
    remarks += [remark for flag, remark in script.remarks.items() if flag in old]
    listed = ", ".join(sorted(old))
    return [f"{listed}: from {script.name}. Use{''.join(f' ({remark})' for remark in remarks)}:", shlex.join(words)]


def _split(script: Script, args: Sequence[str]) -> list[tuple[str, str | None]]:
    """Each word with its value, if it is a flag of the script that takes one."""
    found: list[tuple[str, str | None]] = []
    rest = iter(args)
    for word in rest:
        flag, equals, value = word.partition("=")
        if flag in script.values:
            found.append((flag, value if equals else next(rest, "")))
        else:
            found.append((word, None))
    return found


def _today(script: Script, flag: str, value: str | None) -> list[str]:
    if value is None:
        return list(script.switches.get(flag, (flag,)))
    option = script.values[flag]
    return [*([option] if option else []), KINDS.get(value, value) if flag == "--do_quant" else value]


def _idle(given: Mapping[str, str | None]) -> dict[str, str]:
    """Flags that the script accepted and ignored. fastdiff rejects them, so they are left out."""
    compiled = any(flag in given for flag in COMPILING)
    tuned = given.get("--compile_mode") == "max-autotune"
    found = {}
    if "--compile_mode" in given and not compiled:
        found["--compile_mode"] = "without --compile_unet or --compile_vae"
    if "--change_comp_config" in given and not (compiled and tuned):
        found["--change_comp_config"] = "without a compiled part and --compile_mode max-autotune"
    return found


def _defaults(script: Script, given: Sequence[tuple[str, str | None]]) -> list[str]:
    """Defaults of the script that differ from today's."""
    flags = {flag.partition("=")[0] for flag, _ in given}
    if script is COLLATE:
        return [] if "--base_path" in flags or any(not flag.startswith("-") for flag in flags) else ["results"]
    if flags & {"--ckpt", "--model"}:
        return []
    return ["--model", "pixart-alpha" if "--compile_transformer" in flags else "sdxl"]
