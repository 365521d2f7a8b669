"""`fastdiff ladder`: list the stages."""

from __future__ import annotations

from pathlib import Path

from fastdiff.cli.common import aloud, as_json, one_sentence
from fastdiff.cli.options import JSON, ROOT


def ladder(json: bool = JSON, root: Path = ROOT) -> None:
    """List all stages, with what each one adds to the stage that it follows.

    Example: fastdiff ladder --json
    """
    from fastdiff.host.environment import device_kind
    from fastdiff.host.processor import emulated
    from fastdiff.record.project import require_folder, tables
    from fastdiff.stages import EVERY_STAGE
    from fastdiff.stages.beyond import BEYOND, with_named
    from fastdiff.stages.ladder import without_instructions
    from fastdiff.stages.published import LADDER
    from fastdiff.stages.techniques import TECHNIQUES
    from fastdiff.stages.toml import configured

    lacking = emulated(device_kind())
    with one_sentence():
        require_folder(root)
        ladder = configured(LADDER, tables(root)["stages"]).native(lacking)
    beyond = with_named(LADDER, [step.name for _, step in BEYOND]).native(lacking).stages[len(LADDER.stages) :]
    groups = {
        "ladder": ("the ladder", ladder.stages),
        "beyond": ("beyond it, with --fastdiff-stage NAME", beyond),
        "techniques": ("the techniques, with --fastdiff-ladder techniques", TECHNIQUES.native(lacking).stages),
    }
    if json:
        facts = {
            group: [{"name": one.name, "adds": one.adds, "follows": one.follows} for one in stages]
            for group, (_, stages) in groups.items()
        }
        as_json(facts | {"emulated": list(lacking), "skipped": list(ladder.refused(lacking))})
        return
    width = max(len(name) for name in (*EVERY_STAGE, *ladder.names))
    for title, stages in groups.values():
        aloud(f"{title}:")
        for stage in stages:
            follows = f" (follows {stage.follows})" if stage.follows else ""
            aloud(f"  {stage.name:<{width}}  {stage.adds}{follows}")
    if here := without_instructions(lacking, ladder.refused(lacking)):
        aloud(here)
