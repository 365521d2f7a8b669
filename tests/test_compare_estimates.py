"""The arithmetic under the verdicts: what holds for all numbers, and what the shipped policy does with noise."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fastdiff.compare import noise, policy, verdicts
from fastdiff.compare.effect import Errors, Estimate, centre, estimate, exact, of_trials
from fastdiff.compare.gate import comparisons_of
from fastdiff.record.run import Device, Noise, Run, Sample, Trial
from fastdiff.report.sentences import interval

if TYPE_CHECKING:
    from collections.abc import Sequence

SECONDS_OF_A_CALL = st.floats(1e-3, 1e3)
WALLS = st.lists(SECONDS_OF_A_CALL, min_size=1, max_size=9)
CENTRES = st.floats(-5, 5)
TRIALS = st.lists(CENTRES, min_size=1, max_size=12)
SDS = st.floats(1e-4, 0.3)
BANDS = st.floats(0.01, 0.5)
COMPARISONS = st.integers(1, 60)
unhurried = settings(deadline=None)
"""A busy machine is no failure."""


def between(
    candidate: float,
    baseline: Sequence[float],
    sd: float,
    *,
    dof: float = math.inf,
    confidence: float = 0.95,
    comparisons: int = 1,
) -> Estimate:
    """As the gate does it."""
    return estimate(of_trials(candidate, baseline, sd, dof), Errors(1 - confidence, (1 - confidence) / comparisons))


def rounds(*walls: float) -> tuple[Sample, ...]:
    return tuple(map(Sample, walls))


# -- a trial's centre -------------------------------------------------------------------------------------------------


@unhurried
@given(WALLS, st.floats(1e-2, 1e2))
def test_a_slower_machine_moves_the_centre_by_its_factor(walls: list[float], factor: float) -> None:
    slower = rounds(*(factor * wall for wall in walls))
    assert centre(slower) == pytest.approx(centre(rounds(*walls)) + math.log(factor), abs=1e-9)


def test_disturbed_rounds_do_not_count() -> None:
    taken = (*rounds(1.0, 2.0, 4.0), Sample(99.0, void="steal"), Sample(0.0, void="steal"))
    assert centre(taken) == pytest.approx(math.log(2))


@pytest.mark.parametrize("wall", [0.0, -1.0, math.nan, math.inf])
def test_what_is_no_time_is_refused(wall: float) -> None:
    with pytest.raises(ValueError, match=r"the time of a sample is .*; it must be a finite number above zero"):
        centre(rounds(1.0, wall, 1.0))


def test_nothing_to_take_a_centre_of_is_refused() -> None:
    with pytest.raises(ValueError, match="no undisturbed round"):
        centre((Sample(1.0, void="steal"),))


# -- the interval -----------------------------------------------------------------------------------------------------


@unhurried
@given(CENTRES, TRIALS, SDS, COMPARISONS, CENTRES)
def test_only_the_difference_counts(one: float, many: list[float], sd: float, looks: int, shift: float) -> None:
    here = between(one, many, sd, comparisons=looks)
    there = between(one + shift, [centre + shift for centre in many], sd, comparisons=looks)
    assert there.ratio == pytest.approx(here.ratio)
    assert there.low == pytest.approx(here.low)


@unhurried
@given(CENTRES, CENTRES, SDS)
def test_swapping_the_sides_inverts_everything(one: float, other: float, sd: float) -> None:
    there, back = between(one, [other], sd), between(other, [one], sd)
    assert back.ratio == pytest.approx(1 / there.ratio)
    assert back.low == pytest.approx(1 / there.high)
    assert back.alarm_high == pytest.approx(1 / there.alarm_low)


@unhurried
@given(CENTRES, TRIALS, SDS, st.floats(1, 3), COMPARISONS, st.integers(3, 100))
def test_doubt_widens(one: float, many: list[float], sd: float, more: float, looks: int, dof: int) -> None:
    """More noise, more comparisons, fewer degrees of freedom, fewer trials: the interval never gets narrower."""
    found = between(one, many, sd, comparisons=looks, dof=dof)
    assert found.alarm_low <= found.low < found.ratio < found.high <= found.alarm_high
    for wider in (
        between(one, many, sd * more, comparisons=looks, dof=dof),
        between(one, many, sd, comparisons=looks + 1, dof=dof),
        between(one, many, sd, comparisons=looks, dof=dof - 1),
        between(one, [float(np.mean(many))], sd, comparisons=looks, dof=dof),
    ):
        rounding = 1 - 1e-9
        assert wider.alarm_high / wider.ratio >= rounding * found.alarm_high / found.ratio
        assert wider.high / wider.ratio >= rounding * found.high / found.ratio


def test_the_interval_is_the_textbooks() -> None:
    """One trial against ten with a known deviation: the quantile 1.645 times 0.028 times sqrt(1 + 1/10)."""
    found = between(0.0, [0.0] * 10, 0.028)
    assert math.log(found.high) == pytest.approx(1.6449 * 0.028 * math.sqrt(1.1), rel=1e-4)
    together = between(0.0, [0.0] * 10, 0.028, comparisons=18, dof=9)
    assert math.log(together.alarm_high) == pytest.approx(3.6219 * 0.028 * math.sqrt(1.1), rel=1e-3)


def test_impossible_noise_and_no_baseline_are_refused() -> None:
    for sd in (-0.1, math.nan, math.inf):
        with pytest.raises(ValueError, match="the noise between processes is"):
            between(0.0, [0.0], sd)
    with pytest.raises(ValueError, match="the baseline has no trial"):
        between(0.0, [], 0.1)


def test_how_it_reads() -> None:
    assert interval(Estimate(1.051, 1.012, 1.091, 0.98, 1.12, 10)) == "+5.1 % (+1.2 % .. +9.1 %)"
    assert interval(Estimate(0.97, 0.94, 1.0, 0.9, 1.1, 1)) == "-3.0 % (-6.0 % .. +0.0 %)"
    assert interval(estimate(exact(120, 100, "bytes"), Errors(0.05, 0.05))) == "+20.0 %"
    with pytest.raises(ValueError, match="the baseline's value of bytes is 0"):
        exact(120, 0, "bytes")


# -- the verdict ------------------------------------------------------------------------------------------------------


@unhurried
@given(CENTRES, TRIALS, SDS, BANDS, COMPARISONS)
def test_every_verdict_means_what_it_says(one: float, many: list[float], sd: float, band: float, looks: int) -> None:
    found = between(one, many, sd, comparisons=looks)
    word = verdicts.decide(found, band).word
    inside = 1 / (1 + band) <= found.low and found.high <= 1 + band
    assert (word == "SAME") == inside
    assert (word == "SLOW") == (found.alarm_low > 1 + band)
    assert (word == "FAST") == (found.alarm_high < 1 / (1 + band))


@unhurried
@given(CENTRES, CENTRES, SDS, BANDS)
def test_swapping_the_sides_swaps_slow_and_fast(one: float, other: float, sd: float, band: float) -> None:
    there, back = between(one, [other], sd), between(other, [one], sd)
    edges = [abs(math.log(bound)) for bound in (there.low, there.high, there.alarm_low, there.alarm_high)]
    assume(all(abs(edge - math.log1p(band)) > 1e-9 for edge in edges))
    swapped = {"SLOW": "FAST", "FAST": "SLOW"}
    word = verdicts.decide(there, band).word
    assert verdicts.decide(back, band).word == swapped.get(word, word)


def test_torch_and_pytest_stay_outside() -> None:
    loaded = "import sys, fastdiff.compare.gate, fastdiff.compare.policy; print({'torch', 'pytest'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# -- the shipped policy under noise -----------------------------------------------------------------------------------

STAGES, BASELINE_TRIALS, ROUNDS = 6, 10, 7
SUITES = 400
BETWEEN, WITHIN = 0.08, 0.015
"""So that medians of seven rounds differ by 8 % between processes, as measured on two shared cores."""


def median_centres(random: np.random.Generator, trials: int, shared: float = 0.0) -> np.ndarray:
    """Of `trials` processes, the centre of each stage; `shared` is the part of the variance that stages share."""
    process = math.sqrt(shared) * random.normal(0, BETWEEN, (trials, 1))
    own = math.sqrt(1 - shared) * random.normal(0, BETWEEN, (trials, STAGES))
    within = random.normal(0, WITHIN, (trials, STAGES, ROUNDS))
    return np.median((process + own)[..., None] + within, axis=-1)


def budget(centres: np.ndarray) -> Noise:
    """The room's own arithmetic over runs that have these centres."""
    device = Device("box", "cpu", "a box")
    runs = [
        Run(
            device,
            f"night {night}",
            stages=tuple(
                Trial("m", f"s{i}", None, state="measured", samples=rounds(math.exp(c))) for i, c in enumerate(row)
            ),
        )
        for night, row in enumerate(centres)
    ]
    return noise.measured(runs)


