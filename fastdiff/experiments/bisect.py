"""The search for the first release that is slow: which candidates there are, which one is next, and what is known.

Measuring is the caller's: a function from a candidate to its step. Nothing here imports torch.
"""

from __future__ import annotations

import math
import re
from contextlib import suppress
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from packaging.version import InvalidVersion, Version

from fastdiff.compare.verdicts import MISSING, NEW, SLOW, UNSURE, VOID
from fastdiff.record.bisection import MEASURED, UNUSABLE, Found, Search, Step
from fastdiff.record.errors import UserError
from fastdiff.record.reading import convert, load
from fastdiff.record.writing import as_json, write_text

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from pathlib import Path

DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
FIRST_DATE = 19_000_101
"""A dev number from here on is a date (2.15.0.dev20261101); what is smaller only counts (0.43.0.dev0)."""
MADE_FOR = "fastdiff bisect 1"
"""The number rises when an older fastdiff would misread the file."""


# -- which candidates there are ---------------------------------------------------------------------------------------


def candidates(releases: Sequence[str], good: str, bad: str, package: str, yanked: Collection[str] = ()) -> list[str]:
    """Specs after `good` up to and including `bad`, oldest first. An end is a version, or the date of a nightly.

    Pre-releases, dev releases and nightlies are candidates where an end is one; between two dates only nightlies are.
    Of `yanked` only an end itself is.
    """
    named = _named(releases)
    first, last = _end(named, "--good", good, package), _end(named, "--bad", bad, package)
    if _public(first) >= _public(last):
        raise UserError(
            "bisect",
            f"--good {good} is not older than --bad {bad}: the search goes from an older release of {package} to a "
            "newer one; name an older --good or a newer --bad.",
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
    """The good end as pip takes it: a date stands for a release that pip knows by its version alone."""
    named = _named(releases)
    return f"{package}=={named[_end(named, '--good', good, package)]}"


def _named(releases: Sequence[str]) -> dict[Version, str]:
    """Every release by its version. An index also keeps what was uploaded before versions had a grammar."""
    named = {}
    for release in releases:
        with suppress(InvalidVersion):
            named[Version(release)] = release
    return named


def _end(named: Mapping[Version, str], option: str, text: str, package: str) -> Version:
    """The release that an end names, or a sentence with those just before and after it."""
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
    """Without the label of a build (+cpu)."""
    return Version(version.public)


def _kind(version: Version) -> str:
    if version.dev is not None:
        return "nightly" if version.dev >= FIRST_DATE else "dev"
    return "pre" if version.pre else "final"


# -- the search -------------------------------------------------------------------------------------------------------


def slower(step: Step, bad: Step) -> bool | None:
    """Whether a measured step is on the bad end's side; None where it tells nothing.

    An UNSURE step is put to the end whose ratio is nearer to its own, in logarithm. An UNSURE bad end is no bad
    end: nothing else vouches for it.
    """
    if step.word in (VOID, MISSING, NEW):
        return None
    if step.word != UNSURE or step.spec == bad.spec:
        return step.word == SLOW
    if not step.ratio or not bad.ratio:
        return None
    return abs(math.log(step.ratio / bad.ratio)) < abs(math.log(step.ratio))


def search(
    specs: Sequence[str],
    measure: Callable[[str], Step],
    keep: Path,
    say: Callable[[str], None],
    flips: Callable[[Step, Step], bool | None] = slower,
    *,
    good: str = "the good end",
    asked: Mapping[str, str] | None = None,
) -> Found:
    """Halves the candidates (oldest first, the last one is the bad end) until the first bad one is known.

    `flips` is asked about a measured step and the bad end's. `asked` is whatever else tells this search from another
    one, such as model and stage: a file that was made for other words is refused. Every step is in `keep` before the
    next one begins, and a search that was interrupted goes on from there.
    """
    if not specs:
        raise UserError("bisect", "there is no candidate to measure; name a --bad that is newer than --good.")
    end = specs[-1]
    memory = Search(MADE_FOR, {"good": good, **(asked or {})}, tuple(specs))
    tried = _remembered(keep, memory)
    if tried:
        say(f"{len(tried)} of {len(specs)} candidates are in {keep} and are not measured again")
    # Also before the first step: who cannot write there learns it now, and not after an hour of measuring.
    _remember(keep, memory, tried)

    def take(spec: str, where: str, left: int) -> None:
        say(f"step {len(tried) + 1} of at most {len(tried) + left}: {spec} ({where})")
        tried[spec] = _finite(measure(spec))
        _remember(keep, memory, tried)
        say(f"  {_result(tried[spec], side(tried[spec]), is_end=spec == end)}")

    def side(step: Step) -> bool | None:
        return flips(step, tried[end]) if step.state == MEASURED else None

    if end not in tried:
        take(end, "the bad end", 1 + _most(len(specs) - 1))
    bad = side(tried[end])
    if bad is None:
        raise UserError(
            "bisect",
            f"{_plain(tried[end])}, and without the bad end there is nothing to search for; name another --bad, or "
            f"remove {keep} to try this one again.",
        )
    if not bad:
        say(f"nothing to find: {_plain(tried[end])}")
        return Found(None, None, (), tuple(tried.values()))
    while True:
        low, high = _bounds([side(tried[spec]) if spec in tried else None for spec in specs])
        untried = [spec for spec in specs[low + 1 : high] if spec not in tried]
        if not untried:
            break
        last_good = specs[low] if low >= 0 else good
        where = f"between {_short(last_good)}, which is good, and {_short(specs[high])}, which is bad"
        # Where the middle turns out unusable, the middle of the rest is its neighbour, on one side and then the other.
        take(untried[len(untried) // 2], where, _most(len(untried)))
    last = specs[low] if low >= 0 else None
    return Found(specs[high], last, tuple(specs[low + 1 : high]), tuple(tried.values()))


def _finite(step: Step) -> Step:
    """An interval that has no end, as one pair alone may give, has no place in JSON."""

    def finite(number: float | None) -> float | None:
        return number if number is not None and math.isfinite(number) else None

    return replace(step, ratio=finite(step.ratio), low=finite(step.low), high=finite(step.high))


def _bounds(sides: Sequence[bool | None]) -> tuple[int, int]:
    """Places of the newest good candidate before the first bad one (-1: the good end) and of that bad one."""
    high = sides.index(True)
    return max((place for place in range(high) if sides[place] is False), default=-1), high


def _most(untried: int) -> int:
    """Steps that halving takes until none is left, where each one tells its side."""
    return untried.bit_length()


def _result(step: Step, bad: bool | None, *, is_end: bool) -> str:
    line = _plain(step)
    if step.state == MEASURED and bad is None:
        line += "; this tells nothing about it"
    elif step.word == UNSURE and not is_end:
        line += f"; taken for {'bad' if bad else 'good'} by its ratio"
    return line + (f" ({step.seconds:.0f} s)" if step.seconds else "")


def _plain(step: Step) -> str:
    word = step.word if step.state == MEASURED else "unusable"
    # The reason may be an installer's last words, which have several lines.
    return f"{step.spec} is {word}: {' '.join(step.reason.split())}" if step.reason else f"{step.spec} is {word}"


def _short(spec: str) -> str:
    return spec.partition("==")[2] or spec


# -- its memory -------------------------------------------------------------------------------------------------------


def _remember(keep: Path, memory: Search, tried: Mapping[str, Step]) -> None:
    whole = asdict(memory) | {"steps": [asdict(step) for step in tried.values()]}
    try:
        write_text(keep, as_json(whole))
    except OSError as error:
        raise UserError(
            "bisect", f"{keep} cannot be written ({error.strerror}); make room there or get the right."
        ) from None


def _remembered(keep: Path, asked: Search) -> dict[str, Step]:
    """The steps of this very search, in the order in which they were tried; none where there is no file."""
    mend = f"remove it to search anew (rm {keep})"
    if not keep.exists():
        return {}
    try:
        found = convert(load(keep), Search, "the file")
    except UserError as error:
        why = str(error).removesuffix(".").removeprefix(f"{keep}: ")
        raise UserError("bisect", f"{keep} is no whole file of a bisection: {why}; {mend}.") from None
    if other := _other(found, asked):
        raise UserError("bisect", f"{keep} is the file of another search: {other}; {mend}.")
    for place, step in enumerate(found.steps):
        if wrong := _wrong(step, place, found):
            raise UserError(
                "bisect", f"{keep} is no whole file of a bisection: the file.steps[{place}] {wrong}; {mend}."
            )
    return {step.spec: step for step in found.steps}


def _other(found: Search, asked: Search) -> str:
    """The first thing in which the two searches differ; empty where they are one."""
    if found.made_for != asked.made_for:
        return f"it was made for {found.made_for!r}, and this is {asked.made_for!r}"
    for name in sorted(found.asked.keys() | asked.asked.keys()):
        then, now = found.asked.get(name, "-"), asked.asked.get(name, "-")
        if then != now:
            return f"its {name} is {then}, and now {now} is asked for"
    if found.specs != asked.specs:
        return f"it has {_extent(found.specs)}, and now {_extent(asked.specs)} are asked for"
    return ""


def _extent(specs: Sequence[str]) -> str:
    return f"{len(specs)} candidates from {specs[0]} to {specs[-1]}" if specs else "no candidates"


def _wrong(step: Step, place: int, found: Search) -> str:
    if step.spec not in found.specs:
        return f"is about {step.spec}, which is no candidate"
    if step.spec in (earlier.spec for earlier in found.steps[:place]):
        return f"is about {step.spec}, as an earlier one is"
    if step.state not in (MEASURED, UNUSABLE) or (step.state == MEASURED and not step.word):
        return f"has the state {step.state!r} and the verdict {step.word!r}"
    if step.ratio is not None and step.ratio <= 0:
        return f"has the ratio {step.ratio}; expected a number above zero"
    return ""
