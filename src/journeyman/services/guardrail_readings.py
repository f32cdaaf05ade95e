"""What each guardrail reads of a stage of training and of its played episodes; pure functions.

Every reading's ``limit`` is in the units of its ``value``: the value beyond which it trips
(``episode_return`` holds the lower bound of its interval against it, not the mean).
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from journeyman.errors import TrainingError
from journeyman.results import (
    BCTrainingResult,
    EvaluationResult,
    GuardrailReading,
    PPOTrainingResult,
)
from journeyman.services.statistics import paired_interval
from journeyman.settings.evaluation import EvaluationSettings
from journeyman.settings.guardrails import (
    BCAccuracyGuardrail,
    EpisodeReturnGuardrail,
    HealthGuardrail,
    LossGuardrail,
    OnTrip,
    RateGuardrail,
)

MIN_SCALE = 1e-3
"""A baseline nearer to zero than this counts as this far, where tolerances are shares of it."""

Telemetry = Sequence[Mapping[str, float | int | bool | str]]
"""Metrics of each PPO update of a stage, in order."""


def read_bc_accuracy(
    guardrail: BCAccuracyGuardrail, training: BCTrainingResult
) -> GuardrailReading:
    """Reads how well the stage imitates what it was not shown."""
    figure, limit = "held-out accuracy on decision steps", guardrail.threshold
    majority, margin = training.majority_decision_accuracy, guardrail.min_over_majority
    if training.val_decision_accuracy is None:
        figure = "explained variance of held-out actions"
    elif majority is not None and margin > 0.0 and majority + margin > limit:
        figure += f" (the most frequent action alone has {majority:.4g})"
        limit = majority + margin
    return _against_limit(
        "bc_accuracy",
        guardrail.on_trip,
        figure,
        value=training.gate_accuracy,
        limit=limit,
        falls=True,
    )


def read_loss(
    guardrail: LossGuardrail, baseline: float | None, training: PPOTrainingResult
) -> GuardrailReading:
    """Reads the total loss against that of the last accepted ppo stage."""
    loss = training.loss_total_mean
    if baseline is None:
        why = "no ppo stage was accepted before this one"
        return _not_applicable("loss", guardrail.on_trip, why, value=loss)
    return _against_limit(
        "loss",
        guardrail.on_trip,
        "total loss",
        value=loss,
        baseline=baseline,
        limit=baseline + guardrail.tolerance * max(abs(baseline), MIN_SCALE),
    )


def read_rate(
    name: str,
    event: str,
    guardrail: RateGuardrail,
    baseline: EvaluationResult,
    evaluation: EvaluationResult,
    *,
    trained: bool,
) -> GuardrailReading:
    """Reads how often an event happens; a baseline that was not ``trained`` is none for it."""
    if event not in evaluation.rates or event not in baseline.rates:
        why = f"{event} is not counted by {evaluation.env_id}"
        return _not_applicable(name, guardrail.on_trip, why)
    before, now = baseline.rates[event], evaluation.rates[event]
    if not trained:
        why = "no trained policy was accepted before this stage"
        return _not_applicable(name, guardrail.on_trip, why, value=now)
    allowed = guardrail.tolerance * max(abs(before), guardrail.min_scale)
    falls = guardrail.direction == "decrease" or (guardrail.direction == "band" and now < before)
    return _against_limit(
        name,
        guardrail.on_trip,
        f"{event} per 1000 agent-ticks",
        value=now,
        baseline=before,
        limit=before - allowed if falls else before + allowed,
        falls=falls,
    )


def read_episode_return(
    guardrail: EpisodeReturnGuardrail,
    baseline: EvaluationResult,
    evaluation: EvaluationResult,
    evaluation_settings: EvaluationSettings,
    rng: np.random.Generator,
) -> GuardrailReading:
    """Reads how the return changed, episode by episode on the same seeds.

    Raises:
        ValueError: if the two evaluations do not share their seeds.
    """
    if evaluation.seeds != baseline.seeds:
        raise ValueError("paired figures need the same seeds for the stage and its baseline")
    change = paired_interval(
        evaluation.episode_returns,
        baseline.episode_returns,
        confidence=evaluation_settings.confidence,
        resamples=evaluation_settings.bootstrap_resamples,
        rng=rng,
    )
    before = baseline.episode_return.mean
    margin = guardrail.margin * max(abs(before), MIN_SCALE)
    tripped = change.low < -margin
    return GuardrailReading(
        name="episode_return",
        value=evaluation.episode_return.mean,
        baseline=before,
        delta=change.mean,
        limit=before - margin,
        applicable=True,
        tripped=tripped,
        on_trip=guardrail.on_trip,
        reason=f"episode return changed by {change.mean:.4g} [{change.low:.4g}, "
        f"{change.high:.4g}] from {before:.4g}; the lower bound is "
        f"{'under' if tripped else 'not under'} {-margin:.4g}",
    )


def read_health(
    guardrail: HealthGuardrail, telemetry: Telemetry, *, continuous: bool
) -> list[GuardrailReading]:
    """Reads the three figures of each update: ``kl``, ``grad_norm``, ``entropy``.

    Raises:
        ValueError: if the telemetry of an update lacks a figure.
        TrainingError: if a figure is not finite.
    """
    readings = []
    floor = guardrail.min_differential_entropy if continuous else guardrail.min_entropy
    for name, metric, limit, sign in (
        ("kl", "kl_divergence", guardrail.max_kl, 1.0),
        ("grad_norm", "grad_norm", guardrail.max_grad_norm, 1.0),
        ("entropy", "batch_entropy_mean", floor, -1.0),
    ):
        if limit is None:
            readings.append(
                _not_applicable(name, guardrail.on_trip, "min_differential_entropy is null")
            )
            continue
        figures = _figures(telemetry, metric)
        if len(figures) < guardrail.consecutive:
            why = f"{len(figures)} updates of the {guardrail.consecutive} it takes to trip"
            readings.append(_not_applicable(name, guardrail.on_trip, why, limit=limit))
            continue
        # The best figure of each window of consecutive updates; the worst window decides.
        signed = sign * np.array(figures)
        windows = np.lib.stride_tricks.sliding_window_view(signed, guardrail.consecutive)
        reading = _against_limit(
            name,
            guardrail.on_trip,
            f"{metric} (the worst that {guardrail.consecutive} consecutive updates held)",
            value=sign * float(windows.min(axis=1).max()),
            limit=limit,
            falls=sign < 0,
        )
        readings.append(reading)
    return readings


def _figures(telemetry: Telemetry, metric: str) -> list[float]:
    figures = []
    for index, update in enumerate(telemetry):
        if metric not in update:
            raise ValueError(f"telemetry of update {index} lacks {metric}")
        figure = float(update[metric])
        if not math.isfinite(figure):
            raise TrainingError(f"{metric} of update {index} of the stage is {figure}")
        figures.append(figure)
    return figures


def _against_limit(
    name: str,
    on_trip: OnTrip,
    figure: str,
    *,
    value: float,
    limit: float,
    baseline: float | None = None,
    falls: bool = False,
) -> GuardrailReading:
    """Reads a figure that trips above its limit, or below it where ``falls``."""
    tripped = value < limit if falls else value > limit
    side = "under" if falls else "over"
    origin = "" if baseline is None else f" (baseline {baseline:.4g})"
    return GuardrailReading(
        name=name,
        value=value,
        baseline=baseline,
        delta=None if baseline is None else value - baseline,
        limit=limit,
        applicable=True,
        tripped=tripped,
        on_trip=on_trip,
        reason=f"{figure} {value:.4g} is {side if tripped else f'not {side}'} {limit:.4g}{origin}",
    )


def _not_applicable(
    name: str,
    on_trip: OnTrip,
    why: str,
    *,
    value: float | None = None,
    limit: float | None = None,
) -> GuardrailReading:
    return GuardrailReading(
        name=name,
        value=value,
        baseline=None,
        delta=None,
        limit=limit,
        applicable=False,
        tripped=False,
        on_trip=on_trip,
        reason=f"{name} is not applicable: {why}",
    )
