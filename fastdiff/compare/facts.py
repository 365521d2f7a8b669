"""Compares facts without noise: fingerprints, requests, recipes, versions. Lists each difference."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from packaging.version import InvalidVersion, Version

from fastdiff.compare.reasons import because
from fastdiff.record.distribution import OURS

if TYPE_CHECKING:
    from fastdiff.compare.reasons import Reason
    from fastdiff.record.run import Trial

STRUCTURAL = ("torch", "diffusers", "torchao", "transformers", "triton")
"""Libraries whose new releases may legitimately change a fingerprint."""
LISTED = 5
"""Differences that one sentence shows; the rest is counted."""
ABSENT = "nothing"
WAITS = "syncs_in_a_step"
MAY_WAIT = {"offload", "cache"}
"""Keys of a recipe that uses offloading or a cache; both need to wait for the GPU."""
BUILD = re.compile(r"cpu|cu\d+|rocm[\d.]+|xpu")
"""Local version labels (+cpu, +cu130) that have a folder in torch's package index."""


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """`name: old -> new` for every fact that differs or that only one side has."""
    before, after = _flat(old), _flat(new)
    names = sorted(before.keys() | after.keys())
    return [
        f"{name}: {_arrow(before.get(name), after.get(name))}" for name in names if before.get(name) != after.get(name)
    ]


def listed(sentences: Sequence[str], most: int = LISTED) -> str:
    more = len(sentences) - most
    return ", ".join(sentences[:most]) + (f" and {more} more" if more > 0 else "")


def changed_versions(old: Mapping[str, Any], new: Mapping[str, Any], of: Collection[str] | None = None) -> list[str]:
    """Between two environments; `of` names the libraries that matter."""
    before, after = old.get("versions", {}), new.get("versions", {})
    wanted = (before.keys() | after.keys()) if of is None else set(of)
    return differences(
        {name: version for name, version in before.items() if name in wanted},
        {name: version for name, version in after.items() if name in wanted},
    )


def package_differences(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """`torch: 2.12.1 -> 2.13.0` for every package that differs, except fastdiff: both sides share its code, unless the
    accepted code has one of its own."""
    return differences(*({name: one[name] for name in sorted(one) if name not in OURS} for one in (old, new)))


def across_stacks(old: Mapping[str, str], new: Mapping[str, str], project: str) -> bool:
    """Whether any package differs between two sides, other than fastdiff and the project whose code is compared."""
    return any(old.get(name) != new.get(name) for name in (old.keys() | new.keys()) - {*OURS, project})


def former(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Requirements that install the old versions of the libraries that changed; empty if they may not be installable.

    torch installs its own triton. A build such as 2.13.0+cpu is only on torch's own index; nightlies are deleted after
    a while, and a local build is on no index.
    """
    before, after = old.get("versions", {}), new.get("versions", {})
    changed = {
        name: before[name]
        for name in STRUCTURAL
        if name != "triton" and before.get(name) and after.get(name) and before[name] != after[name]
    }
    try:
        if any(Version(version).is_prerelease for version in changed.values()):
            return []
    except InvalidVersion:
        return []
    builds = dict.fromkeys(version.partition("+")[2] for version in changed.values() if "+" in version)
    if not all(BUILD.fullmatch(build) for build in builds):
        return []
    words = [f"{name}=={version}" for name, version in changed.items()]
    return words + [f"--extra-index-url=https://download.pytorch.org/whl/{build}" for build in builds]


def releases_between(old: str, new: str) -> bool:
    """Whether there may be releases between two versions of a package; not between 1.0.3 and 1.0.4."""
    try:
        ends = Version(old), Version(new)
    except InvalidVersion:  # also where one side does not have it
        return False
    if ends[0] >= ends[1]:
        return False
    plain = not any(end.is_prerelease or end.is_postrelease for end in ends)
    (*same, old_last), (*also, new_last) = (end.release for end in ends)
    return not (plain and same == also and len(same) > 1 and new_last == old_last + 1)


def breakages(trial: Trial, base: Trial | None = None) -> list[Reason]:
    """What is wrong with a stage on any machine. If its proof failed, only the sentences of the proof.

    Waits for the GPU are wrong unless `base`, the accepted trial, has them, too: some schedulers need them.
    """
    if trial.unapplied:
        return [because("not-applied", why=sentence) for sentence in trial.unapplied]
    found = []
    if breaks := trial.fingerprint.get("breaks"):
        reasons = trial.fingerprint.get("break_reasons")
        why = "; ".join(reasons) if isinstance(reasons, list) else reasons
        found.append(because("graph-broke", count=breaks, why=why))
    if recompiles := trial.fingerprint.get("recompiles"):
        found.append(because("compiled-again", count=recompiles))
    return found if base is not None and base.fingerprint.get(WAITS) else found + waits(trial)


def waits(trial: Trial) -> list[Reason]:
    """Waits for the GPU within a denoising step. Offloading and caches need such waits."""
    count = trial.fingerprint.get(WAITS)
    return [because("waits-in-a-step", count=count)] if count and not trial.recipe.keys() & MAY_WAIT else []


def _flat(facts: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables become dotted names, and tuples become lists, because JSON has no tuples."""
    flat: dict[str, Any] = {}
    for name, value in facts.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = _plain(value)
    return flat


def _plain(value: Any) -> Any:
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


def _arrow(old: Any, new: Any) -> str:
    if isinstance(old, list) and isinstance(new, list):
        lost, gained = [one for one in old if one not in new], [one for one in new if one not in old]
        if lost or gained:
            old, new = lost, gained
    return f"{_shown(old)} -> {_shown(new)}"


def _shown(value: Any) -> str:
    if value is None or value == []:
        return ABSENT
    return "; ".join(map(str, value)) if isinstance(value, list) else str(value)
