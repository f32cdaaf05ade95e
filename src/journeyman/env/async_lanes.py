"""Gymnasium environments in other processes, as many as there are cores.

Each process plays a bundle of lanes. Observations are laid out where they arise, all that a step
brings crosses over in shared memory, and what fails is named where it fails.

Legend: L lanes, P processes, K lanes of one process; the last one's may be fewer.
"""

import os
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


class LaneBundle(gymnasium.Env[Arrays, Any]):
    """The lanes of one process as a Gymnasium environment: an observation is all a step brings.

    ``reset`` does what ``task`` says: ``("begin", seeds)``, ``("go_on",)`` or
    ``("replay", seeds, episodes, actions)``.

    Args:
        make: builds one environment.
        env_id: for messages.
        numbers: which lanes these are.
        size: K; rows beyond the bundle's own lanes stay empty.
        layout: of observations.
    """

    def __init__(
        self,
        make: Callable[[], GymEnv],
        env_id: str,
        numbers: range,
        size: int,
        layout: ObservationLayout,
    ) -> None:
        self._lanes = [Lane(make(), env_id, number, layout) for number in numbers]
        self._frame = Frame.of(layout, size)
        self._shown = _flat(self._frame)
        single: Any = self._lanes[0].env.action_space
        bounds = np.iinfo(np.int64) if single.dtype.kind in "iu" else np.finfo(single.dtype)
        kind = np.int64 if single.dtype.kind in "iu" else single.dtype.type
        self.action_space = spaces.Box(bounds.min, bounds.max, (size, *single.shape), kind)
        self.observation_space: Any = spaces.Dict(
            {
                name: spaces.Box(*_range(array), array.shape, array.dtype.type)
                for name, array in self._shown.items()
            }
        )
        self.task: tuple[Any, ...] = ("go_on",)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Arrays, dict[str, Any]]:
        """Does the task."""
        match self.task:
            case ("begin", seeds):
                for row, lane in enumerate(self._lanes):
                    lane.begin(seeds[row], self._frame.obs, row)
            case ("replay", seeds, episodes, actions):
                for row, lane in enumerate(self._lanes):
                    obs = self._frame.obs
                    lane.replay(seeds[row], episodes[row], actions[row], obs, row)
            case _:
                for row, lane in enumerate(self._lanes):
                    lane.next_episode(self._frame.obs, row)
        return self._shown, {}

    def step(self, action: Any) -> tuple[Arrays, float, bool, bool, dict[str, Any]]:
        """Plays a step in each lane; ``action`` has a row for each of the K."""
        frame = self._frame
        for row, lane in enumerate(self._lanes):
            outcome = lane.step(action[row], frame.obs, frame.final, row)
            frame.rewards[row], frame.terminated[row], frame.truncated[row] = outcome
        return self._shown, 0.0, False, False, {}

    def close(self) -> None:
        """Closes the environments."""
        for lane in self._lanes:
            lane.env.close()


class AsyncCrew:
    """The environments spread over processes.

    The processes are forked by a server that has no threads of its own, neither torch's.

    Args:
        make: builds one environment; it is sent to the processes.
        env_id: for messages.
        layout: of observations.
        lanes: L.
    """

    def __init__(
        self, make: Callable[[], GymEnv], env_id: str, layout: ObservationLayout, lanes: int
    ) -> None:
        size = -(-lanes // min(lanes, len(os.sched_getaffinity(0))))
        self._rows = [range(at, min(at + size, lanes)) for at in range(0, lanes, size)]
        self._lanes, self._size = lanes, size
        self._env: AsyncVectorEnv[Any, Any] = AsyncVectorEnv(
            [partial(LaneBundle, make, env_id, rows, size, layout) for rows in self._rows],
            copy=False,
            context="forkserver",
            autoreset_mode=AutoresetMode.DISABLED,
        )

    def begin(self, seeds_L: NDArray[np.int64], obs: Arrays) -> None:
        self._do([("begin", seeds_L[rows.start : rows.stop]) for rows in self._rows], obs)

    def go_on(self, obs: Arrays) -> None:
        self._do([("go_on",)] * len(self._rows), obs)

    def replay(
        self,
        seeds_L: NDArray[np.int64],
        episodes_L: NDArray[np.int64],
        actions: Sequence[NDArray[Any]],
        obs: Arrays,
    ) -> None:
        parts = [slice(rows.start, rows.stop) for rows in self._rows]
        self._do([("replay", seeds_L[p], episodes_L[p], actions[p]) for p in parts], obs)

    def step(self, actions_L: NDArray[Any], frame: Frame) -> None:
        missing = len(self._rows) * self._size - self._lanes
        padded = np.concatenate([actions_L, actions_L[:1].repeat(missing, axis=0)])
        with _one_message():
            shown, *_ = self._env.step(padded.reshape(-1, self._size, *actions_L.shape[1:]))
        for name, array in _flat(frame).items():
            np.copyto(array, self._own(shown[name]))

    def close(self) -> None:
        if not self._env.closed:
            self._env.close()

    def _do(self, tasks: list[tuple[Any, ...]], obs: Arrays) -> None:
        """Gives each process its task, and copies what the lanes see then."""
        with _one_message():
            self._env.set_attr("task", tasks)
            shown, _ = self._env.reset()
        for name, array in obs.items():
            if array.size:
                np.copyto(array, self._own(shown[f"obs.{name}"]))

    def _own(self, shown_PK: NDArray[Any]) -> NDArray[Any]:
        """Returns (P, K, ...) as (L, ...)."""
        return shown_PK.reshape(-1, *shown_PK.shape[2:])[: self._lanes]


def _flat(frame: Frame) -> Arrays:
    """Returns the arrays of a frame that cross over, by name; none that has no entries."""
    named = {
        **{f"obs.{name}": array for name, array in frame.obs.items()},
        **{f"final.{name}": array for name, array in frame.final.items()},
        "rewards": frame.rewards,
        "terminated": frame.terminated,
        "truncated": frame.truncated,
    }
    return {name: array for name, array in named.items() if array.size}


def _range(array: NDArray[Any]) -> tuple[float, float]:
    """Returns the bounds of an array's space."""
    match array.dtype.kind:
        case "f":
            return -np.inf, np.inf
        case "b":
            return 0, 1
        case _:
            return 0, 255


@contextmanager
def _one_message() -> Iterator[None]:
    """Lets an error of a process be said once, by who catches it, not by Gymnasium's log too."""
    level = gymnasium.logger.min_level
    gymnasium.logger.min_level = gymnasium.logger.ERROR + 1
    try:
        yield
    finally:
        gymnasium.logger.min_level = level
