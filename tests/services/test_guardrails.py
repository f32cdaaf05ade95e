"""Guardrails: each breach with its numbers derived."""

from typing import Any

import numpy as np
import pytest

from journeyman.composition import compose_settings
from journeyman.errors import TrainingError
from journeyman.results import (
    BCTrainingResult,
    EvaluationResult,
    GuardrailReading,
    Interval,
    PPOTrainingResult,
)
from journeyman.services.guardrails import Baseline, check_guardrails
from journeyman.settings.evaluation import EvaluationSettings
from journeyman.settings.guardrails import GuardrailSettings

EVALUATION = EvaluationSettings(
    episodes=4, deterministic=False, social_stage="C1", confidence=0.95, bootstrap_resamples=500
)
TOLERANCE = {"tolerance": 0.15, "min_scale": 1.0}
RATE = {"enabled": True, "on_trip": "hold", "direction": "increase"} | TOLERANCE
DEFAULTS: dict[str, dict[str, Any]] = {
    "bc_accuracy": {"enabled": True, "on_trip": "stop", "threshold": 0.9},
    "loss": {"enabled": True, "on_trip": "hold", "tolerance": 0.1},
    "queue_events": RATE,
    "queue_intensity": RATE,
    "episode_return": {"enabled": True, "on_trip": "rollback", "margin": 0.05},
    "health": {
        "enabled": True,
        "on_trip": "hold",
        "max_kl": 0.05,
        "max_grad_norm": 2.5,
        "min_entropy": 0.01,
        "consecutive": 2,
    },
}


def settings(**changes: dict[str, Any]) -> GuardrailSettings:
    merged = {name: rule | changes.get(name, {}) for name, rule in DEFAULTS.items()}
    return GuardrailSettings.model_validate(merged)


def evaluation(
    returns: tuple[float, ...] = (10.0, 10.0, 10.0, 10.0),
    rates: dict[str, float] | None = None,
    seeds: tuple[int, ...] = (1, 2, 3, 4),
) -> EvaluationResult:
    mean = float(np.mean(returns))
    return EvaluationResult(
        policy="p",
        env_id="test/queues",
        social_stage="C1",
        seeds=seeds,
        episode_returns=returns,
        episode_return=Interval(mean=mean, low=mean, high=mean, episodes=len(returns)),
        return_iqm=mean,
        episode_length_mean=20.0,
        rates={"queue_conflict": 10.0, "queue_conflict_intensity": 20.0}
        if rates is None
        else rates,
        activity_shares={},
        reward_terms={},
        duration_sec=1.0,
    )


def imitation(decision_accuracy: float) -> BCTrainingResult:
    return BCTrainingResult(
        manifest=None,
        accuracy=1.0,
        loss=0.1,
        val_accuracy=1.0,
        val_decision_accuracy=decision_accuracy,
        val_loss=0.1,
        majority_accuracy=0.7,
        majority_decision_accuracy=0.4,
        accuracy_over_majority=decision_accuracy - 0.4,
        per_action={},
        confusion=(),
        learning_rate=1e-3,
        batch_size=64,
        epochs=3,
        best_epoch=3,
        weight_decay=0.0,
        device="cpu",
        duration_sec=1.0,
        samples=100,
        val_samples=20,
        action_histogram={},
        weights_digest="d",
    )


def practice(loss: float) -> PPOTrainingResult:
    return PPOTrainingResult(
        updates=3,
        transitions=100,
        steps=100,
        last_update={},
        loss_total_mean=loss,
        episode_return_mean=None,
        device="cpu",
        duration_sec=1.0,
        weights_digest="d",
    )


def updates(
    kl: tuple[float, ...] = (0.01, 0.01),
    grad_norm: tuple[float, ...] | None = None,
    entropy: tuple[float, ...] | None = None,
) -> list[dict[str, float]]:
    return [
        {
            "kl_divergence": kl[i],
            "grad_norm": 1.0 if grad_norm is None else grad_norm[i],
            "batch_entropy_mean": 1.0 if entropy is None else entropy[i],
        }
        for i in range(len(kl))
    ]


def check(
    training: BCTrainingResult | PPOTrainingResult | None = None,
    new: EvaluationResult | None = None,
    before: EvaluationResult | None = None,
    *,
    ppo_loss: float | None = 1.0,
    trained: bool = True,
    telemetry: list[dict[str, float]] | None = None,
    continuous: bool = False,
    **changes: dict[str, Any],
) -> dict[str, GuardrailReading]:
    readings = check_guardrails(
        settings(**changes),
        baseline=Baseline(evaluation=before or evaluation(), ppo_loss=ppo_loss, trained=trained),
        evaluation=new or evaluation(),
        training=training or practice(1.0),
        telemetry=updates() if telemetry is None else telemetry,
        evaluation_settings=EVALUATION,
        rng=np.random.default_rng(0),
        continuous=continuous,
    )
    return {reading.name: reading for reading in readings}


