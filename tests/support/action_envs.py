"""A tiny environment for every kind of action, whose right answer is known in closed form.

Legend: L lanes, W worlds, A agents of one world (lane = w * A + a), D components.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from journeyman.env.protocol import LaneSpec
from journeyman.policies.protocol import PolicyStep, unknown

WEIGHTS = np.array([[0.5, -1.0], [1.0, 0.25], [-0.75, 0.5]], np.float32)
SHIFT = np.array([0.2, -0.3], np.float32)

SPECS = {
    "box": LaneSpec(
        env_id="test/answer_box",
        feature_names=("a", "b", "c"),
        action_names=("x", "y"),
        action_kind="box",
        action_low=(-3.0, -math.inf),
        action_high=(3.0, math.inf),
    ),
    "multi_discrete": LaneSpec(
        env_id="test/answer_multi",
        feature_names=("a", "b", "c"),
        action_names=("low", "high", "first", "second", "third"),
        action_kind="multi_discrete",
        action_sizes=(2, 3),
    ),
    "discrete": LaneSpec(
        env_id="test/answer_discrete",
        feature_names=("a", "b", "c"),
        action_names=("first", "second", "third"),
    ),
}


def answer(kind: str, features: np.ndarray) -> np.ndarray:
    """Returns the right actions for features (..., 3)."""
    if kind == "box":
        return (features @ WEIGHTS + SHIFT).astype(np.float32)
    largest = features.argmax(axis=-1)
    if kind == "discrete":
        return largest
    return np.stack([(features[..., 0] > 0).astype(np.int64), largest], axis=-1)


class AnswerEnv:
    """Every step shows three numbers in [-1, 1]; the reward falls with the distance to right.

    It counts no events. With ``idles`` a world that ended begins anew in a step of its own
    (Gymnasium's NEXT_STEP autoreset), in which its lanes are idle.
    """

    event_names = ()
    reward_term_names = ("answer",)

    def __init__(
        self,
        kind: str,
        *,
        num_worlds: int = 4,
        agents: int = 1,
        length: int = 5,
        idles: bool = False,
        terminates: bool = False,
    ) -> None:
        self.kind, self.lane_spec = kind, SPECS[kind]
        self.num_worlds, self.agents, self.num_envs = num_worlds, agents, num_worlds * agents
        self.length, self.idles, self.terminates = length, idles, terminates
        self._rng = np.random.default_rng(0)
        self._tick = np.zeros(num_worlds, np.int64)
        self._over = np.zeros(num_worlds, np.bool_)
        self._features = np.zeros((self.num_envs, 3), np.float32)

    def reset(
        self, *, seed: int | Sequence[int] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        self._rng = np.random.default_rng(seed)
        # Worlds are out of step, so that they end at different times.
        self._tick = np.arange(self.num_worlds) % self.length
        self._over[:] = False
        return self._look(), {}

    def _look(self) -> dict[str, np.ndarray]:
        self._features = self._rng.uniform(-1.0, 1.0, (self.num_envs, 3)).astype(np.float32)
        return {"features": self._features}

    def step(self, actions: np.ndarray) -> tuple[Any, ...]:
        idle = np.repeat(self._over, self.agents) if self.idles else np.zeros(self.num_envs, bool)
        miss = np.abs(actions - answer(self.kind, self._features)).reshape(self.num_envs, -1)
        rewards = np.where(idle, 0.0, -miss.sum(axis=1)).astype(np.float32)
        self._tick += ~self._over
        self._tick[self._over] = 0
        self._over = self._tick >= self.length
        ended = np.repeat(self._over, self.agents)
        terminated, truncated = (
            (ended, ~ended & ended) if self.terminates else (~ended & ended, ended)
        )
        final_obs = self._look()
        obs = final_obs
        if not self.idles:
            self._tick[self._over] = 0
            obs = {
                "features": np.where(
                    ended[:, None], self._look()["features"], final_obs["features"]
                )
            }
            self._features = obs["features"]
        info = {
            "final_obs": final_obs,
            "_final_obs": ended,
            "world_over": self._over.copy(),
            "events": np.zeros((self.num_envs, 0), np.float32),
            "reward_terms": rewards[:, None],
        }
        if not self.idles:
            self._over[:] = False
        if idle.any():
            info["idle"] = idle
        return obs, rewards, terminated, truncated, info

    def set_social_stage(self, stage: str) -> None:
        assert stage == "OFF"

    def demonstrator(self) -> "Answerer":
        return Answerer(self.kind)

    def state(self) -> dict[str, np.ndarray]:
        raise NotImplementedError("captures and imitation need no state")

    def restore(self, state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        raise NotImplementedError("captures and imitation need no state")

    def close(self) -> None:
        pass


class Answerer:
    """The demonstrator: always right."""

    label = "answerer"

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def act(self, obs, rng, *, deterministic=False) -> PolicyStep:
        actions = answer(self.kind, obs["features"])
        return PolicyStep(actions, unknown(len(actions)), unknown(len(actions)))
