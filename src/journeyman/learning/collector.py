"""Practice: the current policy plays all lanes for T steps into preallocated arrays.

Legend: T steps, L lanes, F features, N actions, E event kinds, R reward terms, C x h x w map.
"""

import time
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from journeyman.env.protocol import LaneEnv, StepInfo
from journeyman.errors import NotFiniteError, TrainingError, UserError, in_a_line
from journeyman.learning.guides import Guide
from journeyman.learning.network import ActorCritic
from journeyman.learning.normalization import Normalizer, RunningMoments
from journeyman.learning.policy import acting_player
from journeyman.learning.rollout import WATCHED_FEATURES, Rollout
from journeyman.learning.valuation import state_values
from journeyman.policies.numpy_actor_critic import NumpyActorCritic
from journeyman.policies.protocol import Observation, Policy


@dataclass
class _Tally:
    """What a rollout's steps add up to."""

    events: NDArray[np.float64]
    reward_terms: NDArray[np.float64]
    returns: list[NDArray[np.float64]] = field(default_factory=lambda: [np.zeros(0)])
    lengths: list[NDArray[np.int64]] = field(default_factory=lambda: [np.zeros(0, np.int64)])
    env_seconds: float = 0.0
    idled: bool = False


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
        self._idle = np.zeros(shape, np.bool_)
        self._guided = np.zeros(shape, np.bool_)
        self._prior = np.empty((0, lanes, len(spec.action_names)), np.float32)
        self._terminated = np.empty(shape, np.bool_)
        self._truncated = np.empty(shape, np.bool_)
        self._watched = {
            name: np.empty(shape, np.float32)
            for name in WATCHED_FEATURES
            if name in spec.feature_names
        }
        self._obs: Observation = {}
        self._learned: tuple[RunningMoments, NDArray[np.float32]] | None = None
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

    def collect(
        self,
        rng: np.random.Generator,
        *,
        guide: Guide | None = None,
        prior: NumpyActorCritic | None = None,
        learn_statistics: bool = True,
    ) -> Rollout:
        """Plays T steps with the network as it is, then values every state.

        Args:
            rng: source of the policy's choices.
            guide: acts in the network's stead where it is its turn.
            prior: asked what it would have put out for each state.
            learn_statistics: off: features are whitened as before, unless there are no
                statistics yet, so that the policy stays what it was.

        Raises:
            NotFiniteError: a feature, reward or log-probability is not finite.
            TrainingError: the environment failed, or handed out arrays of other shapes than it
                said it would.
        """
        env = self._env
        tally = _Tally(np.zeros(len(env.event_names)), np.zeros(len(env.reward_term_names)))
        cuts: list[tuple[int, NDArray[np.intp], NDArray[Any], NDArray[Any] | None]] = []
        player = acting_player(self._network, env.lane_spec)
        whiten = self.normalizer.features
        learns = learn_statistics or (whiten is not None and whiten.moments.count == 0)
        self._learned = None
        for t in range(self._ticks):
            self._observe(t, learn=learns)
            self._act(t, player, rng)
            if guide is not None:
                acts = self._actions[t]
                self._guided[t] = guide.take_over(self._obs, self.episode_length, acts)
            if prior is not None:
                self._note_prior(t, prior)
            rewards, terminated, truncated, info = self._step(t, tally)
            done = terminated | truncated
            idle = self._leave_out(t, info.get("idle"), tally)
            self._count(rewards, done, info, idle, tally)
            self._terminated[t], self._truncated[t] = terminated, truncated
            scale = self.normalizer.rewards
            self._rewards[t] = rewards if scale is None else scale(rewards, done, idle)
            is_cut = truncated & ~terminated
            cut = np.flatnonzero(is_cut if idle is None else is_cut & ~idle)
            if len(cut):
                cuts.append((t, cut, *self._final(info["final_obs"], cut)))
        self._observe(self._ticks, learn=False)
        self._check_finite(tally)
        values = state_values(self._network, self._features, self._grid)
        next_values = values[1:].copy()
        for t, lanes, features, grid in cuts:
            next_values[t, lanes] = state_values(self._network, features, grid)
        rollout = self._rollout(values[:-1], next_values, tally)
        return replace(
            rollout,
            guided=None if guide is None else self._guided,
            prior=None if prior is None else self._prior,
        )

    def _note_prior(self, t: int, prior: NumpyActorCritic) -> None:
        if len(self._prior) == 0:
            self._prior = np.empty((self._ticks, *self._prior.shape[1:]), np.float32)
        self._prior[t] = prior.outputs(self._obs)

    def _rollout(
        self, values: NDArray[np.float32], next_values: NDArray[np.float32], tally: _Tally
    ) -> Rollout:
        return Rollout(
            features=self._features[:-1],
            grid=None if self._grid is None else self._grid[:-1],
            mask=self._mask,
            actions=self._actions,
            log_probs=self._log_probs,
            rewards=self._rewards,
            terminated=self._terminated,
            truncated=self._truncated,
            values=values,
            next_values=next_values,
            watched=self._watched,
            events=tally.events,
            reward_terms=tally.reward_terms,
            episode_returns=np.concatenate(tally.returns),
            episode_lengths=np.concatenate(tally.lengths),
            env_seconds=tally.env_seconds,
            idle=self._idle if tally.idled else None,
        )

    def _step(
        self, t: int, tally: _Tally
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_], StepInfo]:
        began = time.perf_counter()
        try:
            self._obs, rewards, terminated, truncated, info = self._env.step(self._actions[t])
        except (TrainingError, UserError):
            raise  # it has said what is wrong, and where
        except Exception as error:
            raise TrainingError(
                f"environment {self._env.lane_spec.env_id} failed on step {t} of the rollout: "
                f"{in_a_line(error)}"
            ) from error
        tally.env_seconds += time.perf_counter() - began
        return rewards, terminated, truncated, info

    def _observe(self, t: int, *, learn: bool) -> None:
        """Copies what the lanes see into row t; the environment reuses its own arrays."""
        features = self._seen("features", t, self._features)
        whiten = self.normalizer.features
        if whiten is not None:
            if learn:
                self._learned = (whiten.moments.copy(), features)
                whiten.learn(features)
            self._features[t] = whiten(features)
        else:
            self._features[t] = features
        if self._grid is not None:
            self._grid[t] = self._seen("map", t, self._grid)
        if t == self._ticks:
            return
        if self._mask is not None:
            self._mask[t] = self._seen("action_mask", t, self._mask)
        for name, column in self._watched.items():
            column[t] = features[:, self._env.lane_spec.feature_names.index(name)]

    def _seen(self, name: str, t: int, kept: NDArray[Any]) -> NDArray[Any]:
        array = self._obs[name]
        if array.shape != kept.shape[1:]:
            raise TrainingError(
                f"environment {self._env.lane_spec.env_id}: on step {t} of the rollout {name} "
                f"has shape {array.shape}, not {kept.shape[1:]} as before"
            )
        return array

    def _leave_out(
        self, t: int, idle: NDArray[np.bool_] | None, tally: _Tally
    ) -> NDArray[np.bool_] | None:
        """Notes the lanes that made no step; the statistics forget what these saw."""
        if idle is None:
            if tally.idled:
                self._idle[t] = False
            return None
        if not tally.idled:
            self._idle[:t] = False
            tally.idled = True
        self._idle[t] = idle
        if self.normalizer.features is not None and self._learned is not None:
            # Who will idle is known only after the step, but whitening cannot wait for it. The
            # features are the environment's own array, valid for one more step.
            known, features = self._learned
            self.normalizer.features.relearn(known, features[~idle])
        return idle

    def _act(self, t: int, player: Policy, rng: np.random.Generator) -> None:
        seen = {"features": self._features[t]}
        if self._grid is not None:
            seen["map"] = self._grid[t]
        if self._mask is not None:
            seen["action_mask"] = self._mask[t]
        with np.errstate(all="ignore"):  # what is not finite is found and named at the end
            step = player.act(seen, rng)
        self._actions[t], self._log_probs[t] = step.actions, step.log_probs

    def _count(
        self,
        rewards: NDArray[np.float32],
        done: NDArray[np.bool_],
        info: StepInfo,
        idle: NDArray[np.bool_] | None,
        tally: _Tally,
    ) -> None:
        """Counts events, and the episodes that ended."""
        events, terms = info["events"], info["reward_terms"]
        self.episode_return += rewards
        if idle is None:
            self.episode_length += 1
        else:
            active = ~idle
            events, terms = events[active], terms[active]
            self.episode_length += active
            # A lane that has been idle all along has no episode to end.
            done = done & (self.episode_length > 0)
        tally.events += events.sum(axis=0, dtype=np.float64)
        tally.reward_terms += terms.sum(axis=0, dtype=np.float64)
        if done.any():
            tally.returns.append(self.episode_return[done])
            tally.lengths.append(self.episode_length[done])
            self.episode_return[done] = 0.0
            self.episode_length[done] = 0

    def _final(
        self, final_obs: Observation, lanes: NDArray[np.intp]
    ) -> tuple[NDArray[np.float32], NDArray[np.uint8] | None]:
        """Returns copies of what the cut lanes saw last, as the network would see it."""
        features = final_obs["features"][lanes]
        if self.normalizer.features is not None:
            features = self.normalizer.features(features)
        return features, None if self._grid is None else final_obs["map"][lanes]

    def _check_finite(self, tally: _Tally) -> None:
        for name, array in (
            ("features", self._features),
            ("rewards", self._rewards),
            ("log_probs", self._log_probs),
        ):
            # A sum is not finite if one term is not, and needs no array of flags beside it.
            if np.isfinite(array.sum(dtype=np.float64)):
                continue
            wrong = ~np.isfinite(array)
            if tally.idled:
                wrong[: self._ticks][self._idle] = False
            if wrong.any():
                raise NotFiniteError(
                    f"{name} not finite in environment {self._env.lane_spec.env_id}, "
                    f"first at (step, lane, ...) {np.argwhere(wrong)[0]} of the rollout"
                )