def test_each_mode_has_its_own_guardrails() -> None:
    played = {"queue_events", "queue_intensity", "episode_return"}
    assert set(check(imitation(0.95))) == {"bc_accuracy"} | played
    assert set(check(practice(1.0))) == {"loss", "kl", "grad_norm", "entropy"} | played
    off = {name: {"enabled": False} for name in DEFAULTS}
    assert check(practice(1.0), **off) == {}
    assert check(imitation(0.1), **off) == {}


@pytest.mark.parametrize(
    ("accuracy", "tripped"), [(0.8999, True), (0.9, False), (0.95, False), (0.0, True)]
)
def test_the_gate_reads_decision_steps(accuracy: float, tripped: bool) -> None:
    # Plain accuracies are 1.0 throughout: only the decision steps count.
    reading = check(imitation(accuracy))["bc_accuracy"]
    assert (reading.tripped, reading.value, reading.limit) == (tripped, accuracy, 0.9)
    assert reading.on_trip == "stop"


@pytest.mark.parametrize(
    ("threshold", "margin", "accuracy", "limit", "tripped"),
    [
        # the most frequent action alone is right in .4 of the decision steps: .4 + margin counts
        # where it is more than the threshold, and not at all where the margin is 0
        (0.3, 0.2, 0.59, 0.6, True),
        (0.3, 0.2, 0.61, 0.6, False),
        (0.9, 0.2, 0.89, 0.9, True),
        (0.3, 0.0, 0.35, 0.3, False),
        # nothing reaches .4 + .7 = 1.1
        (0.3, 0.7, 1.0, 1.1, True),
    ],
)
def test_accuracy_must_lie_above_the_most_frequent_actions(
    threshold: float, margin: float, accuracy: float, limit: float, tripped: bool
) -> None:
    gate = {"threshold": threshold, "min_over_majority": margin}
    reading = check(imitation(accuracy), bc_accuracy=gate)["bc_accuracy"]
    assert (reading.tripped, reading.value) == (tripped, accuracy)
    assert reading.limit == pytest.approx(limit)
    assert ("most frequent action alone has 0.4" in reading.reason) == (limit > threshold)


@pytest.mark.parametrize(("explained", "tripped"), [(0.95, False), (0.85, True), (-3.0, True)])
def test_continuous_actions_are_gated_by_explained_variance(
    explained: float, tripped: bool
) -> None:
    nothing = dict.fromkeys(
        (
            *("accuracy", "val_accuracy", "val_decision_accuracy"),
            *("majority_accuracy", "majority_decision_accuracy", "accuracy_over_majority"),
        )
    )
    figures = {"val_explained_variance": explained, "val_mean_absolute_error": 0.1}
    training = imitation(0.0).model_copy(update={**nothing, **figures})
    # the share above a most frequent action means nothing here and is not asked for
    reading = check(training, bc_accuracy={"min_over_majority": 0.9})["bc_accuracy"]
    assert (reading.tripped, reading.value, reading.limit) == (tripped, explained, 0.9)
    assert reading.reason.startswith("explained variance of held-out actions")


@pytest.mark.parametrize(
    ("baseline", "loss", "limit", "tripped"),
    [
        # limit = baseline + .10 * max(|baseline|, .001)
        (2.0, 2.19, 2.2, False),
        (2.0, 2.21, 2.2, True),
        (2.0, -50.0, 2.2, False),  # better never trips
        (-2.0, -1.81, -1.8, False),  # a negative baseline's tolerance goes upwards too
        (-2.0, -1.79, -1.8, True),
        (-2.0, -9.0, -1.8, False),
        (0.0, 0.00009, 0.0001, False),  # scale .001
        (0.0, 0.00011, 0.0001, True),
        (-0.0005, -0.00041, -0.0004, False),
        (-0.0005, -0.00039, -0.0004, True),
    ],
)
def test_loss(baseline: float, loss: float, limit: float, tripped: bool) -> None:
    reading = check(practice(loss), ppo_loss=baseline)["loss"]
    assert reading.limit == pytest.approx(limit)
    assert reading.delta == pytest.approx(loss - baseline)
    assert reading.tripped is tripped


