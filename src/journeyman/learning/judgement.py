"""What imitation is judged by: answers to samples it was not trained on.

Legend: S samples, N outputs of the policy, D components of an action.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from journeyman.env.protocol import LaneSpec
from journeyman.errors import TrainingError
from journeyman.learning.demonstrations import DemonstrationTensors
from journeyman.learning.network import ActorCritic
from journeyman.policies.actions import output_positions

EVALUATION_ROWS = 8192


@dataclass(frozen=True, kw_only=True)
class HeldOutFigures:
    """The policy's answers to samples it was not trained on.

    Attributes:
        loss: weighted mean cross-entropy, nats, without smoothing; box: negative log-density.
        accuracy: share answered right, in all components; None for continuous actions.
        decision_accuracy: the same on steps with a real choice.
        mean_absolute_error: of the policy's means; None for choices.
        explained_variance: share of the actions' variance that the means explain (the
            coefficient of determination, over all components together); None for choices.
        predicted: (S,) or (S, D), most probable allowed actions.
    """

    loss: float
    accuracy: float | None = None
    decision_accuracy: float | None = None
    mean_absolute_error: float | None = None
    explained_variance: float | None = None
    predicted: NDArray[Any]

    def named(self) -> dict[str, float | None]:
        """Returns the figures under the names that results have for them."""
        return {
            "val_loss": self.loss,
            "val_accuracy": self.accuracy,
            "val_decision_accuracy": self.decision_accuracy,
            "val_mean_absolute_error": self.mean_absolute_error,
            "val_explained_variance": self.explained_variance,
        }

    def metrics(self) -> dict[str, float]:
        """Returns the figures there are, under the names they are emitted by."""
        return {name: figure for name, figure in self.named().items() if figure is not None}


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
        samples: as the policy sees them; continuous actions must vary.
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
            outputs = network.outputs(part.features, part.grid)
            distribution = network.distribution(outputs, part.bias)
            predicted.append(distribution.mode())
            losses.append(-distribution.log_prob(part.actions))
    weights = samples.weights.cpu().numpy().astype(np.float64)
    total = weights.sum()
    weighted = (_joined(losses).astype(np.float64) * weights).sum()
    loss = float(weighted / total) if total > 0.0 else 0.0
    if not np.isfinite(loss):
        raise TrainingError(f"val_loss is {loss} (dataset {samples.label}, epoch {epoch})")
    answers, actions = _joined(predicted), samples.actions.cpu().numpy()
    if samples.actions.is_floating_point():
        error = answers.astype(np.float64) - actions
        spread = actions - actions.mean(axis=0, dtype=np.float64)
        return HeldOutFigures(
            loss=loss,
            mean_absolute_error=float(np.abs(error).mean()),
            explained_variance=1.0 - float(np.square(error).sum() / np.square(spread).sum()),
            predicted=answers,
        )
    right = answers == actions
    if right.ndim > 1:
        right = right.all(axis=1)
    return HeldOutFigures(
        loss=loss,
        accuracy=float(right.mean()),
        decision_accuracy=float(right[decisions].mean()),
        predicted=answers,
    )


def _joined(parts: list[Tensor]) -> NDArray[Any]:
    joined: NDArray[Any] = torch.cat(parts).cpu().numpy()
    return joined


def confusion_matrix(
    actions: NDArray[np.int64], predicted: NDArray[np.int64], count: int
) -> NDArray[np.int64]:
    """Returns (N, N) int64: rows demonstrated, columns predicted.

    Args:
        actions: (S, D) as ``output_positions`` has them: each component's choices lie apart.
        predicted: likewise.
        count: N.
    """
    pairs = np.bincount((actions * count + predicted).ravel(), minlength=count * count)
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
    """Returns the held-out accuracy of always answering the most frequent training action.

    Args:
        train_actions: (S, D); an action is all its components together.
        held_out: likewise.
    """
    if len(train_actions) == 0:
        return 0.0
    known, counts = np.unique(train_actions, axis=0, return_counts=True)
    return float((held_out == known[counts.argmax()]).all(axis=1).mean())


@dataclass(frozen=True, kw_only=True)
class ChoiceFigures:
    """How choices were answered beyond the share of right ones; fields as in the result.

    For continuous actions all are None or empty.
    """

    majority_accuracy: float | None = None
    majority_decision_accuracy: float | None = None
    accuracy_over_majority: float | None = None
    per_action: dict[str, dict[str, float]] = field(default_factory=dict)
    confusion: tuple[tuple[int, ...], ...] = ()
    action_histogram: dict[str, int] = field(default_factory=dict)


def choice_figures(
    figures: HeldOutFigures,
    spec: LaneSpec,
    *,
    train: NDArray[Any],
    train_decisions: NDArray[np.bool_],
    held_out: NDArray[Any],
    decisions: NDArray[np.bool_],
) -> ChoiceFigures:
    """Compares answers with what is demonstrated, choice by choice.

    Args:
        figures: the answers to the held-out samples.
        spec: names of the choices.
        train: actions of the training samples.
        train_decisions: of the training samples, which had a real choice.
        held_out: actions of the held-out samples.
        decisions: of the held-out samples.
    """
    if figures.decision_accuracy is None:
        return ChoiceFigures()
    sizes, names = spec.action_sizes, spec.action_names
    train_SD, held_out_SD = output_positions(train, sizes), output_positions(held_out, sizes)
    decided = held_out_SD[decisions]
    predicted = output_positions(figures.predicted, sizes)[decisions]
    confusion = confusion_matrix(decided, predicted, len(names))
    majority_decision = majority_accuracy(train_SD[train_decisions], decided)
    histogram = np.bincount(train_SD.ravel(), minlength=len(names)).tolist()
    return ChoiceFigures(
        majority_accuracy=majority_accuracy(train_SD, held_out_SD),
        majority_decision_accuracy=majority_decision,
        accuracy_over_majority=figures.decision_accuracy - majority_decision,
        per_action=per_action_figures(confusion, names),
        confusion=tuple(tuple(row) for row in confusion.tolist()),
        action_histogram=dict(zip(names, histogram, strict=True)),
    )
