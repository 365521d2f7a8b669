"""`fastdiff ladder`: list the stages."""

from __future__ import annotations

from pathlib import Path

from fastdiff.cli.common import aloud, one_sentence


def ladder() -> None:
    """List all stages: what each adds, and to which other stage."""
    from fastdiff.host.environment import device_kind
    from fastdiff.host.processor import emulated
    from fastdiff.record.project import tables
    from fastdiff.stages import EVERY_STAGE
    from fastdiff.stages.beyond import BEYOND, with_named
    from fastdiff.stages.ladder import without_instructions
    from fastdiff.stages.published import LADDER
    from fastdiff.stages.techniques import TECHNIQUES
    from fastdiff.stages.toml import configured

    lacking = emulated(device_kind())
    with one_sentence():
        ladder = configured(LADDER, tables(Path.cwd())["stages"]).native(lacking)
    width = max(len(name) for name in (*EVERY_STAGE, *ladder.names))
    beyond = with_named(LADDER, [step.name for _, step in BEYOND]).native(lacking).stages[len(LADDER.stages) :]
    for title, stages in (
        ("the ladder", ladder.stages),
        ("beyond it, with --fastdiff-stage NAME", beyond),
        ("the techniques, with --fastdiff-ladder techniques", TECHNIQUES.native(lacking).stages),
    ):
        aloud(f"{title}:")
        for stage in stages:
            follows = f" (follows {stage.follows})" if stage.follows else ""
            aloud(f"  {stage.name:<{width}}  {stage.adds}{follows}")
    if here := without_instructions(lacking, ladder.refused(lacking)):
        aloud(here)
