"""Behaviour cloning: one epoch of it.

Legend: S samples, N choices, D components of an action.
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
from journeyman.learning.optimizers import FlatOptimizer
from journeyman.learning.plain import PlainImitation, is_plain
from journeyman.settings.strategy import BCSettings

FIGURES = ("loss", "correct", "absolute_error", "grad_norm")


@dataclass(frozen=True, kw_only=True)
class EpochFigures:
    """One pass over the training samples.

    Attributes:
        loss: mean over the minibatches, nats.
        accuracy: share of samples whose action the policy found most probable when it met them;
            None for continuous actions.
        mean_absolute_error: of the policy's mean when it met them; None for choices.
        grad_norm: mean global norm before clipping.
    """

    loss: float
    accuracy: float | None
    mean_absolute_error: float | None
    grad_norm: float


def train_epoch(
    network: ActorCritic,
    optimizer: FlatOptimizer,
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
    plain = None
    if settings.label_smoothing == 0.0 and is_plain(network):
        plain = PlainImitation(network, optimizer, max_grad_norm=settings.max_grad_norm)
    for start in range(0, len(samples), settings.batch_size):
        part = samples.take(order[start : start + settings.batch_size])
        if plain is not None:
            rows.append(_plain_step(plain, part))
            continue
        distribution = network.distribution(network.outputs(part.features, part.grid), part.bias)
        imitation = imitation_loss(
            distribution, part.actions, part.weights, settings.label_smoothing
        )
        norm = optimizer.descend(imitation.loss, settings.max_grad_norm, value=False)
        figures = (imitation.loss.detach(), imitation.correct, imitation.absolute_error, norm)
        rows.append(torch.stack(figures))
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
    correct, error = (sizes @ table[:, 1:3] / len(samples)).tolist()
    continuous = samples.actions.is_floating_point()
    return EpochFigures(
        loss=float(table[:, 0].mean()),
        accuracy=None if continuous else correct,
        mean_absolute_error=error if continuous else None,
        grad_norm=float(table[:, 3].mean()),
    )


def _plain_step(plain: PlainImitation, part: DemonstrationTensors) -> Tensor:
    """One gradient step; returns ``FIGURES`` (4,)."""
    bias = None if part.bias is None else part.bias.numpy()
    loss, correct, norm = plain.step(
        part.features.numpy(), bias, part.actions.numpy(), part.weights.numpy()
    )
    return torch.tensor([loss, correct, 0.0, norm])


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


def rarity_weights(actions: NDArray[np.int64], sizes: tuple[int, ...]) -> NDArray[np.float32]:
    """Returns (S,) float32: the mean over components of each choice's ``class_weights``.

    Args:
        actions: (S, D) of the training samples.
        sizes: choices of each of the D components.
    """
    columns = zip(actions.T, sizes, strict=True)
    by_component = [class_weights(column, size)[column] for column, size in columns]
    weights: NDArray[np.float32] = np.mean(by_component, axis=0, dtype=np.float32)
    return weights
