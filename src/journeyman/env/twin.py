"""Pictures of an environment that cannot draw itself: a twin that can plays the same episode."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from journeyman.env.action_spaces import ActionLayout
from journeyman.env.lane import Lane
from journeyman.env.lanes import SeededLanes
from journeyman.env.making import GymEnv
from journeyman.env.spaces import ObservationLayout
from journeyman.errors import UserError, in_a_line


class Twin:
    """Plays a lane's episode again, as far as the lane has come, and draws it.

    Args:
        env: an environment like the lane's, that draws ``rgb_array``.
        layout: of its observations.
    """

    def __init__(self, env: GymEnv, layout: ObservationLayout) -> None:
        self._env_id = env.spec.id if env.spec is not None else type(env).__name__
        self._lane = Lane(env, self._env_id, 0, layout)
        self._unused = layout.buffers(1)
        self._shown: tuple[int, int] | None = None
        self._steps = 0

    def picture(self, lanes: SeededLanes, actions: ActionLayout, lane: int) -> NDArray[np.uint8]:
        """Returns what a lane looks like now, (height, width, 3).

        Raises:
            UserError: if the environment fails to draw, or draws something else.
        """
        episode = (int(lanes.seeds_L[lane]), int(lanes.episodes_L[lane]))
        played = lanes.log.actions_of(lane)
        if self._shown != episode or self._steps > len(played):
            self._lane.begin(episode[0], self._unused, 0, episode=episode[1])
            self._shown, self._steps = episode, 0
        for action in actions.prepared(played[self._steps :]):
            self._lane.step(action, self._unused, self._unused, 0)
        self._steps = len(played)
        try:
            drawn: Any = self._lane.env.render()
        except Exception as error:
            raise UserError(f"{self._env_id}: render() failed ({in_a_line(error)})") from error
        if not (isinstance(drawn, np.ndarray) and drawn.dtype == np.uint8 and drawn.ndim == 3):
            raise UserError(f"{self._env_id}: render() gave no (height, width, 3) array of bytes")
        return drawn

    def close(self) -> None:
        """Closes the environment."""
        self._lane.env.close()
