"""A parallel environment for tests: name the number you see; runners come and go.

Runner a leaves after ``lengths[a]`` steps of the world (the last one is truncated, the others
terminate) and comes at step ``arrivals[a]``. Each sees ``[steps so far / 10, number]`` and
earns 1 for naming its number, which is drawn anew in each step.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from pettingzoo import ParallelEnv

from support.trouble import is_due

NUMBERS = 3


class Relay(ParallelEnv):
    """``trouble`` is what goes wrong at step ``trouble_at``, to runner 1 where it is anyone's.

    Rewards that are not numbers come only when they are due by ``armed``.
    """

    metadata = {"name": "relay_v0", "render_modes": ["rgb_array"]}  # noqa: RUF012

    def __init__(
        self,
        *,
        lengths: Sequence[int] = (3, 5, 8),
        arrivals: Sequence[int] = (0, 0, 0),
        action: str = "discrete",
        mask_in: str | None = None,
        trouble: str | None = None,
        trouble_at: int = 2,
        armed: str = "",
        render_mode: str | None = None,
    ) -> None:
        self.possible_agents = [f"runner_{a}" for a in range(len(lengths))]
        self.agents: list[str] = []
        self.lengths = dict(zip(self.possible_agents, lengths, strict=True))
        self.arrivals = dict(zip(self.possible_agents, arrivals, strict=False))
        self.action, self.mask_in, self.render_mode = action, mask_in, render_mode
        self.trouble, self.trouble_at, self.armed = trouble, trouble_at, armed
        self.closed, self.ever = False, 0

    def observation_space(self, agent: str) -> spaces.Space[Any]:
        seen = spaces.Box(-10.0, 10.0, (2,), np.float32)
        if self.trouble == "spaces" and agent == "runner_1":
            seen = spaces.Box(-10.0, 10.0, (3,), np.float32)
        if self.mask_in != "observation":
            return seen
        return spaces.Dict({"action_mask": spaces.MultiBinary(NUMBERS), "seen": seen})

    def action_space(self, agent: str) -> spaces.Space[Any]:
        if self.action == "box":
            return spaces.Box(-1.0, 1.0, (2,), np.float32)
        if self.action == "multi_discrete":
            return spaces.MultiDiscrete([2, 3])
        return spaces.Discrete(NUMBERS)

    def reset(self, seed: int | None = None, options: Any = None) -> tuple[Any, Any]:
        if seed is not None or not hasattr(self, "rng"):
            self.rng = np.random.default_rng(None if self.trouble == "entropy" else seed)
        self.time = 0
        self.agents = [a for a in self.possible_agents if self.arrivals[a] == 0]
        return self._seen(self.agents), self._infos(self.agents)

    def _seen(self, agents: Sequence[str]) -> dict[str, Any]:
        self.ever += 1
        carried = self.ever if self.trouble == "carry" else 0
        self.numbers = {
            agent: (int(self.rng.integers(NUMBERS)) + carried) % NUMBERS
            for agent in self.possible_agents
        }
        rows = {a: np.array([self.time / 10, self.numbers[a]], np.float32) for a in agents}
        if self.trouble == "shape" and self.time == self.trouble_at:
            rows["runner_1"] = np.zeros(4, np.float32)
        if self.trouble == "nan_obs" and self.time == self.trouble_at:
            rows["runner_1"][1] = np.nan
        if self.mask_in != "observation":
            return rows
        return {a: {"action_mask": self._mask(a).astype(np.int8), "seen": rows[a]} for a in agents}

    def _mask(self, agent: str) -> np.ndarray:
        if self.trouble == "mask" and self.time == self.trouble_at:
            return np.zeros(NUMBERS, np.bool_)
        return np.arange(NUMBERS) <= self.numbers[agent]

    def _infos(self, agents: Sequence[str]) -> dict[str, Any]:
        if self.mask_in != "info":
            return {agent: {} for agent in agents}
        return {agent: {"action_mask": self._mask(agent)} for agent in agents}

    def step(self, actions: dict[str, Any]) -> tuple[Any, ...]:
        assert list(actions) == self.agents, (list(actions), self.agents)
        assert all(self.action_space(a).contains(x) for a, x in actions.items()), actions
        self.time += 1
        now = self.time == self.trouble_at
        if now and self.trouble == "raise":
            raise RuntimeError("the track is flooded,\n  and it rains")
        acted = self.agents
        rewards = {
            a: float(np.all(np.asarray(actions[a]).ravel()[:1] == self.numbers[a])) for a in acted
        }
        ended = {a: self.time >= self.lengths[a] for a in acted}
        last = self.possible_agents[-1]
        terminated = {a: ended[a] and a != last for a in acted}
        truncated = {a: ended[a] and a == last for a in acted}
        coming = [a for a in self.possible_agents if self.arrivals[a] == self.time]
        self.agents = [a for a in acted if not ended[a]] + coming
        self.agents.sort(key=self.possible_agents.index)
        if now and self.trouble == "nan" and is_due(self.armed):
            rewards["runner_1"] = float("nan")
        if now and self.trouble == "no_reward":
            del rewards["runner_1"]
        if now and self.trouble == "flag":
            terminated["runner_1"] = 1
        if now and self.trouble == "vanish":
            self.agents.remove("runner_1")
        if now and self.trouble == "stranger":
            self.agents.append("spectator")
        shown = [*acted, *coming]
        seen = self._seen(shown)
        if now and self.trouble == "no_obs":
            del seen["runner_1"]
        return seen, rewards, terminated, truncated, self._infos(shown)

    def render(self) -> np.ndarray:
        assert self.render_mode == "rgb_array"
        picture = np.zeros((5, 7, 3), np.uint8)
        picture[0, : len(self.agents)] = 255
        picture[1, 0] = self.time
        picture[3, : self.time] = (0, 0, 255)
        picture[2, : len(self.numbers)] = [[n, n, n] for n in self.numbers.values()]
        return picture

    def close(self) -> None:
        self.closed = True


def parallel_env(**options: Any) -> Relay:
    """What ``env.module=support.relay_env`` finds."""
    return Relay(**options)
