"""Behaviour cloning: one epoch of it, and what it is judged by.

Legend: S samples, B samples of a minibatch, N actions.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from journeyman.errors import TrainingError
from journeyman.learning.demonstrations import DemonstrationTensors
from journeyman.learning.losses import imitation_loss
from journeyman.learning.network import ActorCritic
from journeyman.learning.optimizers import clip_gradients
from journeyman.settings.strategy import BCSettings

EVALUATION_ROWS = 8192
FIGURES = ("loss", "correct", "grad_norm")


@dataclass(frozen=True, kw_only=True)
class EpochFigures:
    """One pass over the training samples.

    Attributes:
        loss: mean over the minibatches, nats.
        accuracy: share of samples whose action the policy found most probable when it met them.
        grad_norm: mean global norm before clipping.
    """

    loss: float
    accuracy: float
    grad_norm: float


def train_epoch(
    network: ActorCritic,
    optimizer: torch.optim.Optimizer,
    samples: DemonstrationTensors,
    settings: BCSettings,
    *,
    rng: np.random.Generator,
    epoch: int,
) -> EpochFigures:
    """Passes once over the samples in a fresh order; every sample counts in one minibatch.

    Args:
        network: its policy is changed in place, its value function is not.
        optimizer: AdamW, its step size already set.
        samples: as the policy sees them.
        settings: minibatch size, smoothing, clipping.
        rng: draws the order.
        epoch: from 1, for messages.

    Raises:
        TrainingError: a loss or gradient is not finite.
    """
    order = torch.from_numpy(rng.permutation(len(samples))).to(network.device)
    rows = []
    for start in range(0, len(samples), settings.batch_size):
        part = samples.take(order[start : start + settings.batch_size])
        distribution = network.distribution(network.outputs(part.features, part.grid), part.bias)
        imitation = imitation_loss(
            distribution, part.actions, part.weights, settings.label_smoothing
        )
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(imitation.loss)
        norm = clip_gradients(network, settings.max_grad_norm)
        optimizer.step()
        rows.append(torch.stack([imitation.loss.detach(), imitation.correct, norm]))
    table = torch.stack(rows).cpu().numpy().astype(np.float64)
    bad = np.argwhere(~np.isfinite(table))
    if len(bad):
        minibatch, figure = bad[0]
        raise TrainingError(
            f"{FIGURES[figure]} is {table[minibatch, figure]} "
            f"(dataset {samples.label}, epoch {epoch}, minibatch {minibatch + 1})"
        )
    sizes = np.full(len(table), settings.batch_size)
    sizes[-1] = len(samples) - settings.batch_size * (len(table) - 1)
    return EpochFigures(
        loss=float(table[:, 0].mean()),
        accuracy=float((table[:, 1] * sizes).sum() / len(samples)),
        grad_norm=float(table[:, 2].mean()),
    )


def class_weights(actions: NDArray[np.int64], count: int) -> NDArray[np.float32]:
    """Returns (N,) float32, ``S / (present * count of the action)``; mean 1 over the samples.

    Args:
        actions: (S,) of the training samples.
        count: N; actions that never occur get weight 0.
    """
    histogram = np.bincount(actions, minlength=count)
    present = int((histogram > 0).sum())
    weights = len(actions) / (present * np.maximum(histogram, 1))
    return np.where(histogram > 0, weights, 0.0).astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class HeldOutFigures:
    """The policy's answers to samples it was not trained on.

    Attributes:
        loss: weighted mean cross-entropy, nats, without smoothing.
        accuracy: share answered right.
        decision_accuracy: the same on steps with a real choice.
        predicted: (S,) int64, most probable allowed actions.
    """

    loss: float
    accuracy: float
    decision_accuracy: float
    predicted: NDArray[np.int64]


def held_out_figures(
    network: ActorCritic,
    samples: DemonstrationTensors,
    decisions: NDArray[np.bool_],
    *,
    epoch: int,
) -> HeldOutFigures:
    """Answers held-out samples.

    Args:
        network: is not changed.
        samples: as the policy sees them.
        decisions: (S,) bool, at least one True.
        epoch: from 1, for messages.

    Raises:
        TrainingError: the loss is not finite.
    """
    predicted, losses = [], []
    with torch.inference_mode():
        for start in range(0, len(samples), EVALUATION_ROWS):
            rows = torch.arange(start, min(start + EVALUATION_ROWS, len(samples)))
            part = samples.take(rows.to(network.device))
            distribution = network.distribution(
                network.outputs(part.features, part.grid), part.bias
            )
            predicted.append(distribution.mode())
            losses.append(-distribution.log_prob(part.actions))
    answers = _joined(predicted)
    right = answers == samples.actions.cpu().numpy()
    weights = samples.weights.cpu().numpy().astype(np.float64)
    total = weights.sum()
    weighted = (_joined(losses).astype(np.float64) * weights).sum()
    loss = float(weighted / total) if total > 0.0 else 0.0
    if not np.isfinite(loss):
        raise TrainingError(f"val_loss is {loss} (dataset {samples.label}, epoch {epoch})")
    return HeldOutFigures(
        loss=loss,
        accuracy=float(right.mean()),
        decision_accuracy=float(right[decisions].mean()),
        predicted=answers,
    )


def _joined(parts: list[Tensor]) -> NDArray[np.int64]:
    joined: NDArray[np.int64] = torch.cat(parts).cpu().numpy()
    return joined


def confusion_matrix(
    actions: NDArray[np.int64], predicted: NDArray[np.int64], count: int
) -> NDArray[np.int64]:
    """Returns (N, N) int64: rows demonstrated, columns predicted."""
    pairs = np.bincount(actions * count + predicted, minlength=count * count)
    return pairs.reshape(count, count)


def per_action_figures(
    confusion: NDArray[np.int64], names: tuple[str, ...]
) -> dict[str, dict[str, float]]:
    """Returns precision, recall and support of each action that occurs or is predicted.

    A precision or recall over nothing is 0.
    """
    figures = {}
    for action, name in enumerate(names):
        support, answered = int(confusion[action].sum()), int(confusion[:, action].sum())
        if support + answered == 0:
            continue
        right = int(confusion[action, action])
        figures[name] = {
            "precision": right / max(answered, 1),
            "recall": right / max(support, 1),
            "support": float(support),
        }
    return figures


def majority_accuracy(train_actions: NDArray[np.int64], held_out: NDArray[np.int64]) -> float:
    """Returns the held-out accuracy of always answering the most frequent training action."""
    if len(train_actions) == 0:
        return 0.0
    return float((held_out == np.bincount(train_actions).argmax()).mean())
