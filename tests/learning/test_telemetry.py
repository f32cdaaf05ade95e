"""Legend: T steps, L lanes, M minibatches."""

import numpy as np
import pytest

from journeyman.learning.gae import Advantages
from journeyman.learning.rollout import Rollout
from journeyman.learning.telemetry import (
    Learned,
    UpdateClock,
    correlation,
    event_metrics,
    explained_variance,
    rollout_metrics,
    root_mean_squared,
    update_metrics,
)
from journeyman.learning.update import FIGURES, UpdateFigures

EVENTS = ("queue_conflict", "queue_conflict_intensity", "chat_success", "chat_quality", "faint")


def rollout(*, events=(3.0, 4.75, 2.0, 1.3, 1.0), returns=(5.0, 8.0), idle=None):
    """Two steps of three lanes."""
    ones = np.ones((2, 3), np.float32)
    rising = np.arange(6, dtype=np.float32).reshape(2, 3)
    return Rollout(
        features=np.zeros((2, 3, 1), np.float32),
        grid=None,
        mask=None,
        actions=np.zeros((2, 3), np.int64),
        log_probs=ones,
        rewards=rising,
        terminated=np.zeros((2, 3), np.bool_),
        truncated=np.zeros((2, 3), np.bool_),
        values=ones,
        next_values=ones,
        watched={"rivalry_max": np.array([[0.1, 0.2, 0.3], [0.5, 0.0, 0.1]], np.float32)},
        events=np.array(events),
        reward_terms=np.zeros(1),
        episode_returns=np.array(returns),
        episode_lengths=np.array([4, 7][: len(returns)], np.int64),
        env_seconds=0.0,
        idle=idle,
    )


def measured(**options):
    """Two epochs of two minibatches; every figure is its minibatch's number, 1 to 4."""
    table = np.tile(np.arange(1.0, 5.0, dtype=np.float32)[:, None], (1, len(FIGURES)))
    table[:, FIGURES.index("clip_fraction")] = [0.0, 0.2, 0.0, 0.6]
    table[:, FIGURES.index("adv_zero_std")] = [1.0, 0.0, 1.0, 0.0]
    rising = np.arange(6, dtype=np.float32).reshape(2, 3)
    played = rollout(**options)
    return update_metrics(
        UpdateFigures(table=table, epochs=2, samples=12, seconds=1.0),
        Learned.of(played, Advantages(-rising, rising)),
        learning_rate=3e-4,
        data_mode="rollout",
        ticks=2,
    ) | rollout_metrics(played, EVENTS)


def test_figures_are_means_over_all_minibatches_and_not_the_last_ones():
    metrics = measured()
    for name in ("loss_policy", "loss_value", "loss_entropy", "loss_total", "grad_norm"):
        assert metrics[name] == 2.5  # (1 + 2 + 3 + 4) / 4
    assert metrics["kl_divergence_max"] == metrics["grad_norm_max"] == 4.0
    assert metrics["batch_entropy_mean"] == 2.5
    assert metrics["batch_entropy_std"] == pytest.approx(np.sqrt(1.25))
    assert metrics["adv_min_std"] == 1.0
    assert metrics["clip_fraction"] == pytest.approx(0.2)
    assert metrics["clip_fraction_max"] == pytest.approx(0.6)
    assert metrics["clip_triggered_minibatches"] == 2
    assert metrics["adv_zero_std_batches"] == 2


def test_counts_are_whole_numbers():
    metrics = measured()
    for name in (
        "transitions",
        "rollout_ticks",
        "adv_zero_std_batches",
        "clip_triggered_minibatches",
        "queue_conflict_events",
        "chat_success_events",
    ):
        assert type(metrics[name]) is int, name
    assert (metrics["transitions"], metrics["rollout_ticks"]) == (6, 2)


def test_events_are_named_and_what_an_environment_lacks_is_left_out():
    metrics = event_metrics(rollout(), EVENTS)
    assert metrics == {
        "queue_conflict_events": 3,
        "queue_conflict_intensity_sum": 4.75,
        "chat_success_events": 2,
        "chat_quality_mean": pytest.approx(0.65),  # 1.3 over two chats
    }
    silent = event_metrics(rollout(events=(0.0, 0.0, 0.0, 0.0, 0.0)), EVENTS)
    assert "chat_quality_mean" not in silent
    assert silent["chat_success_events"] == 0


def test_rivalry_is_averaged_over_lanes():
    # Means over time .3, .1, .2; maxima .5, .2, .3.
    metrics = measured()
    assert metrics["conflict.rivalry_max_mean_avg"] == pytest.approx(0.2)
    assert metrics["conflict.rivalry_max_max_avg"] == pytest.approx(1.0 / 3.0)
    assert "conflict.rivalry_avoid_count_mean_avg" not in metrics


def test_idle_steps_are_in_no_figure():
    # Lane 2 is idle throughout and lane 0 in its second step. Of what is left the rivalry is
    # .1 | .2 0: means .1 and .1, maxima .1 and .2; the rewards are 0, 1 and 4.
    idle = np.array([[False, False, True], [True, False, True]])
    metrics = measured(idle=idle)
    assert metrics["conflict.rivalry_max_mean_avg"] == pytest.approx(0.1)
    assert metrics["conflict.rivalry_max_max_avg"] == pytest.approx(0.15)
    assert metrics["transitions"] == 3
    rising = np.arange(6, dtype=np.float32).reshape(2, 3)
    learned = Learned.of(rollout(idle=idle), Advantages(-rising, rising))
    assert learned.rewards.tolist() == [0.0, 1.0, 4.0]
    assert learned.advantages.tolist() == [0.0, -1.0, -4.0]


def test_there_is_no_rate_of_an_environment_without_one():
    figures = UpdateFigures(table=np.zeros((1, 1)), epochs=1, samples=12, seconds=2.0)
    clock = UpdateClock()
    clock.collected()
    clock.optimised()
    assert clock.metrics(0, figures)["update_samples_per_sec"] == 6.0
    assert "env_steps_per_sec" not in clock.metrics(0, figures)
    assert clock.metrics(5, figures)["env_steps_per_sec"] > 0.0


def test_what_is_undefined_is_left_out():
    assert measured()["episode_return_mean"] == 6.5
    assert measured()["episode_length_mean"] == 5.5  # of 4 and 7 steps
    assert not {"episode_return_mean", "episode_length_mean"} & measured(returns=()).keys()
    assert measured()["reward_advantage_corr"] == pytest.approx(-1.0)
    flat, rising = np.ones(6, np.float32), np.arange(6, dtype=np.float32)
    assert correlation(flat, rising) is None
    assert explained_variance(rising, flat) is None


def test_the_values_error_is_in_units_of_the_return():
    # Errors 3 and -1: sqrt((9 + 1) / 2) = sqrt(5).
    assert root_mean_squared(np.array([3.0, -1.0], np.float32)) == pytest.approx(5**0.5)


def test_explained_variance():
    # Perfect values explain all; constant ones nothing; reversed ones less than nothing:
    # returns 0 1 2 have variance 2/3, the errors -2 0 2 have 8/3: 1 - 4 = -3.
    returns = np.array([0.0, 1.0, 2.0], np.float32)
    assert explained_variance(returns, returns) == pytest.approx(1.0)
    assert explained_variance(np.full(3, 9.0, np.float32), returns) == pytest.approx(0.0)
    assert explained_variance(returns[::-1], returns) == pytest.approx(-3.0)
