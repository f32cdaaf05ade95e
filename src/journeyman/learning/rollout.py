"""Practice: the current policy plays all lanes for T steps into preallocated arrays.

Legend: T steps, L lanes, F features, N actions, E event kinds, R reward terms, C x h x w map.
"""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from journeyman.env.protocol import LaneEnv
from journeyman.errors import TrainingError
from journeyman.learning.network import ActorCritic
from journeyman.learning.normalization import Normalizer
from journeyman.learning.tensors import as_tensor
from journeyman.policies.actions import choose
from journeyman.policies.protocol import Observation

WATCHED_FEATURES = ("rivalry_max", "rivalry_avoid_count")
"""Features whose mean and maximum are reported as ``conflict.*`` where an environment has them."""

VALUE_ROWS = 4096
"""Rows valued at once; more would leave the processor's cache."""


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
        events: (E,) float64, sums over steps and lanes.
        reward_terms: (R,) float64, sums over steps and lanes.
        episode_returns: raw returns of the lanes' episodes that ended, in order of their end.
        episode_lengths: steps of the same episodes.
        env_seconds: time spent in the environment.
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


class Collector:
    """Plays an environment on and on; lanes go on from one rollout to the next.

    Attributes:
        episode_return: (L,) float64, raw reward of each lane's current episode so far.
        episode_length: (L,) int64, its steps so far.
    """

    def __init__(
        self, env: LaneEnv, network: ActorCritic, normalizer: Normalizer, *, ticks: int
    ) -> None:
        self._env, self._network, self._ticks = env, network, ticks
        self.normalizer = normalizer
        spec, lanes = env.lane_spec, env.num_envs
        shape = (ticks, lanes)
        self._features = np.empty((ticks + 1, lanes, len(spec.feature_names)), np.float32)
        self._grid = None
        if network.needs_map and spec.map_shape is not None:
            self._grid = np.empty((ticks + 1, lanes, *spec.map_shape), np.uint8)
        self._mask = None
        if spec.has_action_mask:
            self._mask = np.empty((*shape, len(spec.action_names)), np.bool_)
        self._actions = np.empty((*shape, *spec.action_shape), spec.action_dtype)
        self._log_probs = np.empty(shape, np.float32)
        self._rewards = np.empty(shape, np.float32)
        self._terminated = np.empty(shape, np.bool_)
        self._truncated = np.empty(shape, np.bool_)
        self._watched = {
            name: np.empty(shape, np.float32)
            for name in WATCHED_FEATURES
            if name in spec.feature_names
        }
        self._obs: Observation = {}
        self.episode_return = np.zeros(lanes)
        self.episode_length = np.zeros(lanes, np.int64)

    def begin(
        self,
        obs: Observation,
        *,
        episode_return: NDArray[Any] | None = None,
        episode_length: NDArray[Any] | None = None,
    ) -> None:
        """Says what the lanes see now, and what their episodes have brought so far."""
        lanes = self._env.num_envs
        self._obs = obs
        self.episode_return = np.zeros(lanes) if episode_return is None else episode_return.copy()
        self.episode_length = (
            np.zeros(lanes, np.int64) if episode_length is None else episode_length.copy()
        )

    def collect(self, rng: np.random.Generator) -> Rollout:
        """Plays T steps with the network as it is, then values every state.

        Args:
            rng: source of the policy's choices.

        Raises:
            TrainingError: if a feature, reward or log-probability is not finite.
        """
        ended: list[tuple[NDArray[np.float64], NDArray[np.int64]]] = []
        cuts: list[tuple[int, NDArray[np.intp], NDArray[Any], NDArray[Any] | None]] = []
        events = np.zeros(len(self._env.event_names))
        reward_terms = np.zeros(len(self._env.reward_term_names))
        env_seconds = 0.0
        for t in range(self._ticks):
            self._observe(t, learn=True)
            self._act(t, rng)
            began = time.perf_counter()
            self._obs, rewards, terminated, truncated, info = self._env.step(self._actions[t])
            env_seconds += time.perf_counter() - began
            events += info["events"].sum(axis=0, dtype=np.float64)
            reward_terms += info["reward_terms"].sum(axis=0, dtype=np.float64)
            self._terminated[t], self._truncated[t] = terminated, truncated
            ended += self._count_episodes(rewards, terminated | truncated)
            self._rewards[t] = self._learnable_rewards(rewards, terminated | truncated)
            cut = np.flatnonzero(truncated & ~terminated)
            if len(cut):
                cuts.append((t, cut, *self._final(info["final_obs"], cut)))
        self._observe(self._ticks, learn=False)
        self._check_finite()
        values = self._values(self._features, self._grid)
        next_values = values[1:].copy()
        for t, lanes, features, grid in cuts:
            next_values[t, lanes] = self._values(features, grid)
        return Rollout(
            features=self._features[:-1],
            grid=None if self._grid is None else self._grid[:-1],
            mask=self._mask,
            actions=self._actions,
            log_probs=self._log_probs,
            rewards=self._rewards,
            terminated=self._terminated,
            truncated=self._truncated,
            values=values[:-1],
            next_values=next_values,
            watched=self._watched,
            events=events,
            reward_terms=reward_terms,
            episode_returns=np.concatenate([np.zeros(0), *(r for r, _ in ended)]),
            episode_lengths=np.concatenate([np.zeros(0, np.int64), *(n for _, n in ended)]),
            env_seconds=env_seconds,
        )

    def _observe(self, t: int, *, learn: bool) -> None:
        """Copies what the lanes see into row t; the environment reuses its own arrays."""
        features = self._obs["features"]
        whiten = self.normalizer.features
        if whiten is not None:
            if learn:
                whiten.learn(features)
            self._features[t] = whiten(features)
        else:
            self._features[t] = features
        if self._grid is not None:
            self._grid[t] = self._obs["map"]
        if t == self._ticks:
            return
        if self._mask is not None:
            self._mask[t] = self._obs["action_mask"]
        for name, column in self._watched.items():
            column[t] = features[:, self._env.lane_spec.feature_names.index(name)]

    def _act(self, t: int, rng: np.random.Generator) -> None:
        device = self._network.device
        grid = None if self._grid is None else as_tensor(self._grid[t], device)
        with torch.inference_mode():
            outputs = self._network.outputs(as_tensor(self._features[t], device), grid)
        mask = None if self._mask is None else self._mask[t]
        self._actions[t], self._log_probs[t] = choose(
            self._env.lane_spec,
            outputs.cpu().numpy(),
            self._network.log_std_array(),
            mask,
            rng,
            deterministic=False,
        )

    def _count_episodes(
        self, rewards: NDArray[np.float32], done: NDArray[np.bool_]
    ) -> list[tuple[NDArray[np.float64], NDArray[np.int64]]]:
        self.episode_return += rewards
        self.episode_length += 1
        if not done.any():
            return []
        ended = (self.episode_return[done], self.episode_length[done])
        self.episode_return[done] = 0.0
        self.episode_length[done] = 0
        return [ended]

    def _learnable_rewards(
        self, rewards: NDArray[np.float32], done: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        scale = self.normalizer.rewards
        return rewards if scale is None else scale(rewards, done)

    def _final(
        self, final_obs: Observation, lanes: NDArray[np.intp]
    ) -> tuple[NDArray[np.float32], NDArray[np.uint8] | None]:
        """Returns copies of what the cut lanes saw last, as the network would see it."""
        features = final_obs["features"][lanes]
        if self.normalizer.features is not None:
            features = self.normalizer.features(features)
        return features, None if self._grid is None else final_obs["map"][lanes]

    def _values(
        self, features: NDArray[np.float32], grid: NDArray[np.uint8] | None
    ) -> NDArray[np.float32]:
        """Values of any number of states; leading axes are kept."""
        lead = features.shape[: features.ndim - 1]
        rows = features.reshape(-1, features.shape[-1])
        maps = None if grid is None else grid.reshape(-1, *grid.shape[-3:])
        values = np.empty(len(rows), np.float32)
        device = self._network.device
        with torch.inference_mode():
            for start in range(0, len(rows), VALUE_ROWS):
                part = slice(start, start + VALUE_ROWS)
                tensor: Tensor = self._network.values(
                    as_tensor(rows[part], device),
                    None if maps is None else as_tensor(maps[part], device),
                )
                values[part] = tensor.cpu().numpy()
        return values.reshape(lead)

    def _check_finite(self) -> None:
        for name, array in (
            ("features", self._features),
            ("rewards", self._rewards),
            ("log_probs", self._log_probs),
        ):
            # A sum is not finite if one term is not, and needs no array of flags beside it.
            if not np.isfinite(array.sum(dtype=np.float64)):
                bad = np.argwhere(~np.isfinite(array))
                if len(bad):
                    raise TrainingError(f"{name} not finite, first at (step, lane, ...) {bad[0]}")
