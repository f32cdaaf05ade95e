"""Legend: S samples, D components of an action."""

import numpy as np
import pytest
import torch

from journeyman.data.trajectory import Demonstrations
from journeyman.learning.demonstrations import DemonstrationTensors
from journeyman.learning.judgement import (
    ChoiceFigures,
    choice_figures,
    confusion_matrix,
    held_out_figures,
    majority_accuracy,
    per_action_figures,
)
from journeyman.learning.policy import initial_checkpoint, network_from_checkpoint
from journeyman.seeding import SeedPlan
from support.action_envs import SPECS, answer
from support.training import SMALL, signal_demonstrations

CPU = torch.device("cpu")


def tensors(demonstrations):
    rows = np.arange(len(demonstrations))
    return DemonstrationTensors.from_rows(demonstrations, rows, needs_map=False, device=CPU)


def untrained(demonstrations):
    start = initial_checkpoint(SMALL, demonstrations.lane_spec, SeedPlan(0))
    return network_from_checkpoint(start, CPU)


def shown(kind, steps=40):
    features = np.random.default_rng(3).uniform(-1.0, 1.0, (steps, 3)).astype(np.float32)
    return Demonstrations(
        features=features,
        actions=answer(kind, features),
        weights=np.ones(steps, np.float32),
        trajectory_ids=np.arange(steps) // 10,
        groups=np.arange(steps // 10),
        lane_spec=SPECS[kind],
        label=kind,
    )


def column(*actions):
    return np.array(actions)[:, None]


def test_held_out_figures():
    # The untrained policy's forced steps have one allowed action: always right there.
    shown = signal_demonstrations()
    network, decisions = untrained(shown), shown.decisions()
    figures = held_out_figures(network, tensors(shown), decisions, epoch=1)
    right = figures.predicted == shown.actions
    assert right[~decisions].all()
    assert figures.accuracy == right.mean()
    assert figures.decision_accuracy == right[decisions].mean()
    assert figures.decision_accuracy < figures.accuracy
    # Almost uniform over four actions on decisions, certain elsewhere.
    assert figures.loss == pytest.approx(decisions.mean() * np.log(4.0), rel=0.02)


def test_held_out_figures_of_continuous_actions():
    # A policy whose means are 0.1 everywhere, whatever it sees, with deviation 1.
    data = shown("box")
    network = untrained(data)
    with torch.no_grad():
        network.policy_head.weight.zero_()
        network.policy_head.bias.fill_(0.1)
    figures = held_out_figures(network, tensors(data), data.decisions(), epoch=1)
    error = 0.1 - data.actions.astype(np.float64)
    assert figures.mean_absolute_error == pytest.approx(np.abs(error).mean(), abs=1e-6)
    distance = data.actions - data.actions.mean(axis=0, dtype=np.float64)
    expected = 1.0 - (error**2).sum() / (distance**2).sum()
    assert figures.explained_variance == pytest.approx(expected, abs=1e-6)
    # -log of the density of two standard normals: the mean squared error / 2 + log(2 pi)
    squared = (error**2).sum(axis=1).mean()
    assert figures.loss == pytest.approx(squared / 2.0 + np.log(2.0 * np.pi), abs=1e-5)
    assert figures.accuracy is None
    assert figures.metrics().keys() == {
        "val_loss",
        "val_mean_absolute_error",
        "val_explained_variance",
    }
    every = data.decisions()
    assert ChoiceFigures() == choice_figures(
        figures,
        data.lane_spec,
        train=data.actions,
        train_decisions=every,
        held_out=data.actions,
        decisions=every,
    )


def test_an_action_is_right_if_all_its_components_are():
    data = shown("multi_discrete")
    network = untrained(data)
    figures = held_out_figures(network, tensors(data), data.decisions(), epoch=1)
    right = figures.predicted == data.actions
    assert right.any(axis=1).sum() > right.all(axis=1).sum()
    assert figures.accuracy == figures.decision_accuracy == right.all(axis=1).mean()
    assert figures.explained_variance is None


def test_choices_of_several_components_are_compared_component_by_component():
    data = shown("multi_discrete")
    network, every = untrained(data), data.decisions()
    figures = held_out_figures(network, tensors(data), every, epoch=1)
    found = choice_figures(
        figures,
        data.lane_spec,
        train=data.actions,
        train_decisions=every,
        held_out=data.actions,
        decisions=every,
    )
    confusion = np.array(found.confusion)
    assert confusion[:2, 2:].sum() == confusion[2:, :2].sum() == 0  # components do not mix
    assert confusion[:2].sum() == confusion[2:].sum() == len(data)
    right = (figures.predicted == data.actions).sum(axis=0)
    assert [np.trace(confusion[:2, :2]), np.trace(confusion[2:, 2:])] == right.tolist()
    counts = [np.bincount(data.actions[:, 0], minlength=2), np.bincount(data.actions[:, 1])]
    assert list(found.action_histogram.values()) == np.concatenate(counts).tolist()
    # the most frequent pair of choices, not the most frequent choices
    pairs = np.bincount(3 * data.actions[:, 0] + data.actions[:, 1])
    assert found.majority_accuracy == pairs.max() / len(data)
    assert found.accuracy_over_majority == pytest.approx(
        figures.decision_accuracy - found.majority_accuracy
    )


def test_confusion_precision_and_recall():
    # Demonstrated 0 0 1, predicted 0 1 1: action 0 recall 1/2, action 1 precision 1/2.
    confusion = confusion_matrix(column(0, 0, 1), column(0, 1, 1), 3)
    assert confusion.tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 0]]
    assert per_action_figures(confusion, ("a", "b", "c")) == {
        "a": {"precision": 1.0, "recall": 0.5, "support": 2.0},
        "b": {"precision": 0.5, "recall": 1.0, "support": 1.0},
    }


def test_majority_is_the_training_sets():
    # Most frequent in training is 1; of the held-out 1 1 0 0 0 that answers two of five.
    assert majority_accuracy(column(1, 1, 0), column(1, 1, 0, 0, 0)) == 0.4
