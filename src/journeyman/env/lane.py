"""One Gymnasium environment, played episode by episode from seeds of its own.

Legend: L lanes.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from journeyman.env.action_spaces import SpaceViolationError
from journeyman.env.episodes import episode_seed
from journeyman.env.making import GymEnv
from journeyman.env.protocol import LaneSpec
from journeyman.env.spaces import MASK, Arrays, ObservationLayout, first_not_finite
from journeyman.errors import NotFiniteError, TrainingError, in_a_line


@dataclass(frozen=True)
class Frame:
    """The arrays of one step, written in place.

    Attributes:
        obs: what the lanes see now.
        final: what the lanes that ended saw last.
        rewards: (L,) float32.
        terminated: (L,) bool.
        truncated: (L,) bool.
        idle: (L,) bool, lanes that spent the step on beginning anew.
    """

    obs: Arrays
    final: Arrays
    rewards: NDArray[np.float32]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    idle: NDArray[np.bool_]

    @classmethod
    def of(cls, layout: ObservationLayout, lanes: int) -> "Frame":
        """Returns a frame of so many lanes, all zero."""
        flags = [np.zeros(lanes, np.bool_) for _ in range(3)]
        rewards = np.zeros(lanes, np.float32)
        return cls(layout.buffers(lanes), layout.buffers(lanes), rewards, *flags)


def broken(
    env_id: str,
    lane: int,
    episode: int,
    step: int,
    what: str,
    *,
    kind: type[TrainingError] = TrainingError,
) -> TrainingError:
    """Returns the error of an environment that fails or breaks its own rules.

    >>> print(broken("Maze-v0", 2, 0, 7, "reward is nan", kind=NotFiniteError))
    Maze-v0: lane 2, step 7 of its episode 0: reward is nan
    """
    return kind(f"{env_id}: lane {lane}, step {step} of its episode {episode}: {what}")


def check_seen(
    obs: Arrays, spec: LaneSpec, position: Callable[[int], tuple[int, int]], *, last: bool = False
) -> None:
    """Checks what all lanes see.

    Args:
        obs: rows that were never written are zero.
        spec: names the environment and its features.
        position: a lane's episode and the steps made in it.
        last: nobody acts on it, so that the mask does not matter.

    Raises:
        NotFiniteError: if a feature is not.
        TrainingError: if a mask leaves nothing to do.
    """
    found = first_not_finite(obs["features"])
    if found is not None:
        lane, column = found
        what = f"observation: {spec.feature_names[column]} is {obs['features'][lane, column]}"
        raise broken(spec.env_id, lane, *position(lane), what, kind=NotFiniteError)
    if spec.has_action_mask and not last:
        open_L = obs[MASK].any(axis=1)
        if not open_L.all():
            lane = int(np.argmin(open_L))
            raise broken(spec.env_id, lane, *position(lane), f"{MASK} allows no action")


class Lane:
    """One environment; it begins its next episode in the step that ends one.

    Args:
        env: the environment.
        env_id: for messages.
        number: which lane this is.
        layout: of its observations.
    """

    def __init__(self, env: GymEnv, env_id: str, number: int, layout: ObservationLayout) -> None:
        self.env, self.env_id, self.number, self.layout = env, env_id, number, layout
        self._seed = self._episode = self._steps = 0

    def begin(self, seed: int, out: Arrays, row: int, *, episode: int = 0) -> None:
        """Begins an episode of the lane with this seed, and writes what is seen."""
        self._seed, self._episode, self._steps = int(seed), int(episode), 0
        self._reset(out, row)

    def next_episode(self, out: Arrays, row: int) -> None:
        """Begins the next episode, and writes what is seen."""
        self._episode, self._steps = self._episode + 1, 0
        self._reset(out, row)

    def step(self, action: Any, obs: Arrays, final: Arrays, row: int) -> tuple[float, bool, bool]:
        """Plays a step; returns reward, terminated, truncated.

        Args:
            action: as the environment takes it.
            obs: where what is seen now is written, be it the next episode's beginning.
            final: where the last observation of an episode that ends is written.
            row: in both.

        Raises:
            NotFiniteError: if the reward is not.
            TrainingError: if the environment raises, or shows what its space does not contain.
        """
        self._steps += 1
        try:
            seen, reward, terminated, truncated, info = self.env.step(action)
            if isinstance(reward, np.ndarray):
                reward = reward.item()
            outcome = float(reward), bool(terminated), bool(truncated)
        except Exception as error:
            raise self._failed("step", error) from error
        if not math.isfinite(outcome[0]):
            raise self._broken(f"reward is {outcome[0]}", NotFiniteError)
        if not (terminated or truncated):
            self._write(obs, row, seen, info)
        else:
            self._write(final, row, seen, info)
            self.next_episode(obs, row)
        return outcome

    def replay(self, seed: int, episode: int, actions: NDArray[Any], obs: Arrays, row: int) -> None:
        """Begins an episode anew and plays it up to where it was.

        Args:
            seed: the lane's.
            episode: its number in the lane.
            actions: those taken in it, as the environment takes them.
            obs: where what is seen now is written.
            row: in it.

        Raises:
            TrainingError: if the environment fails, or if the episode ends within these actions.
        """
        unused = {name: np.empty_like(array) for name, array in obs.items()}
        self.begin(seed, obs, row, episode=episode)
        for number, action in enumerate(actions, 1):
            _, terminated, truncated = self.step(action, obs, unused, row)
            if terminated or truncated:
                what = "the episode ends here, where it went on before"
                raise broken(self.env_id, self.number, episode, number, what)

    def _reset(self, out: Arrays, row: int) -> None:
        try:
            seen, info = self.env.reset(seed=episode_seed(self._seed, self._episode))
        except Exception as error:
            raise self._failed("reset", error) from error
        self._write(out, row, seen, info)

    def _write(self, out: Arrays, row: int, seen: Any, info: Mapping[str, Any]) -> None:
        try:
            self.layout.write(out, row, seen, info)
        except SpaceViolationError as error:
            raise self._broken(f"observation: {error}") from error

    def _failed(self, where: str, error: Exception) -> TrainingError:
        return self._broken(f"the environment failed in {where} ({in_a_line(error)})")

    def _broken(self, what: str, kind: type[TrainingError] = TrainingError) -> TrainingError:
        return broken(self.env_id, self.number, self._episode, self._steps, what, kind=kind)
