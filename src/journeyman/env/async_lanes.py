"""Gymnasium environments in other processes, as many as there are cores.

Each process plays a bundle of lanes. Observations are laid out where they arise, all that a step
brings crosses over in shared memory, and what fails is named where it fails. A process that
ended, by its own doing or another's, is named by its lanes.

Legend: L lanes, P processes, K lanes of one process; the last one's may be fewer.
"""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import wait
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, AutoresetMode
from numpy.typing import NDArray

from journeyman.env.lane import Frame, Lane
from journeyman.env.making import GymEnv
from journeyman.env.spaces import Arrays, ObservationLayout
from journeyman.errors import TrainingError

_LOG = logging.getLogger(__name__)

Processes = AsyncVectorEnv[Any, Any]

_GONE = (EOFError, OSError)
"""What talking to a process that ended raises."""
_PATIENCE = 5.0
"""Seconds that a process has to end in when it is told to."""


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

    The processes are forked by a server that has no threads of its own, neither torch's. After
    a failure there are none; the next beginning, or an episode taken up again, starts new ones.

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
        self._lanes, self._size, self._env_id = lanes, size, env_id
        self._builds = [
            partial(LaneBundle, make, env_id, rows, size, layout) for rows in self._rows
        ]
        self._env: Processes | None = self._started()

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
        if self._env is None:
            raise gymnasium.error.ResetNeeded("after a failure call reset or restore before step")
        with self._watched(self._env, "step"):
            shown, *_ = self._env.step(padded.reshape(-1, self._size, *actions_L.shape[1:]))
        for name, array in _flat(frame).items():
            np.copyto(array, self._own(shown[name]))

    def close(self) -> None:
        """Closes the environments; what goes wrong then spoils no work, and is only said."""
        if self._env is None:
            return
        try:
            with self._watched(self._env, "close"):
                self._env.close()
        except TrainingError as error:
            _LOG.warning("%s", error)
        self._env = None

    def _started(self) -> Processes:
        try:
            return AsyncVectorEnv(
                self._builds,
                copy=False,
                context="forkserver",
                autoreset_mode=AutoresetMode.DISABLED,
            )
        except _GONE as error:
            raise TrainingError(
                f"{self._env_id}: a process of lanes 0 to {self._lanes - 1} ended as it began"
            ) from error

    @contextmanager
    def _watched(self, env: Processes, doing: str) -> Iterator[None]:
        """Gives the processes up when anything fails: they are at different points then."""
        try:
            with _one_message():
                yield
        except _GONE as error:
            words = self._who_ended(env)
            self._give_up(env)
            raise TrainingError(f"{self._env_id}: {words} in {doing}") from error
        except BaseException:
            self._give_up(env)
            raise

    def _who_ended(self, env: Processes) -> str:
        """Says which lanes' processes ended and how, a moment being allowed for that."""
        wait([process.sentinel for process in env.processes], timeout=_PATIENCE)
        ended = [
            f"the process of {_named(rows)} ended ({_exit(process.exitcode)})"
            for rows, process in zip(self._rows, env.processes, strict=True)
            if process.exitcode is not None
        ]
        return ", ".join(ended) or f"a process of {_named(range(self._lanes))} does not answer"

    def _give_up(self, env: Processes) -> None:
        """Ends all processes; Gymnasium's own ``close`` would wait for those that are gone."""
        self._env = None
        for process in env.processes:
            process.terminate()
        for process in env.processes:
            process.join(_PATIENCE)
            if process.exitcode is None:
                process.kill()
                process.join()
        for pipe in env.parent_pipes:
            if pipe is not None:
                pipe.close()
        env.error_queue.close()
        env.closed = True

    def _do(self, tasks: list[tuple[Any, ...]], obs: Arrays) -> None:
        """Gives each process its task, and copies what the lanes see then."""
        env = self._env = self._env or self._started()
        with self._watched(env, "reset"):
            env.set_attr("task", tasks)
            shown, _ = env.reset()
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


def _named(lanes: range) -> str:
    """Names lanes.

    >>> _named(range(2, 5)), _named(range(7, 8))
    ('lanes 2 to 4', 'lane 7')
    """
    return f"lane {lanes[0]}" if len(lanes) == 1 else f"lanes {lanes[0]} to {lanes[-1]}"


def _exit(code: int) -> str:
    """Says how a process ended.

    >>> _exit(3), _exit(-9)
    ('exit code 3', 'signal 9')
    """
    return f"exit code {code}" if code >= 0 else f"signal {-code}"


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
