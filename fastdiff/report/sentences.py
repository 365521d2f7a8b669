"""The sentence of each reason code. Changing one changes no verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastdiff.compare.facts import listed
from fastdiff.compare.verdicts import FAST, LESS, MORE
from fastdiff.report.clean import clean

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastdiff.compare.effect import Estimate
    from fastdiff.compare.gate import Judgement
    from fastdiff.compare.reasons import Reason
    from fastdiff.compare.verdicts import Verdict


def reason_of(judgement: Judgement) -> str:
    """The reason; for a slower latency also the largest cause."""
    causes = judgement.verdict.details[:1] if judgement.metric == "latency" else ()
    return "; ".join([reason(judgement.verdict), *map(sentence, causes)])


def headline(judgement: Judgement) -> str:
    metric = judgement.metric.replace("_", " ")
    return f"{judgement.stage}: {metric} is {judgement.verdict.word}: {reason_of(judgement)}"


def reason(verdict: Verdict) -> str:
    """Why the verdict is this word: its subject, the reason, and in brackets the notes on the numbers."""
    about = "".join(f"{sentence(one)}: " for one in verdict.about)
    notes = "; ".join(map(sentence, verdict.notes))
    return f"{about}{_decided(verdict)}" + (f" ({notes})" if notes else "")


def sentence(one: Reason) -> str:
    return clean(SENTENCES[one.code](one.values))


def change(ratio: float) -> str:
    return f"{100 * (ratio - 1):+.1f} %"


def interval(found: Estimate) -> str:
    """The change, with the interval for this comparison alone."""
    low, high = change(found.low), change(found.high)
    return change(found.ratio) if low == high else f"{change(found.ratio)} ({low} .. {high})"


def percent(share: float) -> str:
    """With two significant digits: 0.42 %, 2.1 %, 14 %, 140 %."""
    value = 100 * share
    return f"{value:.0f} %" if value >= 10 else f"{value:.2g} %"


def counted(count: int, one: str = "pair", more: str = "pairs") -> str:
    """With the verb: `1 pair was`, `2 pairs were`."""
    return f"1 {one} was" if count == 1 else f"{count} {more} were"


def _decided(verdict: Verdict) -> str:
    found, values, code = verdict.estimate, verdict.reason.values, verdict.reason.code
    if found is None or "band" not in values or code == "memory-changed":
        return sentence(verdict.reason)
    band = _band(values["band"])
    if code == "inside-band":
        return f"{interval(found)} is within {band}"
    if code == "beyond-band":
        advice = ": accept it, or explain it" if values.get("acceptable") and verdict.word in (FAST, LESS) else ""
        return f"{interval(found)} exceeds {band}{advice}"
    shown = interval(found)
    if values["beyond_alone"]:  # and not with the confidence of the suite
        bounds = f"{change(found.alarm_low)} .. {change(found.alarm_high)}"
        shown = f"{change(found.ratio)} ({bounds} at the confidence of the whole suite)"
    settling = f"; {sentence(values['settling'])}" if values.get("settling") else ""
    return f"{shown} is inconclusive: the interval crosses the limit of {band}{settling}"


def _band(band: float) -> str:
    return f"±{100 * band:g} %" if band < 1 else f"a factor of {1 + band:g}"


def _step(before: float, after: float) -> str:
    return f"{before:.3g} s -> {after:.3g} s"


def _megabytes(before: float, after: float) -> str:
    return f"{before / 1e6:.2f} MB -> {after / 1e6:.2f} MB"


def _memory_changed(of: dict[str, Any]) -> str:
    word = "more" if of["word"] == MORE else "less"
    moved = f", before in {of['moved']}" if of["moved"] else ""
    peaks = f"{_megabytes(of['before'], of['after'])}, peak in {of['where']}{moved}"
    return f"needs {100 * of['share']:.1f} % {word} memory ({peaks}); the limit is ±{100 * of['band']:g} %"


def _facts_changed(of: dict[str, Any]) -> str:
    versions = of["versions"]
    cause = f"with other library versions ({listed(versions)})" if versions else "with the same library versions"
    return f"{listed(of['changed'])}, {cause}"


def _stage_is(of: dict[str, Any]) -> str:
    return f"{of['id']} {STATES.get(of['state'], of['state'])}" + (f": {of['why']}" if of["why"] else "")


def _before_the_first_look(of: dict[str, Any]) -> str:
    measured = f"{counted(of['pairs'])} measured; the first verdict needs {of['first']}"
    return f"{measured}: {of['why']}" if of["why"] else measured


def _pairs(of: dict[str, Any]) -> str:
    line = f"{of['count']} pairs of processes, ±{percent(of['sd'])} between pairs"
    if "void" not in of:
        return line
    return f"{line}, {percent(of['void'])} of their blocks left out, because the machine disturbed only one side"


def _first_calls(of: dict[str, Any]) -> str:
    cache = f", compile cache {of['cache']}" if of["cache"] != "none" else ""
    return f"{_step(of['before'], of['after'])}{cache}"


def _one_call(of: dict[str, Any]) -> str:
    many = "1 operator or kernel differs" if of["differ"] == 1 else f"{of['differ']} operators and kernels differ"
    differ = many if of["differ"] else "the same operators and kernels, called equally often"
    steps = "1 step" if of["steps"] == 1 else f"{of['steps']} steps"
    return "; ".join([f"one call of {steps}, old -> new: {differ}", *filter(None, [_components(of["of"])])])


def _components(ratios: dict[str, float]) -> str:
    return ", ".join(f"{name} {ratio:.2f}x" for name, ratio in ratios.items())


def _ran_otherwise(of: dict[str, Any]) -> str:
    """If the count is the same, the operator's time differs."""
    name, old, new, factor = (of[key] for key in ("name", "old_calls", "new_calls", "factor"))
    shown = name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 4]} ..."
    words = ["vanished"] if new == 0 else ["appeared"] if old == 0 else []
    words.append(_calls(old) if old == new else f"{'?' if old is None else old} -> {_calls(new)}")
    words += [f"{factor:.2f} times as long"] if factor and old == new else []
    return f"{shown}: {', '.join(words)}, {100 * of['change']:+.1f} % of a call"