def test_the_first_ppo_stage_has_no_loss_to_compare_with() -> None:
    reading = check(practice(1e9), ppo_loss=None)["loss"]
    assert (reading.tripped, reading.value, reading.baseline) == (False, 1e9, None)
    assert reading.reason == ("loss is not applicable: no ppo stage was accepted before this one")


@pytest.mark.parametrize(
    ("direction", "baseline", "rate", "limit", "tripped"),
    [
        # limit = baseline +- .15 * max(baseline, 1)
        ("increase", 10.0, 11.4, 11.5, False),
        ("increase", 10.0, 11.6, 11.5, True),
        ("increase", 10.0, 0.0, 11.5, False),
        ("increase", 0.0, 0.14, 0.15, False),  # scale 1: a tolerance although nothing was there
        ("increase", 0.0, 0.16, 0.15, True),
        ("decrease", 10.0, 8.6, 8.5, False),
        ("decrease", 10.0, 8.4, 8.5, True),
        ("decrease", 10.0, 99.0, 8.5, False),
        ("band", 10.0, 11.6, 11.5, True),
        ("band", 10.0, 8.4, 8.5, True),
        ("band", 10.0, 11.4, 11.5, False),
        ("band", 10.0, 8.6, 8.5, False),
        ("band", 10.0, 10.0, 11.5, False),
    ],
)
@pytest.mark.parametrize(
    ("name", "event"),
    [("queue_events", "queue_conflict"), ("queue_intensity", "queue_conflict_intensity")],
)
def test_rates(
    name: str,
    event: str,
    direction: str,
    baseline: float,
    rate: float,
    limit: float,
    tripped: bool,
) -> None:
    quiet = {"queue_conflict": 3.0, "queue_conflict_intensity": 3.0}
    readings = check(
        imitation(1.0),
        evaluation(rates=quiet | {event: rate}),
        evaluation(rates=quiet | {event: baseline}),
        **{name: {"direction": direction}},
    )
    reading = readings[name]
    assert reading.limit == pytest.approx(limit)
    assert reading.delta == pytest.approx(rate - baseline)
    assert reading.tripped is tripped
    assert sum(reading.tripped for reading in readings.values()) == tripped


def test_rates_an_environment_does_not_count_are_not_applicable() -> None:
    readings = check(imitation(1.0), evaluation(rates={}), evaluation(rates={}))
    for name, event in (
        ("queue_events", "queue_conflict"),
        ("queue_intensity", "queue_conflict_intensity"),
    ):
        assert not readings[name].applicable
        assert not readings[name].tripped
        assert readings[name].value is None
        assert readings[name].reason == (
            f"{name} is not applicable: {event} is not counted by test/queues"
        )


def test_an_untrained_policy_is_no_baseline_for_rates_but_one_for_the_return() -> None:
    # It uses nothing, so nobody queues: 4 conflicts would be over 0 + .15 * 1 by far.
    idle = evaluation((0.0,) * 4, {"queue_conflict": 0.0, "queue_conflict_intensity": 0.0})
    busy = {"queue_conflict": 4.0, "queue_conflict_intensity": 6.0}
    readings = check(imitation(1.0), evaluation((-1.0,) * 4, busy), idle, trained=False)
    for name, value in (("queue_events", 4.0), ("queue_intensity", 6.0)):
        assert (readings[name].tripped, readings[name].value) == (False, value)
        assert "no trained policy was accepted before" in readings[name].reason
        assert check(imitation(1.0), evaluation(rates=busy), idle)[name].tripped
    assert readings["episode_return"].tripped


@pytest.mark.parametrize(
    ("before", "change", "tripped"),
    [
        # The change is the same in every world, so its interval is a point;
        # margin = .05 * max(|baseline|, .001)
        (10.0, -0.49, False),  # margin .5
        (10.0, -0.51, True),
        (10.0, 3.0, False),
        (-10.0, -0.49, False),  # margin .5 downwards from -10
        (-10.0, -0.51, True),
        (0.0, -0.00004, False),  # margin .00005
        (0.0, -0.00006, True),
    ],
)
def test_a_certain_change_of_the_return(before: float, change: float, tripped: bool) -> None:
    readings = check(practice(1.0), evaluation((before + change,) * 4), evaluation((before,) * 4))
    reading = readings["episode_return"]
    assert reading.tripped is tripped
    assert reading.value == pytest.approx(before + change)
    assert reading.baseline == before
    assert reading.delta == pytest.approx(change)
    assert reading.limit == pytest.approx(before - 0.05 * max(abs(before), 0.001))


