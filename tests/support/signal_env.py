"""A tiny solvable environment for tests: answer the signal you see.

Each lane sees one of ``N - 1`` signals and is rewarded for naming it. On *forced* steps (drawn
with probability ``forced``) the mask allows only ``wait``, which earns nothing. A world's
episode lasts ``length`` steps; a lane terminates early with probability ``hazard`` and goes on
as a new life in the same world episode, like a fainted town agent.

Legend: L lanes, W worlds, A agents, N actions (0 = wait, k = answer signal k).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from journeyman.env.protocol import LaneSpec
from journeyman.policies.protocol import PolicyStep, unknown


class SignalEnv:
    """Satisfies ``journeyman.env.protocol.LaneEnv``."""

    event_names = ("right", "wrong")
    reward_term_names = ("answer", "hazard")

    def __init__(
        self,
        *,
        num_worlds: int = 4,
        agents: int = 2,
        signals: int = 3,
        length: int = 20,
        forced: float = 0.3,
        hazard: float = 0.0,
    ) -> None:
        self.num_worlds, self.agents, self.signals = num_worlds, agents, signals
        self.num_envs = num_worlds * agents
        self.length, self.forced, self.hazard = length, forced, hazard
        self.social_stage = "OFF"
        self.lane_spec = LaneSpec(
            env_id="test/signal",
            feature_names=("progress", *(f"signal_{k}" for k in range(1, signals + 1))),
            action_names=("wait", *(f"answer_{k}" for k in range(1, signals + 1))),
            has_action_mask=True,
            forced_actions=(0,),
        )
        self._rngs = [np.random.Generator(np.random.PCG64(w)) for w in range(num_worlds)]
        self._tick = np.zeros(num_worlds, np.int64)
        self._signal = np.zeros(self.num_envs, np.int64)
        self._is_forced = np.zeros(self.num_envs, np.bool_)

    def reset(
        self, *, seed: int | Sequence[int] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        for w in range(self.num_worlds):
            if isinstance(seed, int):
                sequence = np.random.SeedSequence(seed, spawn_key=(w,))
                self._rngs[w] = np.random.Generator(np.random.PCG64(sequence))
            elif seed is not None:
                self._rngs[w] = np.random.Generator(np.random.PCG64(seed[w]))
            self._tick[w] = 0
            self._draw(w)
        return self._observe(), {}

    def _lanes(self, w: int) -> slice:
        return slice(w * self.agents, (w + 1) * self.agents)

    def _draw(self, w: int) -> None:
        rng = self._rngs[w]
        self._signal[self._lanes(w)] = rng.integers(1, self.signals + 1, self.agents)
        self._is_forced[self._lanes(w)] = rng.random(self.agents) < self.forced

    def _observe(self) -> dict[str, np.ndarray]:
        features = np.zeros((self.num_envs, self.signals + 1), np.float32)
        features[:, 0] = np.repeat(self._tick / self.length, self.agents)
        features[np.arange(self.num_envs), self._signal] = 1.0
        mask = np.ones((self.num_envs, self.signals + 1), np.bool_)
        mask[self._is_forced, 1:] = False
        return {"features": features, "action_mask": mask}

    def step(self, actions: np.ndarray) -> tuple[Any, ...]:
        if self._is_forced[actions != 0].any():
            raise AssertionError("a masked action was chosen")
        right = actions == self._signal
        wrong = (actions != 0) & ~right
        died = np.concatenate(
            [self._rngs[w].random(self.agents) < self.hazard for w in range(self.num_worlds)]
        )
        terms = np.stack([right.astype(np.float32), -died.astype(np.float32)], axis=1)
        self._tick += 1
        world_over = self._tick >= self.length
        truncated = np.repeat(world_over, self.agents)
        terminated = died & ~truncated
        for w in range(self.num_worlds):
            self._draw(w)
        final_obs = self._observe()
        self._tick[world_over] = 0
        info = {
            "final_obs": final_obs,
            "_final_obs": terminated | truncated,
            "world_over": world_over,
            "events": np.stack([right, wrong], axis=1).astype(np.float32),
            "reward_terms": terms,
        }
        return self._observe(), terms.sum(axis=1), terminated, truncated, info

    def set_social_stage(self, stage: str) -> None:
        self.social_stage = stage

    def demonstrator(self) -> "Answering":
        return Answering()

    def state(self) -> dict[str, np.ndarray]:
        words = []
        for rng in self._rngs:
            state = rng.bit_generator.state
            inner, low = state["state"], 2**64 - 1
            halves = [part >> shift & low for part in inner.values() for shift in (0, 64)]
            words.append(np.array([*halves, state["has_uint32"], state["uinteger"]], np.uint64))
        return {
            "rng": np.stack(words),
            "tick": self._tick.copy(),
            "signal": self._signal.copy(),
            "is_forced": self._is_forced.copy(),
        }

    def restore(self, state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        for rng, words in zip(self._rngs, state["rng"], strict=True):
            value, increment = (int(words[i]) | int(words[i + 1]) << 64 for i in (0, 2))
            rng.bit_generator.state = {
                "bit_generator": "PCG64",
                "state": {"state": value, "inc": increment},
                "has_uint32": int(words[4]),
                "uinteger": int(words[5]),
            }
        self._tick = np.array(state["tick"])
        self._signal = np.array(state["signal"])
        self._is_forced = np.array(state["is_forced"])
        return self._observe()

    def close(self) -> None:
        pass


class Player:
    """Acts by what ``choose`` returns; log-probabilities and values stay unknown."""

    label: str

    def choose(
        self, obs: Mapping[str, np.ndarray], rng: np.random.Generator, deterministic: bool
    ) -> np.ndarray:
        raise NotImplementedError

    def act(
        self,
        obs: Mapping[str, np.ndarray],
        rng: np.random.Generator,
        *,
        deterministic: bool = False,
    ) -> PolicyStep:
        actions = self.choose(obs, rng, deterministic)
        return PolicyStep(actions, unknown(len(actions)), unknown(len(actions)))


class Answering(Player):
    """The demonstrator: always right, waits when forced."""

    label = "demonstrator"

    def choose(
        self, obs: Mapping[str, np.ndarray], rng: np.random.Generator, deterministic: bool
    ) -> np.ndarray:
        signal = obs["features"][:, 1:].argmax(axis=1) + 1
        return np.where(obs["action_mask"][:, 1:].any(axis=1), signal, 0).astype(np.int64)


class Constant(Player):
    """Names signal 1 whenever it may, whatever it sees."""

    label = "constant"

    def choose(
        self, obs: Mapping[str, np.ndarray], rng: np.random.Generator, deterministic: bool
    ) -> np.ndarray:
        return obs["action_mask"][:, 1].astype(np.int64)
