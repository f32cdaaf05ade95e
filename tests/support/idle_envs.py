"""Signal environments whose lanes are idle at times.

Legend: L lanes.
"""

from typing import Any

import numpy as np

from support.signal_env import SignalEnv


class NextStepEnv(SignalEnv):
    """Begins an episode anew in a step of its own (Gymnasium's NEXT_STEP autoreset).

    In that step the lanes still see the final observation, whose progress is 1.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._over = np.zeros(self.num_worlds, np.bool_)

    def step(self, actions: np.ndarray) -> tuple[Any, ...]:
        idle = np.repeat(self._over, self.agents)
        self._tick[self._over] = -1
        _, rewards, terminated, truncated, info = super().step(np.where(idle, 0, actions))
        self._over = info["world_over"]
        self._tick[self._over] = self.length
        if idle.any():
            info["idle"] = idle
        return self._observe(), rewards, terminated, truncated, info

    def state(self) -> dict[str, np.ndarray]:
        return {**super().state(), "over": self._over.copy()}

    def restore(self, state: Any) -> dict[str, np.ndarray]:
        self._over = np.array(state["over"])
        return super().restore(state)


class GoneEnv(SignalEnv):
    """The second agent of each world dies in its step ``dies_at`` and is gone until the end.

    While it is gone it is shown ones, paid nothing, and truncated with the others.
    """

    def __init__(self, *, dies_at: int, **options: Any) -> None:
        super().__init__(agents=2, **options)
        self.dies_at = dies_at

    def step(self, actions: np.ndarray) -> tuple[Any, ...]:
        second = np.arange(self.num_envs) % 2 == 1
        gone = second & np.repeat(self._tick >= self.dies_at, 2)
        dying = second & np.repeat(self._tick == self.dies_at - 1, 2)
        obs, rewards, terminated, truncated, info = super().step(np.where(gone, 0, actions))
        info["_final_obs"] |= dying
        obs["features"][second & np.repeat(self._tick >= self.dies_at, 2)] = 1.0
        # What happens where nobody is must not be counted.
        info["events"][gone] = 7.0
        if gone.any():
            info["idle"] = gone
        return obs, rewards, terminated | dying, truncated, info