def test_an_uncertain_change_of_the_return_trips_by_its_lower_bound() -> None:
    # Mean change +0.5, but worlds differ between -4 and +4: the lower bound of the mean of four
    # lies far under -0.5, though the mean itself is a gain.
    before = evaluation((10.0, 10.0, 10.0, 10.0))
    reading = check(practice(1.0), evaluation((6.0, 14.0, 8.0, 14.0)), before)["episode_return"]
    assert reading.delta == pytest.approx(0.5)
    assert reading.tripped


def test_worlds_are_paired() -> None:
    # Returns from -100 to 100 in both; every world lost exactly 0.1. The baseline's mean is 10,
    # the margin 0.5: certain and within. Unpaired, the interval would span some -+100.
    before = (-100.0, 100.0, -30.0, 70.0)
    after = tuple(value - 0.1 for value in before)
    reading = check(practice(1.0), evaluation(after), evaluation(before))["episode_return"]
    assert not reading.tripped


def test_other_seeds_cannot_be_paired() -> None:
    with pytest.raises(ValueError, match="same seeds"):
        check(practice(1.0), evaluation(seeds=(5, 6, 7, 8)))


@pytest.mark.parametrize(
    ("name", "figures", "worst", "tripped"),
    [
        # The best of each two neighbours; of these the worst.
        ("kl", (0.01, 0.06, 0.01, 0.07), 0.01, False),  # never two in a row
        ("kl", (0.01, 0.06, 0.07, 0.01), 0.06, True),
        ("kl", (0.05, 0.05, 0.05, 0.05), 0.05, False),  # at the limit is within
        ("grad_norm", (9.0, 1.0, 9.0, 1.0), 1.0, False),
        ("grad_norm", (1.0, 1.0, 2.6, 9.0), 2.6, True),
        ("entropy", (0.0, 0.5, 0.0, 0.5), 0.5, False),
        ("entropy", (0.5, 0.5, 0.009, 0.002), 0.009, True),
        ("entropy", (0.01, 0.01, 0.01, 0.01), 0.01, False),
    ],
)
def test_health(name: str, figures: tuple[float, ...], worst: float, tripped: bool) -> None:
    fine = (0.02,) * 4
    series = {"kl": fine, "grad_norm": fine, "entropy": (1.0,) * 4} | {name: figures}
    readings = check(telemetry=updates(series["kl"], series["grad_norm"], series["entropy"]))
    assert readings[name].value == pytest.approx(worst)
    assert readings[name].tripped is tripped
    assert sum(reading.tripped for reading in readings.values()) == tripped


def test_health_needs_as_many_updates_as_it_takes_to_trip() -> None:
    readings = check(telemetry=updates((9.0,)))
    assert not readings["kl"].tripped
    assert readings["kl"].reason == ("kl is not applicable: 1 updates of the 2 it takes to trip")
    assert check(telemetry=updates((9.0,)), health={"consecutive": 1})["kl"].tripped


def test_health_figures_must_be_there_and_finite() -> None:
    with pytest.raises(TrainingError, match="kl_divergence of update 1 of the stage is nan"):
        check(telemetry=updates((0.0, float("nan"))))
    with pytest.raises(ValueError, match="update 0 lacks kl_divergence"):
        check(telemetry=[{"grad_norm": 1.0, "batch_entropy_mean": 1.0}] * 2)


def test_continuous_actions_have_a_floor_of_their_own() -> None:
    """A sharp policy's differential entropy is under 0, which is no collapse."""
    sharp = updates(entropy=(-1.5, -1.5))
    reading = check(telemetry=sharp, continuous=True)["entropy"]
    assert (reading.applicable, reading.tripped) == (False, False)
    assert "min_differential_entropy is null" in reading.reason
    assert check(telemetry=sharp)["entropy"].tripped
    floor = {"min_differential_entropy": -1.0}
    assert check(telemetry=sharp, continuous=True, health=floor)["entropy"].tripped


def test_what_ships_is_the_table_of_the_documents() -> None:
    """With one deviation: ``loss``, which rises by half in stages that gain; see the file."""
    ships = compose_settings([]).anneal.guardrails
    assert (ships.bc_accuracy.threshold, ships.bc_accuracy.on_trip) == (0.90, "stop")
    assert (ships.loss.tolerance, ships.loss.on_trip) == (1.0, "hold")
    for rate in (ships.queue_events, ships.queue_intensity):
        assert (rate.tolerance, rate.direction) == (0.15, "increase")
    assert (ships.episode_return.margin, ships.episode_return.on_trip) == (0.05, "rollback")
    health = ships.health
    assert (health.max_kl, health.max_grad_norm, health.consecutive) == (0.05, 2.5, 2)