def words(random: np.random.Generator, change: float, *, shared: float = 0.0) -> list[str]:
    """The latency verdicts of one suite in which every stage changed by `change`."""
    accepted = budget(median_centres(random, BASELINE_TRIALS, shared))
    (tonight,) = (median_centres(random, 1, shared) + math.log1p(change)).tolist()
    return [_word(one, accepted.centres[f"m-s{place}"], accepted) for place, one in enumerate(tonight)]


def _word(candidate: float, trials: tuple[float, ...], accepted: Noise) -> str:
    """As the gate does it: with the stage's own scatter."""
    sd, dof = noise.spread(trials, accepted.latency_sd, accepted)
    found = between(
        candidate, trials, sd, dof=dof, confidence=policy.CPU.confidence, comparisons=comparisons_of(STAGES)
    )
    return verdicts.decide(found, policy.CPU.latency).word


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(20261120)


def test_the_noise_of_the_simulation_is_the_measured_one(random: np.random.Generator) -> None:
    assert budget(median_centres(random, 500)).latency_sd == pytest.approx(0.08, abs=0.003)


@pytest.mark.parametrize("shared", [0.0, 0.5])
def test_clean_suites_raise_no_alarm_and_are_mostly_same(random: np.random.Generator, shared: float) -> None:
    suites = [words(random, 0.0, shared=shared) for _ in range(SUITES)]
    assert sum("SLOW" in suite or "FAST" in suite for suite in suites) == 0
    assert np.mean([set(suite) == {"SAME"} for suite in suites]) >= 0.95


@pytest.mark.parametrize("shared", [0.0, 0.5])
def test_the_promise_holds_even_where_every_stage_lies_on_the_edge(random: np.random.Generator, shared: float) -> None:
    """The hardest case of "no change beyond the band": each alarm is false, and each stage has its chance of one."""
    suites = [words(random, policy.CPU.latency, shared=shared) for _ in range(SUITES)]
    assert np.mean(["SLOW" in suite for suite in suites]) <= 0.05


def test_what_is_found(random: np.random.Generator) -> None:
    found = {
        change: float(np.mean([word == "SLOW" for _ in range(SUITES // 4) for word in words(random, change)]))
        for change in (0.30, 0.50, 1.00, 2.00)
    }
    print({f"+{change:.0%}": f"{power:.1%}" for change, power in found.items()})
    assert found[0.30] <= 0.001, "inside the band"
    assert found[1.00] >= 0.40
    assert found[2.00] >= 0.999
    assert found[0.30] <= found[0.50] < found[1.00] < found[2.00]
