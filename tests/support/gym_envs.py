"""Small Gymnasium environments: each shows one kind of space, or breaks one rule.

Importing this module registers them: ``support.gym_envs:journeyman-test/Counter-v0``.
"""

import os
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv

from journeyman.env.wrappers import register_wrapper
from support.trouble import is_due


def env_id(name: str) -> str:
    """Returns the id under which one of these environments is configured."""
    return f"support.gym_envs:journeyman-test/{name}-v0"


class Counter(gymnasium.Env[Any, Any]):
    """Sees (steps made, a number drawn at the episode's start); ends after 3 to 6 steps.

    The reward is 10 times the action plus the steps made. ``trouble`` breaks it at step
    ``when`` of an episode (0: its last), if it is due by ``armed``.
    """

    def __init__(self, trouble: str = "", when: int = 3, armed: str = "") -> None:
        self.observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
        self.action_space = spaces.Discrete(2)
        self.trouble, self.when, self.armed = trouble, when, armed

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        if self.trouble == "reset":
            raise RuntimeError("the box is locked: 100%s")
        self.steps, self.length = 0, int(self.np_random.integers(3, 7))
        self.drawn = self.np_random.random()
        return self._seen(), {}

    def _seen(self) -> np.ndarray:
        return np.array([self.steps, self.drawn], np.float32)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        self.steps += 1
        seen: Any = self._seen()
        reward: Any = 10.0 * action + self.steps
        if self.steps == (self.when or self.length) and is_due(self.armed):
            match self.trouble:
                case "raise":
                    raise RuntimeError("the box is locked: 100%s")
                case "raise in lines":
                    raise RuntimeError("the box is locked\n\n  by two locks\r\n  and a bolt\n")
                case "exit":
                    os._exit(7)
                case "nan reward":
                    reward = float("nan")
                case "nan observation":
                    seen[1] = np.nan
                case "shape":
                    seen = np.zeros(3, np.float32)
                case "scalar":
                    seen = np.float32(0.0)
                case "text":
                    seen = np.array(["a", "b"])
                case "array reward":
                    reward = np.array([reward])
        return seen, reward, self.steps >= self.length, False, {}


class Unseeded(Counter):
    """Draws from a generator that no seed reaches."""

    chance = np.random.Generator(np.random.PCG64(7))

    def _seen(self) -> np.ndarray:
        return np.array([self.steps, self.chance.random()], np.float32)


class Painter(Counter):
    """Draws the steps made in red and the drawn number in green; ``canvas`` false: nothing."""

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"]}  # noqa: RUF012

    def __init__(self, render_mode: str | None = None, canvas: bool = True) -> None:
        super().__init__()
        self.render_mode, self.canvas = render_mode, canvas

    def render(self) -> Any:
        if not self.canvas:
            raise RuntimeError("no canvas")
        assert self.render_mode == "rgb_array"
        return np.full((4, 6, 3), [self.steps, 255 * self.drawn, 0], np.uint8)


class Picture(Counter):
    """Shows nothing but a picture of the steps made."""

    def __init__(self) -> None:
        super().__init__()
        self.observation_space = spaces.Box(0, 255, (5, 5, 3), np.uint8)

    def _seen(self) -> np.ndarray:
        return np.full((5, 5, 3), self.steps, np.uint8)


class Motley(gymnasium.Env[Any, Any]):
    """Sees a Dict of everything that can be flattened, a picture and a mask.

    The mask closes the action of the last step; an action that the mask closed raises.
    """

    def __init__(self) -> None:
        self.observation_space = spaces.Dict(
            {
                "suit": spaces.Discrete(3, start=5),
                "hand": spaces.MultiDiscrete([2, 3]),
                "bits": spaces.MultiBinary(2),
                "pair": spaces.Tuple((spaces.Box(-1.0, 1.0, (), np.float64), spaces.Discrete(2))),
                "camera": spaces.Box(0, 255, (4, 6, 3), np.uint8),
                "action_mask": spaces.MultiBinary(3),
            }
        )
        self.action_space = spaces.Discrete(3, start=10)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps, self.closed = 0, 11
        return self._seen(), {}

    def _seen(self) -> dict[str, Any]:
        mask = np.ones(3, np.int8)
        mask[self.closed - 10] = 0
        return {
            "suit": np.int64(5 + self.steps % 3),
            "hand": np.array([self.steps % 2, 2]),
            "bits": np.array([1, 0], np.int8),
            "pair": (np.array(0.5), self.steps % 2),
            "camera": np.full((4, 6, 3), [self.steps, 20, 30], np.uint8),
            "action_mask": mask,
        }

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        assert action in self.action_space
        if action == self.closed:
            raise RuntimeError(f"{action} is closed")
        self.steps, self.closed = self.steps + 1, int(action)
        return self._seen(), 1.0, False, self.steps == 5, {}


class Masked(gymnasium.Env[Any, Any]):
    """Tells what can be done in its info alone; nothing can, from step ``shut`` on."""

    def __init__(self, shut: int = 1000) -> None:
        self.observation_space = spaces.Discrete(4)
        self.action_space = spaces.MultiDiscrete([2, 3])
        self.shut = shut

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps = 0
        return 0, self._info()

    def _info(self) -> dict[str, Any]:
        open_now = int(self.steps < self.shut)
        return {"action_mask": (np.array([open_now, 0], np.int8), np.array([0, open_now, 0]))}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action)
        self.steps += 1
        return self.steps % 4, 0.0, False, False, self._info()


