"""What a stage of training must not break, checked on played episodes; pure functions.

Every reading's ``limit`` is in the units of its ``value``: the value beyond which it trips
(``episode_return`` holds the lower bound of its interval against it, not the mean).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from journeyman.errors import TrainingError
from journeyman.results import (
    BCTrainingResult,
    EvaluationResult,
    GuardrailReading,
    PPOTrainingResult,
    Verdict,
)
from journeyman.services.statistics import paired_interval
from journeyman.settings.evaluation import EvaluationSettings
from journeyman.settings.guardrails import (
    BCAccuracyGuardrail,
    EpisodeReturnGuardrail,
    GuardrailSettings,
    HealthGuardrail,
    LossGuardrail,
    OnTrip,
    RateGuardrail,
)

MIN_SCALE = 1e-3
"""A baseline nearer to zero than this counts as this far, where tolerances are shares of it."""

StageAction = Literal["accept", "hold", "rollback", "stop"]
_STRENGTH: tuple[StageAction, ...] = ("accept", "hold", "rollback", "stop")

Telemetry = Sequence[Mapping[str, float | int | bool | str]]
"""Metrics of each PPO update of a stage, in order."""


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """Figures of the last accepted stage; before the first, of the untrained policy.

    Attributes:
        evaluation: the policy as played.
        ppo_loss: ``loss_total_mean`` of the last accepted ppo stage; None: none yet.
        trained: False: the evaluation is of an untrained policy. Its return is a baseline, its
            event rates are none: who uses nothing queues for nothing, and any competence would
            be a rise.
    """

    evaluation: EvaluationResult
    ppo_loss: float | None
    trained: bool = True


@dataclass(frozen=True, kw_only=True)
class StageDecision:
    """What follows from a stage's readings.

    Attributes:
        status: PASS; HOLD if a guardrail tripped; FAIL if the gate behind imitation did.
        action: ``accept`` (the stage is the new baseline), ``hold`` (go on with its weights,
            keep the baseline), ``rollback`` (restore the last accepted stage, go on) or
            ``stop`` (restore it and end the schedule).
        reason: what tripped and by how much, or that nothing did.
        readings: what was read, in order.
    """

    status: Verdict
    action: StageAction
    reason: str
    readings: tuple[GuardrailReading, ...]


def check_guardrails(
    settings: GuardrailSettings,
    *,
    baseline: Baseline,
    evaluation: EvaluationResult,
    training: BCTrainingResult | PPOTrainingResult,
    telemetry: Telemetry,
    evaluation_settings: EvaluationSettings,
    rng: np.random.Generator,
    continuous: bool = False,
) -> tuple[GuardrailReading, ...]:
    """Reads every enabled guardrail that belongs to the stage's mode.

    ``bc_accuracy`` belongs to bc stages; ``loss``, ``kl``, ``grad_norm`` and ``entropy`` (the
    three of ``health``) to ppo stages; the played ones to both. A guardrail without the figures
    it needs (a rate that the environment does not count, nothing trained to compare a rate
    with, no earlier ppo stage) does not trip, and its reason says so.

    Args:
        settings: thresholds, and what a breach leads to.
        baseline: what to compare with.
        evaluation: the stage's policy, played on the baseline's seeds.
        training: the stage's training result.
        telemetry: ``kl_divergence``, ``grad_norm`` and ``batch_entropy_mean`` of each update of
            a ppo stage.
        evaluation_settings: level and resamples of the paired interval.
        rng: draws the resamples.
        continuous: actions are no choices, and have a floor of entropy of their own.

    Raises:
        ValueError: if the two evaluations do not share their seeds, or telemetry lacks a figure.
        TrainingError: if a health figure is not finite.
    """
    readings: list[GuardrailReading] = []
    if isinstance(training, BCTrainingResult):
        if settings.bc_accuracy.enabled:
            readings.append(_bc_accuracy(settings.bc_accuracy, training))
    else:
        if settings.loss.enabled:
            readings.append(_loss(settings.loss, baseline.ppo_loss, training))
        if settings.health.enabled:
            readings.extend(_health(settings.health, telemetry, continuous=continuous))
    for name, event, guardrail in (
        ("queue_events", "queue_conflict", settings.queue_events),
        ("queue_intensity", "queue_conflict_intensity", settings.queue_intensity),
    ):
        if guardrail.enabled:
            readings.append(_rate(name, event, guardrail, baseline, evaluation))
    if settings.episode_return.enabled:
        readings.append(
            _episode_return(
                settings.episode_return, baseline.evaluation, evaluation, evaluation_settings, rng
            )
        )
    return tuple(readings)


def stage_verdict(
    readings: Sequence[GuardrailReading], mode: Literal["bc", "ppo"]
) -> StageDecision:
    """Decides what becomes of a stage: the strongest ``on_trip`` of its breaches wins.

    Args:
        readings: of ``check_guardrails``.
        mode: of the stage; in a bc stage ``bc_accuracy`` is the gate that fails it.
    """
    tripped = [reading for reading in readings if reading.tripped]
    status: Verdict = "PASS"
    if tripped:
        gate_failed = mode == "bc" and any(reading.name == "bc_accuracy" for reading in tripped)
        status = "FAIL" if gate_failed else "HOLD"
    actions: list[StageAction] = [reading.on_trip for reading in tripped]
    return StageDecision(
        status=status,
        action=max(actions, key=_STRENGTH.index, default="accept"),
        reason="; ".join(reading.reason for reading in tripped) or "no guardrail tripped",
        readings=tuple(readings),
    )


def run_verdict(stages: Sequence[Verdict]) -> tuple[Verdict, str]:
    """Sums up the stages' statuses in one, with a sentence naming the stages (from 0).

    Raises:
        ValueError: if there was no stage.
    """
    if not stages:
        raise ValueError("a run without stages has no verdict")
    failed = [str(i) for i, status in enumerate(stages) if status == "FAIL"]
    held = [str(i) for i, status in enumerate(stages) if status == "HOLD"]
    if failed:
        return "FAIL", f"the imitation gate failed in stage {', '.join(failed)}"
    if held:
        return "HOLD", f"guardrails tripped in stage {', '.join(held)}"
    return "PASS", f"no guardrail tripped in {len(stages)} stages"


def _bc_accuracy(guardrail: BCAccuracyGuardrail, training: BCTrainingResult) -> GuardrailReading:
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


def _loss(
    guardrail: LossGuardrail, baseline: float | None, training: PPOTrainingResult
) -> GuardrailReading:
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


def _rate(
    name: str,
    event: str,
    guardrail: RateGuardrail,
    baseline: Baseline,
    evaluation: EvaluationResult,
) -> GuardrailReading:
    if event not in evaluation.rates or event not in baseline.evaluation.rates:
        why = f"{event} is not counted by {evaluation.env_id}"
        return _not_applicable(name, guardrail.on_trip, why)
    before, now = baseline.evaluation.rates[event], evaluation.rates[event]
    if not baseline.trained:
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


def _episode_return(
    guardrail: EpisodeReturnGuardrail,
    baseline: EvaluationResult,
    evaluation: EvaluationResult,
    evaluation_settings: EvaluationSettings,
    rng: np.random.Generator,
) -> GuardrailReading:
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


def _health(
    guardrail: HealthGuardrail, telemetry: Telemetry, *, continuous: bool
) -> list[GuardrailReading]:
    """Reads the three figures of each update: ``kl``, ``grad_norm``, ``entropy``."""
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
