"""`fastdiff accept`: make a run the baseline of its device."""

from __future__ import annotations

import subprocess
from glob import glob
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from fastdiff.cli.common import aloud, aside, one_sentence
from fastdiff.cli.options import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fastdiff.record.accept import Proposal
    from fastdiff.record.run import Noise

RUN = typer.Argument(help="The run file, for instance runs/20261120T155223Z.json.")
STAGES = typer.Option(
    [], "--stage", metavar="NAMES", help="Accept only these stages, separated by commas (default: the whole run)."
)
NOISE_OF = typer.Option(
    [],
    metavar="RUN",
    help="Run file of another process with the same software, or a quoted pattern such as 'runs/*.json'; the noise is "
    "measured over all of them. May be repeated.",
)


def accept(
    run: Path = RUN,
    reason: str = typer.Option(metavar="TEXT", help="Why this is the new normal; recorded in the baseline."),
    stage: list[str] = STAGES,
    noise_of: list[str] = NOISE_OF,
    force: bool = typer.Option(
        False, "--force", help="Accept a run that would be refused; the reasons against it are recorded."
    ),
    name: str = typer.Option("", metavar="TEXT", help="Name of the baseline's file (default: the models' names)."),
    side: bool = typer.Option(
        True, "--side/--no-side", help="Recreate the run's software now, to check that later comparisons can do it."
    ),
    root: Path = ROOT,
) -> None:
    """Make a run the baseline of its device, after showing what changes.

    Example: fastdiff accept runs/20261120T155223Z.json --reason "torch 2.13"
    """
    with one_sentence():
        # A pattern that matches nothing is kept, so that reading it as a file gives the error.
        trials = [Path(found) for pattern in noise_of for found in sorted(glob(pattern)) or [pattern]]  # noqa: PTH207
        ids = [id_ for part in stage for id_ in part.split(",")]
        target = accept_run(run, reason, root=root, only=ids, noise_of=trials, force=force, name=name, say=aloud)
    if side:
        with one_sentence(kept="the run is accepted anyway."):
            aloud(_side(target, root))


def accept_run(
    path: Path,
    reason: str,
    *,
    root: Path,
    only: Sequence[str] = (),
    noise_of: Sequence[Path] = (),
    force: bool = False,
    name: str = "",
    say: Callable[[str], None] = print,
) -> Path:
    """Shows what changes and writes the new baseline, or raises a UserError. Returns the baseline's path."""
    from fastdiff.record.accept import alone, propose, require_allowed, write
    from fastdiff.record.errors import UserError
    from fastdiff.report.changes import changes

    if not reason.strip():
        raise UserError("file", 'an acceptance needs a reason; give --reason "why this is the new normal".')
    with alone(root):
        proposal = propose(path, root, only, noise_of)
        for line in changes(proposal.old_run, proposal.run, proposal.ids):
            say(line)
        forced = require_allowed(proposal, force=force)
        noise = _noise(proposal, say)
        target, pictures = write(proposal, reason, root, noise=noise, forced=forced, name=name)
    if not pictures:
        say("pictures: none are kept, because the run has none of its reference stage")
    say(f"accepted: {target}")
    return target


def _side(target: Path, root: Path) -> str:
    """One line: the software can be recreated, or why it cannot. The acceptance is valid either way."""
    from fastdiff.experiments.accepted import side_of
    from fastdiff.record.errors import UserError

    try:
        found = side_of(target, root.resolve(), aside)
    except (UserError, OSError, subprocess.SubprocessError) as error:
        return f"side: cannot be recreated, so after a change of software comparisons will be UNSURE: {error}"
    remarks = "".join(f"; {remark}" for remark in found.remarks)
    return f"side: the software of this run was just installed again, as a comparison will do it{remarks}"


def _noise(proposal: Proposal, say: Callable[[str], None]) -> Noise | None:
    """Measured over the trials, or else the old baseline's; None means the declared one."""
    from fastdiff.compare.noise import measured
    from fastdiff.record.errors import UserError
    from fastdiff.record.parts import merged_noise, without_centres
    from fastdiff.record.run import HARDWARE

    run, old, ids = proposal.run, proposal.old, proposal.ids
    before = old.noise if old else None
    if len(proposal.trials) > 1:
        try:
            noise = measured(list(proposal.trials.values()))
        except ValueError as error:
            raise UserError("file", f"the noise cannot be measured: {error}") from None
        say(f"noise: measured over {noise.trials} processes, latency ±{noise.latency_sd:.1%}")
        return merged_noise(before, noise, ids) if ids else noise
    if old is None or before is None:
        say("noise: declared, because none was measured on this device; --noise-of RUN measures it")
        return None
    facts = [(old.run.environment.get(name), run.environment.get(name)) for name in HARDWARE]
    if any(before and now and before != now for before, now in facts):
        say("noise: declared, because the measured noise is from another machine; --noise-of RUN measures it")
        return None
    say(f"noise: carried over from {old.name}, measured over {before.trials} processes")
    return without_centres(before, ids or [stage.id for stage in old.run.stages])
