"""All lanes of a Gymnasium environment: who runs them, and how their state is kept.

Legend: L lanes.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from journeyman.env.action_spaces import ActionLayout
from journeyman.env.episodes import ActionLog, seen_digest
from journeyman.env.lane import Frame, Lane, check_seen
from journeyman.env.making import GymEnv
from journeyman.env.protocol import LaneSpec
from journeyman.env.spaces import Arrays, ObservationLayout
from journeyman.errors import TrainingError, UserError

_NOT_REPEATABLE = (
    "the environment's play cannot be taken up again, because it is not deterministic given its "
    "seed; draw all chance from its np_random, which reset(seed=...) seeds"
)


class Crew(Protocol):
    """All environments of a ``GymnasiumEnv``, however they are run."""

    def begin(self, seeds_L: NDArray[np.int64], obs: Arrays) -> None:
        """Begins each lane's first episode."""
        ...

    def go_on(self, obs: Arrays) -> None:
        """Begins each lane's next episode."""
        ...

    def step(self, actions_L: NDArray[Any], frame: Frame) -> None:
        """Plays a step in every lane; those that end begin anew in it."""
        ...

    def replay(
        self,
        seeds_L: NDArray[np.int64],
        episodes_L: NDArray[np.int64],
        actions: Sequence[NDArray[Any]],
        obs: Arrays,
    ) -> None:
        """Takes each lane's episode up again."""
        ...

    def close(self) -> None:
        """Closes the environments."""
        ...


class SyncCrew:
    """The environments one after the other, in this process.

    Args:
        make: builds one environment.
        env_id: for messages.
        layout: of observations.
        lanes: how many there are.
    """

    def __init__(
        self, make: Callable[[], GymEnv], env_id: str, layout: ObservationLayout, lanes: int
    ) -> None:
        self._lanes = [Lane(make(), env_id, number, layout) for number in range(lanes)]

    def begin(self, seeds_L: NDArray[np.int64], obs: Arrays) -> None:
        for row, lane in enumerate(self._lanes):
            lane.begin(seeds_L[row], obs, row)

    def go_on(self, obs: Arrays) -> None:
        for row, lane in enumerate(self._lanes):
            lane.next_episode(obs, row)

    def step(self, actions_L: NDArray[Any], frame: Frame) -> None:
        obs, final = frame.obs, frame.final
        outcomes = [
            lane.step(action, obs, final, lane.number)
            for lane, action in zip(self._lanes, actions_L, strict=True)
        ]
        frame.rewards[:], frame.terminated[:], frame.truncated[:] = zip(*outcomes, strict=True)

    def replay(
        self,
        seeds_L: NDArray[np.int64],
        episodes_L: NDArray[np.int64],
        actions: Sequence[NDArray[Any]],
        obs: Arrays,
    ) -> None:
        for row, lane in enumerate(self._lanes):
            lane.replay(seeds_L[row], episodes_L[row], actions[row], obs, row)

    def close(self) -> None:
        for lane in self._lanes:
            lane.env.close()


class SeededLanes:
    """Lanes whose state is their seeds, the numbers of their episodes, and the actions since.

    Args:
        crew: who runs the environments.
        actions: their action layout.
        spec: of a lane.
        lanes: L.
    """

    def __init__(self, crew: Crew, actions: ActionLayout, spec: LaneSpec, lanes: int) -> None:
        self.crew = crew
        self._actions, self._spec = actions, spec
        self.seeds_L = np.zeros(lanes, np.int64)
        self.episodes_L = np.zeros(lanes, np.int64)
        self.log = ActionLog(lanes, spec.action_shape, spec.action_dtype)

    def begin(self, seeds_L: NDArray[np.int64] | None, obs: Arrays) -> None:
        """Begins each lane's first episode, or its next where there are no new seeds."""
        if seeds_L is None:
            self.crew.go_on(obs)
            self.episodes_L += 1
        else:
            self.crew.begin(seeds_L, obs)
            self.seeds_L, self.episodes_L[:] = seeds_L.copy(), 0
        self.log.lengths_L[:] = 0
        check_seen(obs, self._spec, self.position)

    def step(self, actions_L: NDArray[Any], prepared_L: NDArray[Any], frame: Frame) -> None:
        """Plays a step; ``actions_L`` are the policy's, ``prepared_L`` the environments'."""
        self.crew.step(prepared_L, frame)
        self.log.append(actions_L)
        ended_L = frame.terminated | frame.truncated
        if ended_L.any():
            check_seen(frame.final, self._spec, self.position, last=True)
            self.log.forget(ended_L)
            self.episodes_L += ended_L
        check_seen(frame.obs, self._spec, self.position)

    def position(self, lane: int) -> tuple[int, int]:
        """Returns a lane's episode and the steps made in it."""
        return int(self.episodes_L[lane]), int(self.log.lengths_L[lane])

    def state(self, obs: Arrays) -> Arrays:
        """Returns what ``restore`` needs; ``obs`` is what the lanes see."""
        episodes = [self.log.actions_of(lane) for lane in range(len(self.seeds_L))]
        return {
            "seeds": self.seeds_L.copy(),
            "episodes": self.episodes_L.copy(),
            "lengths": self.log.lengths_L.copy(),
            "actions": np.concatenate(episodes),
            "seen": _digests(obs),
        }

    def restore(self, state: Mapping[str, NDArray[Any]], obs: Arrays) -> None:
        """Puts a state back by playing each lane's episode again.

        Raises:
            UserError: if an environment is not deterministic given its seed.
        """
        bounds = np.cumsum(state["lengths"])[:-1]
        episodes = np.split(np.asarray(state["actions"]), bounds)
        self.seeds_L = np.array(state["seeds"], np.int64)
        self.episodes_L = np.array(state["episodes"], np.int64)
        prepared = [self._actions.prepared(actions) for actions in episodes]
        try:
            self.crew.replay(self.seeds_L, self.episodes_L, prepared, obs)
        except TrainingError as error:
            raise UserError(f"{_NOT_REPEATABLE} ({error})") from error
        self.log.fill(episodes)
        differs_L = (_digests(obs) != state["seen"]).any(axis=1)
        if differs_L.any():
            lane = int(np.argmax(differs_L))
            raise UserError(
                f"{_NOT_REPEATABLE} ({self._spec.env_id}: lane {lane} sees something else)"
            )

    def close(self) -> None:
        """Closes the environments."""
        self.crew.close()


def _digests(obs: Arrays) -> NDArray[np.uint8]:
    """Returns the SHA-256 of what each lane sees, (L, 32)."""
    lanes = range(len(obs["features"]))
    return np.stack([seen_digest(obs, slice(lane, lane + 1)) for lane in lanes])
