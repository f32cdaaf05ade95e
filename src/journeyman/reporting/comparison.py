"""Configurations compared over their seeds, as the field does it.

Interquartile means and bootstrap intervals over independent training runs, and the probability
that one configuration's run beats another's: Agarwal et al., "Deep Reinforcement Learning at the
Edge of the Statistical Precipice" (2021). A configuration is one task, so the bootstrap's one
stratum is the configuration: its seeds are drawn anew among themselves.

Legend: N seeds, P points of a curve.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from journeyman.reporting.grouping import Group, group_jobs
from journeyman.services.statistics import interquartile_mean
from journeyman.tracking.history import JobHistory

CONFIDENCE = 0.95
RESAMPLES = 2000
_POINTS = 100


@dataclass(frozen=True)
class Estimate:
    """A figure with its interval; both ends are None where there is but one seed."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, kw_only=True)
class Band:
    """A curve over seeds: (P,) steps, interquartile means, and pointwise intervals.

    Without a second seed low and high are the curve itself.
    """

    steps: NDArray[np.float64]
    middle: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """Jobs that differ in their seed alone.

    Attributes:
        label: the overrides that other configurations do not share.
        jobs: all of them.
        scores: one number a seed of the jobs that are done.
        return_iqm: interquartile mean of the scores; None without one.
        duration_sec: mean wall time of the jobs that are done; None without one.
        repeated: jobs that are done and have a later one of their seed, which counts instead.
        contradicted: seeds whose jobs, all of them done, have not the same return.
    """

    label: str
    jobs: tuple[JobHistory, ...]
    scores: tuple[float, ...]
    return_iqm: Estimate | None
    duration_sec: float | None
    repeated: int = 0
    contradicted: int = 0

    @property
    def statuses(self) -> dict[str, int]:
        """Status -> how many jobs ended so, in order of first appearance."""
        counts: dict[str, int] = {}
        for job in self.jobs:
            counts[job.status] = counts.get(job.status, 0) + 1
        return counts


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Everything a report says in figures.

    Attributes:
        shared: overrides that all jobs have in common.
        configurations: the best first; those without a score last.
    """

    shared: tuple[str, ...]
    configurations: tuple[Configuration, ...]


def compare_jobs(jobs: Sequence[JobHistory]) -> Comparison:
    """Groups jobs into configurations and estimates each one's return.

    Where a seed of a configuration was run several times, the last run that is done counts: the
    same seed gives the same run, not a further sample.
    """
    shared, groups = group_jobs(jobs)
    configurations = [_configuration(group) for group in groups]
    configurations.sort(key=lambda c: -np.inf if c.return_iqm is None else c.return_iqm.value)
    return Comparison(shared=shared, configurations=tuple(reversed(configurations)))


def probability_of_improvement(candidate: Sequence[float], opponent: Sequence[float]) -> Estimate:
    """Returns how likely a run of the candidate beats one of the opponent; a tie counts half.

    The share of all pairs (candidate's run, opponent's run), which is the Mann-Whitney statistic
    over the number of pairs; the interval resamples either side's runs by themselves.

    Args:
        candidate: one score a seed, at least one.
        opponent: likewise; the numbers of seeds may differ.
    """
    one, other = np.asarray(candidate, np.float64), np.asarray(opponent, np.float64)
    value = float(_wins(one, other))
    if min(len(one), len(other)) < 2 or value in (0.0, 1.0):
        # Where one side wins every pair, so it does in every resample.
        certain = min(len(one), len(other)) >= 2
        return Estimate(value, *((value, value) if certain else ()))
    from scipy.stats import bootstrap

    interval = bootstrap(
        (one, other),
        _wins,
        n_resamples=RESAMPLES,
        vectorized=True,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return Estimate(value, float(interval.low), float(interval.high))


def bands(configuration: Configuration, metric: str) -> Band | None:
    """Returns a metric's curve over the seeds of a configuration; None where no job has it.

    The curves are read off, linearly, at common steps: those every one of them has come to.
    """
    curves = [job.curves[metric] for job in _counted(configuration.jobs) if metric in job.curves]
    if not curves:
        return None
    start = max(steps[0] for steps, _ in curves)
    end = min(steps[-1] for steps, _ in curves)
    met = sorted({step for steps, _ in curves for step in steps if start <= step <= end})
    if not met:
        return None
    steps_P = np.array(met if len(met) <= _POINTS else np.linspace(start, end, _POINTS))
    values_NP = np.stack([np.interp(steps_P, steps, values) for steps, values in curves])
    middle_P = _trimmed_mean(values_NP, axis=0)
    if len(values_NP) < 2 or not np.ptp(values_NP, axis=0).any():
        return Band(steps=steps_P, middle=middle_P, low=middle_P, high=middle_P)
    low_P, high_P = _percentile_interval(values_NP)
    return Band(steps=steps_P, middle=middle_P, low=low_P, high=high_P)


def _configuration(group: Group) -> Configuration:
    done = [job for job in _counted(group.jobs) if job.status == "done"]
    scores = tuple(job.score for job in done if job.score is not None)
    durations = [job.duration_sec for job in done if job.duration_sec is not None]
    runs = [[job for job in runs if job.status == "done"] for runs in _by_seed(group.jobs)]
    return Configuration(
        label=group.label,
        jobs=group.jobs,
        scores=scores,
        return_iqm=_iqm(scores) if scores else None,
        duration_sec=float(np.mean(durations)) if durations else None,
        repeated=sum(max(0, len(each) - 1) for each in runs),
        contradicted=sum(len({job.score for job in each}) > 1 for each in runs),
    )


def _counted(jobs: Iterable[JobHistory]) -> list[JobHistory]:
    """Returns of each seed the last job that is done, or the last where none is."""
    return [
        next((job for job in reversed(runs) if job.status == "done"), runs[-1])
        for runs in _by_seed(jobs)
    ]


def _by_seed(jobs: Iterable[JobHistory]) -> list[list[JobHistory]]:
    seeds: dict[int | str, list[JobHistory]] = {}
    for job in jobs:
        seeds.setdefault(job.name if job.seed is None else job.seed, []).append(job)
    return [*seeds.values()]


def _iqm(scores: Sequence[float]) -> Estimate:
    value = interquartile_mean(scores)
    if len(scores) < 2:
        return Estimate(value)
    low, high = _percentile_interval(np.array(scores, np.float64)[:, np.newaxis])
    return Estimate(value, float(low[0]), float(high[0]))


def _percentile_interval(
    values_NP: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns the bootstrap interval of the interquartile mean over seeds, point by point.

    Whole seeds are drawn: the points of one curve hang together.
    """
    from scipy.stats import bootstrap

    interval = bootstrap(
        (values_NP,),
        _trimmed_mean,
        axis=0,
        n_resamples=RESAMPLES,
        batch=100,
        vectorized=True,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return np.asarray(interval.low), np.asarray(interval.high)


def _trimmed_mean(values: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    from scipy.stats import trim_mean

    return np.asarray(trim_mean(values, 0.25, axis=axis))


def _wins(
    one: NDArray[np.float64], other: NDArray[np.float64], axis: int = -1
) -> NDArray[np.float64]:
    """Returns the share of pairs won, ties half; (..., N) against (..., M)."""
    mine, theirs = one[..., :, np.newaxis], other[..., np.newaxis, :]
    won = (mine > theirs) + 0.5 * (mine == theirs)
    return np.asarray(won.mean(axis=(-2, -1)))
