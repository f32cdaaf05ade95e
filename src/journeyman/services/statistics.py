"""Figures with their uncertainty, as the field reports them.

Intervals and the interquartile mean follow Agarwal et al., "Deep Reinforcement Learning at the
Edge of the Statistical Precipice" (2021); intervals are bias-corrected and accelerated
bootstraps (Efron 1987), computed by scipy. Values are one number an *independent* episode, never
one a step or a lane: those of one world hang together.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from journeyman.results import Interval

_BATCH_VALUES = 1 << 22
"""Resampled values held in memory at once (32 MiB)."""

_ROUNDING = 1e-12
"""Differences smaller than this share of the largest value are rounding."""


def mean_interval(
    values: ArrayLike, *, confidence: float, resamples: int, rng: np.random.Generator
) -> Interval:
    """Returns the mean and its bootstrap confidence interval (BCa).

    Where all values are equal there is nothing to resample: low = high = mean, exactly. Where
    they differ by rounding alone (10**-12 of the largest), the interval is their range.

    Args:
        values: (n,) one number an independent episode, n >= 2.
        confidence: level of the interval, e.g. 0.95.
        resamples: bootstrap resamples.
        rng: draws the resamples; not advanced where there is nothing to resample.

    Raises:
        ValueError: if there are fewer than two values, or one is not finite.
    """
    values_n = _finite_vector(values, "values")
    if len(values_n) < 2:
        raise ValueError("an interval needs at least 2 episodes, got 1")
    lowest, highest = float(values_n.min()), float(values_n.max())
    largest = max(abs(lowest), abs(highest))
    if highest - lowest <= _ROUNDING * largest:
        mean = min(max(float(np.mean(values_n)), lowest), highest)
        return Interval(mean=mean, low=lowest, high=highest, episodes=len(values_n))

    from scipy.stats import bootstrap

    # Scaled by a power of two, which rounds nothing, so that the third powers in the
    # acceleration constant neither underflow nor overflow. Not centred: the rounding would break
    # the ties between resampled and observed mean that the bias correction counts.
    exponent = int(np.frexp(largest)[1])
    scaled_n = np.ldexp(values_n, -exponent)
    interval = bootstrap(
        (scaled_n,),
        np.mean,
        n_resamples=resamples,
        batch=max(1, _BATCH_VALUES // len(values_n)),
        vectorized=True,
        confidence_level=confidence,
        method="BCa",
        rng=rng,
    ).confidence_interval
    mean, low, high = (
        float(np.ldexp(value, exponent))
        for value in (np.mean(scaled_n), interval.low, interval.high)
    )
    return Interval(mean=mean, low=low, high=high, episodes=len(values_n))


def paired_interval(
    candidate: Sequence[float] | NDArray[np.float64],
    opponent: Sequence[float] | NDArray[np.float64],
    *,
    confidence: float,
    resamples: int,
    rng: np.random.Generator,
) -> Interval:
    """Returns the mean of (candidate - opponent) and its interval; pairs are resampled whole.

    Args:
        candidate: (n,) one number an episode.
        opponent: (n,) the same episodes (world seeds), in the same order.
        confidence: level of the interval.
        resamples: bootstrap resamples.
        rng: draws the resamples.

    Raises:
        ValueError: if the lengths differ, n < 2, or a value is not finite.
    """
    candidate_n, opponent_n = _pairs(candidate, opponent)
    return mean_interval(
        candidate_n - opponent_n, confidence=confidence, resamples=resamples, rng=rng
    )


def interquartile_mean(values: ArrayLike) -> float:
    """Returns the mean of the middle half of the values (``scipy.stats.trim_mean``, 25 %).

    A quarter of the values, rounded down, is left out at each end.

    Raises:
        ValueError: if there is no value, or one is not finite.
    """
    from scipy.stats import trim_mean

    return float(trim_mean(_finite_vector(values, "values"), 0.25))


def probability_of_improvement(
    candidate: Sequence[float] | NDArray[np.float64],
    opponent: Sequence[float] | NDArray[np.float64],
) -> float:
    """Returns the share of pairs that the candidate wins; a tie counts half.

    Raises:
        ValueError: if the lengths differ, there is no pair, or a value is not finite.
    """
    candidate_n, opponent_n = _pairs(candidate, opponent)
    wins = np.count_nonzero(candidate_n > opponent_n)
    ties = np.count_nonzero(candidate_n == opponent_n)
    return float((wins + 0.5 * ties) / len(candidate_n))


def _pairs(
    candidate: ArrayLike, opponent: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    candidate_n = _finite_vector(candidate, "candidate")
    opponent_n = _finite_vector(opponent, "opponent")
    if len(candidate_n) != len(opponent_n):
        raise ValueError(
            f"pairs need as many episodes on both sides, got {len(candidate_n)} of the "
            f"candidate and {len(opponent_n)} of the opponent"
        )
    return candidate_n, opponent_n


def _finite_vector(values: ArrayLike, name: str) -> NDArray[np.float64]:
    vector = np.asarray(values, np.float64)
    if vector.ndim != 1 or len(vector) == 0:
        raise ValueError(f"{name}: expected one number an episode, got shape {vector.shape}")
    if not np.isfinite(vector).all():
        raise ValueError(f"{name}: not finite at position {int(np.argmin(np.isfinite(vector)))}")
    return vector
