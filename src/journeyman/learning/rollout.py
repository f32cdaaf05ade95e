"""A rollout: what T steps of all lanes were, and what is known of them.

Legend: T steps, L lanes, F features, N actions, E event kinds, R reward terms, C x h x w map.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

WATCHED_FEATURES = ("rivalry_max", "rivalry_avoid_count")
"""Features whose mean and maximum are reported as ``conflict.*`` where an environment has them."""


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """What was seen, done and earned; the arrays are overwritten by the next ``collect``.

    Attributes:
        features: (T, L, F) float32 as the network saw them (whitened, if it whitens).
        grid: (T, L, C, h, w) uint8, or None where the network reads no map.
        mask: (T, L, N) bool, or None.
        actions: (T, L) int64, (T, L, D) int64 or (T, L, D) float32, box ones not clipped.
        log_probs: (T, L) float32 of the network that acted.
        rewards: (T, L) float32 as they are learned from (scaled, if they are scaled).
        terminated: (T, L) bool.
        truncated: (T, L) bool.
        values: (T, L) float32 of the network that acted.
        next_values: (T, L) float32, values of the states the actions led to.
        watched: name -> (T, L) float32, raw values of ``WATCHED_FEATURES``.
        events: (E,) float64, sums over steps and lanes, idle steps left out as everywhere.
        reward_terms: (R,) float64, sums over steps and lanes.
        episode_returns: raw returns of the lanes' episodes that ended, in order of their end.
        episode_lengths: steps of the same episodes.
        env_seconds: time spent in the environment.
        idle: (T, L) bool, steps that were none; what the other arrays hold there means nothing.
            None: there was none.
        guided: (T, L) bool, steps on which a guide acted and not the network: its
            log-probability is not needed. None: there was none.
        prior: (T, L, N) float32, what the prior's network put out for the same states; None:
            it was not asked.
    """

    features: NDArray[np.float32]
    grid: NDArray[np.uint8] | None
    mask: NDArray[np.bool_] | None
    actions: NDArray[Any]
    log_probs: NDArray[np.float32]
    rewards: NDArray[np.float32]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    values: NDArray[np.float32]
    next_values: NDArray[np.float32]
    watched: dict[str, NDArray[np.float32]]
    events: NDArray[np.float64]
    reward_terms: NDArray[np.float64]
    episode_returns: NDArray[np.float64]
    episode_lengths: NDArray[np.int64]
    env_seconds: float
    idle: NDArray[np.bool_] | None = None
    guided: NDArray[np.bool_] | None = None
    prior: NDArray[np.float32] | None = None

    @property
    def transitions(self) -> int:
        """Steps of all lanes that were some."""
        idle = 0 if self.idle is None else int(self.idle.sum())
        return self.rewards.size - idle
