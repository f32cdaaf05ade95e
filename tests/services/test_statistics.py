"""Intervals, interquartile mean, probability of improvement."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeyman.services.statistics import (
    interquartile_mean,
    mean_interval,
    paired_interval,
    probability_of_improvement,
)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_two_values_span_their_whole_range() -> None:
    # Resampling {0, 1} twice gives means 0, 1/2, 1 with chances 1/4, 1/2, 1/4. The sample is
    # symmetric (no bias, no acceleration), so the bounds are the 2.5 % and 97.5 % quantiles.
    interval = mean_interval([0.0, 1.0], confidence=0.95, resamples=2000, rng=rng())
    assert (interval.low, interval.mean, interval.high, interval.episodes) == (0.0, 0.5, 1.0, 2)


def test_a_large_symmetric_sample_gives_the_normal_interval() -> None:
    # 200 times -1 and 200 times +1: standard error of the mean = 1 / sqrt(400) = 0.05, so the
    # 95 % interval is about -+1.96 * 0.05 = -+0.098, the 80 % one -+1.2816 * 0.05 = -+0.0641.
    values = np.repeat([-1.0, 1.0], 200)
    wide = mean_interval(values, confidence=0.95, resamples=10_000, rng=rng())
    narrow = mean_interval(values, confidence=0.80, resamples=10_000, rng=rng())
    assert wide.low == pytest.approx(-0.098, abs=0.008)
    assert wide.high == pytest.approx(0.098, abs=0.008)
    assert narrow.low == pytest.approx(-0.0641, abs=0.008)
    assert narrow.high == pytest.approx(0.0641, abs=0.008)


def test_a_skewed_sample_gets_an_interval_that_leans_to_its_tail() -> None:
    # 29 zeros and one 30: a resample's mean is how often it drew the 30, a Binomial(30, 1/30)
    # count K with P(K <= 0, 2, 3, 4) = .362, .923, .983, .997. The plain 5 % and 95 % quantiles
    # are 0 and 3. BCa: bias z0 = norm.ppf(P(K < 1) + P(K = 1) / 2) = norm.ppf(.549) = .123,
    # acceleration a = sum d^3 / (6 (sum d^2)^1.5) = 24360 / (6 * 870^1.5) = .158, so its upper
    # level is norm.cdf(z0 + (z0 + 1.645) / (1 - a (z0 + 1.645))) = norm.cdf(2.575) = .995, where
    # K is 4; the lower one is norm.cdf(-1.104) = .135, where K is 0.
    interval = mean_interval([0.0] * 29 + [30.0], confidence=0.9, resamples=20_000, rng=rng())
    assert interval.mean == pytest.approx(1.0)
    assert interval.low == pytest.approx(0.0, abs=1e-12)
    assert interval.high == pytest.approx(4.0)


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    # 300 samples of 30 standard normals, level 90 %. A BCa interval of 30 values covers a little
    # less than it says; binomial noise of 300 is 1.7 %. A mean without an interval covers 0 %.
    draw = rng(1)
    covered = 0
    for _ in range(300):
        interval = mean_interval(draw.standard_normal(30), confidence=0.9, resamples=400, rng=draw)
        covered += interval.low <= 0.0 <= interval.high
    assert 0.82 <= covered / 300 <= 0.95


@pytest.mark.parametrize("value", [0.0, -3.25, 0.1, 1e-300, 1e300])
def test_equal_values_are_certain_to_the_last_bit(value: float) -> None:
    draw = rng()
    before = draw.bit_generator.state
    interval = mean_interval([value] * 7, confidence=0.95, resamples=100, rng=draw)
    assert (interval.low, interval.mean, interval.high) == (value, value, value)
    assert draw.bit_generator.state == before


def test_values_that_differ_by_rounding_alone_are_their_own_range() -> None:
    # All means of 20 of these 21 values round to 1: an acceleration would be 0 / 0.
    above = float(np.nextafter(1.0, 2.0))
    interval = mean_interval([1.0] * 20 + [above], confidence=0.95, resamples=100, rng=rng())
    assert (interval.low, interval.high) == (1.0, above)
    assert 1.0 <= interval.mean <= above


@pytest.mark.parametrize("scale", [2.0**-700, 2.0**-40, 2.0**40, 2.0**700])
def test_intervals_scale_with_their_values(scale: float) -> None:
    # Powers of two, so that no rounding enters. The third powers in BCa's acceleration would
    # underflow at 2**-700 and overflow at 2**700 (and warn).
    values = np.array([0.0, 1.0, 1.0, 4.0, 9.0])
    unit = mean_interval(values, confidence=0.95, resamples=500, rng=rng())
    scaled = mean_interval(values * scale, confidence=0.95, resamples=500, rng=rng())
    assert scaled.low == unit.low * scale
    assert scaled.high == unit.high * scale


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20),
    st.integers(0, 2**32 - 1),
)
def test_intervals_stay_within_the_values_and_repeat(values: list[float], seed: int) -> None:
    first = mean_interval(values, confidence=0.95, resamples=100, rng=rng(seed))
    again = mean_interval(values, confidence=0.95, resamples=100, rng=rng(seed))
    assert first == again
    slack = 1e-9 * max(1.0, max(abs(value) for value in values))
    assert min(values) - slack <= first.low <= first.high <= max(values) + slack


def test_the_generator_decides_the_resamples() -> None:
    values = rng().standard_normal(25)
    intervals = {
        mean_interval(values, confidence=0.95, resamples=200, rng=rng(seed)).low
        for seed in range(4)
    }
    assert len(intervals) > 1


def test_pairing_removes_what_both_sides_share() -> None:
    # Worlds differ by hundreds, the candidate is better by 1 or 2 in each of them: differences
    # 1, 2, 1, 2, ... lie in [1, 2], so their mean's interval does; unpaired it would be +-100.
    world = np.array([-500.0, -100.0, 0.0, 300.0, 700.0, 900.0])
    better = np.array([1.0, 2.0, 1.0, 2.0, 1.0, 2.0])
    interval = paired_interval(world + better, world, confidence=0.95, resamples=1000, rng=rng())
    assert interval.mean == pytest.approx(1.5)
    assert 1.0 <= interval.low < 1.5 < interval.high <= 2.0
    assert interval.episodes == 6


def test_pairing_keeps_the_sign() -> None:
    interval = paired_interval(
        [0.0, 1.0, 2.0], [3.0, 4.0, 5.0], confidence=0.95, resamples=100, rng=rng()
    )
    assert (interval.low, interval.mean, interval.high) == (-3.0, -3.0, -3.0)


def test_interquartile_mean_leaves_out_a_quarter_at_each_end() -> None:
    # Sorted: -100, 1, 2, 3, 4, 5, 6, 1000; without two at each end: (2 + 3 + 4 + 5) / 4 = 3.5.
    assert interquartile_mean([5.0, 1000.0, 1.0, 3.0, -100.0, 2.0, 6.0, 4.0]) == 3.5
    # Six values: a quarter is 1.5, rounded down one at each end: (1 + 2 + 3 + 4) / 4 = 2.5.
    assert interquartile_mean([0.0, 1.0, 2.0, 3.0, 4.0, 99.0]) == 2.5
    assert interquartile_mean([7.0]) == 7.0


def test_probability_of_improvement_counts_pairs() -> None:
    # Wins in pairs 1 and 4, a tie in pair 2, lost in pair 3: (2 + 0.5) / 4.
    assert probability_of_improvement([2.0, 1.0, 0.0, -1.0], [1.0, 1.0, 5.0, -2.0]) == 0.625


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=1, max_size=30))
def test_one_sides_improvement_is_the_others_decline(pairs: list[tuple[int, int]]) -> None:
    ours, theirs = [float(a) for a, _ in pairs], [float(b) for _, b in pairs]
    both = probability_of_improvement(ours, theirs) + probability_of_improvement(theirs, ours)
    assert both == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.0], "at least 2"),
        ([], "one number an episode"),
        ([[1.0, 2.0]], "one number an episode"),
        ([1.0, 2.0, float("nan")], "position 2"),
        ([1.0, float("inf")], "position 1"),
    ],
)
def test_what_has_no_interval_is_refused(values: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mean_interval(values, confidence=0.95, resamples=100, rng=rng())


def test_unequal_sides_are_refused() -> None:
    with pytest.raises(ValueError, match="3 of the candidate and 2 of the opponent"):
        paired_interval([1.0, 2.0, 3.0], [1.0, 2.0], confidence=0.95, resamples=100, rng=rng())
    with pytest.raises(ValueError, match="as many episodes"):
        probability_of_improvement([1.0], [1.0, 2.0])


def test_scipy_and_torch_are_not_loaded_on_import() -> None:
    code = (
        "import sys\n"
        "import journeyman.services.evaluation, journeyman.services.statistics\n"
        "import journeyman.services.guardrails, journeyman.services.promotion\n"
        "print([name for name in ('scipy', 'torch', 'mlflow') if name in sys.modules])\n"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert out.strip() == "[]"
