"""What a stage of training must not break, and what follows where it does; pure functions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from journeyman.results import (
    BCTrainingResult,
    EvaluationResult,
    GuardrailReading,
    PPOTrainingResult,
    Verdict,
)
from journeyman.services.guardrail_readings import (
    Telemetry,
    read_bc_accuracy,
    read_episode_return,
    read_health,
    read_loss,
    read_rate,
)
from journeyman.settings.evaluation import EvaluationSettings
from journeyman.settings.guardrails import GuardrailSettings

StageAction = Literal["accept", "hold", "rollback", "stop"]
_STRENGTH: tuple[StageAction, ...] = ("accept", "hold", "rollback", "stop")


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
            readings.append(read_bc_accuracy(settings.bc_accuracy, training))
    else:
        if settings.loss.enabled:
            readings.append(read_loss(settings.loss, baseline.ppo_loss, training))
        if settings.health.enabled:
            readings.extend(read_health(settings.health, telemetry, continuous=continuous))
    for name, event, guardrail in (
        ("queue_events", "queue_conflict", settings.queue_events),
        ("queue_intensity", "queue_conflict_intensity", settings.queue_intensity),
    ):
        if guardrail.enabled:
            reading = read_rate(
                name, event, guardrail, baseline.evaluation, evaluation, trained=baseline.trained
            )
            readings.append(reading)
    if settings.episode_return.enabled:
        readings.append(
            read_episode_return(
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
