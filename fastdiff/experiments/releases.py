"""Releases of a package between two ends, oldest first: versions as an index offers them, nightlies by their dates."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from fastdiff.record.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

PINNED = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==(\S+)")
DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
FIRST_DATE = 19_000_101
"""A dev number of this size or more is a date (2.15.0.dev20261101); a smaller one is a counter (0.43.0.dev0)."""


def of_one_package(old: Sequence[str], new: Sequence[str]) -> tuple[str, str, str] | None:
    """Package, old release and new release, if both sides are one release of the same package; otherwise None.

    A nightly may be given by its date.
    """
    ends = [PINNED.fullmatch(words[0]) if len(words) == 1 else None for words in (old, new)]
    if ends[0] is None or ends[1] is None or canonicalize_name(ends[0][1]) != canonicalize_name(ends[1][1]):
        return None
    return ends[0][1], ends[0][2], ends[1][2]


def candidates(releases: Sequence[str], good: str, bad: str, package: str, yanked: Collection[str] = ()) -> list[str]:
    """Specs after `good` up to and including `bad`, oldest first. An end is a version, or the date of a nightly.

    Pre-releases, dev releases and nightlies are candidates only if an end is one; between two dates, only nightlies
    are. A release in `yanked` is a candidate only if it is an end.
    """
    named = _named(releases)
    first, last = _end(named, "OLD", good, package), _end(named, "NEW", bad, package)
    if _public(first) >= _public(last):
        raise UserError(
            "bisect",
            f"{package} {good} is not older than {bad}: the search goes from an older release to a newer one; name the "
            "older one first.",
        )
    kinds = {_kind(first), _kind(last)}
    if not (DATE.fullmatch(good) and DATE.fullmatch(bad)):
        kinds.add("final")
    withdrawn = {version for version, release in named.items() if release in yanked} - {last}
    builds: dict[Version, Version] = {}
    for version in sorted(named.keys() - withdrawn):
        public = _public(version)
        wanted = _public(first) < public <= _public(last) and _kind(version) in kinds
        # One version may be offered as several builds (+cpu, +cu130): the one that is built as the bad end is.
        if wanted and (public not in builds or version.local == last.local):
            builds[public] = version
    return [f"{package}=={named[version]}" for version in builds.values()]


def spec_of(releases: Sequence[str], good: str, package: str) -> str:
    """The good end as a requirement for pip: a date is replaced by the version of that nightly."""
    named = _named(releases)
    return f"{package}=={named[_end(named, 'OLD', good, package)]}"


def _named(releases: Sequence[str]) -> dict[Version, str]:
    """Every release by its version. Old uploads whose version is not valid are left out."""
    named = {}
    for release in releases:
        with suppress(InvalidVersion):
            named[Version(release)] = release
    return named


def _end(named: Mapping[Version, str], option: str, text: str, package: str) -> Version:
    """The release that an end names; otherwise an error that gives the releases just before and after it."""
    wanted: Any
    places: dict[Version, Any]
    if DATE.fullmatch(text):
        wanted, what = int(text.replace("-", "")), "nightly of"
        places = {version: version.dev for version in named if _kind(version) == "nightly"}
    else:
        wanted, what = _version(option, text, package), "release"
        # An end without a build's label (+cpu) means any build of that version.
        places = {version: version if wanted.local else _public(version) for version in named}
    if wanted in named:
        return wanted
    if matches := [version for version, place in places.items() if place == wanted]:
        return max(matches)
    older = max(((place, version) for version, place in places.items() if place < wanted), default=None)
    newer = min(((place, version) for version, place in places.items() if place > wanted), default=None)
    near = [named[neighbour[1]] for neighbour in (older, newer) if neighbour]
    if not near:
        raise UserError(
            "bisect",
            f"{option} {text}: the index offers no {what.split()[0]} of {package}; see what it offers with: "
            f"pip index versions --pre {package}",
        )
    nearest = f"the nearest ones are {near[0]} and {near[1]}" if len(near) == 2 else f"the nearest one is {near[0]}"
    raise UserError("bisect", f"{package} has no {what} {text}; {nearest}: name one of its releases as {option}.")


def _version(option: str, text: str, package: str) -> Version:
    try:
        return Version(text)
    except InvalidVersion:
        raise UserError(
            "bisect",
            f"{option} is {text!r}; expected a version of {package} such as 0.42.1, or the date of a nightly such as "
            "2026-11-20.",
        ) from None


def _public(version: Version) -> Version:
    """The version without its build label (+cpu)."""
    return Version(version.public)


def _kind(version: Version) -> str:
    if version.dev is not None:
        return "nightly" if version.dev >= FIRST_DATE else "dev"
    return "pre" if version.pre else "final"
