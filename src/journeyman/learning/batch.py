"""What an update learns from, and how it is dealt out in minibatches.

Legend: T steps, L lanes, B samples (T * L but for idle ones), F features, N outputs of the policy,
D components of an action.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from journeyman.errors import TrainingError
from journeyman.learning.distributions import mask_bias
from journeyman.learning.gae import Advantages
from journeyman.learning.rollout import Rollout
from journeyman.learning.tensors import as_tensor
from journeyman.settings.strategy import PPOSettings


@dataclass(frozen=True, kw_only=True)
class PracticeBatch:
    """What an update learns from, as flat tensors on the network's device.

    Attributes:
        features: (B, F) float32.
        grid: (B, C, h, w) uint8, or None.
        bias: (B, N) float32 of ``mask_bias``, or None.
        actions: (B,) or (B, D) int64, or (B, D) float32.
        columns: (5, B) float32: log-probabilities of the policy that acted, values at its time,
            advantages, returns, and how much a sample counts in the policy's terms: 0 where a
            guide acted. Without guided samples (4, B): all count the same.
        prior: (B, N) float32, outputs of the prior's network, or None.
        recorded: the last so many samples are recorded play, the others fresh. Where there are
            both, every minibatch draws from both.
        label: the dataset's name, for messages.
    """

    features: Tensor
    grid: Tensor | None
    bias: Tensor | None
    actions: Tensor
    columns: Tensor
    prior: Tensor | None = None
    recorded: int = 0
    label: str = "rollout"

    @classmethod
    def of(cls, rollout: Rollout, advantages: Advantages, device: torch.device) -> "PracticeBatch":
        """Flattens a rollout, idle steps left out; on the CPU without copying what is large.

        Raises:
            TrainingError: every step was idle.
        """
        columns = [rollout.log_probs, rollout.values, *advantages]
        if rollout.guided is not None:
            columns.append((~rollout.guided).astype(np.float32))
        real = None if rollout.idle is None else np.flatnonzero(~rollout.idle)
        if real is not None and len(real) == 0:
            raise TrainingError("no lane made a step in the whole rollout: all were idle")

        def flat(array: NDArray[Any]) -> Tensor:
            rows = array.reshape(rollout.log_probs.size, *array.shape[2:])
            return as_tensor(rows if real is None else rows[real], device)

        grid, mask = rollout.grid, rollout.mask
        return cls(
            features=flat(rollout.features),
            grid=None if grid is None else flat(grid),
            bias=None if mask is None else mask_bias(flat(mask)),
            actions=flat(rollout.actions),
            columns=torch.stack([flat(column) for column in columns]),
            prior=None if rollout.prior is None else flat(rollout.prior),
        )

    def beside(self, recorded: "PracticeBatch") -> "PracticeBatch":
        """Returns these samples and, after them, recorded ones."""

        def both(mine: Tensor | None, theirs: Tensor | None) -> Tensor | None:
            return None if mine is None or theirs is None else torch.cat([mine, theirs])

        columns = [self.columns, recorded.columns]
        if len(self.columns) != len(recorded.columns):
            columns = [_with_weights(part) for part in columns]
        return PracticeBatch(
            features=torch.cat([self.features, recorded.features]),
            grid=both(self.grid, recorded.grid),
            bias=both(self.bias, recorded.bias),
            actions=torch.cat([self.actions, recorded.actions]),
            columns=torch.cat(columns, dim=1),
            recorded=len(recorded),
            label=f"{self.label} and {recorded.label}",
        )

    def __len__(self) -> int:
        return len(self.actions)


def _with_weights(columns: Tensor) -> Tensor:
    """Returns (5, B) columns; those without weights get weights of 1."""
    if len(columns) == 5:
        return columns
    return torch.cat([columns, torch.ones_like(columns[:1])])


@dataclass(frozen=True, kw_only=True)
class Minibatch:
    """Rows of a practice batch, gathered; fields as there."""

    features: Tensor
    grid: Tensor | None
    bias: Tensor | None
    actions: Tensor
    columns: Tensor
    prior: Tensor | None = None


def epoch_plan(
    batch: PracticeBatch, settings: PPOSettings, rng: np.random.Generator
) -> tuple[NDArray[np.int64], list[int]]:
    """Returns an epoch's samples in a fresh order, and where in it each minibatch ends.

    Every sample comes once; the last minibatch takes what is left. With fresh and recorded
    samples every fresh one comes once, and beside each minibatch's fresh ones there are as many
    recorded ones as ``replay_share`` asks for, each as often as any other, give or take one.
    """
    size, recorded = settings.minibatch_size, batch.recorded
    fresh = len(batch) - recorded
    if recorded == 0 or fresh == 0:
        return rng.permutation(len(batch)), [*range(size, len(batch), size), len(batch)]
    beside = min(max(1, round(size * settings.replay_share)), size - 1)
    own = size - beside
    parts = np.split(rng.permutation(fresh), range(own, fresh, own))
    wanted = [max(1, round(len(part) * beside / own)) for part in parts]
    passes = [rng.permutation(recorded) for _ in range(-(-sum(wanted) // recorded))]
    drawn = np.split(fresh + np.concatenate(passes)[: sum(wanted)], np.cumsum(wanted)[:-1])
    minibatches = [np.concatenate(pair) for pair in zip(parts, drawn, strict=True)]
    ends = np.cumsum([len(minibatch) for minibatch in minibatches]).tolist()
    return np.concatenate(minibatches), ends


def minibatches(
    batch: PracticeBatch, order: NDArray[np.int64], ends: Sequence[int]
) -> Iterator[Minibatch]:
    """Yields the minibatches of an epoch."""
    positions = torch.from_numpy(order).to(batch.actions.device)
    # What is small is permuted once; what is large is gathered when it is its turn.
    columns = batch.columns.index_select(1, positions)
    actions = batch.actions.index_select(0, positions)
    for start, end in pairwise([0, *ends]):
        rows = positions[start:end]
        yield Minibatch(
            features=batch.features.index_select(0, rows),
            grid=None if batch.grid is None else batch.grid.index_select(0, rows),
            bias=None if batch.bias is None else batch.bias.index_select(0, rows),
            actions=actions[start:end],
            columns=columns[:, start:end],
            prior=None if batch.prior is None else batch.prior.index_select(0, rows),
        )
