"""Running statistics of features and returns, as a checkpoint carries them.

Legend: L lanes, F features.
"""

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from journeyman.policies.numpy_actor_critic import Array, Whitening

REWARD_CLIP = 10.0
"""Scaled rewards are kept within this range."""


class RunningMoments:
    """Mean and variance of a stream of rows (Chan et al. 1983), in float64.

    Attributes:
        count: rows seen.
        mean: (F,) float64.
        squares: (F,) float64, sum of squared deviations from the mean.
    """

    def __init__(self, width: int) -> None:
        self.count = 0.0
        self.mean: NDArray[np.float64] = np.zeros(width)
        self.squares: NDArray[np.float64] = np.zeros(width)

    def update(self, rows: NDArray[Any]) -> None:
        """Takes in rows (B, F), possibly none."""
        count = len(rows)
        if count == 0:
            return
        mean = rows.mean(axis=0, dtype=np.float64)
        squares = np.square(rows - mean).sum(axis=0)
        total = self.count + count
        delta = mean - self.mean
        self.mean = self.mean + delta * (count / total)
        self.squares = self.squares + squares + np.square(delta) * (self.count * count / total)
        self.count = total

    def copy(self) -> "RunningMoments":
        """Returns the statistics as they are now; later updates leave the copy alone."""
        moments = RunningMoments(0)
        # Updates replace these arrays and never write into them.
        moments.count, moments.mean, moments.squares = self.count, self.mean, self.squares
        return moments

    def arrays(self, prefix: str) -> dict[str, NDArray[Any]]:
        """Returns the statistics as arrays named ``prefix_count``, ``_mean``, ``_squares``."""
        return {
            f"{prefix}_count": np.array([self.count]),
            f"{prefix}_mean": self.mean,
            f"{prefix}_squares": self.squares,
        }

    @classmethod
    def from_arrays(cls, part: Mapping[str, NDArray[Any]], prefix: str) -> Self | None:
        """The inverse of ``arrays``; None where the part holds no such statistics."""
        if f"{prefix}_count" not in part:
            return None
        moments = cls(len(part[f"{prefix}_mean"]))
        moments.count = float(part[f"{prefix}_count"][0])
        moments.mean = part[f"{prefix}_mean"].copy()
        moments.squares = part[f"{prefix}_squares"].copy()
        return moments


class FeatureNormalizer:
    """Whitens features by statistics that grow with every observation practised on.

    Attributes:
        moments: the statistics.
        whitening: what they mean for features now.
    """

    def __init__(self, moments: RunningMoments) -> None:
        self.moments = moments
        self.whitening = self._refreshed()

    def _refreshed(self) -> Whitening:
        moments = self.moments
        return Whitening.from_moments(moments.count, moments.mean, moments.squares)

    def learn(self, features: Array) -> None:
        """Takes features (L, F) into the statistics."""
        self.moments.update(features)
        self.whitening = self._refreshed()

    def relearn(self, before: RunningMoments, features: Array) -> None:
        """Forgets what was learned since ``before`` was copied and takes features in instead."""
        self.moments = before
        self.learn(features)

    def __call__(self, features: Array) -> Array:
        """Returns whitened features, float32; the statistics stay as they are."""
        return self.whitening(features)


class RewardNormalizer:
    """Divides rewards by the running deviation of each lane's discounted return.

    The return runs backwards in time as in OpenAI Baselines' ``VecNormalize``:
    ``R_t = gamma R_{t-1} + r_t``, from 0 after each end.
    """

    def __init__(self, moments: RunningMoments, returns_L: NDArray[np.float64], gamma: float):
        self.moments, self.returns_L, self.gamma = moments, returns_L, gamma

    def __call__(
        self, rewards: Array, done: NDArray[np.bool_], idle: NDArray[np.bool_] | None = None
    ) -> Array:
        """Takes a step's rewards (L,) into the statistics and returns them scaled, float32.

        Args:
            rewards: (L,).
            done: (L,), lanes whose episode ended in this step.
            idle: (L,), lanes that made no step: their running return waits. None: none.
        """
        running = self.returns_L * self.gamma + rewards
        if idle is None:
            self.returns_L = running
            self.moments.update(running[:, None])
        else:
            self.returns_L = np.where(idle, self.returns_L, running)
            self.moments.update(running[~idle, None])
        self.returns_L[done] = 0.0
        return self.scaled(rewards)

    def over(self, lanes: int) -> "RewardNormalizer":
        """Returns a normaliser of other lanes that adds to the same statistics."""
        return RewardNormalizer(self.moments, np.zeros(lanes), self.gamma)

    def scaled(self, rewards: Array) -> Array:
        """Returns rewards of any shape scaled, float32; the statistics stay as they are."""
        variance = self.moments.squares[0] / max(self.moments.count, 1.0)
        scaled = rewards / np.float32(np.sqrt(variance + 1e-8))
        clipped: Array = np.clip(scaled, -REWARD_CLIP, REWARD_CLIP).astype(np.float32)
        return clipped


class Normalizer:
    """Both options; a part that is off passes values through and holds nothing.

    Attributes:
        features: or None.
        rewards: or None.
    """

    def __init__(
        self, features: FeatureNormalizer | None, rewards: RewardNormalizer | None
    ) -> None:
        self.features, self.rewards = features, rewards

    @classmethod
    def start(
        cls,
        part: Mapping[str, NDArray[Any]],
        *,
        width: int,
        lanes: int,
        gamma: float,
        normalize_features: bool,
        normalize_rewards: bool,
    ) -> Self:
        """Goes on from a checkpoint's ``normalizer`` arrays, or from nothing.

        Args:
            part: arrays of the owner ``normalizer``, possibly none.
            width: F.
            lanes: L; running returns of another number of lanes start from 0 again.
            gamma: discount of the running returns.
            normalize_features: whether features are whitened.
            normalize_rewards: whether rewards are scaled.
        """
        features = rewards = None
        if normalize_features:
            moments = RunningMoments.from_arrays(part, "feature") or RunningMoments(width)
            features = FeatureNormalizer(moments)
        if normalize_rewards:
            moments = RunningMoments.from_arrays(part, "return") or RunningMoments(1)
            running = part.get("running_return", np.zeros(0))
            returns_L = running.copy() if len(running) == lanes else np.zeros(lanes)
            rewards = RewardNormalizer(moments, returns_L, gamma)
        return cls(features, rewards)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Returns the arrays of a checkpoint's owner ``normalizer``."""
        arrays: dict[str, NDArray[Any]] = {}
        if self.features is not None:
            arrays |= self.features.moments.arrays("feature")
        if self.rewards is not None:
            arrays |= self.rewards.moments.arrays("return")
            arrays["running_return"] = self.rewards.returns_L
        return arrays
