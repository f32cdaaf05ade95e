"""Gymnasium environments in processes of their own.

Observations are laid out where they arise, so that features, map and mask cross over in shared
memory, and what fails is named there.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, AutoresetMode
from numpy.typing import NDArray

from journeyman.env.lane import Frame, Lane
from journeyman.env.making import GymEnv
from journeyman.env.spaces import Arrays, ObservationLayout


class LaneGym(gymnasium.Env[Arrays, Any]):
    """A ``Lane`` as a Gymnasium environment whose observations are laid out already.

    ``reset(seed=...)`` begins the lane with that seed, ``reset()`` its next episode: what
    Gymnasium calls in the step that ends one.

    Args:
        make: builds the environment.
        env_id: for messages.
        number: which lane this is.
        layout: of its observations.
    """

    def __init__(
        self, make: Callable[[], GymEnv], env_id: str, number: int, layout: ObservationLayout
    ) -> None:
        self._lane = Lane(make(), env_id, number, layout)
        self._obs, self._final = layout.buffers(1), layout.buffers(1)
        self._begun_anew = False
        self.action_space = self._lane.env.action_space
        self.observation_space: Any = _laid_out(self._obs)
        self.task: tuple[int, int, NDArray[Any]] | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Arrays, dict[str, Any]]:
        """Begins an episode."""
        if seed is not None:
            self._lane.begin(seed, self._obs, 0)
        elif not self._begun_anew:
            self._lane.next_episode(self._obs, 0)
        self._begun_anew = False
        return _row(self._obs), {}

    def step(self, action: Any) -> tuple[Arrays, float, bool, bool, dict[str, Any]]:
        """Plays a step; the next episode's beginning is handed over by the next ``reset``."""
        outcome = self._lane.step(action, self._obs, self._final, 0)
        self._begun_anew = outcome[1] or outcome[2]
        return _row(self._final if self._begun_anew else self._obs), *outcome, {}

    def replay(self) -> Arrays:
        """Takes up again the episode that ``task`` (seed, episode, actions) names."""
        assert self.task is not None
        self._lane.replay(*self.task, self._obs, 0)
        self.task, self._begun_anew = None, False
        return _row(self._obs)

    def close(self) -> None:
        """Closes the environment."""
        self._lane.env.close()


class AsyncCrew:
    """The environments each in a process of its own.

    The processes are forked by a server that was started before torch had threads of its own.

    Args:
        make: builds one environment; it is sent to the processes.
        env_id: for messages.
        layout: of observations.
        lanes: how many there are.
    """

    def __init__(
        self, make: Callable[[], GymEnv], env_id: str, layout: ObservationLayout, lanes: int
    ) -> None:
        self._env: AsyncVectorEnv[Any, Any] = AsyncVectorEnv(
            [partial(LaneGym, make, env_id, number, layout) for number in range(lanes)],
            copy=False,
            context="forkserver",
            autoreset_mode=AutoresetMode.SAME_STEP,
        )

    def begin(self, seeds_L: NDArray[np.int64], obs: Arrays) -> None:
        with _one_message():
            seen, _ = self._env.reset(seed=[int(seed) for seed in seeds_L])
        self._copy(seen, obs)

    def go_on(self, obs: Arrays) -> None:
        with _one_message():
            seen, _ = self._env.reset()
        self._copy(seen, obs)

    def step(self, actions_L: NDArray[Any], frame: Frame) -> None:
        with _one_message():
            seen, rewards, terminated, truncated, info = self._env.step(actions_L)
        self._copy(seen, frame.obs)
        frame.rewards[:], frame.terminated[:], frame.truncated[:] = rewards, terminated, truncated
        for lane in np.flatnonzero(terminated | truncated):
            for name, array in info["final_obs"][lane].items():
                frame.final[name][lane] = array

    def replay(
        self,
        seeds_L: NDArray[np.int64],
        episodes_L: NDArray[np.int64],
        actions: Sequence[NDArray[Any]],
        obs: Arrays,
    ) -> None:
        with _one_message():
            self._env.set_attr("task", list(zip(seeds_L, episodes_L, actions, strict=True)))
            for lane, seen in enumerate(self._env.call("replay")):
                for name, array in seen.items():
                    obs[name][lane] = array

    def close(self) -> None:
        if not self._env.closed:
            self._env.close()

    @staticmethod
    def _copy(seen: Arrays, obs: Arrays) -> None:
        for name, array in seen.items():
            np.copyto(obs[name], array)


def _laid_out(row: Arrays) -> spaces.Dict:
    """Returns the space of a row of buffers; an array without entries is left out."""
    found: dict[str, spaces.Space[Any]] = {}
    for name, array in row.items():
        if array.size:
            low, high = (-np.inf, np.inf) if array.dtype == np.float32 else (0, 255)
            high = 1 if array.dtype == np.bool_ else high
            found[name] = spaces.Box(low, high, array.shape[1:], array.dtype.type)
    return spaces.Dict(found)


def _row(arrays: Arrays) -> Arrays:
    return {name: array[0] for name, array in arrays.items() if array.size}


@contextmanager
def _one_message() -> Iterator[None]:
    """Lets an error of a process be said once, by who catches it, not by Gymnasium's log too."""
    level = gymnasium.logger.min_level
    gymnasium.logger.min_level = gymnasium.logger.ERROR + 1
    try:
        yield
    finally:
        gymnasium.logger.min_level = level