def _calls(count: int | None) -> str:
    return "1 call" if count == 1 else f"{'?' if count is None else count} calls"


def _said(text: str) -> Callable[[dict[str, Any]], str]:
    return lambda of: text.format(**of)


def _differ(what: str) -> Callable[[dict[str, Any]], str]:
    return lambda of: f"{what}: {listed(of['changed'])}"


STATES = {"failed": "failed", "skipped": "was skipped", "incomplete": "was not finished"}
LONGEST_NAME = 80
"""Characters of an operator's name in a line."""
MACHINES = {
    "machine": "the baseline is from another machine of this model",
    "processor": "the baseline is from another machine of this model",
    "instructions": "the baseline is from a machine of this model with other instructions",
    "boot": "the baseline was recorded before this VM's last reboot",
    "allocator": "the baseline was measured with another allocator setting",
}

SENTENCES: dict[str, Callable[[dict[str, Any]], str]] = {
    "pairs-tell-more": _said("these times are from different sessions; a paired comparison is more precise"),
    "more-pairs": _said("about {pairs} pairs of processes would settle it"),
    "too-many-pairs": _said("more than {pairs} pairs of processes would be needed to settle it"),
    "machine-differs": lambda of: MACHINES[of["fact"]],
    "speedup": _said("speedup of {stage} over {previous}: {before:.2f}x -> {after:.2f}x"),
    "first-call": _first_calls,
    "first-calls": _first_calls,
    "slower-half": _said("only some calls changed; the slower half of them, relative to the faster half"),
    "pairs": _pairs,
    "memory": lambda of: f"{_megabytes(of['before'], of['after'])}, peak in {of['where']}",
    "memory-changed": _memory_changed,
    "no-accepted-run": _said("there is no baseline for {device} yet"),
    "accepted-elsewhere": _said("the baseline is from {accepted}, this run from {here}"),
    "no-accepted-stage": _said("the baseline has no stage {id}"),
    "accepted-as-skipped": _said("{id} is skipped in the baseline ({why})"),
    "other-weights": _said("the weights differ from the baseline's ({before} -> {after})"),
    "other-work": lambda of: f"the {of['what']} differs from the baseline's ({listed(of['changed'])})",
    "no-accepted-samples": _said("the baseline has no undisturbed sample of this stage"),
    "no-accepted-gain": _said("the baseline has no undisturbed samples of {previous} and {stage}"),
    "no-accepted-first-call": _said("the baseline has no first call of this stage"),
    "no-accepted-memory": _said("the baseline has no memory measured as {measure}"),
    "accepted-in-parts": _said("{previous} and {stage} come from different runs in the baseline"),
    "samples-disturbed": _said("{void} of {count} samples of {id} were disturbed, mostly because {why}"),
    "too-few-samples": _said("{id} has {count} samples; at least {minimum} are needed"),
    "pair-not-applied": lambda of: f"{counted(of['pairs'])} measured, then {of['why']}",
    "before-the-first-look": _before_the_first_look,
    "all-cores-unfinished": _said(
        "only {pairs} of {of} pairs with all cores were measured; run the same command again to continue"
    ),
    "not-measured": _said("{id} was requested, but not measured"),
    "stage-is": _stage_is,
    "no-software-differs": _said("no software differs from the accepted run's, so the machine caused the change"),
    "system-differs": lambda of: (
        f"{listed(of['changed'])} cannot be recreated, so only stored times can be compared; "
        + (
            f"they decide, because the noise was measured over {of['processes']} processes"
            if of["processes"] >= of["fewest"]
            else f"they need a noise measured over {of['fewest']} processes (fastdiff accept --noise-of)"
        )
    ),
    "not-in-the-pairs": lambda of: (
        f"pairs show no slowdown, but they cannot show the effect of {listed(of['changed'])}: both sides have today's"
    ),
    "other-packages": _differ("the given environment has other packages than the accepted run"),
    "no-pairs": _said("software differs, and pairs gave no verdict: {why}"),
    "not-timed": lambda of: f"{of['id']} was not timed" + (f": {of['why']}" if of["why"] else ""),
    "tests-deselected": lambda of: f"{', '.join(of['tests'])} of {of['id']}: deselected",
    "facts-equal": _said("all {count} facts are equal"),
    "facts-changed": _facts_changed,
    "stage-broken": lambda of: f"{of['id']} is broken: {listed([sentence(one) for one in of['how']])}",
    "not-applied": _said("{why}"),
    "graph-broke": lambda of: (
        f"the graph broke {'once' if of['count'] == 1 else str(of['count']) + ' times'} ({of['why']})"
    ),
    "compiled-again": lambda of: f"{counted(of['count'], 'graph', 'graphs')} compiled after the first call",
    "waits-in-a-step": _said("the host waits for the GPU {count} times in a denoising step; look at the scheduler"),
    "fact-differs": _said("{fact}"),
    "pictures-alike": _said(
        "the two sides draw the same picture within the stage's budget (SSIM {ssim:.4f}, worst tile {worst_tile:.4f})"
    ),
    "pictures-differ": _said("the two sides draw different pictures: {why}"),
    "tensors-alike": _said(
        "the two sides answer the same within the stage's limits (relative L2 {relative_l2:.3g}, largest error "
        "{largest_error:.3g})"
    ),
    "tensors-differ": _said("the two sides answer different numbers: {why}"),
    "component-grew": lambda of: (
        f"{of['name']} {_step(of['before'], of['after'])}: {100 * of['share']:.0f} % of the growth"
    ),
    "components": lambda of: f"one call, old -> new: {_components(of['of'])}",
    "one-call": _one_call,
    "ran-otherwise": _ran_otherwise,
    "and-more": _said("and {count} more"),
    "no-profile": _said("the operators that each side ran are not known: {why}"),
    "steady-and-first": lambda of: f"steady state {_step(*of['steady'])}, first call {_step(*of['first'])}",
    "device-and-host": lambda of: f"GPU work {_step(*of['device'])}, host gap {_step(*of['host'])}",
    "fingerprint-differs": _differ("fingerprint"),
    "versions-differ": _differ("versions"),
    "environment-differs": _differ("environment"),
    "recipe-differs": _differ("recipe"),
    "fault-injected": _said("injected on purpose: {faults}"),
    "only-difference": _said("the only difference between the software of the two sides: {what}"),
}
