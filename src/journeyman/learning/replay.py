"""Recorded play as practice learns from it: valued by the critic of today, and checked for age.

Advantages are estimated anew for every update, from the values of the critic as it is then: those
that were recorded belong to a value function that may have known less, or to none.

Legend: S steps of all trajectories, K trajectories, T steps of the longest, F features,
N outputs of the policy, D components of an action, C x h x w map.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from journeyman.data.trajectory import Trajectory
from journeyman.env.protocol import LaneSpec
from journeyman.errors import UserError
from journeyman.learning.batch import PracticeBatch
from journeyman.learning.distributions import mask_bias
from journeyman.learning.gae import Advantages, generalised_advantages
from journeyman.learning.network import ActorCritic
from journeyman.learning.normalization import Normalizer
from journeyman.learning.tensors import as_tensor
from journeyman.learning.valuation import action_log_probs, state_values


class Staleness(NamedTuple):
    """How far the policy has moved from the one that acted in recorded play.

    Attributes:
        kl: mean((r - 1) - log r) over all steps, Schulman's k3 estimate of KL(recorded, policy),
            nats; r is the ratio of the action's probability now to what it was then.
        effective_sample_share: (sum r)^2 / (S sum r^2), in (0, 1]: how many samples of equal
            weight are worth as much as these, of each (Kong 1992).
    """

    kl: float
    effective_sample_share: float

    @classmethod
    def of(cls, log_probs: NDArray[np.float32], recorded: NDArray[np.float32]) -> "Staleness":
        """Compares log-probabilities (S,) of the policy with recorded ones.

        >>> Staleness.of(np.log([0.3, 0.1]), np.log([0.2, 0.2])).effective_sample_share
        0.8
        """
        log_ratios = np.subtract(log_probs, recorded, dtype=np.float64)
        # Scaled by the largest, which cancels out, so that no square overflows.
        scaled = np.exp(log_ratios - log_ratios.max())
        share = scaled.sum() ** 2 / (len(scaled) * np.square(scaled).sum())
        # exp of more than 700 is infinite in float64; past there only "very stale" matters.
        kl = np.mean(np.expm1(np.minimum(log_ratios, 700.0)) - log_ratios)
        return cls(float(kl), round(float(share), 12))


@dataclass(frozen=True, kw_only=True)
class RecordedPlay:
    """The steps of all trajectories, one after another.

    Attributes:
        label: the dataset's name, for messages.
        features: (S, F) float32, raw.
        grid: (S, C, h, w), or None where the network reads no map.
        mask: (S, N) bool, or None.
        actions: (S,) or (S, D).
        log_probs: (S,) float32 of the policy that acted; NaN where unknown.
        rewards: (S,) float32, raw.
        terminated: (S,) bool.
        truncated: (S,) bool.
        lengths: (K,) int64, steps of each trajectory.
        final_features: (K, F) float32, after the last step; 0 where unknown.
        final_grid: (K, C, h, w), likewise, or None.
        usable: (S,) bool: steps of which it is known where they led, or that it was nowhere.
            A trajectory that is cut off without its final observation ends in a step that is
            not; so does every episode truncated within one. Such a step is not learned from.
    """

    label: str
    features: NDArray[np.float32]
    grid: NDArray[Any] | None
    mask: NDArray[np.bool_] | None
    actions: NDArray[Any]
    log_probs: NDArray[np.float32]
    rewards: NDArray[np.float32]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    lengths: NDArray[np.int64]
    final_features: NDArray[np.float32]
    final_grid: NDArray[Any] | None
    usable: NDArray[np.bool_]

    @classmethod
    def of(
        cls, trajectories: Iterable[Trajectory], spec: LaneSpec, *, label: str, needs_map: bool
    ) -> Self:
        """Joins trajectories of any lengths that fit a spec.

        Args:
            trajectories: at least one.
            spec: what the policy sees and does.
            label: the dataset's name.
            needs_map: whether the network reads the map.

        Raises:
            UserError: no step can be learned from.
        """
        parts = list(trajectories)
        lengths = np.array([len(part) for part in parts])
        terminated = np.concatenate([part.terminated for part in parts])
        truncated = np.concatenate([part.truncated for part in parts])
        has_final = np.array([_has_final(part, needs_map) for part in parts])
        last = np.cumsum(lengths) - 1
        usable = ~truncated | terminated
        usable[last] = has_final | terminated[last]
        if not usable.any():
            raise UserError(
                f"dataset {label!r}: it is known of no step where it led (there are no final "
                "observations), so nothing can be learned from the rewards"
            )
        return cls(
            label=label,
            features=np.concatenate([part.features for part in parts]),
            grid=np.concatenate([_map_of(part) for part in parts]) if needs_map else None,
            mask=_masks(parts, spec),
            actions=np.concatenate([part.actions for part in parts]),
            log_probs=np.concatenate([part.old_log_probs for part in parts]),
            rewards=np.concatenate([part.rewards for part in parts]),
            terminated=terminated,
            truncated=truncated,
            lengths=lengths,
            final_features=np.stack([_final_features(part) for part in parts]),
            final_grid=np.stack([_final_map(part) for part in parts]) if needs_map else None,
            usable=usable,
        )

    def __len__(self) -> int:
        return len(self.rewards)

    @property
    def unknown(self) -> int:
        """Steps without a log-probability."""
        return int(np.isnan(self.log_probs).sum())

    @property
    def baselines(self) -> dict[str, float | int]:
        """The figures of the recording that an update's telemetry repeats."""
        total = float(self.rewards.sum(dtype=np.float64))
        return {
            "baseline_sample_count": len(self.lengths),
            "baseline_reward_mean": total / len(self),
            "baseline_reward_sum": total,
            "baseline_reward_sum_mean": total / len(self.lengths),
            "baseline_log_prob_mean": float(self.log_probs.mean(dtype=np.float64)),
        }

    def with_log_probs(self, log_probs: NDArray[np.float32]) -> Self:
        """Returns the same play with log-probabilities (S,) replaced."""
        return replace(self, log_probs=log_probs)

    def padded(self, column: NDArray[Any], fill: Any) -> NDArray[Any]:
        """Returns (T, K): a column (S, ) trajectory by trajectory, filled up at their ends."""
        whole = np.full((int(self.lengths.max()), len(self.lengths)), fill, column.dtype)
        whole[self.positions] = column
        return whole

    @property
    def positions(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Step and trajectory (S,) of each step: where it is in a padded column."""
        starts = np.cumsum(self.lengths) - self.lengths
        steps = np.arange(len(self)) - np.repeat(starts, self.lengths)
        return steps, np.repeat(np.arange(len(self.lengths)), self.lengths)


def _has_final(part: Trajectory, needs_map: bool) -> bool:
    return part.final_features is not None and (not needs_map or part.final_map is not None)


def _final_features(part: Trajectory) -> NDArray[np.float32]:
    known = part.final_features
    return np.zeros_like(part.features[0]) if known is None else known


def _map_of(part: Trajectory) -> NDArray[Any]:
    assert part.map is not None  # the spec was compared
    return part.map


def _final_map(part: Trajectory) -> NDArray[Any]:
    return np.zeros_like(_map_of(part)[0]) if part.final_map is None else part.final_map


def _masks(parts: list[Trajectory], spec: LaneSpec) -> NDArray[np.bool_] | None:
    """Returns (S, N); where a trajectory has none, all was allowed for all that is known."""
    if not spec.has_action_mask:
        return None
    everything = len(spec.action_names)
    return np.concatenate(
        [
            np.ones((len(part), everything), np.bool_)
            if part.action_mask is None
            else part.action_mask
            for part in parts
        ]
    )


def learn_statistics(play: RecordedPlay, normalizer: Normalizer) -> None:
    """Fits what a policy normalises by to recorded play, where there are no statistics yet."""
    if normalizer.features is not None and normalizer.features.moments.count == 0:
        normalizer.features.learn(play.features)
    rewards = normalizer.rewards
    if rewards is not None and rewards.moments.count == 0:
        fitted = rewards.over(len(play.lengths))
        paid, done = play.padded(play.rewards, 0.0), play.padded(_done(play), False)
        missing = play.padded(np.zeros(len(play), np.bool_), True)
        for step in range(len(paid)):
            fitted(paid[step], done[step], missing[step])


def _done(play: RecordedPlay) -> NDArray[np.bool_]:
    return play.terminated | play.truncated


class Appraisal(NamedTuple):
    """Recorded play as an update learns from it.

    Attributes:
        batch: the usable steps.
        advantages: of these, (B,) each.
        values: (B,) float32.
        rewards: (B,) float32, as they are learned from.
        staleness: of all steps.
    """

    batch: PracticeBatch
    advantages: Advantages
    values: NDArray[np.float32]
    rewards: NDArray[np.float32]
    staleness: Staleness


def appraise(
    play: RecordedPlay,
    network: ActorCritic,
    normalizer: Normalizer,
    *,
    gamma: float,
    gae_lambda: float,
) -> Appraisal:
    """Values recorded play by the network as it is, and measures how old it is to it.

    Args:
        play: with known log-probabilities.
        network: actor and critic of today.
        normalizer: how they see features and rewards; its statistics stay as they are.
        gamma: discount a step.
        gae_lambda: lambda of generalised advantage estimation.
    """
    features, final = play.features, play.final_features
    rewards = play.rewards
    if normalizer.features is not None:
        features, final = normalizer.features(features), normalizer.features(final)
    if normalizer.rewards is not None:
        rewards = normalizer.rewards.scaled(rewards)
    log_probs = action_log_probs(network, features, play.grid, play.mask, play.actions)
    values = state_values(network, features, play.grid)
    next_values = np.concatenate([values[1:], values[:1]])
    next_values[np.cumsum(play.lengths) - 1] = state_values(network, final, play.final_grid)
    padded = generalised_advantages(
        play.padded(rewards, 0.0),
        play.padded(values, 0.0),
        play.padded(next_values, 0.0),
        play.padded(play.terminated, True),
        play.padded(play.truncated, False),
        gamma=gamma,
        gae_lambda=gae_lambda,
        idle_TL=play.padded(~play.usable, True),
    )
    rows = np.flatnonzero(play.usable)
    advantages = Advantages(*(column[play.positions][rows] for column in padded))
    device = network.device
    columns = np.stack([play.log_probs[rows], values[rows], *advantages])
    mask, grid = play.mask, play.grid
    batch = PracticeBatch(
        features=as_tensor(features[rows], device),
        grid=None if grid is None else as_tensor(grid[rows], device),
        bias=None if mask is None else mask_bias(as_tensor(mask[rows], device)),
        actions=as_tensor(play.actions[rows], device),
        columns=as_tensor(columns, device),
        recorded=len(rows),
        label=play.label,
    )
    staleness = Staleness.of(log_probs, play.log_probs)
    return Appraisal(batch, advantages, values[rows], rewards[rows], staleness)