class Reach(gymnasium.Env[Any, Any]):
    """A 2 x 1 box action in float64 with bounds on one side; sees the action as it came."""

    def __init__(self) -> None:
        self.observation_space = spaces.Box(-np.inf, np.inf, (2, 1), np.float64)
        self.action_space = spaces.Box(
            np.array([[-1.0], [-np.inf]]), np.array([[0.5], [np.inf]]), dtype=np.float64
        )

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return np.zeros((2, 1)), {}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action)
        return action, 0.0, False, False, {}


class Odd(gymnasium.Env[Any, Any]):
    """Spaces of which nothing can be used."""

    observation_space = spaces.Dict(
        {
            "name": spaces.Text(4),
            "deep": spaces.Tuple((spaces.Sequence(spaces.Discrete(3)), spaces.Discrete(2))),
        }
    )
    action_space = spaces.MultiBinary(4)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        return {}, {}


class CounterVector(VectorEnv[Any, Any, Any]):
    """``Counter`` by code of its own, every episode 3 steps long, in any autoreset mode."""

    mode = AutoresetMode.NEXT_STEP

    def __init__(
        self,
        num_envs: int,
        max_episode_steps: int | None = None,
        trouble: str = "",
        armed: str = "",
        **_: Any,
    ) -> None:
        self.num_envs, self.metadata = num_envs, {"autoreset_mode": self.mode}
        self.trouble, self.armed = trouble, armed
        single = Counter()
        self.single_observation_space = single.observation_space
        self.single_action_space = single.action_space
        self.observation_space = gymnasium.vector.utils.batch_space(
            single.observation_space, num_envs
        )
        self.action_space = gymnasium.vector.utils.batch_space(single.action_space, num_envs)

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        if options is not None:
            self._begin(options["reset_mask"])
        else:
            self.steps, self.drawn = np.zeros((2, self.num_envs))
            self.ended = np.zeros(self.num_envs, np.bool_)
            self._begin(np.ones(self.num_envs, np.bool_))
        return self._seen(), {}

    def _begin(self, lanes: np.ndarray) -> None:
        self.steps[lanes], self.ended[lanes] = 0, False
        self.drawn[lanes] = self.np_random.random(int(lanes.sum()))

    def _seen(self) -> np.ndarray:
        return np.stack([self.steps, self.drawn], axis=1).astype(np.float32)

    def step(self, actions: np.ndarray) -> tuple[Any, ...]:
        begun = self.ended.copy()
        if self.mode == AutoresetMode.DISABLED:
            assert not begun.any(), "a lane that ended was not reset"
        self.steps += 1
        if self.mode == AutoresetMode.NEXT_STEP:
            self._begin(begun)
        else:
            begun[:] = False
        rewards = np.where(begun, 0.0, 10.0 * actions + self.steps)
        self.ended = (self.steps >= 3) & ~begun
        if self.trouble == "nan reward" and self.ended.any() and is_due(self.armed):
            rewards[-1] = np.nan
        ended, info = self.ended.copy(), {}
        if self.mode == AutoresetMode.SAME_STEP and ended.any():
            final = np.full(self.num_envs, None, object)
            for lane in np.flatnonzero(ended):
                final[lane] = self._seen()[lane]
            info = {"final_obs": final, "_final_obs": ended}
            self._begin(ended)
        return self._seen(), rewards, ended, np.zeros_like(ended), info


class SameStepVector(CounterVector):
    """Begins anew in the step of the end."""

    mode = AutoresetMode.SAME_STEP


class DisabledVector(CounterVector):
    """Leaves beginning anew to its caller."""

    mode = AutoresetMode.DISABLED


class SecretiveVector(CounterVector):
    """Keeps its state where it cannot be saved."""

    def __init__(self, num_envs: int, **kwargs: Any) -> None:
        super().__init__(num_envs, **kwargs)
        self.secrets = [object()]


class Doubled(gymnasium.RewardWrapper[Any, Any]):
    """Doubles rewards, or multiplies them by ``factor``."""

    def __init__(self, env: gymnasium.Env[Any, Any], factor: float = 2.0) -> None:
        super().__init__(env)
        self.factor = factor

    def reward(self, reward: Any) -> Any:
        return self.factor * reward


_IDS = {
    "Counter": (Counter, None),
    "Unseeded": (Unseeded, None),
    "Painter": (Painter, None),
    "Picture": (Picture, None),
    "Motley": (Motley, None),
    "Masked": (Masked, None),
    "Reach": (Reach, None),
    "Odd": (Odd, None),
    "NextStep": (Counter, CounterVector),
    "SameStep": (Counter, SameStepVector),
    "Disabled": (Counter, DisabledVector),
    "Secretive": (Counter, SecretiveVector),
}
for _name, (_single, _vector) in _IDS.items():
    if f"journeyman-test/{_name}-v0" not in gymnasium.registry:
        gymnasium.register(
            f"journeyman-test/{_name}-v0",
            entry_point=f"support.gym_envs:{_single.__name__}",
            vector_entry_point=f"support.gym_envs:{_vector.__name__}" if _vector else None,
        )
register_wrapper("Doubled", Doubled)
